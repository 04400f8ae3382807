//! `block_if_terms: [refund guaranteed, …]`: words that must not occur in a payload.
//!
//! Payload and term are folded alike ([`crate::text::fold`]): case, accents, look-alike digits,
//! punctuation and letters set apart make no difference. A term also hits inside a longer word.
//! Text is judged whole, JSON string by string after decoding; keys are not judged. The name of a
//! file reference is judged, its content is not seen: in a gate that holds.

use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlockIfTerms {
    /// As written.
    #[n(0)]
    pub terms: Vec<String>,
}

impl BlockIfTerms {
    pub(super) const KEY: &'static str = "block_if_terms";
}

#[cfg(feature = "parse")]
mod parse {
    use super::BlockIfTerms;
    use crate::compile::{Node, Report};
    use crate::facts::Finding;
    use crate::payload::{Content, View};
    use crate::rules::RuleKind;
    use crate::text::fold::{self, Folder};
    use crate::text::path::Path;
    use crate::text::walk::{self, Hits};

    /// The folded terms, in the document's order.
    pub(in crate::rules) type FoldedTerms = Vec<String>;

    impl BlockIfTerms {
        pub(in crate::rules) fn parse(node: &Node, report: &mut Report<'_>) -> Option<RuleKind> {
            let terms = report.text_list(node)?;
            let list = node.list().unwrap_or_default();
            for (term, item) in terms.iter().zip(list) {
                if fold::fold(term).is_empty() {
                    let message = "the term has neither letters nor digits, so it never matches";
                    report.error(item, message);
                    return None;
                }
            }
            Some(RuleKind::BlockIfTerms(Self { terms }))
        }

        pub(in crate::rules) fn prepare(&self) -> FoldedTerms {
            self.terms.iter().map(|term| fold::fold(term)).collect()
        }

        pub(in crate::rules) fn facts(
            &self,
            folded: &FoldedTerms,
            view: &View<'_>,
            named: bool,
        ) -> Finding {
            let mut search = Search { folded, folder: Folder::default(), hits: Hits::default() };
            let mut first = None;
            match &view.content {
                Content::Absent => return Finding::Silent,
                Content::Text(text) => search.text(text, &Path::Root, &mut first),
                Content::Opaque(name) => search.text(name, &Path::Root, &mut first),
                Content::Json(value) => walk::strings(value, &mut |text, path| {
                    search.text(text, path, &mut first);
                }),
            }
            let opaque = matches!(view.content, Content::Opaque(_));
            match first.and_then(|index| self.terms.get(index)) {
                Some(term) => {
                    let message = format!("Payload contains blocked term: \"{term}\"");
                    Finding::Found(search.hits.found(message))
                }
                None if opaque && !named => {
                    let message = "the payload's text is not here, so its terms cannot be checked";
                    Finding::Failed(message.into())
                }
                None => Finding::Silent,
            }
        }
    }

    struct Search<'a> {
        folded: &'a FoldedTerms,
        folder: Folder,
        hits: Hits,
    }

    impl Search<'_> {
        /// One hit per string; `first` is the first term in the document's order.
        fn text(&mut self, text: &str, path: &Path<'_>, first: &mut Option<usize>) {
            let found = self.folder.first_of(text, self.folded);
            if let Some(index) = found {
                self.hits.add(path, text);
                *first = Some(first.map_or(index, |first| first.min(index)));
            }
        }
    }
}

#[cfg(feature = "parse")]
pub(super) use parse::FoldedTerms;

#[cfg(all(test, feature = "parse"))]
mod tests {
    use types::Outcome::{Allow, Block, Hold};

    use crate::common::{Ask, gate, named, refused, says, says_of_counts};
    use crate::facts::Finding;

    const FOUND: &str = "Payload contains blocked term: \"refund guaranteed\"";

    #[test]
    #[rustfmt::skip]
    fn terms_are_a_list_of_what_can_match() {
        refused(&[
            ("block_if_terms: ['!!!']\n",
             "1:18: the term has neither letters nor digits, so it never matches"),
            ("block_if_terms: [ok, '!!!']\n",
             "1:22: the term has neither letters nor digits, so it never matches"),
            ("block_if_terms: refund\n", "1:17: expected a list of texts, found text"),
            ("block_if_terms: []\n", "1:17: expected 1 to 256 entries, found 0"),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn terms_are_seen_through_disguises() {
        let engine = gate("block_if_terms: [refund guaranteed]");
        let unseen = "the payload's text is not here, so its terms cannot be checked";
        says(&engine, &[
            ("Refund GUARANTEED!", Block, FOUND),
            ("refund guaranteed, see terms.txt", Block, FOUND),
            ("{\"a\":[\"\\u0072éfund gu4ranteed\"]}", Block, FOUND),
            ("data:text/plain;base64,cmVmdW5kIGd1YXJhbnRlZWQ=", Block, FOUND),
            ("{\"refund guaranteed\":\"no\"}", Allow, ""),
            ("refund-guaranteed.txt", Block, FOUND),
            ("notes.txt", Hold, unseen),
            ("hello", Allow, ""),
        ]);
        assert_eq!(Ask::to("r").judged(&engine).outcome, Allow, "nothing was sent");
    }

    #[test]
    fn a_named_policy_lets_pass_what_it_cannot_see() {
        let engine = named("auto_approve_under: 1\nblock_if_terms: [refund guaranteed]");
        let within = "Record count 1 is within auto-approve threshold (1)";
        says_of_counts(
            &engine,
            &[
                ("leads.csv", Some(1), Allow, within),
                ("refund-guaranteed.txt", Some(1), Block, FOUND),
                ("{\"a\":\"refund guaranteed\"}", Some(1), Block, FOUND),
                ("hello", Some(1), Allow, within),
            ],
        );
    }

    /// The message names the first term of the document, the hits come in the payload's order.
    #[test]
    fn every_string_is_one_hit() {
        let engine = gate("block_if_terms: [beta, alpha]");
        let ask = Ask::to("r").json("{\"a\":\"alpha\",\"b\":[\"no\",\"alpha beta alpha\"]}");
        let Finding::Found(found) = ask.finding(&engine) else {
            panic!("{:?}", ask.finding(&engine));
        };
        assert_eq!(found.message, "Payload contains blocked term: \"beta\"");
        let hits: Vec<_> =
            found.hits.iter().map(|hit| (hit.path.as_str(), hit.excerpt.as_str())).collect();
        assert_eq!(hits, [("$.a", "alpha"), ("$.b[1]", "alpha beta alpha")]);
        assert_eq!(found.total, 2);
    }
}
