//! `qgate agent …`: principals, their roles and their keys.

use clap::{Args, Subcommand};
use client::{Request, Shape};
use serde_json::{Map, Value, json};
use types::Role;

use crate::cli::{AgentRef, Global};
use crate::failure::{Exit, Outcome};
use crate::output::{Column, note};

const SHOWN_ONCE: &str = "this key is shown once; keep it now";

const LIST: &[Column] = &[
    ("id", &["id", "agent_id"]),
    ("name", &["name"]),
    ("role", &["role"]),
    ("status", &["status"]),
    ("owner", &["owner"]),
    ("created", &["created_at"]),
];

const ONE: &[Column] = &[
    ("id", &["id", "agent_id"]),
    ("name", &["name"]),
    ("role", &["role"]),
    ("status", &["status"]),
    ("owner", &["owner"]),
    ("framework", &["framework"]),
    ("risk tier", &["risk_tier"]),
    ("policies", &["allowed_policies"]),
    ("destinations", &["allowed_destinations"]),
    ("metadata", &["metadata"]),
    ("created", &["created_at"]),
    ("keys", &["keys"]),
    ("key id", &["key_id"]),
    ("key", &["apiKey"]),
    ("older keys go on for seconds", &["overlap_seconds"]),
];

/// Principals.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    Register(RegisterArgs),
    List(ListArgs),
    /// Show one principal.
    #[command(after_help = "Example: qgate agent show agt_45c0f6b0910eccd2")]
    Show(AgentRef),
    /// Stop a principal for now.
    #[command(after_help = "Example: qgate agent suspend agt_45c0f6b0910eccd2")]
    Suspend(AgentRef),
    /// Let a suspended principal act again.
    #[command(after_help = "Example: qgate agent resume agt_45c0f6b0910eccd2")]
    Resume(AgentRef),
    /// Stop a principal for ever.
    #[command(after_help = "Example: qgate agent revoke agt_45c0f6b0910eccd2")]
    Revoke(AgentRef),
    Role(RoleArgs),
    RotateKey(RotateArgs),
}

/// List the principals of the namespace.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate agent list --output json")]
pub(crate) struct ListArgs {
    /// Rows of a page, e.g. 20
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Go on after this one, e.g. agt_45c0f6b0910eccd2
    #[arg(long, value_name = "AGENT")]
    after: Option<String>,
}

/// Register an agent, a worker or a person; the key is shown once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    qgate agent register crm-bot --owner team-a --allow-destination 'crm.*'\n  \
    qgate agent register Ada --role reviewer")]
pub(crate) struct RegisterArgs {
    /// Its name, e.g. crm-bot
    name: String,
    /// Who answers for it and never approves what it asks for, e.g. team-a
    #[arg(long)]
    owner: Option<String>,
    /// What it runs on, e.g. langgraph
    #[arg(long)]
    framework: Option<String>,
    /// How risky it is, in your own words, e.g. high
    #[arg(long, value_name = "WORD")]
    risk_tier: Option<String>,
    /// Policy that it may name; may be given again; none means all, e.g. crm-basic
    #[arg(long = "allow-policy", value_name = "ID")]
    policies: Vec<String>,
    /// Destination that it may write to; may be given again; none means all, e.g. crm.import
    #[arg(long = "allow-destination", value_name = "NAME")]
    destinations: Vec<String>,
    /// Its role, e.g. reviewer (agent, worker, reviewer, auditor, operator, admin)
    #[arg(long, default_value = "agent", value_parser = role)]
    role: Role,
}

/// Give a principal another role.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate agent role agt_45c0f6b0910eccd2 reviewer")]
pub(crate) struct RoleArgs {
    #[command(flatten)]
    agent: AgentRef,
    /// The new role, e.g. reviewer (agent, worker, reviewer, auditor, operator, admin)
    #[arg(value_parser = role)]
    role: Role,
}

/// Give a principal a new key, shown once; older keys go on for a while.
#[derive(Debug, Args)]
#[command(after_help = "Example: qgate agent rotate-key agt_45c0f6b0910eccd2 --overlap 1h")]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    agent: AgentRef,
    /// How long older keys go on, e.g. 1h, or 0s to end them now
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    overlap: u64,
}

