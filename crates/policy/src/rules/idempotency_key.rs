//! `idempotency_key: {window_seconds, key | keys, per_record}`: one intent per key and window.
//!
//! The fingerprint covers namespace, gate, resource and the key's values; neither agent nor trigger
//! is in it. A number equals the string of its digits. A value that is absent, null or "" is
//! missing, and missing holds. With `per_record` every record has its key: one duplicate refuses
//! the whole intent, and one key twice in the same payload holds.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};
use types::limits::HITS_MAX;
use types::{Hit, Outcome};

use super::Saying;
use crate::facts::KeyFact;
use crate::judge::{Bench, Seat, WindowToOpen, World};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct IdempotencyKey {
    /// How long a key stays taken, in milliseconds.
    #[n(0)]
    pub window_ms: u64,
    /// Dot paths into the payload (or the record), else metadata.
    #[n(1)]
    pub keys: Vec<String>,
    /// One key per record instead of one per intent.
    #[n(2)]
    pub per_record: bool,
}

impl IdempotencyKey {
    pub(super) const KEY: &'static str = "idempotency_key";

    pub(super) fn judge<W: World>(
        &self,
        bench: &mut Bench<'_, W>,
        seat: Seat<'_>,
        keys: &[KeyFact],
        missing: Option<&str>,
    ) -> Result<Option<Saying>, W::Error> {
        let mut taken = Vec::new();
        for key in keys {
            if let Some(open) = bench.world.window(&key.fingerprint)? {
                if taken.is_empty() {
                    bench.duplicate(seat, Self::KEY, open, key.fingerprint);
                }
                taken.push((key, open));
            }
            bench.open(WindowToOpen { fingerprint: key.fingerprint, window_ms: self.window_ms });
        }
        if let Some((key, open)) = taken.first() {
            let message = format!(
                "Duplicate intent: {} {} was already used by {} inside {} seconds",
                self.keys.join(", "),
                key.shown,
                open.first,
                self.window_ms / 1_000
            );
            let hits = taken.iter().map(|(key, _)| *key);
            return Ok(Some(Self::naming(Outcome::Duplicate, message, hits, taken.len())));
        }
        let repeated = repeated(keys);
        if let Some(key) = repeated.first() {
            let names = self.keys.join(", ");
            let message = format!("{names} {} occurs more than once in the payload", key.shown);
            let hits = repeated.iter().copied();
            return Ok(Some(Self::naming(Outcome::Hold, message, hits, repeated.len())));
        }
        Ok(missing.map(|message| Saying::new(Outcome::Hold, message.into())))
    }

    fn naming<'k>(
        outcome: Outcome,
        message: String,
        keys: impl Iterator<Item = &'k KeyFact>,
        total: usize,
    ) -> Saying {
        let hits = keys
            .take(HITS_MAX)
            .map(|key| Hit { path: key.path.clone(), excerpt: key.shown.clone() })
            .collect();
        Saying { outcome, message, hits, total: total as u64 }
    }
}

/// The keys that an earlier record of the same payload has already.
fn repeated(keys: &[KeyFact]) -> Vec<&KeyFact> {
    if keys.len() < 2 {
        return Vec::new();
    }
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|index| (keys[*index].fingerprint, *index));
    let same = |pair: &&[usize]| keys[pair[0]].fingerprint == keys[pair[1]].fingerprint;
    let mut again: Vec<usize> = order.windows(2).filter(same).map(|pair| pair[1]).collect();
    again.sort_unstable();
    again.into_iter().map(|index| &keys[index]).collect()
}

#[cfg(feature = "parse")]
mod parse {
    use serde_json::Value;
    use types::Digest;
    use types::limits::{WINDOW_MS_MAX, WINDOWS_PER_INTENT_MAX};

