//! One `qgate serve` with a configuration of the test's own: killed, started again, looked into.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::{Client, Endpoint, Error, Method, Refusal, Request, Settings};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::ports::base_port;
use super::{DEADLINE, LOOK_EVERY, Process, pid, qgate};

/// What lets calls to targets on this machine out, and webhooks too.
pub const LOOPBACK: &str =
    "outbound: {allow: [\"127.0.0.0/8\"], webhooks_allow: [\"127.0.0.0/8\"]}\n";

/// A ballast would take its bytes for each node of a test.
pub const NO_BALLAST: &str = "disk_ballast_bytes: 0\n";

/// `phone.*` is called once per lead in five minutes; `crm.*` waits for a person.
const GATES: &str = "\
gates:
  - name: calls
    resource: phone.*
    policies:
      - idempotency_key: { window_seconds: 300, key: lead_id }
  - name: guarded
    resource: crm.*
    policies:
      - require_approval: always
";

/// How long one look may wait for news.
const LOOK: Duration = Duration::from_secs(30);

/// A node, and clients of its principals.
pub struct Node {
    pub home: PathBuf,
    pub http: String,
    metrics: String,
    process: Process,
    starts: u32,
    pub admin: Client,
    pub reviewer: Client,
    pub agent: Client,
    /// Of the reviewer and of the agent, for the command line.
    pub keys: [String; 2],
}

impl Node {
    /// Starts a node with more lines in its configuration; it has the gates of this module.
    pub async fn start(home: &Path, more: &str) -> Self {
        Self::start_under(home, more, &[]).await
    }

    /// The same, with words before the command line that run what follows them in their place.
    pub async fn start_under(home: &Path, more: &str, before: &[&str]) -> Self {
        let port = base_port();
        let metrics = format!("127.0.0.1:{}", port + 3);
        let text = format!(
            "node: {{id: 1}}\ndata_dir: data\nhttp: {{listen: \"127.0.0.1:{port}\"}}\n\
             metrics: {{listen: \"{metrics}\"}}\n\
             cluster: {{initialise: true}}\nadmin_key_file: admin.key\n{NO_BALLAST}{more}"
        );
        fs::write(home.join("node.yaml"), text).unwrap();
        let http = format!("http://127.0.0.1:{port}");
        let mut process = serve(home, 1, before);
        let nobody = client_of(&http, None);
        ready(&nobody, &mut process, home).await;
        let key = fs::read_to_string(home.join("admin.key")).unwrap();
        let admin = client_of(&http, Some(key.trim()));
        let (reviewer, reviewer_key) = register(&http, &admin, "reviewer").await;
        let (agent, agent_key) = register(&http, &admin, "agent").await;
        let policies = json!({ "policies": { "gates": GATES } });
        admin.put(&["v1", "policies"], &policies).await.unwrap();
        let keys = [reviewer_key, agent_key];
        let home = home.to_owned();
        Self { home, http, metrics, process, starts: 1, admin, reviewer, agent, keys }
    }

    /// Another principal of a role.
    pub async fn register(&self, role: &str) -> Client {
        register(&self.http, &self.admin, role).await.0
    }

    /// The command line with a key, and what it said.
    pub fn qgate(&self, key: &str, words: &[&str]) -> Output {
        let mut command = qgate();
        command.env("QGATE_ENDPOINT", &self.http).env("QGATE_API_KEY", key);
        command.args(words).output().unwrap()
    }

    pub fn kill_9(&mut self) {
        self.process.stop(Signal::KILL);
    }

    pub async fn start_again(&mut self) {
        self.starts += 1;
        self.process = serve(&self.home, self.starts, &[]);
        ready(&client_of(&self.http, None), &mut self.process, &self.home).await;
    }

    /// Stops it in order.
    pub fn stop(&mut self) {
        self.ask_to_stop();
        self.stopped();
    }

    /// Asks it to stop in order, and does not wait for that.
    pub fn ask_to_stop(&self) {
        kill_process(pid(self.process.0.id()), Signal::TERM).expect("it runs");
    }

