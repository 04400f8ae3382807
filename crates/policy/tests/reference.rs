//! A second, slow and obvious evaluator, and random policies and intents on which both must agree.
//!
//! It knows nothing of the compiled form: it reads the same model from which the YAML is printed.
//! A new rule gets its line in [`Model::verdict`] and in `any_rule`. Random gates, entries and
//! policies also have environments, and what people must do is compared with what is said.

mod common;

use std::collections::BTreeSet;

use common::{Ask, MapWorld, NOW};
use policy::OpenWindow;
use proptest::prelude::*;
use serde_json::{Value, json};
use types::{IntentId, LogTime, Outcome};

use Outcome::{Allow, Block, Duplicate, Hold};

/// The profile that every intent here has.
const PROFILE: &str = "crm.import.v1";

/// One rule as a person would say it.
#[derive(Debug, Clone)]
enum Model {
    Always,
    Over(u64),
    Under(u64),
    OrgWide,
    Destinations(Vec<String>),
    Types(Vec<String>),
    Terms(Vec<String>),
    FieldMax(u64),
    RatePerHour(u64),
    Key { keys: &'static [&'static str], per_record: bool },
    Template,
    Clears(u64),
    Profile(&'static str),
    Approvals(u32),
}

/// Rules, and what the environment `prod` lays over them.
#[derive(Debug, Clone)]
struct Scope {
    rules: Vec<Model>,
    prod: Option<Vec<Model>>,
}

/// What is asked, in the model's words.
#[derive(Debug, Clone)]
struct Case {
    gates: Vec<(bool, Option<&'static str>, Scope)>,
    named: Option<Scope>,
    default: Option<Scope>,
    environment: Option<&'static str>,
    trigger: Option<&'static str>,
    payload: Value,
    as_text: bool,
    reference: bool,
    claim: Option<u64>,
    org_wide: bool,
    submits: u64,
    taken: bool,
}

impl Model {
    fn key(&self) -> &'static str {
        match self {
            Self::Always => "require_approval",
            Self::Over(_) => "require_approval_over",
            Self::Under(_) => "auto_approve_under",
            Self::OrgWide => "require_approval_for",
            Self::Destinations(_) => "destinations",
            Self::Types(_) => "allowed_types",
            Self::Terms(_) => "block_if_terms",
            Self::FieldMax(_) => "field_checks",
            Self::RatePerHour(_) => "rate_limits",
            Self::Key { .. } => "idempotency_key",
            Self::Template => "require_approval_if_template_error",
            Self::Clears(_) => "require_approval_if_clears",
            Self::Profile(_) => "require_profile",
            Self::Approvals(_) => "require_approvals",
        }
    }

    fn yaml(&self) -> Value {
        match self {
            Self::Always => json!("always"),
            Self::Over(limit) | Self::Under(limit) => json!(limit),
            Self::OrgWide => json!("org_wide"),
            Self::Destinations(list) | Self::Types(list) | Self::Terms(list) => json!(list),
            Self::FieldMax(max) => json!([{ "path": "amount", "max": max }]),
            Self::RatePerHour(limit) => json!({ "per_agent_per_hour": limit }),
            Self::Key { keys: [key], per_record } => {
                json!({ "window_seconds": 60, "key": key, "per_record": per_record })
            }
            Self::Key { keys, per_record } => {
                json!({ "window_seconds": 60, "keys": keys, "per_record": per_record })
            }
            Self::Template => json!({ "patterns": ["{{*}}"] }),
            Self::Clears(over) => json!({ "over": over }),
            Self::Profile(id) => json!(id),
            Self::Approvals(count) => json!(count),
        }
    }

