//! `qgate demo`: the three incidents, told on a real gate with real targets, and checked.
//!
//! The gate is a child process as that of `qgate dev`; the targets are servers of this process.
//! Invariant: everything that is started here has ended when this ends, and the directory is gone
//! unless somebody asked to keep it.

use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::TempDir;

use crate::commands::dev::{Nodes, read_policies, set_up};
use crate::demo::cast::Cast;
use crate::demo::report::Report;
use crate::demo::story::Story;
use crate::demo::targets::Targets;
use crate::demo::{contrast, fixtures, trail};
use crate::dev_ports::{Ports, Taken};
use crate::dev_state::{DevDir, DevSet};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::signals::StopSignals;

/// Nodes of the gate.
const NODES: u16 = 3;

/// Tell three incidents on a real local gate, and check that it stops each.
///
/// Starts a gate of three nodes and, as its targets, a CRM, a phone line, a mail server and a chat,
/// all on this machine. Agents then submit a bulk overwrite of 847 records, the same phone call
/// twice (and between the two the node that leads is killed), and a batch of mails with a broken
/// template. Each number is counted at the targets or answered by the gate. Exits with 0 only if
/// every check holds, else with 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate demo\n  \
    qgate demo --keep demo-data         look at the data afterwards\n  \
    qgate demo --output json            the checks on stdout, the story on stderr")]
pub(crate) struct DemoArgs {
    /// Keep the gate's data in this new or empty directory, e.g. demo-data
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// HTTP port of the gate instead of a free one; the other ports follow, e.g. 4000
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
}

/// Runs `qgate demo`.
pub(crate) async fn run(output: Output, args: DemoArgs) -> Outcome {
    let mut stop = StopSignals::new()?;
    let home = Home::of(args.keep.as_deref())?;
    let taken = match args.base_port {
        Some(base) => Taken::named(base, NODES)?,
        None => Taken::free(NODES)?,
    };
    let mut report = Report::new(output);
    let played = play(&home, &taken.nodes, &mut report, &mut stop).await;
    if played.is_ok() {
        report.finish();
    }
    report.close();
    if let (Some(keep), false) = (&args.keep, output.is_json()) {
        let (data, policies) = (keep.display(), home.policies());
        let policies = policies.display();
        output.say(&format!("See its data: qgate dev --data {data} --policies {policies}"));
    }
    played.map_err(|failure| Failure { exit: Exit::Refused, ..failure })?;
    Ok(if report.passes() { Exit::Done } else { Exit::Refused })
}

/// Starts everything, tells the story, stops the gate whatever came of it, and looks once more.
async fn play(
    home: &Home,
    ports: &[Ports],
    report: &mut Report,
    stop: &mut StopSignals,
) -> Result<(), Failure> {
    let dir = DevDir::take(&home.path)?;
    fixtures::write_policies(&home.policies())?;
    let targets = Targets::start().await?;
    report.scene("0  The stage");
    report.say(&format!("CRM         {}", targets.crm.url("")));
    report.say(&format!("phone line  {}", targets.phone.url("")));
    report.say(&format!("mail        {}", targets.mail.url("")));
    report.say(&format!("chat        {}", targets.chat.url("")));
    let mut nodes = Nodes::default();
    let told = tokio::select! {
        told = tell(home, &dir, &mut nodes, ports, &targets, report) => told,
        signal = stop.wait() => {
            Err(Failure::refused(format!("{signal}: the demo was stopped before its end")))
        }
    };
    // A gate that ended by itself says more than requests that nobody answered.
    let runs = nodes.check_run();
    nodes.stop().await?;
    let cast = told.map_err(|failure| runs.err().unwrap_or(failure))?;
    Story { cast: &cast, targets: &targets, report, told: Vec::new() }.last_look();
    Ok(())
}

async fn tell(
    home: &Home,
    dir: &DevDir,
    nodes: &mut Nodes,
    ports: &[Ports],
    targets: &Targets,
    report: &mut Report,
) -> Result<Cast, Failure> {
    report.waiting("for the gate to answer, a cluster of three nodes");
    let policies = read_policies(&home.policies())?;
    let file = set_up(dir, nodes, ports, &DevSet::default(), Some(&policies)).await?;
    for node in &file.nodes {
        report.say(&format!("gate        {}, node {}", node.http, node.id));
    }
    let cast = Cast::of(&file).await?;
    cast.set_stage(targets).await?;
    report.say("It has the policies of the incidents, three destinations and one channel.");
    let mut story = Story { cast: &cast, targets, report, told: Vec::new() };
    story.bulk_overwrite().await?;
    story.duplicate_call(nodes).await?;
    story.broken_template().await?;
    let told = story.told;
    contrast::tell(report).await?;
    trail::tell(&cast, &told, report).await?;
    Ok(cast)
}

/// Where the gate's data lies: a directory that goes away with this, or the caller's.
struct Home {
    path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Home {
    fn of(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let made = tempfile::Builder::new().prefix("qgate-demo-").tempdir();
            let temporary = made.map_err(|error| {
                Failure::refused(format!("no temporary directory: {error}"))
                    .next("name a directory with --keep")
            })?;
            return Ok(Self { path: temporary.path().to_owned(), _temporary: Some(temporary) });
        };
        if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            let what = format!("--keep {}: the directory is not empty", path.display());
            return Err(Failure::usage(what).next("name one that is empty or does not exist yet"));
        }
        Ok(Self { path: path.to_owned(), _temporary: None })
    }

    fn policies(&self) -> PathBuf {
        self.path.join("policies")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_empty_directory_is_kept_in() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Home::of(Some(dir.path())).is_ok());
        assert!(Home::of(Some(&dir.path().join("new"))).is_ok());
        std::fs::write(dir.path().join("file"), "").unwrap();
        let failure = Home::of(Some(dir.path())).err().unwrap();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        let path = Home::of(None).unwrap().path;
        assert!(!path.exists(), "a temporary directory goes away with its home");
    }
}
