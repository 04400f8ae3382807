//! `qgate dev`: a local cluster of child processes on loopback, with keys and policies in place.
//!
//! Each child is `qgate serve --config DIR/node-<id>/node.yaml`, so that one that was killed can be
//! started again by hand with the same line. Promise: `dev.json` appears when everything it names
//! answers. Invariant: `dev` stops only what it started, and restarts nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use client::{Client, Endpoint, Error, Request, Settings};
use policy::Compiled;
use tokio::time::Instant;

use crate::commands::policy::{apply_set, checked};
use crate::dev_child::Child;
use crate::dev_cluster::DevCluster;
use crate::dev_keys;
use crate::dev_ports::Ports;
use crate::dev_state::{Common, DevDir, DevFile, DevKeys, DevNode, DevSet, write_config};
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::output::{line, note};
use crate::outward::Secret;
use crate::policy_files::{Sources, shown};
use crate::signals::StopSignals;

/// More than a development machine needs.
const NODES_MAX: i64 = 9;
/// How long a cluster may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long one question about it may take, tries included.
const ASK_FOR: Duration = Duration::from_millis(500);
/// The rest between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Run a local gate for development; SIGINT, SIGTERM or SIGHUP stops it.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate dev --policies policies --data .qgate/dev\n\n\
    Writes DIR/dev.json with addresses and keys when the gate answers. The nodes prove to each\n\
    other who they are with certificates of an authority in DIR/ca. A node that was killed is\n\
    started again with: qgate serve --config DIR/node-<id>/node.yaml. The gRPC addresses are kept\n\
    for releases to come; nothing listens there yet.")]
pub(crate) struct DevArgs {
    /// Nodes of the cluster, e.g. 3
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=NODES_MAX))]
    nodes: u16,
    /// Where everything lies; the same directory resumes with the same keys, e.g. .qgate/dev
    #[arg(long, value_name = "DIR", default_value = ".qgate/dev")]
    data: PathBuf,
    /// HTTP port of the first node; then come gRPC, peers and metrics, and ten higher the next
    /// node, e.g. 4000
    #[arg(long, value_name = "PORT", default_value_t = 4000)]
    base_port: u16,
    /// Policies to apply at each start if they changed since the last, e.g. policies
    #[arg(long, value_name = "DIR")]
    policies: Option<PathBuf>,
    /// Let anybody on this machine register agents without a key
    #[arg(long)]
    open_registration: bool,
    /// What documents may call ${secret:NAME}, repeatable, e.g. phone_token=env:PHONE_TOKEN
    #[arg(long, value_name = "NAME=env:VARIABLE|file:PATH", value_parser = parse_secret)]
    secret: Vec<(String, String)>,
    /// A host that may get these secrets, repeatable; without it this machine, e.g. phone.example
    #[arg(long, value_name = "HOST", requires = "secret")]
    secret_host: Vec<String>,
}

/// A name and where its value comes from.
fn parse_secret(text: &str) -> Result<(String, String), String> {
    let (name, source) = text.split_once('=').ok_or("write NAME=env:VARIABLE or NAME=file:PATH")?;
    Secret::parse(source, &[])?;
    Ok((name.to_owned(), source.to_owned()))
}

/// Policies that were read and found good before anything was started.
pub(crate) struct Checked {
    sources: Sources,
    compiled: Compiled,
}

/// Runs `qgate dev`.
pub(crate) async fn run(args: DevArgs) -> Outcome {
    let policies = args.policies.as_deref().map(read_policies).transpose()?;
    let ports = Ports::row(args.base_port, args.nodes)?;
    let set = DevSet { open_registration: args.open_registration, secrets: secrets(&args)? };
    let mut stop = StopSignals::new()?;
    let dir = DevDir::take(&args.data)?;
    for ports in &ports {
        ports.check_free().map_err(|failure| dir.blamed(failure))?;
    }
    dir.withdraw()?;

    let mut nodes = Nodes::default();
    let started = tokio::select! {
        started = set_up(&dir, &mut nodes, &ports, &set, policies.as_ref()) => started,
        signal = stop.wait() => {
            note(&format!("{signal}: stopping"));
            nodes.stop().await?;
            return Ok(Exit::Done);
        }
    };
    if let Err(failure) = started.and_then(|file| {
        dir.publish(&file)?;
        line(&banner(&file));
        Ok(())
    }) {
        nodes.stop().await?;
        return Err(failure);
    }
    watch(&mut nodes, &mut stop).await;
    dir.withdraw()?;
    nodes.stop().await?;
    Ok(Exit::Done)
}