    /// Silence is `None`; `true` says that the rule could not be evaluated.
    fn verdict(&self, case: &Case, named: bool) -> Option<(Outcome, bool)> {
        let text = case.payload.to_string();
        let count = case.count();
        let said = |outcome: Outcome, speaks: bool| speaks.then_some((outcome, false));
        match self {
            Self::Approvals(_) => None,
            Self::Profile(id) => said(Block, *id != PROFILE),
            Self::Always => said(Hold, true),
            Self::Over(0) if named => None,
            Self::Over(limit) => match count {
                None => said(Hold, !named),
                Some(count) => said(Hold, count > *limit),
            },
            Self::Under(0) if named => None,
            Self::Under(limit) if named => {
                said(Allow, case.claim.is_some() && count.is_some_and(|count| count <= *limit))
            }
            Self::Under(limit) => said(Hold, count.is_none_or(|count| count > *limit)),
            Self::OrgWide => said(Hold, case.org_wide),
            Self::Destinations(list) => said(Block, !list.contains(&"r".to_owned())),
            Self::Types(list) => said(Block, case.reference && !list.contains(&"csv".to_owned())),
            Self::Terms(list) if case.reference => {
                let named_by_file = list.iter().any(|term| "leads.csv".contains(term.as_str()));
                if named_by_file { said(Block, true) } else { (!named).then_some((Hold, true)) }
            }
            Self::Terms(list) => {
                said(Block, list.iter().any(|term| text.to_lowercase().contains(term.as_str())))
            }
            _ if case.reference && !matches!(self, Self::RatePerHour(_) | Self::Key { .. }) => {
                Some((Hold, true))
            }
            Self::FieldMax(max) => {
                let amount = &case.payload["amount"];
                let number = amount.as_u64().or_else(|| {
                    if named { None } else { amount.as_str().and_then(|text| text.parse().ok()) }
                });
                let strange = !named && !amount.is_null() && number.is_none();
                said(Block, strange || number.is_some_and(|number| number > *max))
            }
            Self::RatePerHour(limit) => {
                let real = *limit > 0 || !named;
                said(Block, real && case.submits >= *limit)
            }
            Self::Key { .. } if case.reference => Some((Hold, true)),
            Self::Key { keys, per_record } => {
                let records = if *per_record { case.rows() } else { vec![&case.payload] };
                let found: Vec<_> = records.iter().map(|record| values(record, keys)).collect();
                let present: Vec<_> = found.iter().flatten().collect();
                let distinct: BTreeSet<String> =
                    present.iter().map(|key| format!("{key:?}")).collect();
                let trouble = present.len() < found.len() || distinct.len() < present.len();
                if case.taken && !present.is_empty() {
                    said(Duplicate, true)
                } else {
                    said(Hold, trouble)
                }
            }
            Self::Template => said(Hold, text.contains("{{")),
            Self::Clears(over) => said(Hold, case.cleared() > *over),
        }
    }

    fn step(&self) -> Option<usize> {
        let steps = [
            "destinations",
            "allowed_types",
            "rate_limits",
            "field_checks",
            "block_if_terms",
            "require_approval",
            "require_approval_over",
            "auto_approve_under",
            "require_approval_for",
        ];
        steps.iter().position(|key| *key == self.key())
    }
}

/// The values at dot paths of a record, if none of them is missing.
fn values<'v>(record: &'v Value, keys: &[&str]) -> Option<Vec<&'v Value>> {
    let at = |key: &&str| key.split('.').fold(record, |value, name| &value[name]);
    let values: Vec<&Value> = keys.iter().map(at).collect();
    let missing = |value: &&Value| value.is_null() || **value == json!("");
    (!values.iter().any(missing)).then_some(values)
}

impl Scope {
    /// The rules in the case's environment, and whether that laid anything over them.
    fn in_force(&self, case: &Case) -> (Vec<Model>, bool) {
        let Some(overlay) = self.prod.as_ref().filter(|_| case.environment == Some("prod")) else {
            return (self.rules.clone(), false);
        };
        let replaced = |rule: &&Model| overlay.iter().any(|over| over.key() == rule.key());
        let kept = self.rules.iter().filter(|rule| !replaced(rule));
        (kept.chain(overlay).cloned().collect(), true)
    }
}

impl Case {
    /// The longest list of objects, or the payload.
    fn rows(&self) -> Vec<&Value> {
        match self.payload["rows"].as_array() {
            Some(rows) if !rows.is_empty() => rows.iter().collect(),
            _ => vec![&self.payload],
        }
    }

    fn records(&self) -> Option<u64> {
        let rows = self.payload["rows"].as_array().map_or(1, |rows| rows.len().max(1));
        (!self.reference).then_some(rows as u64)
    }

    fn count(&self) -> Option<u64> {
        self.records().max(self.claim)
    }

    fn cleared(&self) -> u64 {
        let empty = |value: &&Value| value.is_null() || **value == json!("");
        let rows = self.payload["rows"].as_array().filter(|rows| !rows.is_empty());
        match rows {
            Some(rows) => rows
                .iter()
                .flat_map(|row| row["set"].as_object())
                .map(|set| set.values().filter(empty).count() as u64)
                .sum(),
            None => {
                let members = self.payload.as_object().expect("payloads are objects");
                members.values().filter(empty).count() as u64
            }
        }
    }