    /// Waits until it has stopped in order.
    pub fn stopped(&mut self) {
        let status = self.process.wait();
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Waits until it has ended by itself, and gives its code.
    pub fn ended(&mut self) -> Option<i32> {
        self.process.wait().code()
    }

    /// Starts it in the hope that it ends by itself, and gives what it said.
    pub fn serve_alone(&self) -> Output {
        let mut command = qgate();
        command.arg("serve").arg("--config").arg(self.home.join("node.yaml")).output().unwrap()
    }

    /// What it says of its readiness.
    pub async fn ready_body(&self) -> Value {
        self.agent.send(Request::get(&["readyz"]).anonymous()).await.unwrap().body
    }

    /// Nobody listens any more at its front door.
    pub async fn door_closed(&self) {
        let address = self.http.trim_start_matches("http://").to_owned();
        eventually("the door is closed", || async {
            tokio::net::TcpStream::connect(&address).await.is_err().then_some(())
        })
        .await;
    }

    /// Changes its configuration, for the next start.
    pub fn configure(&self, change: impl Fn(String) -> String) {
        let path = self.home.join("node.yaml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, change(text)).unwrap();
    }

    /// The value of one series of its metrics.
    pub fn metric(&self, series: &str) -> f64 {
        super::metric(&self.metrics, series)
    }

    /// What it logged, over all starts.
    pub fn log(&self) -> String {
        let read = |start| fs::read_to_string(log_path(&self.home, start)).unwrap();
        (1..=self.starts).map(read).collect()
    }

    /// Puts a document of a destination or a channel.
    pub async fn put(&self, kind: &str, name: &str, yaml: &str) {
        self.admin.send(document(kind, name, yaml)).await.unwrap();
    }

    /// The refusal of such a document.
    pub async fn refused(&self, kind: &str, name: &str, yaml: &str) -> Box<Refusal> {
        refusal(self.admin.send(document(kind, name, yaml)).await)
    }

    /// Submits a payload as the agent; gives the id of what was allowed or held.
    pub async fn submit(&self, resource: &str, payload: Value) -> String {
        let intent = json!({ "resource": resource, "payload": payload });
        let submitted = self.agent.submit(&intent, None).await.unwrap();
        let status = submitted.answer.text("status").unwrap_or_default();
        assert!(["approved", "pending_approval"].contains(&status), "{}", submitted.answer.body);
        submitted.id
    }

    /// An intent as soon as it is in a phase.
    pub async fn in_phase(&self, id: &str, phase: &str) -> Value {
        let look = || async {
            let seconds = format!("{}s", LOOK.as_secs());
            let request = Request::get(&["v1", "intents", id]);
            let request = request.query("wait", seconds).query("until", "done").patience(LOOK);
            let body = self.agent.send(request).await.unwrap().body;
            (body["phase"] == phase).then_some(body)
        };
        eventually(&format!("{id} is {phase}"), look).await
    }

    /// An intent's rows of the trail of one kind, once there are some.
    pub async fn trail(&self, id: &str, kind: &str) -> Vec<Value> {
        let look = || async {
            let trail = self.admin.get(&["v1", "intents", id, "audit"]).await.unwrap();
            let mut rows = trail.body["events"].as_array().unwrap().clone();
            rows.retain(|row| row["event_type"] == kind);
            (!rows.is_empty()).then_some(rows)
        };
        eventually(&format!("{kind} of {id}"), look).await
    }

    /// The order of an intent's claim of this number, from 1.
    pub async fn order(&self, id: &str, claim: usize) -> Value {
        let claims = self.trail(id, "execution_claimed").await;
        let execution = claims[claim - 1]["metadata"]["executionId"].as_str().unwrap();
        self.agent.get(&["v1", "executions", execution]).await.unwrap().body
    }
}

/// What a request was refused with.
pub fn refusal(result: Result<client::Answer, Error>) -> Box<Refusal> {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Looks again and again until there is something, or the deadline is over.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let ends = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < ends, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn serve(home: &Path, start: u32, before: &[&str]) -> Process {
    let log = fs::File::create(log_path(home, start)).unwrap();
    let mut command = match before {
        [] => qgate(),
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(qgate().get_program());
            command
        }
    };
    // Its standard output shows the first admin key.
    command.stdout(Stdio::null()).stderr(log);
    Process::start(command.arg("serve").arg("--config").arg(home.join("node.yaml")))
}

fn log_path(home: &Path, start: u32) -> PathBuf {
    home.join(format!("serve-{start}.log"))
}

async fn ready(client: &Client, process: &mut Process, home: &Path) {
    let ends = Instant::now() + DEADLINE;
    while let Err(error) = client.send(Request::get(&["readyz"]).anonymous()).await {
        if let Some(status) = process.0.try_wait().unwrap() {
            panic!("the node ended with {status}; its log lies in {}", home.display());
        }
        assert!(Instant::now() < ends, "the node is not ready: {error}");
    }
}

fn client_of(http: &str, key: Option<&str>) -> Client {
    let mut settings = Settings::new(Endpoint::list(http).unwrap());
    settings.key = key.map(str::to_owned);
    Client::new(settings).unwrap()
}

async fn register(http: &str, admin: &Client, role: &str) -> (Client, String) {
    let body = json!({ "name": format!("the-{role}"), "role": role });
    let made = admin.post(&["v1", "agents", "register"], &body).await.unwrap();
    let key = made.text("apiKey").unwrap().to_owned();
    (client_of(http, Some(&key)), key)
}

fn document(kind: &str, name: &str, yaml: &str) -> Request {
    Request::new(Method::Put, &["v1", kind, name]).yaml(yaml.as_bytes().to_vec())
}