/// The secrets of the command line; every host of it may get each of them.
fn secrets(args: &DevArgs) -> Result<BTreeMap<String, Secret>, Failure> {
    let mut hosts = args.secret_host.clone();
    if hosts.is_empty() {
        hosts = ["127.0.0.1", "::1", "localhost"].map(str::to_owned).to_vec();
    }
    let mut secrets = BTreeMap::new();
    for (name, source) in &args.secret {
        let secret = Secret::parse(source, &hosts).map_err(Failure::usage)?;
        if secrets.insert(name.clone(), secret).is_some() {
            return Err(Failure::usage(format!("--secret {name} is given twice")));
        }
    }
    Ok(secrets)
}

/// Reads the policies of a directory and shows their warnings.
///
/// # Errors
/// Policies that cannot be read or used.
pub(crate) fn read_policies(directory: &std::path::Path) -> Result<Checked, Failure> {
    let sources = Sources::of_directory(directory)?;
    let compiled = checked(&sources)?;
    compiled.warnings.iter().for_each(|warning| note(&format!("warning: {}", shown(warning))));
    Ok(Checked { sources, compiled })
}

/// The child processes, in the order in which they were started.
#[derive(Default)]
pub(crate) struct Nodes(Vec<Child>);

impl Nodes {
    /// Starts a node; it may not answer yet.
    fn start(
        &mut self,
        dir: &DevDir,
        cluster: &DevCluster,
        (id, ports): (u64, Ports),
        set: &DevSet,
        ask: BTreeMap<u64, String>,
    ) -> Result<DevNode, Failure> {
        let home = dir.node_dir(id);
        files::make_private_dir(&home).map_err(|error| Failure::refused(error.to_string()))?;
        let tls = cluster.certify(id, &home)?;
        let join = if ask.is_empty() { None } else { Some(cluster.invite(&home, ask)?) };
        let common = Common { tls, join, data_key_file: cluster.key_file() };
        let (data, file) = (home.join("data"), home.join("node.yaml"));
        write_config(&file, &ports.config(id, data.clone(), set, common))?;
        let child = Child::start(id, &file, &home.join("node.log"))?;
        let node = ports.node(id, child.pid(), data, file);
        self.0.push(child);
        Ok(node)
    }

    /// Fails if one has ended already.
    ///
    /// # Errors
    /// Exactly then, with the end of its log.
    pub(crate) fn check_run(&mut self) -> Result<(), Failure> {
        self.0.iter_mut().try_for_each(Child::check_runs)
    }

    /// Kills a node, as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// If there is none, or the operating system refuses.
    pub(crate) async fn kill(&mut self, id: u64) -> Result<(), Failure> {
        let place = self.0.iter().position(|child| child.id() == id);
        let place = place.ok_or_else(|| Failure::refused(format!("there is no node {id}")))?;
        self.0.remove(place).kill().await
    }

    /// Waits until one ends by itself, and says how; for ever when none is left.
    async fn one_ended(&mut self) -> String {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.0.iter_mut().map(|child| Box::pin(child.ended()));
        let (ended, place, _) = futures::future::select_all(ends).await;
        self.0.remove(place);
        ended
    }

    /// Stops all, the last one first.
    ///
    /// # Errors
    /// The first that the operating system refuses; the others are stopped all the same.
    pub(crate) async fn stop(&mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        while let Some(mut child) = self.0.pop() {
            let stopped = child.stop().await;
            result = result.and(stopped);
        }
        result
    }
}

