//! The peer: PostgreSQL with its defaults and every sync on, one transaction per submit.
//!
//! A function records the idempotency key, the intent and an audit row, which is what a team would
//! build first instead of a gate. It judges nothing and proves nothing, so it has the lighter work.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio_postgres::{Client, NoTls, Statement};

use crate::callers::{lead_id, payload};
use crate::load::{Caller, Numbers};
use crate::process::Owned;

const START_WITHIN: Duration = Duration::from_secs(30);
/// Where distributions put the programs that are not on the path.
const PROGRAMS: &str = "/usr/lib/postgresql";

const SCHEMA: &str = "
create table idempotency (
    key text primary key, intent bigint not null, at timestamptz not null default now());
create sequence intent_id;
create table intent (
    id bigint primary key, resource text not null, trigger text not null, payload text not null,
    status text not null, at timestamptz not null default now());
create table audit (
    id bigint generated always as identity primary key, intent bigint not null,
    event text not null, at timestamptz not null default now());
create function submit(its_key text, its_payload text) returns bigint language plpgsql as $$
declare its_id bigint := nextval('intent_id');
begin
    insert into idempotency (key, intent) values (its_key, its_id) on conflict (key) do nothing;
    if not found then
        return null;
    end if;
    insert into intent (id, resource, trigger, payload, status)
        values (its_id, 'leads.outbound_call', 'webhook', its_payload, 'approved');
    insert into audit (intent, event) values (its_id, 'submitted');
    return its_id;
end $$;
";

/// Programs and the user they run as: PostgreSQL refuses to run as root.
pub(crate) struct Installed {
    programs: PathBuf,
    user: Option<User>,
}

#[derive(Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

impl Installed {
    /// Finds it.
    ///
    /// # Errors
    /// Why it cannot be measured here, in words.
    pub(crate) fn find() -> Result<Self> {
        let has_both =
            |folder: &PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).exists());
        let path = std::env::var_os("PATH").unwrap_or_default();
        let listed = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> = listed.map(|entry| entry.path().join("bin")).collect();
        versions.sort();
        let programs = versions.into_iter().rev().chain(std::env::split_paths(&path));
        let programs = programs.into_iter().find(has_both);
        let programs = programs.context("`initdb` and `postgres` are not installed")?;
        if !rustix::process::getuid().is_root() {
            return Ok(Self { programs, user: None });
        }
        let user = user("postgres").or_else(|| user("nobody"));
        let user = user.context("it does not run as root, and there is no user for it")?;
        Ok(Self { programs, user: Some(user) })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some(User { uid, gid }) = self.user {
            command.uid(uid).gid(gid);
        }
        // Its own group: Ctrl-C reaches this process only, which stops it in order.
        command.process_group(0).current_dir("/").stdin(Stdio::null());
        command
    }
}

/// A user of this machine by name.
fn user(name: &str) -> Option<User> {
    let table = fs::read_to_string("/etc/passwd").ok()?;
    let row = table.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = row.split(':').skip(2);
    let mut number = || fields.next()?.parse().ok();
    Some(User { uid: number()?, gid: number()? })
}

/// A running server.
pub(crate) struct Postgres {
    process: Owned,
    port: u16,
    /// Its version and the settings that make it durable.
    pub(crate) shown: String,
}

impl Postgres {
    /// Makes a new database and starts it.
    pub(crate) async fn start(installed: &Installed, home: &Path) -> Result<Self> {
        let data = home.join("postgres");
        fs::create_dir(&data)?;
        if let Some(User { uid, gid }) = installed.user {
            open_the_way(&data)?;
            chown(&data, Some(uid), Some(gid))?;
        }
        let log_file = home.join("postgres.log");
        let log = File::create(&log_file)?;
        let made = installed
            .command("initdb")
            .args(["--username=bench", "--auth=trust", "--encoding=UTF8", "--no-locale"])
            .arg("--pgdata")
            .arg(&data)
            .stdout(log.try_clone()?)
            .stderr(log.try_clone()?)
            .status()?;
        let story = || fs::read_to_string(&log_file).unwrap_or_default();
        ensure!(made.success(), "initdb failed: {}", story());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = installed.command("postgres");
        command.arg("-D").arg(&data).args(["-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "unix_socket_directories="]).args(["-c", &format!("port={port}")]);
        command.args(["-c", "fsync=on", "-c", "synchronous_commit=on"]);
        command.stdout(log.try_clone()?).stderr(log);
        // SIGINT is its fast shutdown.
        let process = Owned::start("postgres", &mut command, Signal::INT)?;
        let mut server = Self { process, port, shown: String::new() };
        let client = server.first_answer().await.with_context(story)?;
        client.batch_execute(SCHEMA).await?;
        server.shown = settings(&client).await?;
        Ok(server)
    }

    /// The process that all others of the server come from.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Connections with the call prepared.
    pub(crate) async fn connections(&self, count: u16) -> Result<Vec<PostgresConnection>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            let client = self.connect().await?;
            let call = client.prepare("select submit($1, $2)").await?;
            connections.push(PostgresConnection { client, call });
        }
        Ok(connections)
    }

    /// It accepts a new key and refuses the same one again.
    pub(crate) async fn prove(&self, numbers: &Numbers) -> Result<()> {
        let mut connections = self.connections(1).await?;
        let connection = connections.first_mut().context("one connection")?;
        let number = numbers.next();
        connection.call(number).await?;
        ensure!(connection.call(number).await.is_err(), "a duplicate was not refused");
        Ok(())
    }

    async fn connect(&self) -> Result<Client> {
        let port = self.port;
        let address = format!("host=127.0.0.1 port={port} user=bench dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&address, NoTls).await?;
        // Ends when the client is dropped; what goes wrong there fails the client's calls.
        tokio::spawn(connection);
        Ok(client)
    }

    async fn first_answer(&mut self) -> Result<Client> {
        let limit = Instant::now() + START_WITHIN;
        loop {
            self.process.check_runs()?;
            match self.connect().await {
                Ok(client) => return Ok(client),
                Err(error) if Instant::now() >= limit => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

/// Lets another user reach the directory, where that means only a folder that we made.
fn open_the_way(data: &Path) -> Result<()> {
    let home = data.parent().context("a directory below the home")?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o711))?;
    for folder in home.ancestors() {
        if fs::metadata(folder)?.mode() & 0o001 == 0 {
            let folder = folder.display();
            bail!("{folder} is closed to the user it runs as; choose another directory with --dir");
        }
    }
    Ok(())
}

async fn settings(client: &Client) -> Result<String> {
    let mut shown = Vec::new();
    for name in ["server_version", "fsync", "synchronous_commit", "wal_sync_method"] {
        let row = client.query_one(&format!("show {name}"), &[]).await?;
        shown.push(format!("{name} {}", row.try_get::<_, String>(0)?));
    }
    Ok(shown.join(", "))
}

/// One session of the server.
pub(crate) struct PostgresConnection {
    client: Client,
    call: Statement,
}

impl Caller for PostgresConnection {
    async fn call(&mut self, number: u64) -> Result<()> {
        let key = lead_id(number);
        let payload = payload(&key);
        let row = self.client.query_one(&self.call, &[&key, &payload]).await?;
        let id: Option<i64> = row.try_get(0)?;
        id.map(|_| ()).context("a duplicate")
    }
}
