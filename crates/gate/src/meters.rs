//! Metrics of the handle: what is sent to the log and answered, and what the state says.
//!
//! Every handle is made when the gate is; a command looks nothing up but two array places.

use std::time::Instant;

use ledger::{Command, Fault, Read, Reply, query};
use meters::{Counter, Gauge, Histogram, number};
use types::{LogTime, Outcome, Phase};

use crate::handle::Answer;
use crate::log::{ProposeError, Status};

/// Doubts of one namespace that one scrape looks at.
const DOUBTS_MAX: usize = 1_000;

/// Kinds of commands, in the order of [`place`].
const COMMANDS: [&str; 29] = [
    "bootstrap",
    "tick",
    "submit",
    "approve",
    "reject",
    "cancel",
    "register_agent",
    "set_agent_status",
    "rotate_key",
    "set_role",
    "create_namespace",
    "apply_policies",
    "raise_feature_level",
    "issue_order",
    "report_order",
    "resolve",
    "apply_destinations",
    "apply_channels",
    "take_over",
    "claim",
    "report_attempt",
    "register_webhook",
    "report_delivery",
    "issue_link",
    "decide_by_link",
    "change_cluster",
    "freeze",
    "unfreeze",
    "settle_freezes",
];

fn place(command: &Command) -> usize {
    match command {
        Command::Bootstrap(_) => 0,
        Command::Tick => 1,
        Command::Submit(_) => 2,
        Command::Approve(_) => 3,
        Command::Reject(_) => 4,
        Command::Cancel(_) => 5,
        Command::RegisterAgent(_) => 6,
        Command::SetAgentStatus(_) => 7,
        Command::RotateKey(_) => 8,
        Command::SetRole(_) => 9,
        Command::CreateNamespace(_) => 10,
        Command::ApplyPolicies(_) => 11,
        Command::RaiseFeatureLevel(_) => 12,
        Command::IssueOrder(_) => 13,
        Command::ReportOrder(_) => 14,
        Command::Resolve(_) => 15,
        Command::ApplyDestinations(_) => 16,
        Command::ApplyChannels(_) => 17,
        Command::TakeOver(_) => 18,
        Command::Claim(_) => 19,
        Command::ReportAttempt(_) => 20,
        Command::RegisterWebhook(_) => 21,
        Command::ReportDelivery(_) => 22,
        Command::IssueLink(_) => 23,
        Command::DecideByLink(_) => 24,
        Command::ChangeCluster(_) => 25,
        Command::Freeze(_) => 26,
        Command::Unfreeze(_) => 27,
        Command::SettleFreezes(_) => 28,
    }
}

/// One kind of command.
struct CommandMeters {
    done: Counter,
    refused: Counter,
    replayed: Counter,
    again: Counter,
    failed: Counter,
    seconds: Histogram,
}

impl CommandMeters {
    fn new(command: &'static str) -> Self {
        let counter = |outcome| meters::COMMANDS.counter(&[command, outcome]);
        Self {
            done: counter("done"),
            refused: counter("refused"),
            replayed: counter("replayed"),
            again: counter("again"),
            failed: counter("failed"),
            seconds: meters::COMMAND_SECONDS.histogram(&[command]),
        }
    }
}

/// Why commands had no answer.
struct FailedMeters {
    queue_full: Counter,
    no_leader: Counter,
    unknown: Counter,
    stopping: Counter,
    disk_quota: Counter,
}

/// What policy said.
struct DecisionMeters {
    allow: Counter,
    hold: Counter,
    block: Counter,
    duplicate: Counter,
}

impl DecisionMeters {
    fn of(&self, outcome: Outcome) -> &Counter {
        match outcome {
            Outcome::Allow => &self.allow,
            Outcome::Hold => &self.hold,
            Outcome::Block => &self.block,
            Outcome::Duplicate => &self.duplicate,
        }
    }
}

/// What was recognised as asked for before.
struct DedupMeters {
    window: Counter,
    idempotency_key: Counter,
    request_key: Counter,
}

/// How long intents waited for people, by what those said.
struct WaitMeters {
    approved: Histogram,
    rejected: Histogram,
}

/// A command on its way.
pub(crate) struct Sent {
    place: usize,
    is_submit: bool,
    at: Instant,
}