/// Starts the nodes, waits until they answer, and gives the cluster its keys and policies.
///
/// # Errors
/// A node that ends or does not answer in time, and what it refuses.
pub(crate) async fn set_up(
    dir: &DevDir,
    nodes: &mut Nodes,
    ports: &[Ports],
    set: &DevSet,
    policies: Option<&Checked>,
) -> Result<DevFile, Failure> {
    let cluster = DevCluster::open(dir.path())?;
    let mut started: Vec<DevNode> = Vec::new();
    let mut ask = BTreeMap::new();
    // All at once: nodes that were a cluster before need each other to be one again.
    for (id, ports) in (1..).zip(ports) {
        started.push(nodes.start(dir, &cluster, (id, *ports), set, ask.clone())?);
        ask.insert(id, ports.peer());
    }
    let mut endpoints = Vec::new();
    for node in &started {
        let endpoint: Endpoint = node.http.parse().map_err(Error::from)?;
        wait_until_ready(&endpoint, nodes).await?;
        endpoints.push(endpoint);
    }
    let first = &endpoints[0];
    let keys = match dir.keys()? {
        Some(keys) => {
            dev_keys::check(first, &keys).await?;
            keys
        }
        None => {
            let keys = dev_keys::make(first, &dir.node_dir(1).join("admin.key")).await?;
            dir.keep_keys(&keys)?;
            keys
        }
    };
    wait_until_all_vote(first, &keys.admin_key, nodes).await?;
    if let Some(Checked { sources, compiled }) = policies
        && dir.must_apply(&sources.directory, &compiled.set.digest)?
    {
        let admin = Settings::new(vec![first.clone()]).with_key(&keys.admin_key);
        apply_set(&Client::new(admin)?, sources, None).await?;
        dir.keep_applied(&sources.directory, &compiled.set.digest)?;
    }
    for endpoint in &endpoints {
        wait_until_ready(endpoint, nodes).await?;
    }
    Ok(DevFile { nodes: started, keys })
}

async fn wait_until_ready(endpoint: &Endpoint, nodes: &mut Nodes) -> Result<(), Failure> {
    let mut settings = Settings::new(vec![endpoint.clone()]);
    settings.deadline = ASK_FOR;
    let client = Client::new(settings)?;
    let ends = Instant::now() + START_WITHIN;
    loop {
        nodes.check_run()?;
        let last = match client.send(Request::get(&["readyz"]).anonymous()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() >= ends {
            let seconds = START_WITHIN.as_secs();
            let what = format!("{endpoint} is not ready after {seconds} s: {last}");
            return Err(Failure::refused(what).next("its log lies beside its data, in node.log"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Waits until every node has what the others have, and votes.
async fn wait_until_all_vote(
    endpoint: &Endpoint,
    admin_key: &str,
    nodes: &mut Nodes,
) -> Result<(), Failure> {
    let client = Client::new(Settings::new(vec![endpoint.clone()]).with_key(admin_key))?;
    let ends = Instant::now() + START_WITHIN;
    let all = nodes.0.len();
    loop {
        nodes.check_run()?;
        let status = client.get(&["v1", "cluster"]).await?;
        let members = status.body["nodes"].as_array().map_or(&[][..], Vec::as_slice);
        let voters = members.iter().filter(|node| node["role"] == "voter").count();
        if voters == all && status.body["changing"] == false {
            return Ok(());
        }
        if members.len() > all {
            let what = format!("the cluster of this directory has {} nodes", members.len());
            return Err(Failure::usage(what).next(format!("say --nodes {}", members.len())));
        }
        if Instant::now() >= ends {
            let what = format!("{voters} of {all} nodes vote after {} s", START_WITHIN.as_secs());
            return Err(Failure::refused(what).next("their logs lie beside their data"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Waits for the signal to stop; says so when the child ends before, and goes on.
async fn watch(nodes: &mut Nodes, stop: &mut StopSignals) {
    let signal = loop {
        tokio::select! {
            signal = stop.wait() => break signal,
            ended = nodes.one_ended() => note(&ended),
        }
    };
    note(&format!("{signal}: stopping"));
}

/// What a person needs to begin.
fn banner(file: &DevFile) -> String {
    let DevKeys { admin_key, reviewer_keys, agent_key, auditor_key } = &file.keys;
    let [one, two, three] = reviewer_keys;
    let http = file.nodes.first().map_or("", |node| node.http.as_str());
    let intent = concat!(
        r#"{"resource":"crm.contacts","trigger":"write","recordCount":847,"#,
        r#""payload":{"records":[{"id":"c-1","set":{"phone":""}}]}}"#
    );
    let all: Vec<&str> = file.nodes.iter().map(|node| node.http.as_str()).collect();
    let all = all.join(" ");
    format!(
        "\
The gate answers at {all} - Ctrl-C stops it

Development keys, for this machine only:
  admin      {admin_key}
  reviewers  {one}
             {two}
             {three}
  agent      {agent_key}
  auditor    {auditor_key}

Submit an intent; it is held for a person:
  ID=$(curl -s {http}/v1/intents -H 'Authorization: Bearer {agent_key}' \\
    -H 'Content-Type: application/json' -d '{intent}' \\
    | tee /dev/stderr | sed 's/.*\"intentId\":\"\\([^\"]*\\)\".*/\\1/')

Approve it:
  curl -s -X POST {http}/v1/intents/$ID/approve -H 'Authorization: Bearer {one}'"
    )
}
