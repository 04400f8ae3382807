//! Failures of commands: what, why, what next, and the exit code that scripts branch on.
//!
//! Invariant: a decision of the gate is no failure; a held or blocked intent exits with 0 unless
//! the caller asked for `--exit-decision`.

use std::fmt;
use std::process::ExitCode;

use client::{Error, Refusal, Verdict};
use serde_json::{Value, json};

/// Exit codes. Part of the interface: never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, whatever the decision.
    Done = 0,
    /// Refused, or a lint found something.
    Refused = 1,
    /// The command line or a file of the caller makes no sense.
    Usage = 2,
    /// Nobody answered.
    Unreachable = 3,
    /// Somebody answered, but the cluster cannot decide now.
    NoQuorum = 4,
    /// A node has no room on its disk: starting it again changes nothing before there is some.
    DiskFull = 5,
    /// With `--exit-decision`: people decide.
    Held = 10,
    /// With `--exit-decision`: it must not run.
    Blocked = 11,
    /// With `--exit-decision`: it was asked for before.
    Duplicate = 12,
}

impl Exit {
    /// The code of a decision: 0 unless the caller asked.
    pub(crate) fn of_verdict(verdict: Verdict, exit_decision: bool) -> Self {
        match verdict {
            _ if !exit_decision => Self::Done,
            Verdict::Allowed => Self::Done,
            Verdict::Held => Self::Held,
            Verdict::Blocked => Self::Blocked,
            Verdict::Duplicate => Self::Duplicate,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// For scripts.
    pub(crate) exit: Exit,
    /// What went wrong and why; one line.
    pub(crate) what: String,
    /// What to do now.
    pub(crate) next: Option<String>,
    /// What the gate answered, where it refused.
    pub(crate) refusal: Option<Box<Refusal>>,
}

/// What every command ends with.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    pub(crate) fn refused(what: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, what: what.into(), next: None, refusal: None }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), next: None, refusal: None }
    }

    /// A node that stopped for want of room.
    pub(crate) fn disk_full(what: impl Into<String>) -> Self {
        Self { exit: Exit::DiskFull, ..Self::refused(what) }
    }

    /// For programs: as `--output json` prints it on stderr.
    pub(crate) fn to_json(&self) -> Value {
        let refusal = self.refusal.as_deref();
        json!({
            "error": self.what,
            "next": self.next,
            "exit": self.exit as u8,
            "status": refusal.map(|refusal| refusal.status),
            "code": refusal.and_then(|refusal| refusal.code.as_deref()),
            "request_id": refusal.and_then(|refusal| refusal.request_id.as_deref()),
            "body": refusal.map(|refusal| &refusal.body),
        })
    }