    /// Outcomes and rules of everything that speaks, and how many people must approve.
    fn expected(&self) -> (BTreeSet<(Outcome, String)>, u32) {
        let (mut said, mut approvals) = (BTreeSet::new(), 1);
        let matching: Vec<_> = self.gates.iter().filter(|gate| gate.0).collect();
        let triggered = |watched: Option<&str>| {
            watched.is_none() || self.trigger.is_none() || watched == self.trigger
        };
        let heard: Vec<_> = matching.iter().filter(|gate| triggered(gate.1)).collect();
        let mut hear = |scope: &Scope, named: bool| {
            let (rules, laid_over) = scope.in_force(self);
            if laid_over {
                said.insert((Allow, "environments".to_owned()));
            }
            for rule in &rules {
                if let Model::Approvals(count) = rule {
                    approvals = approvals.max(*count);
                }
            }
            if named {
                return self.hear_named(&rules, &mut said);
            }
            for rule in rules {
                if let Some((outcome, _)) = rule.verdict(self, false) {
                    said.insert((outcome, rule.key().to_owned()));
                }
            }
        };
        heard.iter().for_each(|gate| hear(&gate.2, false));
        if heard.is_empty() && self.named.is_none() {
            self.default.iter().for_each(|scope| hear(scope, false));
        }
        self.named.iter().for_each(|scope| hear(scope, true));
        if !matching.is_empty() && heard.is_empty() {
            said.insert((Hold, "trigger_unmatched".into()));
        } else if heard.is_empty() && self.named.is_none() && self.default.is_none() {
            said.insert((Hold, "no_policy".into()));
        }
        if self.claim.is_some() && self.claim < self.records() {
            said.insert((Hold, "record_count".into()));
        }
        (said, approvals)
    }

    fn hear_named(&self, rules: &[Model], said: &mut BTreeSet<(Outcome, String)>) {
        let mut sorted: Vec<&Model> = rules.iter().collect();
        sorted.sort_by_key(|rule| rule.step());
        let mut ended = false;
        for rule in sorted {
            let Some((outcome, failed)) = rule.verdict(self, true) else {
                continue;
            };
            let is_step = rule.step().is_some();
            if !(is_step && ended) || failed {
                said.insert((outcome, rule.key().to_owned()));
            }
            ended |= is_step && !failed;
        }
        if !ended {
            said.insert((Hold, "awaiting_review".into()));
        }
    }

    /// YAML is a superset of JSON, so the documents are printed as JSON.
    fn documents(&self) -> Vec<(&'static str, String)> {
        let item = |rule: &Model| json!({ rule.key(): rule.yaml() });
        let items = |rules: &[Model]| rules.iter().map(item).collect::<Vec<_>>();
        let list = |scope: &Scope| {
            let prod = scope.prod.iter();
            let prod = prod.map(|rules| json!({ "environments": { "prod": items(rules) } }));
            items(&scope.rules).into_iter().chain(prod).collect::<Vec<_>>()
        };
        let gates: Vec<Value> = self
            .gates
            .iter()
            .enumerate()
            .map(|(index, (matches, trigger, scope))| {
                let resource = if *matches { ["r", "*", "r*"][index % 3] } else { "q*" };
                let mut gate = json!({ "name": format!("g{index}"), "resource": resource,
                                       "policies": list(scope) });
                if let Some(trigger) = trigger {
                    gate["trigger"] = json!(trigger);
                }
                gate
            })
            .collect();
        let mut gate_file = json!({ "gates": gates });
        if let Some(scope) = &self.default {
            gate_file["gate"] = json!({ "default_policy": list(scope) });
        }
        let mut documents = vec![("g.yaml", gate_file.to_string())];
        if let Some(scope) = &self.named {
            let members = scope.rules.iter().map(|rule| (rule.key().to_owned(), rule.yaml()));
            let mut policy: serde_json::Map<String, Value> =
                members.chain([("notes".to_owned(), json!("x"))]).collect();
            if let Some(rules) = &scope.prod {
                policy.insert("environments".into(), json!({ "prod": items(rules) }));
            }
            documents.push(("p.yaml", Value::Object(policy).to_string()));
        }
        documents
    }

    fn ask(&self) -> Ask {
        let mut ask = Ask::to("r");
        ask.proposal.trigger = self.trigger.map(Into::into);
        ask.proposal.policy = self.named.as_ref().map(|_| "p".into());
        ask.proposal.record_count_claim = self.claim;
        ask.proposal.profile = Some(PROFILE.into());
        let scope = if self.org_wide { "org_wide" } else { "team" };
        let metadata = json!({ "scope": scope, "environment": self.environment });
        ask = ask.metadata(&metadata.to_string());
        match (self.reference, self.as_text) {
            (true, _) => ask.text("leads.csv"),
            (false, true) => ask.text(&self.payload.to_string()),
            (false, false) => ask.json(&self.payload.to_string()),
        }
    }
}

