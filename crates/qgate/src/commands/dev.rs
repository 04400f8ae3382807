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
use crate::dev_keys;
use crate::dev_state::{DevDir, DevFile, DevKeys, DevNode, Ports, write_config};
use crate::failure::{Exit, Failure, Outcome};
use crate::files;
use crate::output::{line, note};
use crate::outward::Secret;
use crate::policy_files::{Sources, shown};
use crate::signals::StopSignals;

/// How long a cluster may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How long one question about it may take, tries included.
const ASK_FOR: Duration = Duration::from_millis(500);
/// The rest between two questions.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Run a local gate for development; SIGINT, SIGTERM or SIGHUP stops it.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate dev --policies policies --data .qgate/dev\n\n\
    Writes DIR/dev.json with addresses and keys when the gate answers. Its gRPC and peer\n\
    addresses are kept for releases to come; nothing listens there yet.")]
pub(crate) struct DevArgs {
    /// Nodes of the cluster, e.g. 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: u16,
    /// Where everything lies; the same directory resumes with the same keys, e.g. .qgate/dev
    #[arg(long, value_name = "DIR", default_value = ".qgate/dev")]
    data: PathBuf,
    /// HTTP port of the first node; the next two are kept for gRPC and peers to come, then metrics,
    /// e.g. 4000
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
    if args.nodes != 1 {
        return Err(Failure::usage(format!("--nodes {}: this release runs one node", args.nodes))
            .next("leave --nodes out; more than one node comes with the next release"));
    }
    let policies = args.policies.as_deref().map(read_policies).transpose()?;
    let ports = Ports::of(args.base_port, 0)?;
    let secrets = secrets(&args)?;
    let mut stop = StopSignals::new()?;
    let dir = DevDir::take(&args.data)?;
    ports.check_free().map_err(|failure| dir.blamed(failure))?;
    dir.withdraw()?;

    let (mut child, node) = start_node(&dir, ports, args.open_registration, secrets)?;
    let started = tokio::select! {
        started = set_up(&dir, &mut child, node, policies.as_ref()) => started,
        signal = stop.wait() => {
            note(&format!("{signal}: stopping"));
            child.stop().await?;
            return Ok(Exit::Done);
        }
    };
    if let Err(failure) = started.and_then(|file| {
        dir.publish(&file)?;
        line(&banner(&file));
        Ok(())
    }) {
        child.stop().await?;
        return Err(failure);
    }
    watch(&mut child, &mut stop).await;
    dir.withdraw()?;
    child.stop().await?;
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

/// Starts the one node of a directory; it may not answer yet.
///
/// # Errors
/// Whatever the operating system says.
pub(crate) fn start_node(
    dir: &DevDir,
    ports: Ports,
    open: bool,
    secrets: BTreeMap<String, Secret>,
) -> Result<(Child, DevNode), Failure> {
    let id = 1;
    let home = dir.node_dir(id);
    files::make_private_dir(&home).map_err(|error| Failure::refused(error.to_string()))?;
    let (data, file) = (home.join("data"), home.join("node.yaml"));
    write_config(&file, &ports.config(id, data.clone(), open, secrets))?;
    let child = Child::start(id, &file, &home.join("node.log"))?;
    let node = ports.node(id, child.pid(), data, file);
    Ok((child, node))
}

/// Waits until the node answers, and gives it its keys and policies.
///
/// # Errors
/// A node that ends or does not answer in time, and what it refuses.
pub(crate) async fn set_up(
    dir: &DevDir,
    child: &mut Child,
    node: DevNode,
    policies: Option<&Checked>,
) -> Result<DevFile, Failure> {
    let endpoint: Endpoint = node.http.parse().map_err(Error::from)?;
    wait_until_ready(&endpoint, child).await?;
    let keys = match dir.keys()? {
        Some(keys) => {
            dev_keys::check(&endpoint, &keys).await?;
            keys
        }
        None => {
            let keys = dev_keys::make(&endpoint, &dir.node_dir(1).join("admin.key")).await?;
            dir.keep_keys(&keys)?;
            keys
        }
    };
    if let Some(Checked { sources, compiled }) = policies
        && dir.must_apply(&sources.directory, &compiled.set.digest)?
    {
        let admin = Settings::new(vec![endpoint.clone()]).with_key(&keys.admin_key);
        apply_set(&Client::new(admin)?, sources, None).await?;
        dir.keep_applied(&sources.directory, &compiled.set.digest)?;
    }
    wait_until_ready(&endpoint, child).await?;
    Ok(DevFile { nodes: vec![node], keys })
}

async fn wait_until_ready(endpoint: &Endpoint, child: &mut Child) -> Result<(), Failure> {
    let mut settings = Settings::new(vec![endpoint.clone()]);
    settings.deadline = ASK_FOR;
    let client = Client::new(settings)?;
    let ends = Instant::now() + START_WITHIN;
    loop {
        child.check_runs()?;
        let last = match client.send(Request::get(&["readyz"]).anonymous()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if Instant::now() >= ends {
            let seconds = START_WITHIN.as_secs();
            let what = format!("{endpoint} is not ready after {seconds} s: {last}");
            return Err(Failure::refused(what).next(child.where_to_look()));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Waits for the signal to stop; says so when the child ends before, and goes on.
async fn watch(child: &mut Child, stop: &mut StopSignals) {
    let signal = tokio::select! {
        signal = stop.wait() => signal,
        ended = child.ended() => {
            note(&ended);
            stop.wait().await
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
    format!(
        "\
The gate answers at {http} - Ctrl-C stops it

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