    pub(crate) fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

impl Failure {
    /// Says what to do where the gate does not know what was named.
    pub(crate) fn next_if_unknown(self, next: impl Into<String>) -> Self {
        match &self.refusal {
            Some(refusal) if refusal.status == 404 => self.next(next),
            _ => self,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.next {
            Some(next) => write!(f, "\n next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let what = error.to_string();
        let (exit, next) = match &error {
            Error::Unreachable(_) => (
                Exit::Unreachable,
                Some("start a node (`qgate dev`), or name one that runs with --endpoint".into()),
            ),
            Error::NoQuorum(refusal) => (Exit::NoQuorum, Some(next_without_quorum(refusal))),
            Error::Refused(refusal) => (Exit::Refused, next_after(refusal)),
            Error::NotAGate { .. } => (
                Exit::Refused,
                Some("check --endpoint: something else listens at this address".into()),
            ),
            Error::Endpoint(_) | Error::BadKey => (Exit::Usage, None),
            Error::Setup(_) => (Exit::Refused, None),
        };
        let refusal = match error {
            Error::Refused(refusal) | Error::NoQuorum(refusal) => Some(refusal),
            _ => None,
        };
        Self { exit, what, next, refusal }
    }
}

fn next_without_quorum(refusal: &Refusal) -> String {
    if refusal.body.get("outcome").and_then(|outcome| outcome.as_str()) == Some("unknown") {
        return "the outcome is not known: run the same command again to learn it".into();
    }
    "see which nodes are away with `qgate cluster status`, then run the command again".into()
}

fn next_after(refusal: &Refusal) -> Option<String> {
    let next = match (refusal.code.as_deref(), refusal.status) {
        (Some("approval_digest_mismatch" | "digest_required" | "policy_changed"), _) => {
            "look at what it is now with `qgate intent show`, then name its digest with --digest"
        }
        (Some("cluster_change_refused"), _) => {
            "see which nodes there are, and which votes, with `qgate cluster status`"
        }
        (Some("self_approval"), _) => "ask another reviewer",
        (Some("policy_version_mismatch"), _) => {
            "see what is in force with `qgate policy list`, then apply with its version"
        }
        (Some("settings_version_mismatch"), _) => {
            "see what is in force with `qgate destination list --output json` or `qgate channel \
             list --output json`, then name its version"
        }
        (Some("agent_inactive"), _) if says_revoked(refusal) => {
            "ask an admin to run `qgate agent register`: revoked is for ever"
        }
        (Some("agent_inactive"), _) => "ask a reviewer or an admin to run `qgate agent resume`",
        (_, 401) => "name a valid API key with --key or QGATE_API_KEY",
        (_, 403) => "use a key with the role that this needs",
        (_, 429) => "wait a moment, then run the command again",
        _ => return None,
    };
    Some(next.to_owned())
}

fn says_revoked(refusal: &Refusal) -> bool {
    refusal.body.get("status").and_then(Value::as_str) == Some("revoked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn decisions_map_to_codes_only_when_asked() {
        let cases = [
            (Verdict::Allowed,   0, 0),
            (Verdict::Held,      0, 10),
            (Verdict::Blocked,   0, 11),
            (Verdict::Duplicate, 0, 12),
        ];
        for (verdict, usual, asked) in cases {
            assert_eq!(Exit::of_verdict(verdict, false) as u8, usual, "{verdict:?}");
            assert_eq!(Exit::of_verdict(verdict, true) as u8, asked, "{verdict:?}");
        }
    }

    fn refusal(status: u16, code: &str, body: Value) -> Box<Refusal> {
        Box::new(Refusal {
            endpoint: "http://a:1".into(),
            status,
            code: Some(code.into()),
            message: "why".into(),
            request_id: None,
            body,
        })
    }

    #[test]
    fn every_error_of_the_client_has_its_code_and_most_say_what_next() {
        let unknown = json!({"outcome": "unknown"});
        let cases = [
            (Error::Unreachable(Vec::new()), 3, "qgate dev"),
            (Error::NoQuorum(refusal(503, "no_quorum", json!({}))), 4, "cluster status"),
            (Error::NoQuorum(refusal(503, "outcome_unknown", unknown)), 4, "same command again"),
            (Error::Refused(refusal(401, "unauthorized", json!({}))), 1, "QGATE_API_KEY"),
            (Error::Refused(refusal(403, "self_approval", json!({}))), 1, "another reviewer"),
            (
                Error::Refused(refusal(409, "cluster_change_refused", json!({}))),
                1,
                "cluster status",
            ),
            (Error::Refused(refusal(404, "not_found", json!({}))), 1, ""),
            (
                Error::Refused(refusal(403, "agent_inactive", json!({"status": "suspended"}))),
                1,
                "resume",
            ),
            (
                Error::Refused(refusal(403, "agent_inactive", json!({"status": "revoked"}))),
                1,
                "register",
            ),
            (Error::BadKey, 2, ""),
        ];
        for (error, code, next) in cases {
            let failure = Failure::from(error);
            assert_eq!(failure.exit as u8, code, "{failure}");
            assert!(failure.next.unwrap_or_default().contains(next), "{next}");
        }
    }

    #[test]
    fn what_is_not_there_is_looked_for_in_its_list() {
        let list = "see which there are with `qgate policy list`";
        for (status, code, expected) in [(404, "not_found", list), (401, "unauthorized", "--key")] {
            let refused = Error::Refused(refusal(status, code, json!({})));
            let next = Failure::from(refused).next_if_unknown(list).next;
            assert!(next.as_deref().unwrap_or_default().contains(expected), "{next:?}");
        }
    }

    #[test]
    fn programs_get_what_the_gate_said() {
        let refused = Error::Refused(refusal(409, "not_allowed", json!({"phase": "held"})));
        let shown = Failure::from(refused).to_json();
        assert_eq!((&shown["exit"], &shown["status"]), (&json!(1), &json!(409)));
        assert_eq!(
            (&shown["code"], &shown["body"]["phase"]),
            (&json!("not_allowed"), &json!("held"))
        );
        let usage = Failure::usage("no such file").next("name another").to_json();
        assert_eq!((&usage["exit"], &usage["next"]), (&json!(2), &json!("name another")));
    }
}
