//! `require_profile: crm.import.v1`: only intents of this typed profile are taken.
//!
//! A request without it is refused before it is judged; where an intent stands already when the
//! rule comes into force, the rule blocks.

use alloc::string::String;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RequireProfile {
    /// The profile's id.
    #[n(0)]
    pub profile: String,
}

impl RequireProfile {
    pub(super) const KEY: &'static str = "require_profile";
}

#[cfg(feature = "parse")]
mod parse {
    use super::RequireProfile;
    use crate::compile::{Node, Report};
    use crate::facts::{Finding, Found};
    use crate::payload::View;
    use crate::profiles::{IDS, required_fields};
    use crate::rules::RuleKind;

    impl RequireProfile {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let profile = report.text(node)?;
            if required_fields(&profile).is_none() {
                report.unknown_word(node, "profile", &profile, &IDS);
                return None;
            }
            Some(RuleKind::RequireProfile(Self { profile }))
        }

        pub(in crate::rules) fn facts(&self, view: &View<'_>) -> Finding {
            if view.profile == Some(self.profile.as_str()) {
                return Finding::Silent;
            }
            let message = format!("Policy requires profile '{}'", self.profile);
            Finding::Found(Found::saying(message))
        }
    }
}

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use crate::common::{Ask, engine, gate, named, refused, verdict};
    use crate::facts::Finding;
    use crate::facts::ProfileFault::{Invalid, Mismatch, Required};

    #[test]
    fn only_profiles_of_this_build_can_be_asked_for() {
        refused(&[(
            "require_profile: crm.imprt.v1\n",
            "1:18: no such profile: `crm.imprt.v1`; known are crm.import.v1, email.send.v1, \
             finance.journal.v1, payment.refund.v1, social.publish.v1, support.reply.v1 (did you \
             mean `crm.import.v1`?)",
        )]);
    }

    #[test]
    fn a_required_profile_is_asked_for_before_anything_is_judged() {
        let engine = engine(&[
            ("p.yaml", "require_profile: crm.import.v1\nauto_approve_under: 9\n"),
            (
                "g.yaml",
                "gates: [{name: mail, resource: mail, policies: [{require_profile: \
                        email.send.v1}]}]",
            ),
            ("free.yaml", "auto_approve_under: 9\n"),
        ]);
        let required = String::from("crm.import.v1");
        let good = r#"{"object_type":"contact","record_count":1}"#;
        let missing = |name: &str| format!("metadata.{name} is missing or empty");
        let invalid = |profile: &str, messages: &[String]| {
            Some(Invalid { profile: profile.into(), messages: messages.to_vec() })
        };
        let cases = [
            ("crm", "p", None, good, Some(Required { required: required.clone() })),
            (
                "crm",
                "p",
                Some("email.send.v1"),
                good,
                Some(Mismatch { required, sent: "email.send.v1".into() }),
            ),
            ("crm", "p", Some("crm.import.v1"), good, None),
            (
                "crm",
                "p",
                Some("crm.import.v1"),
                r#"{"object_type":"","record_count":null}"#,
                invalid("crm.import.v1", &[missing("object_type"), missing("record_count")]),
            ),
            ("mail", "free", None, good, Some(Required { required: "email.send.v1".into() })),
            ("crm", "free", None, good, None),
            ("crm", "free", Some("email.send.v1"), r#"{"to":"a","subject":"b"}"#, None),
            (
                "crm",
                "free",
                Some("email.send.v1"),
                r#"{"to":"a"}"#,
                invalid("email.send.v1", &[missing("subject")]),
            ),
        ];
        for (destination, policy, profile, metadata, expected) in cases {
            let mut ask =
                Ask::to(destination).policy(policy).metadata(metadata).claim(1).json("{}");
            ask.proposal.profile = profile.map(Into::into);
            let fault = ask.facts(&engine).profile_fault;
            assert_eq!(fault, expected, "{destination} {policy} {profile:?} {metadata}");
        }
        let mut unknown = Ask::to("crm").policy("free");
        unknown.proposal.profile = Some("other.v1".into());
        assert!(matches!(unknown.facts(&engine).profile_fault, Some(Invalid { .. })));
        // An intent that stands already when the rule comes into force is blocked.
        let late = Ask::to("crm").policy("p").claim(1).json("{}").judged(&engine);
        assert_eq!(verdict(&late), (Block, "Policy requires profile 'crm.import.v1'"));
    }

    /// In a named policy too, whatever step ended the others.
    #[test]
    fn another_profile_or_none_is_blocked() {
        let in_gate = gate("require_profile: crm.import.v1");
        let in_policy = named("require_profile: crm.import.v1");
        let blocked = (Block, "Policy requires profile 'crm.import.v1'");
        for profile in [None, Some("email.send.v1"), Some("crm.import.v1")] {
            let [in_gate, in_policy] = [&in_gate, &in_policy].map(|engine| {
                let mut ask = Ask::under(engine).json("{}");
                ask.proposal.profile = profile.map(Into::into);
                (ask.finding(engine), ask.judged(engine))
            });
            let passes = profile == Some("crm.import.v1");
            for finding in [in_gate.0, in_policy.0] {
                assert_eq!(finding == Finding::Silent, passes, "{profile:?}");
            }
            let expected = if passes { (Allow, "") } else { blocked };
            assert_eq!(verdict(&in_gate.1), expected, "{profile:?}");
            let expected = if passes { (Hold, "Awaiting review") } else { blocked };
            assert_eq!(verdict(&in_policy.1), expected, "{profile:?}");
        }
    }
}
