//! The command line: what can be said, with an example for each command and each value.
//!
//! Invariant: every command shows an example and every value says what it looks like; a test walks
//! through all of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use client::{Client, Endpoint, Settings};

use crate::commands::{
    agent, audit, bench, channel, cluster, demo, destination, dev, freeze, health, inspect, intent,
    namespace, policy, serve,
};
use crate::failure::Failure;
use crate::output::{Format, Output};

/// Where `qgate dev` answers.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:4000";

/// Quorum Gate: stands between "the agent decides to write" and "the write happens".
#[derive(Debug, Parser)]
#[command(
    name = "qgate",
    version,
    propagate_version = true,
    after_help = "Examples:\n  \
        qgate demo                          three incidents, told and checked\n  \
        qgate dev --policies policies       a local gate with your policies\n  \
        qgate policy lint policies          check policies, offline\n  \
        qgate intent list --status pending_approval\n\n\
        Exit codes: 0 done whatever the decision, 1 refused or lint failed, 2 usage,\n\
        3 unreachable, 4 no quorum; with --exit-decision 10 held, 11 blocked, 12 duplicate."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Nodes to ask, the first that answers serves, e.g. http://10.0.0.1:4000,http://10.0.0.2:4000
    #[arg(
        long, global = true, env = "QGATE_ENDPOINT", value_name = "URL,...",
        default_value = ENDPOINT_DEFAULT
    )]
    endpoint: String,
    /// API key, e.g. gate_sk_... ; better in the environment, where other users do not see it
    #[arg(long, global = true, env = "QGATE_API_KEY", value_name = "KEY", hide_env_values = true)]
    key: Option<String>,
    /// How results are printed, e.g. json
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    output: Format,
}

impl Global {
    /// How to print.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.output)
    }

    /// A client of the named endpoints.
    ///
    /// # Errors
    /// Endpoints or a key that make no sense.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        self.client_of(self.endpoints()?)
    }

    /// The named endpoints, in order.
    ///
    /// # Errors
    /// Endpoints that make no sense.
    pub(crate) fn endpoints(&self) -> Result<Vec<Endpoint>, Failure> {
        Ok(Endpoint::list(&self.endpoint).map_err(client::Error::from)?)
    }

    /// A client with the named key that asks these endpoints.
    ///
    /// # Errors
    /// A key that makes no sense.
    pub(crate) fn client_of(&self, endpoints: Vec<Endpoint>) -> Result<Client, Failure> {
        Ok(Client::new(self.settings(endpoints))?)
    }

    /// A client of which no request takes longer than so.
    ///
    /// # Errors
    /// As [`Global::client`].
    pub(crate) fn client_within(&self, deadline: Duration) -> Result<Client, Failure> {
        Ok(Client::new(Settings { deadline, ..self.settings(self.endpoints()?) })?)
    }

    fn settings(&self, endpoints: Vec<Endpoint>) -> Settings {
        let mut settings = Settings::new(endpoints);
        settings.key = self.key.clone().filter(|key| !key.is_empty());
        settings
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Dev(dev::DevArgs),
    Demo(demo::DemoArgs),
    Serve(serve::ServeArgs),
    Health(health::HealthArgs),
    /// Check, apply, read and try policies.
    #[command(
        subcommand,
        after_help = "Example: qgate policy lint policies && qgate policy apply policies"
    )]
    Policy(policy::PolicyCommand),
    /// Say how allowed intents are carried out, target by target.
    #[command(
        subcommand,
        after_help = "Example: qgate destination put leads.outbound_call phone.yaml"
    )]
    Destination(destination::DestinationCommand),
    /// Say whom the gate tells what happens to intents.
    #[command(subcommand, after_help = "Example: qgate channel put ops ops.yaml")]
    Channel(channel::ChannelCommand),
    /// Submit, read and decide intents.
    #[command(subcommand, after_help = "Example: qgate intent list --status pending_approval")]
    Intent(intent::IntentCommand),
    /// Register and administer agents, workers and people.
    #[command(subcommand, after_help = "Example: qgate agent register crm-bot --owner team-a")]
    Agent(agent::AgentCommand),
    /// Make and list namespaces.
    #[command(subcommand, after_help = "Example: qgate namespace create sales")]
    Namespace(namespace::NamespaceCommand),
    /// Read the audit trail.
    #[command(subcommand, after_help = "Example: qgate audit show int_2c2846cac3071a90")]
    Audit(audit::AuditCommand),
    /// Look at the cluster; add, promote, demote and remove nodes.
    #[command(
        subcommand,
        after_help = "Example: qgate cluster token > join.token && qgate cluster status"
    )]
    Cluster(cluster::ClusterCommand),
    Freeze(freeze::FreezeArgs),
    Unfreeze(freeze::UnfreezeArgs),
    Bench(bench::BenchArgs),
    Inspect(inspect::InspectArgs),
}