/// Runs `qgate agent …`.
pub(crate) async fn run(global: &Global, command: AgentCommand) -> Outcome {
    let (client, output) = (global.client()?, global.output());
    let answer = match command {
        AgentCommand::List(args) => return list(global, args).await,
        AgentCommand::Register(args) => return register(global, args).await,
        AgentCommand::Show(agent) => {
            let request = Request::get(&["v1", "agents", &agent.id]);
            let members = [("id", Shape::Text), ("role", Shape::Text), ("status", Shape::Text)];
            client.send(request.expecting(&members)).await?
        }
        AgentCommand::Suspend(agent) => change(&client, &agent, "suspend", &json!({})).await?,
        AgentCommand::Resume(agent) => change(&client, &agent, "resume", &json!({})).await?,
        AgentCommand::Revoke(agent) => change(&client, &agent, "revoke", &json!({})).await?,
        AgentCommand::Role(args) => {
            change(&client, &args.agent, "role", &json!({"role": args.role.name()})).await?
        }
        AgentCommand::RotateKey(args) => {
            let body = json!({"overlap_seconds": args.overlap});
            let answer = change(&client, &args.agent, "rotate-key", &body).await?;
            note(&kept_or_lost(&answer));
            answer
        }
    };
    output.fields(&answer.body, ONE);
    Ok(Exit::Done)
}

async fn list(global: &Global, args: ListArgs) -> Outcome {
    let request = Request::get(&["v1", "agents"])
        .query_if("limit", args.limit.map(|limit| limit.to_string()))
        .query_if("after", args.after)
        .expecting(&[("agents", Shape::List), ("next", Shape::Any)]);
    let answer = global.client()?.send(request).await?;
    let output = global.output();
    output.rows(&answer.body, "agents", LIST);
    if let Some(next) = answer.text("next") {
        output.say(&format!("\nmore: qgate agent list --after {next}"));
    }
    Ok(Exit::Done)
}

async fn change(
    client: &client::Client,
    agent: &AgentRef,
    verb: &str,
    body: &Value,
) -> Result<client::Answer, client::Error> {
    let made = if verb == "rotate-key" { "key_id" } else { "status" };
    let request = Request::post(&["v1", "agents", &agent.id, verb], body);
    client.send(request.expecting(&[("agent_id", Shape::Text), (made, Shape::Text)])).await
}

async fn register(global: &Global, args: RegisterArgs) -> Outcome {
    let client = global.client()?;
    let request = Request::post(&["v1", "agents", "register"], &registration(args));
    let members = [("agent_id", Shape::Text), ("role", Shape::Text), ("apiKey", Shape::Any)];
    let answer = client.send(request.expecting(&members)).await?;
    global.output().fields(&answer.body, ONE);
    note(&kept_or_lost(&answer));
    Ok(Exit::Done)
}

/// What to do about a key: keep it, or make another where the first answer was lost on its way and
/// the key with it.
fn kept_or_lost(answer: &client::Answer) -> String {
    match answer.text("apiKey") {
        Some(_) => SHOWN_ONCE.to_owned(),
        None => format!(
            "the key was lost on its way here; make another: qgate agent rotate-key {}",
            answer.text("agent_id").unwrap_or("AGENT")
        ),
    }
}

/// The body of a registration: what was said, and nothing else.
fn registration(args: RegisterArgs) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            body.insert(name.to_owned(), Value::from(value));
        }
    };
    put("name", Some(args.name));
    put("owner", args.owner);
    put("framework", args.framework);
    put("riskTier", args.risk_tier);
    if args.role != Role::Agent {
        put("role", Some(args.role.name().to_owned()));
    }
    for (name, list) in
        [("allowed_policies", args.policies), ("allowed_destinations", args.destinations)]
    {
        if !list.is_empty() {
            body.insert(name.to_owned(), Value::from(list));
        }
    }
    Value::Object(body)
}

fn role(text: &str) -> Result<Role, String> {
    let names = Role::ALL.map(Role::name).join(", ");
    text.parse().map_err(|()| format!("no such role; the roles are {names}"))
}

/// Seconds of a time like `90s`, `30m`, `1h` or `7d`.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => 0,
    };
    let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let parsed = digits.parse::<u64>().ok().filter(|_| unit > 0);
    parsed.and_then(|number| number.checked_mul(unit)).ok_or("write it like 90s, 1h or 7d".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_read_as_seconds() {
        let cases = [("0s", 0), ("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)];
        for (text, expected) in cases {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "5", "5w", "-1h", "1.5h", "é", "99999999999999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_registration_says_what_was_said_and_nothing_else() {
        let args = |role, owner: Option<&str>, policies: &[&str]| RegisterArgs {
            name: "n".into(),
            owner: owner.map(str::to_owned),
            framework: None,
            risk_tier: None,
            policies: policies.iter().map(|&id| id.to_owned()).collect(),
            destinations: Vec::new(),
            role,
        };
        let cases = [
            (args(Role::Agent, None, &[]), json!({"name": "n"})),
            (
                args(Role::Reviewer, Some("o"), &["a", "b"]),
                json!({
                    "name": "n", "owner": "o", "role": "reviewer", "allowed_policies": ["a", "b"],
                }),
            ),
        ];
        for (args, expected) in cases {
            assert_eq!(registration(args), expected);
        }
    }
}