/// All of the gate's metrics.
pub(crate) struct GateMeters {
    commands: [CommandMeters; COMMANDS.len()],
    decisions: DecisionMeters,
    dedup: DedupMeters,
    waits: WaitMeters,
    failed: FailedMeters,
    packed: [Counter; 2],
    intents: [(Phase, Gauge); Phase::ALL.len()],
    audit_tree_size: Gauge,
    namespaces: Gauge,
    feature_level: Gauge,
    due_age: Gauge,
    in_doubt_age: Gauge,
    standing: Standing,
}

impl Default for GateMeters {
    fn default() -> Self {
        let dedup = |kind| meters::DEDUP_HITS.counter(&[kind]);
        let waited = |outcome| meters::APPROVAL_WAIT_SECONDS.histogram(&[outcome]);
        let decision = |outcome: Outcome| meters::DECISIONS.counter(&[outcome.name()]);
        let failed = |reason| meters::COMMANDS_FAILED.counter(&[reason]);
        Self {
            commands: COMMANDS.map(CommandMeters::new),
            decisions: DecisionMeters {
                allow: decision(Outcome::Allow),
                hold: decision(Outcome::Hold),
                block: decision(Outcome::Block),
                duplicate: decision(Outcome::Duplicate),
            },
            dedup: DedupMeters {
                window: dedup("window"),
                idempotency_key: dedup("idempotency_key"),
                request_key: dedup("request_key"),
            },
            waits: WaitMeters { approved: waited("approved"), rejected: waited("rejected") },
            failed: FailedMeters {
                queue_full: failed("queue_full"),
                no_leader: failed("no_leader"),
                unknown: failed("unknown"),
                stopping: failed("stopping"),
                disk_quota: failed("disk_quota"),
            },
            packed: ["raw", "packed"].map(|form| meters::PACKED_BYTES.counter(&[form])),
            intents: Phase::ALL.map(|phase| (phase, meters::INTENTS.gauge(&[phase.name()]))),
            audit_tree_size: meters::AUDIT_TREE_SIZE.gauge(&[]),
            namespaces: meters::NAMESPACES.gauge(&[]),
            feature_level: meters::FEATURE_LEVEL.gauge(&[]),
            due_age: meters::DUE_AGE_SECONDS.gauge(&[]),
            in_doubt_age: meters::IN_DOUBT_AGE_SECONDS.gauge(&[]),
            standing: Standing::default(),
        }
    }
}

impl GateMeters {
    /// A command goes to the log.
    pub(crate) fn sent(&self, command: &Command) -> Sent {
        let is_submit = matches!(command, Command::Submit(_));
        Sent { place: place(command), is_submit, at: Instant::now() }
    }

    /// A command goes to the log in these bytes.
    pub(crate) fn packed(&self, command: &[u8]) {
        let raw = ledger::unpacked_bytes(command);
        if raw > command.len() {
            let [before, after] = &self.packed;
            before.increment(raw as u64);
            after.increment(command.len() as u64);
        }
    }

