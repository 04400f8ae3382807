//! Names of nodes, as they stand in certificates: `node-<id>.<cluster id>.qgate.internal`.
//!
//! `.internal` is reserved for private use, so nobody else's name looks like one of ours. The
//! cluster is part of the name: two clusters may share an authority and stay strangers.
//! Invariant: one node has one spelling; whatever is parsed prints as the same text.

use std::fmt;
use std::str::FromStr;

/// What all names of nodes end with.
const DOMAIN: &str = "qgate.internal";

/// Characters of a cluster's id.
const CLUSTER_ID_CHARS: usize = 32;

/// One node of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    cluster_id: String,
    node: u64,
}

/// A text that names no node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The cluster's id is malformed.
    #[error("cluster id `{0}` is malformed; it has 32 lower-case hexadecimal digits")]
    ClusterId(String),
    /// The name has another form.
    #[error("`{0}` names no node; the form is node-<id>.<cluster id>.qgate.internal")]
    Form(String),
}

impl NodeName {
    /// The name of a node.
    ///
    /// # Errors
    /// A cluster id that is not 32 lower-case hexadecimal digits.
    pub fn new(cluster_id: &str, node: u64) -> Result<Self, BadName> {
        if !is_cluster_id(cluster_id) {
            return Err(BadName::ClusterId(cluster_id.to_owned()));
        }
        Ok(Self { cluster_id: cluster_id.to_owned(), node })
    }

    /// The cluster, as 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The node's number in its cluster.
    #[must_use]
    pub fn node(&self) -> u64 {
        self.node
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "node-{}.{}.{DOMAIN}", self.node, self.cluster_id)
    }
}

impl FromStr for NodeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName::Form(text.to_owned());
        let rest = text.strip_prefix("node-").ok_or_else(bad)?;
        let (node, rest) = rest.split_once('.').ok_or_else(bad)?;
        let (cluster_id, domain) = rest.split_once('.').ok_or_else(bad)?;
        let node = node.parse().map_err(|_| bad())?;
        if domain != DOMAIN {
            return Err(bad());
        }
        let name = Self::new(cluster_id, node).map_err(|_| bad())?;
        // Other spellings of a number, such as `+1` and `01`, are other names.
        if name.to_string() == text { Ok(name) } else { Err(bad()) }
    }
}

/// Whether a DNS name is in the domain of nodes, in any spelling that TLS takes as the same.
pub(crate) fn is_in_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == DOMAIN || name.strip_suffix(DOMAIN).is_some_and(|rest| rest.ends_with('.'))
}

fn is_cluster_id(text: &str) -> bool {
    let digits = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == CLUSTER_ID_CHARS && text.bytes().all(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    #[rustfmt::skip]
    fn only_one_spelling_is_a_name() {
        let cases: [(&str, Option<u64>); 24] = [
            ("node-1.ID.qgate.internal",                    Some(1)),
            ("node-0.ID.qgate.internal",                    Some(0)),
            ("node-18446744073709551615.ID.qgate.internal", Some(u64::MAX)),
            ("node-18446744073709551616.ID.qgate.internal", None),
            ("node-01.ID.qgate.internal",                   None),
            ("node-+1.ID.qgate.internal",                   None),
            ("node--1.ID.qgate.internal",                   None),
            ("node-.ID.qgate.internal",                     None),
            ("node-1a.ID.qgate.internal",                   None),
            ("node-*.ID.qgate.internal",                    None),
            ("*.ID.qgate.internal",                         None),
            ("Node-1.ID.qgate.internal",                    None),
            ("node-1.ID.qgate.Internal",                    None),
            ("node-1.ID.qgate.internal.",                   None),
            ("node-1.ID.qgate.internal ",                   None),
            (" node-1.ID.qgate.internal",                   None),
            ("node-1.ID.qgate.internal.example",            None),
            ("node-1.ID.qgate.example",                     None),
            ("node-1.x.ID.qgate.internal",                  None),
            ("node-1.0123456789abcdef.qgate.internal",      None),
            ("node-1.IDf.qgate.internal",                   None),
            ("node-1.0123456789ABCDEF0123456789ABCDEF.qgate.internal", None),
            ("node-1.g123456789abcdef0123456789abcdef.qgate.internal", None),
            ("",                                            None),
        ];
        for (text, node) in cases {
            let text = text.replace("ID", ID);
            let expected = node.map(|node| NodeName::new(ID, node).unwrap());
            assert_eq!(text.parse::<NodeName>().ok(), expected, "{text:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn the_domain_is_known_in_every_spelling() {
        let cases = [
            ("node-1.ID.qgate.internal", true),  ("x.QGATE.Internal", true),
            ("*.qgate.internal",         true),  ("qgate.internal",   true),
            ("x.qgate.internal.",        true),  ("xqgate.internal",  false),
            ("qgate.internal.example",   false), ("localhost",        false),
            ("internal",                 false), ("",                 false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_in_domain(name), expected, "{name:?}");
        }
    }

    proptest! {
        /// Every name is read back as itself.
        #[test]
        fn names_are_read_as_printed(cluster_id in "[0-9a-f]{32}", node: u64) {
            let name = NodeName::new(&cluster_id, node).unwrap();
            prop_assert_eq!(name.to_string().parse::<NodeName>(), Ok(name));
        }

        /// Whatever is parsed prints as the same text, and nothing panics.
        #[test]
        fn what_parses_prints_the_same(
            text in "node-[0-9+]{0,3}\\.[0-9a-fA-F]{31,33}\\.qgate\\.internal\\.?",
        ) {
            if let Ok(name) = text.parse::<NodeName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