/// An intent by its id.
#[derive(Debug, Args)]
pub(crate) struct IntentRef {
    /// Id of the intent, e.g. int_2c2846cac3071a90
    #[arg(value_name = "INTENT", value_parser = intent_id)]
    pub(crate) id: String,
}

/// A principal by its id.
#[derive(Debug, Args)]
pub(crate) struct AgentRef {
    /// Id of the agent or person, e.g. agt_45c0f6b0910eccd2
    #[arg(value_name = "AGENT", value_parser = agent_id)]
    pub(crate) id: String,
}

/// A directory of policies.
#[derive(Debug, Args)]
pub(crate) struct PolicyDirectory {
    /// Directory of policies: its *.yaml and *.yml without *.test.yaml, e.g. policies
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

fn intent_id(text: &str) -> Result<String, String> {
    text.parse::<types::IntentId>().map(|id| id.to_string()).map_err(|error| error.to_string())
}

fn agent_id(text: &str) -> Result<String, String> {
    text.parse::<types::AgentId>().map(|id| id.to_string()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example_and_every_value_says_what_it_looks_like() {
        fn walk(command: &clap::Command, path: &str, faults: &mut Vec<String>) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if !help.contains("Example") {
                faults.push(format!("{path}: no example"));
            }
            for argument in command.get_arguments() {
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let takes_value = argument.get_num_args().is_none_or(|range| range.takes_values());
                if help.is_empty() || (takes_value && !help.contains("e.g. ")) {
                    faults.push(format!("{path} {}: {help:?}", argument.get_id()));
                }
            }
            for sub in command.get_subcommands() {
                walk(sub, &format!("{path} {}", sub.get_name()), faults);
            }
        }
        let mut command = Cli::command();
        command = command.disable_help_subcommand(true);
        command.build();
        let mut faults = Vec::new();
        walk(&command, "qgate", &mut faults);
        faults.retain(|fault| !fault.ends_with(" help: \"Print help\""));
        faults.retain(|fault| !fault.contains(" version: \"Print version\""));
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn lines_that_make_no_sense_are_usage_errors() {
        let cases = [
            "qgate",
            "qgate intent show",
            "qgate intent show 17",
            "qgate agent show int_2c2846cac3071a90",
            "qgate --output xml cluster status",
            "qgate health --wait long",
            "qgate cluster promote",
            "qgate cluster remove 0",
            "qgate cluster transfer-leader eu",
            "qgate cluster token --valid soon",
            "qgate cluster certificates --dir ca --cluster-id x",
            "qgate cluster certificates --dir ca --cluster-id x --nodes 0",
            "qgate cluster certificates --dir ca --cluster-id x --nodes 1;2",
            "qgate intent show int_2c2846cac3071a90 --wait soon",
            "qgate agent register x --role king",
            "qgate intent submit x.json --idempotency-key é",
            "qgate intent submit x.json --batch y.ndjson",
            "qgate intent submit --batch y.ndjson --policy p",
            "qgate destination put crm.contacts",
            "qgate channel delete ops --if-version soon",
            "qgate bench --intent x.json --vary /a --rate 0",
            "qgate bench --intent x.json --vary /a --rate 10 --closed",
            "qgate bench --intent x.json --vary /a --rate 10 --duplicates",
            "qgate bench --intent x.json --vary /a --rate 10 --connections 4097",
            "qgate bench --intent x.json --vary /a --rate 10 --metrics localhost:4003",
            "qgate bench --intent x.json --vary /a",
            "qgate bench --vary /a --rate 10",
        ];
        for case in cases {
            let error = Cli::try_parse_from(case.split(' ')).expect_err(case);
            assert_eq!(error.exit_code(), 2, "{case}");
        }
    }
}