    /// Its answer came, or none ever will.
    pub(crate) fn answered(&self, sent: &Sent, answer: &Result<Answer, ProposeError>) {
        let meters = &self.commands[sent.place];
        meters.seconds.record(sent.at.elapsed().as_secs_f64());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                meters.failed.increment(1);
                return self.failed.of(*error).increment(1);
            }
        };
        let outcome = match &answer.reply {
            Reply::Refused(_) => &meters.refused,
            Reply::Replayed(_) => &meters.replayed,
            Reply::FactsNeeded { .. } | Reply::IdTaken => &meters.again,
            _ => &meters.done,
        };
        outcome.increment(1);
        match &answer.reply {
            Reply::Submitted(_, content) if sent.is_submit => {
                self.decisions.of(content.decision.outcome).increment(1);
            }
            Reply::Duplicate(found) if sent.is_submit => {
                self.decisions.duplicate.increment(1);
                let by_window = found.gate.is_some();
                let kind = if by_window { &self.dedup.window } else { &self.dedup.idempotency_key };
                kind.increment(1);
            }
            Reply::Replayed(_) => self.dedup.request_key.increment(1),
            _ => {}
        }
    }

    /// People ended an intent's wait, after so many milliseconds.
    pub(crate) fn decided(&self, phase: Phase, waited_ms: u64) {
        let seconds = std::time::Duration::from_millis(waited_ms).as_secs_f64();
        match phase {
            Phase::Rejected => self.waits.rejected.record(seconds),
            _ => self.waits.approved.record(seconds),
        }
    }

    /// Takes in what this node knows of the cluster.
    pub(crate) fn status(&self, status: &Status) {
        self.standing.take(status);
    }

    /// Counts what the state holds.
    pub(crate) fn state(&self, state: &dyn Read, now: LogTime) -> Result<(), Fault> {
        let namespaces = query::namespaces(state)?;
        let mut intents = [0; Phase::ALL.len()];
        for namespace in &namespaces {
            let counts = query::phase_counts(state, namespace.id)?;
            for (sum, (_, count)) in intents.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        let doubted_at = oldest_doubt(state, &namespaces)?;
        let (leaves, _) = query::tree(state)?;
        let level = query::feature_level(state)?;
        let due = query::next_due(state)?.map_or(0, |at| now.0.saturating_sub(at.0));
        for ((_, gauge), count) in self.intents.iter().zip(intents) {
            gauge.set(number(count));
        }
        self.audit_tree_size.set(number(leaves));
        self.namespaces.set(number(namespaces.len() as u64));
        self.feature_level.set(level);
        let in_doubt_ms = doubted_at.map_or(0, |at| now.0.saturating_sub(at.0));
        self.in_doubt_age.set(std::time::Duration::from_millis(in_doubt_ms).as_secs_f64());
        self.due_age.set(std::time::Duration::from_millis(due).as_secs_f64());
        Ok(())
    }

    /// No number rather than an old one.
    pub(crate) fn state_unknown(&self) {
        let more = [
            &self.audit_tree_size,
            &self.namespaces,
            &self.feature_level,
            &self.due_age,
            &self.in_doubt_age,
        ];
        let gauges = self.intents.iter().map(|(_, gauge)| gauge).chain(more);
        gauges.for_each(|gauge| gauge.set(f64::NAN));
    }
}

/// When the doubt that has stood longest began, among the newest [`DOUBTS_MAX`] of a namespace.
fn oldest_doubt(
    state: &dyn Read,
    namespaces: &[ledger::NamespaceRow],
) -> Result<Option<LogTime>, Fault> {
    let mut oldest: Option<LogTime> = None;
    for namespace in namespaces {
        let filter =
            query::IntentFilter { phases: &[Phase::InDoubt], limit: DOUBTS_MAX, ..<_>::default() };
        for head in query::intents(state, namespace.id, filter)?.heads {
            oldest = Some(oldest.map_or(head.changed_at, |at| at.min(head.changed_at)));
        }
    }
    Ok(oldest)
}

impl FailedMeters {
    /// `Behind` is for reads alone.
    fn of(&self, error: ProposeError) -> &Counter {
        match error {
            ProposeError::QueueFull | ProposeError::Slow => &self.queue_full,
            ProposeError::NoLeader => &self.no_leader,
            ProposeError::Unknown | ProposeError::Behind => &self.unknown,
            ProposeError::Stopping => &self.stopping,
            ProposeError::DiskFull => &self.disk_quota,
        }
    }
}

/// Where this node stands in the cluster.
struct Standing {
    healthy: Gauge,
    has_leader: Gauge,
    is_leader: Gauge,
    term: Gauge,
    voters: Gauge,
    learners: Gauge,
    committed_index: Gauge,
    applied_index: Gauge,
    apply_lag: Gauge,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            healthy: meters::HEALTHY.gauge(&[]),
            has_leader: meters::HAS_LEADER.gauge(&[]),
            is_leader: meters::IS_LEADER.gauge(&[]),
            term: meters::TERM.gauge(&[]),
            voters: meters::VOTERS.gauge(&[]),
            learners: meters::LEARNERS.gauge(&[]),
            committed_index: meters::COMMITTED_INDEX.gauge(&[]),
            applied_index: meters::APPLIED_INDEX.gauge(&[]),
            apply_lag: meters::APPLY_LAG.gauge(&[]),
        }
    }
}

impl Standing {
    fn take(&self, status: &Status) {
        let voters = status.members.iter().filter(|member| member.voter).count();
        self.healthy.set(u32::from(status.healthy));
        self.has_leader.set(u32::from(status.leader.is_some()));
        self.is_leader.set(u32::from(status.leader == Some(status.node)));
        self.term.set(number(status.term));
        self.voters.set(number(voters as u64));
        self.learners.set(number((status.members.len() - voters) as u64));
        self.committed_index.set(number(status.committed.0));
        self.applied_index.set(number(status.applied.0));
        self.apply_lag.set(number(status.committed.0.saturating_sub(status.applied.0)));
    }
}
