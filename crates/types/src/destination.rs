//! Destinations: what the executor needs to know of a target, compiled from a YAML document.
//!
//! A document travels as its source and as this form; apply never parses text. Templates and
//! `${secret:NAME}` references stand here as written: they are filled in on the node that
//! executes, at the moment of use.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::digest::Digest;
use crate::glob;

/// One destination.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Destination {
    /// The resource that it serves, or a glob over resources.
    #[n(0)]
    pub name: String,
    /// Overrules the environment in an agent's metadata.
    #[n(1)]
    pub environment: Option<String>,
    /// How an allowed intent is carried out.
    #[n(2)]
    pub connector: Connector,
    /// When a connector runs.
    #[n(3)]
    pub execute: ExecuteWhen,
    /// Calls at a time, from 1.
    #[n(4)]
    pub concurrency: u16,
    /// SHA-256 of the document as written.
    #[n(5)]
    pub digest: Digest,
    /// The document as written.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub source: Vec<u8>,
}

/// How an allowed intent is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Connector {
    /// By a worker, with an order and its token.
    #[n(0)]
    Worker,
    /// By the gate, with one HTTP request.
    #[n(1)]
    Http(#[n(0)] Box<HttpTarget>),
}

impl Connector {
    /// The word of the document's `kind`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Http(_) => "http",
        }
    }
}

/// When a connector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ExecuteWhen {
    /// As soon as an intent is allowed.
    #[n(0)]
    OnApproval,
    /// When `execute` is called.
    #[n(1)]
    OnRequest,
}

impl ExecuteWhen {
    /// The word of the document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnApproval => "on_approval",
            Self::OnRequest => "on_request",
        }
    }
}

/// One HTTP request per intent. Url, headers and body are templates.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct HttpTarget {
    /// Upper case, such as `POST`.
    #[n(0)]
    pub method: String,
    /// `http` or `https`.
    #[n(1)]
    pub url: String,
    /// In the order of the document.
    #[n(2)]
    pub headers: Vec<(String, String)>,
    /// `None` sends no body.
    #[n(3)]
    pub body: Option<String>,
    /// For the whole exchange, in milliseconds.
    #[n(4)]
    pub timeout_ms: u32,
    /// The target honours `Idempotency-Key`, so a call may be made again.
    #[n(5)]
    pub honours_idempotency_key: bool,
    /// Statuses that mean done.
    #[n(6)]
    pub success: Vec<StatusRange>,
    /// Statuses that prove that nothing happened.
    #[n(7)]
    pub failed_without_effect: Vec<StatusRange>,
}

/// Statuses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct StatusRange {
    /// The first.
    #[n(0)]
    pub first: u16,
    /// The last.
    #[n(1)]
    pub last: u16,
}

impl StatusRange {
    /// Whether a status is in it.
    #[must_use]
    pub fn holds(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl Destination {
    /// The gate itself carries out what is allowed here.
    #[must_use]
    pub fn has_connector(&self) -> bool {
        self.connector != Connector::Worker
    }

    /// A connector runs without being asked.
    #[must_use]
    pub fn runs_on_approval(&self) -> bool {
        self.has_connector() && self.execute == ExecuteWhen::OnApproval
    }

    /// A call whose answer was lost may be made again.
    #[must_use]
    pub fn may_repeat(&self) -> bool {
        match &self.connector {
            Connector::Worker => false,
            Connector::Http(target) => target.honours_idempotency_key,
        }
    }

    /// Every text in which a `${secret:NAME}` may stand.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        let target = match &self.connector {
            Connector::Worker => None,
            Connector::Http(target) => Some(target),
        };
        target.into_iter().flat_map(|target| {
            let headers = target.headers.iter().map(|(_, value)| value.as_str());
            [target.url.as_str()].into_iter().chain(headers).chain(target.body.as_deref())
        })
    }
}

/// The destination that serves a resource: the exact name wins, then the longest literal prefix.
#[must_use]
pub fn serving<'d>(destinations: &'d [Destination], resource: &str) -> Option<&'d Destination> {
    destinations.get(serving_at(destinations, resource)?)
}

/// Where in a set the destination stands that serves a resource.
#[must_use]
pub fn serving_at(destinations: &[Destination], resource: &str) -> Option<usize> {
    destinations
        .iter()
        .enumerate()
        .filter_map(|(at, found)| Some((glob::fit(&found.name, resource)?, at, found)))
        .max_by(|(one, _, first), (other, _, second)| {
            // Of two equally good patterns the one that sorts first, so that order says nothing.
            one.cmp(other).then_with(|| second.name.cmp(&first.name))
        })
        .map(|(_, at, _)| at)
}

/// Names of the secrets that a text refers to as `${secret:NAME}`.
pub fn secret_names(text: &str) -> impl Iterator<Item = &str> {
    text.split("${secret:").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn worker(name: &str) -> Destination {
        Destination {
            name: name.into(),
            environment: None,
            connector: Connector::Worker,
            execute: ExecuteWhen::OnApproval,
            concurrency: 1,
            digest: Digest([0; 32]),
            source: vec![],
        }
    }

    #[test]
    fn one_destination_serves_a_resource() {
        let all = ["*", "crm.*", "crm.*s", "crm.contacts"].map(worker);
        let served = |name: &str| serving(&all, name).map(|found| found.name.as_str());
        assert_eq!(served("crm.contacts"), Some("crm.contacts"));
        assert_eq!(served("crm.deals"), Some("crm.*"), "of equal prefixes the one sorted first");
        assert_eq!(served("phone"), Some("*"));
        assert_eq!(serving(&all[1..], "phone"), None);
    }

    #[test]
    fn secrets_are_found_by_name() {
        let names = |text| secret_names(text).collect::<Vec<_>>();
        assert_eq!(names("Bearer ${secret:phone_token}"), ["phone_token"]);
        assert_eq!(names("${secret:a}:${secret:b}"), ["a", "b"]);
        assert_eq!(names("${secret:open ${HOME}"), ["open ${HOME"]);
        assert!(names("nothing ${HOME}").is_empty());
    }
}