fn any_rule() -> impl Strategy<Value = Model> {
    let names = |pool: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(pool).prop_map(String::from), 1..3)
    };
    prop_oneof![
        1 => Just(Model::Always),
        3 => (0..4u64).prop_map(Model::Over),
        3 => (0..4u64).prop_map(Model::Under),
        1 => Just(Model::OrgWide),
        2 => names(&["r", "q"]).prop_map(Model::Destinations),
        2 => names(&["csv", "pdf"]).prop_map(Model::Types),
        2 => names(&["bad", "leads", "worse"]).prop_map(Model::Terms),
        2 => (0..4u64).prop_map(Model::FieldMax),
        2 => (0..4u64).prop_map(Model::RatePerHour),
        3 => (any_keys(), any::<bool>())
            .prop_map(|(keys, per_record)| Model::Key { keys, per_record }),
        1 => (1..5u32).prop_map(Model::Approvals),
        2 => Just(Model::Template),
        2 => (0..3u64).prop_map(Model::Clears),
        1 => prop::sample::select(vec![PROFILE, "email.send.v1"]).prop_map(Model::Profile),
    ]
}

/// Paths that lie in the payload, or in its rows, or in neither.
fn any_keys() -> impl Strategy<Value = &'static [&'static str]> {
    prop::sample::select(vec![
        &["id"][..],
        &["id", "amount"],
        &["set.phone"],
        &["set.phone", "set.nothing"],
    ])
}

/// Rules, and in some cases an environment; it may not change who is let in at all.
fn any_scope() -> impl Strategy<Value = Scope> {
    (any_rules(), prop::option::weighted(0.4, any_rules())).prop_map(|(rules, mut prod)| {
        let fixed = ["destinations", "allowed_types", "require_profile"];
        prod.iter_mut().for_each(|rules| rules.retain(|rule| !fixed.contains(&rule.key())));
        Scope { rules, prod }
    })
}

/// Rules with distinct keys, as a mapping has them.
fn any_rules() -> impl Strategy<Value = Vec<Model>> {
    prop::collection::vec(any_rule(), 1..6).prop_map(|mut rules| {
        let mut seen = BTreeSet::new();
        rules.retain(|rule| seen.insert(rule.key()));
        rules
    })
}

fn any_payload() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        json!(null),
        json!(""),
        json!("fine"),
        json!("BAD"),
        json!("{{x}}"),
        json!(2),
        json!("3"),
    ]);
    let row = field.clone().prop_map(|value| json!({ "set": { "phone": value } }));
    (field.clone(), field.clone(), field, prop::collection::vec(row, 0..4)).prop_map(
        |(amount, id, body, rows)| {
            json!({ "amount": amount, "id": id, "body": body, "rows": rows })
        },
    )
}

fn any_case() -> impl Strategy<Value = Case> {
    let word = || prop::option::of(prop::sample::select(vec!["write", "send"]));
    let gate = (prop::bool::weighted(0.7), word(), any_scope());
    let environment = prop::option::of(prop::sample::select(vec!["prod", "Prod"]));
    let scopes = (
        prop::collection::vec(gate, 0..4),
        prop::option::of(any_scope()),
        prop::option::of(any_scope()),
        environment,
        word(),
    );
    let claim = prop::option::of(1..5u64);
    let flags = (any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), 0..4u64, any::<bool>());
    (scopes, any_payload(), claim, flags).prop_map(
        |((gates, named, default, environment, trigger), payload, claim, flags)| {
            let (as_text, reference, org_wide, submits, taken) = flags;
            Case {
                gates,
                named,
                default,
                environment,
                trigger,
                payload,
                as_text,
                reference,
                claim,
                org_wide,
                submits,
                taken,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Engine and judgement say exactly what the obvious evaluator says.
    #[test]
    fn both_evaluators_agree(case in any_case()) {
        let documents = case.documents();
        let files: Vec<(&str, &str)> =
            documents.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let engine = common::engine(&files);
        let ask = case.ask();
        let facts = ask.facts(&engine);
        let submits = (0..case.submits).map(|n| LogTime(NOW.0 - n)).collect();
        let mut world = MapWorld { submits, ..MapWorld::default() };
        if case.taken {
            let findings = facts.findings.iter().flat_map(|scope| &scope.findings);
            for finding in findings {
                if let policy::Finding::Keys(keys, _) = finding {
                    let open = OpenWindow { first: IntentId(1), ends_at: None };
                    world.windows.extend(keys.first().map(|key| (key.fingerprint, open)));
                }
            }
        }
        let judgement = common::judged(&facts, &engine, &world);
        let said: BTreeSet<(Outcome, String)> = judgement
            .reasons
            .iter()
            .map(|reason| (reason.outcome, reason.rule.clone()))
            .collect();
        let (expected, approvals) = case.expected();
        prop_assert_eq!(judgement.approvals.count, approvals);
        prop_assert_eq!(&said, &expected);
        let outcome = expected.iter().map(|(outcome, _)| *outcome).max().unwrap_or(Allow);
        prop_assert_eq!(judgement.outcome, outcome);
        prop_assert_eq!(judgement.duplicate.is_some(), outcome == Duplicate);
        let severities: Vec<Outcome> = judgement.reasons.iter().map(|one| one.outcome).collect();
        prop_assert!(severities.is_sorted_by(|one, other| one >= other));
    }
}