    use super::IdempotencyKey;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, KeyFact, ScopeRef};
    use crate::payload::{Content, View};
    use crate::rules::{RuleKind, prepared::Place};
    use crate::text::path;
    use crate::text::{excerpt, walk};

    const OPTIONS: [&str; 4] = ["window_seconds", "key", "keys", "per_record"];

    impl IdempotencyKey {
        pub(in crate::rules) const OPTIONS: [&str; 4] = OPTIONS;

        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let fields = report.fields(node, &OPTIONS)?;
            let window = report.required(node, &fields, "window_seconds")?;
            let seconds = report.whole_number(window, WINDOW_MS_MAX / 1_000)?;
            if seconds == 0 {
                report.error(window, "a window of 0 seconds never refuses anything");
                return None;
            }
            let keys = match (fields.get("key"), fields.get("keys")) {
                (Some(key), None) => vec![report.path(key)?],
                (None, Some(keys)) => {
                    let paths = report.paths(keys)?;
                    refuse_repeated(keys, &paths, report)?;
                    paths
                }
                (Some(_), Some(keys)) => {
                    report.error(keys, "write either `key` or `keys`");
                    return None;
                }
                (None, None) => {
                    report.error(node, "`idempotency_key` needs `key` or `keys`");
                    return None;
                }
            };
            let per_record = match fields.get("per_record") {
                Some(flag) => report.flag(flag)?,
                None => false,
            };
            let window_ms = seconds * 1_000;
            Some(RuleKind::IdempotencyKey(Self { window_ms, keys, per_record }))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>, place: Place<'_>) -> Finding {
            if self.per_record { self.per_record(view, place) } else { self.whole(view, place) }
        }

        fn whole(&self, view: &View<'_>, place: Place<'_>) -> Finding {
            match self.key_fact(view, place, "$".into(), &|path| view.lookup(path)) {
                Ok(fact) => Finding::Keys(vec![fact], None),
                Err(missing) => {
                    Finding::Failed(format!("Key '{missing}' is missing, so no window can open"))
                }
            }
        }

        fn per_record(&self, view: &View<'_>, place: Place<'_>) -> Finding {
            let Content::Json(value) = &view.content else {
                let message = "the payload is not JSON, so its records have no keys";
                return Finding::Failed(message.into());
            };
            // Counted before anything is built: one key costs more than the record it is of.
            if walk::record_count(value) > WINDOWS_PER_INTENT_MAX as u64 {
                let message = format!("more than {WINDOWS_PER_INTENT_MAX} records need keys");
                return Finding::Failed(message);
            }
            let mut facts = Vec::new();
            let mut missing = None;
            walk::records_or_self(value, &mut |record, path| {
                let found =
                    self.key_fact(view, place, path.shown(), &|name| path::lookup(record, name));
                match found {
                    Ok(fact) => facts.push(fact),
                    Err(key) if missing.is_none() => {
                        missing = Some(format!("Key '{key}' is missing at {}", path.shown()));
                    }
                    Err(_) => {}
                }
            });
            match missing {
                None if facts.is_empty() => Finding::Failed("no record has a key".into()),
                missing => Finding::Keys(facts, missing),
            }
        }

        /// # Errors
        /// The first key without a value.
        fn key_fact<'v>(
            &self,
            view: &View<'_>,
            place: Place<'_>,
            path: String,
            lookup: &dyn Fn(&str) -> Option<&'v Value>,
        ) -> Result<KeyFact, String> {
            let mut shown = String::new();
            let mut parts: Vec<String> = Vec::with_capacity(2 * self.keys.len());
            for key in &self.keys {
                let value = lookup(key).filter(|value| !path::is_missing(value));
                let value = value.ok_or_else(|| key.clone())?;
                if !shown.is_empty() {
                    shown.push_str(", ");
                }
                shown.push_str(&path::shown(value));
                parts.push(key.clone());
                parts.push(path::canonical_key(value));
            }
            let fingerprint = fingerprint(view, place, &parts);
            Ok(KeyFact { fingerprint, path, shown: excerpt(&shown) })
        }
    }

    /// A path twice says nothing more than once.
    fn refuse_repeated(node: &Node, paths: &[String], report: &mut Report<'_>) -> Option<()> {
        let items = node.list().unwrap_or_default();
        for (at, (path, item)) in paths.iter().zip(items).enumerate() {
            if paths[..at].contains(path) {
                report.error(item, &format!("the key `{path}` stands here twice"));
                return None;
            }
        }
        Some(())
    }

    fn fingerprint(view: &View<'_>, place: Place<'_>, key_parts: &[String]) -> Digest {
        let namespace = view.namespace.0.to_be_bytes();
        let kind: &[u8] = match place.scope {
            ScopeRef::Gate(_) => b"gate",
            ScopeRef::Resource(_) => b"resource",
            ScopeRef::Named(_) => b"policy",
            ScopeRef::Default => b"default",
        };
        let fixed: [&[u8]; 4] =
            [&namespace, kind, place.name.as_bytes(), view.destination.as_bytes()];
        let parts: Vec<&[u8]> =
            fixed.into_iter().chain(key_parts.iter().map(|part| part.as_bytes())).collect();
        Digest::of_parts(&parts)
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Duplicate, Hold};
    use types::{IntentId, NamespaceId};

    use crate::common::{
        Ask, MapWorld, engine, gate, named, refused, says, says_of_counts, verdict,
    };
    use crate::facts::Finding;
    use crate::{Engine, OpenWindow, WindowToOpen};

    const NO_ID: &str = "Key 'id' is missing, so no window can open";

    #[test]
    #[rustfmt::skip]
    fn a_window_and_its_keys_are_asked_for() {
        refused(&[
            ("idempotency_key: {window_seconds: 5, keys: [a, b, a]}\n",
             "1:51: the key `a` stands here twice"),
            ("idempotency_key: {window_seconds: 0, key: a}\n",
             "1:35: a window of 0 seconds never refuses anything"),
            ("idempotency_key: {window_seconds: 5}\n",
             "1:18: `idempotency_key` needs `key` or `keys`"),
            ("idempotency_key: {window_seconds: 5, key: a, keys: [b]}\n",
             "1:52: write either `key` or `keys`"),
            ("idempotency_key: {window_second: 5, key: a}\n",
             "1:19: unknown key `window_second` (did you mean `window_seconds`?)"),
        ]);
    }

    fn windows(ask: &Ask, engine: &Engine) -> Vec<WindowToOpen> {
        ask.judged(engine).windows
    }

    #[test]
    #[rustfmt::skip]
    fn a_key_is_the_same_however_it_is_spelled_and_whoever_asks() {
        let one = gate("idempotency_key: {window_seconds: 5, key: lead.id}");
        let base = windows(&Ask::to("r").json("{\"lead\":{\"id\":42}}"), &one);
        assert_eq!((base.len(), base[0].window_ms), (1, 5_000));
        let same = [
            Ask::to("r").json("{\"lead\":{\"id\":\"42\"},\"other\":1}"),
            Ask::to("r").json("{\"lead\":{\"id\":42.0}}"),
            Ask::to("r").text(" {\"lead\":{\"id\":4.2e1}} "),
            Ask::to("r").trigger("other").json("{\"lead\":{\"id\":42}}"),
            Ask::to("r").text("hello").metadata("{\"lead\":{\"id\":42}}"),
            Ask::to("r").json("{\"lead\":{\"id\":null}}").metadata("{\"lead\":{\"id\":42}}"),
        ];
        for (index, ask) in same.iter().enumerate() {
            assert_eq!(windows(ask, &one), base, "{index}");
        }
        let mut elsewhere = Ask::to("r").json("{\"lead\":{\"id\":42}}");
        elsewhere.namespace = NamespaceId(2);
        let other = [
            Ask::to("r2").json("{\"lead\":{\"id\":42}}"),
            Ask::to("r").json("{\"lead\":{\"id\":\"042\"}}"),
            Ask::to("r").json("{\"lead\":{\"id\":[42]}}"),
            Ask::to("r").json("{\"lead\":{\"id\":true}}"),
            elsewhere,
        ];
        for (index, ask) in other.iter().enumerate() {
            let found = windows(ask, &one);
            assert!(found.len() == 1 && found != base, "{index}");
        }
        let renamed = engine(&[(
            "g.yaml",
            "gates: [{name: h, resource: r, policies: [{idempotency_key: \
             {window_seconds: 5, key: lead.id}}]}]",
        )]);
        assert_ne!(windows(&Ask::to("r").json("{\"lead\":{\"id\":42}}"), &renamed), base);
    }

    #[test]
    fn a_missing_key_holds() {
        let one = gate("idempotency_key: {window_seconds: 5, key: id}");
        let two = gate("idempotency_key: {window_seconds: 5, keys: [id, day]}");
        let payloads = ["{}", "{\"id\":null}", "{\"id\":\"\"}", "text"];
        says(&one, &payloads.map(|payload| (payload, Hold, NO_ID)));
        says(&two, &[("{\"id\":1}", Hold, "Key 'day' is missing, so no window can open")]);
        let swapped = ["{\"id\":1,\"day\":2}", "{\"id\":2,\"day\":1}"]
            .map(|payload| windows(&Ask::to("r").text(payload), &two));
        assert_ne!(swapped[0], swapped[1]);
    }

    /// Whatever step of the policy ended the others.
    #[test]
    fn a_named_policy_hears_it_besides_its_steps() {
        let engine = named("auto_approve_under: 1\nidempotency_key: {window_seconds: 1, key: id}");
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(
            &engine,
            &[("{\"id\":1}", Some(1), Allow, within), ("{}", Some(1), Hold, NO_ID)],
        );
        let ask = Ask::under(&engine).claim(1).json("{\"id\":1}");
        let mut world = MapWorld::default();
        world.windows.insert(windows(&ask, &engine)[0].fingerprint, TAKEN);
        assert_eq!(ask.judged_in(&engine, &world).outcome, Duplicate);
    }

    const TAKEN: OpenWindow = OpenWindow { first: IntentId(9), ends_at: None };

    #[test]
    fn one_taken_record_refuses_the_whole_intent_and_is_named() {
        let engine = gate("idempotency_key: {window_seconds: 5, key: id, per_record: true}");
        let ask = Ask::to("r").json("{\"calls\":[{\"id\":1},{\"id\":2},{\"id\":3}]}");
        let Finding::Keys(keys, None) = ask.finding(&engine) else {
            panic!("{:?}", ask.finding(&engine));
        };
        assert_eq!(windows(&ask, &engine).len(), 3);
        let mut world = MapWorld::default();
        world.windows.insert(keys[1].fingerprint, TAKEN);
        world.windows.insert(keys[2].fingerprint, TAKEN);
        let judgement = ask.judged_in(&engine, &world);
        let message =
            format!("Duplicate intent: id 2 was already used by {} inside 5 seconds", TAKEN.first);
        assert_eq!(verdict(&judgement), (Duplicate, message.as_str()));
        assert_eq!(judgement.windows, []);
        let named: Vec<_> = judgement.reasons[0]
            .hits
            .iter()
            .map(|hit| (hit.path.as_str(), hit.excerpt.as_str()))
            .collect();
        assert_eq!(named, [("$.calls[1]", "2"), ("$.calls[2]", "3")]);
        assert_eq!(judgement.duplicate.unwrap().fingerprint, keys[1].fingerprint);

        let message = "id 1 occurs more than once in the payload";
        let twice = Ask::to("r").json("[{\"id\":1},{\"id\":2},{\"id\":\"1\"}]").judged(&engine);
        assert_eq!(verdict(&twice), (Hold, message));
        assert_eq!((twice.reasons[0].hits[0].path.as_str(), twice.windows.len()), ("$[2]", 2));
        let gap = Ask::to("r").json("[{\"id\":1},{\"no\":2},5]").judged(&engine);
        assert_eq!(verdict(&gap), (Hold, "Key 'id' is missing at $[1]"));
        assert_eq!(gap.windows.len(), 1);
        let empty = ["[{\"id\":1},{\"id\":null}]", "[{\"id\":1},{\"id\":\"\"}]"];
        says(&engine, &empty.map(|payload| (payload, Hold, "Key 'id' is missing at $[1]")));
        let none = Ask::to("r").text("hello").judged(&engine);
        assert_eq!(none.outcome, Hold);
    }

    #[test]
    fn the_longest_window_of_one_key_opens() {
        let rule = "idempotency_key: {window_seconds: 5, key: id}";
        let longest = gate(&format!("{rule}, {{idempotency_key: {{window_seconds: 9, key: id}}}}"));
        let ask = Ask::to("r").json("{\"id\":1}");
        let found: Vec<u64> =
            windows(&ask, &longest).iter().map(|window| window.window_ms).collect();
        assert_eq!(found, [9_000]);
        assert_eq!(ask.judged(&longest).outcome, Allow);
    }
}
