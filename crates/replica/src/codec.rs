//! What this crate stores: entries, votes, log ids, memberships, the node's identity.
//!
//! Every form is `format byte ‖ CBOR`; an entry's batch follows its header as it is, so that it is
//! never copied. Invariant: a newer format is refused, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode};
use openraft::entry::RaftEntry as _;
use openraft::impls::leader_id_adv::LeaderId;
use types::NodeId;
use types::codec::{CodecError, decode, encode};

use crate::raft::{BatchBytes, Entry, LogId, Membership, NodeAddress, Payload, Vote};

const FORMAT: u8 = 1;

/// Who a data directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Identity {
    #[n(0)]
    pub(crate) node: NodeId,
    #[n(1)]
    pub(crate) cluster_id: String,
    /// Drawn with the directory: a node that lost its data is another one.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) incarnation: [u8; 16],
}

#[derive(Clone, Copy, Encode, Decode)]
struct LogIdForm {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    index: u64,
}

#[derive(Encode, Decode)]
struct VoteForm {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    committed: bool,
}

#[derive(Encode, Decode)]
struct HeaderForm {
    #[n(0)]
    term: u64,
    #[n(1)]
    node: u64,
    #[n(2)]
    kind: KindForm,
}

#[derive(Encode, Decode)]
#[cbor(index_only)]
enum KindForm {
    #[n(0)]
    Blank,
    #[n(1)]
    Batch,
    #[n(2)]
    Membership,
}

#[derive(Encode, Decode)]
struct NodeForm {
    #[n(0)]
    id: u64,
    #[n(1)]
    http: String,
    #[n(2)]
    peer: String,
    #[n(3)]
    region: String,
    #[n(4)]
    priority: u32,
    #[cbor(n(5), with = "minicbor::bytes")]
    incarnation: [u8; 16],
    #[n(6)]
    shall_vote: bool,
}

#[derive(Encode, Decode)]
struct MembershipForm {
    #[n(0)]
    log_id: Option<LogIdForm>,
    #[n(1)]
    voters: Vec<Vec<u64>>,
    #[n(2)]
    nodes: Vec<NodeForm>,
}

pub(crate) fn encode_log_id(id: &LogId) -> Vec<u8> {
    with_format(&log_id_form(id))
}

pub(crate) fn decode_log_id(bytes: &[u8]) -> Result<LogId, CodecError> {
    without_format(bytes, "log id").map(log_id_of)
}

pub(crate) fn encode_vote(vote: &Vote) -> Vec<u8> {
    let Vote { leader_id: LeaderId { term, node_id: node }, committed } = *vote;
    with_format(&VoteForm { term, node, committed })
}

pub(crate) fn decode_vote(bytes: &[u8]) -> Result<Vote, CodecError> {
    let VoteForm { term, node, committed } = without_format(bytes, "vote")?;
    Ok(Vote { leader_id: LeaderId { term, node_id: node }, committed })
}

pub(crate) fn encode_identity(identity: &Identity) -> Vec<u8> {
    with_format(identity)
}

pub(crate) fn decode_identity(bytes: &[u8]) -> Result<Identity, CodecError> {
    without_format(bytes, "node identity")
}

pub(crate) fn encode_membership(membership: &Membership) -> Vec<u8> {
    with_format(&membership_form(membership.log_id().as_ref(), membership.membership()))
}

pub(crate) fn decode_membership(bytes: &[u8]) -> Result<Membership, CodecError> {
    let form: MembershipForm = without_format(bytes, "membership")?;
    let (log_id, membership) = membership_of(form)?;
    Ok(Membership::new(log_id, membership))
}

/// The index is the key of the log and not part of the value.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let (mut bytes, batch) = entry_parts(entry);
    bytes.extend_from_slice(&batch);
    bytes
}

/// An encoded entry in two parts, one behind the other: its batch is not copied.
pub(crate) fn entry_parts(entry: &Entry) -> (Vec<u8>, Bytes) {
    let LeaderId { term, node_id: node } = entry.log_id.leader_id;
    let header = |kind| with_format(&HeaderForm { term, node, kind });
    match &entry.payload {
        Payload::Blank => (header(KindForm::Blank), Bytes::new()),
        Payload::Normal(batch) => (header(KindForm::Batch), batch.0.clone()),
        Payload::Membership(membership) => {
            let form = encode(&membership_form(None, membership));
            (header(KindForm::Membership), form.into())
        }
    }
}

pub(crate) fn decode_entry(index: u64, bytes: &Bytes) -> Result<Entry, CodecError> {
    let (header, length) = decode_header(bytes)?;
    entry_of(index, &header, bytes.slice(length..))
}

/// An entry of its two parts.
pub(crate) fn decode_parts(index: u64, header: &[u8], batch: Bytes) -> Result<Entry, CodecError> {
    match decode_header(header)? {
        (form, length) if length == header.len() => entry_of(index, &form, batch),
        (_, length) => Err(CodecError { what: "log entry", at: Some(length) }),
    }
}

fn decode_header(bytes: &[u8]) -> Result<(HeaderForm, usize), CodecError> {
    let Some((&FORMAT, rest)) = bytes.split_first() else {
        return Err(CodecError { what: "log entry", at: None });
    };
    let mut decoder = Decoder::new(rest);
    let header: HeaderForm =
        decoder.decode().map_err(|error| CodecError { what: "log entry", at: error.position() })?;
    Ok((header, 1 + decoder.position()))
}

fn entry_of(index: u64, header: &HeaderForm, rest: Bytes) -> Result<Entry, CodecError> {
    let payload = match header.kind {
        KindForm::Blank if rest.is_empty() => Payload::Blank,
        KindForm::Blank => return Err(CodecError { what: "log entry", at: None }),
        KindForm::Batch => Payload::Normal(BatchBytes(rest)),
        KindForm::Membership => Payload::Membership(membership_of(decode(&rest, "membership")?)?.1),
    };
    let leader_id = LeaderId { term: header.term, node_id: header.node };
    Ok(Entry::new(LogId { leader_id, index }, payload))
}

fn with_format<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend(encode(value));
    bytes
}

fn without_format<'b, T: Decode<'b, ()>>(
    bytes: &'b [u8],
    what: &'static str,
) -> Result<T, CodecError> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => decode(rest, what),
        _ => Err(CodecError { what, at: Some(0) }),
    }
}

fn log_id_form(id: &LogId) -> LogIdForm {
    LogIdForm { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
}

fn log_id_of(form: LogIdForm) -> LogId {
    LogId { leader_id: LeaderId { term: form.term, node_id: form.node }, index: form.index }
}

type Voters = openraft::Membership<u64, NodeAddress>;

fn membership_form(log_id: Option<&LogId>, membership: &Voters) -> MembershipForm {
    let configs = membership.get_joint_config().iter();
    let node = |(id, node): (&u64, &NodeAddress)| NodeForm {
        id: *id,
        http: node.http.clone(),
        peer: node.peer.clone(),
        region: node.region.clone(),
        priority: node.priority,
        incarnation: node.incarnation,
        shall_vote: node.shall_vote,
    };
    MembershipForm {
        log_id: log_id.map(log_id_form),
        voters: configs.map(|voters| voters.iter().copied().collect()).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

fn membership_of(form: MembershipForm) -> Result<(Option<LogId>, Voters), CodecError> {
    let log_id = form.log_id.map(log_id_of);
    let voters: Vec<BTreeSet<u64>> =
        form.voters.into_iter().map(|voters| voters.into_iter().collect()).collect();
    let nodes: BTreeMap<u64, NodeAddress> = form
        .nodes
        .into_iter()
        .map(|node| {
            let NodeForm { id, http, peer, region, priority, incarnation, shall_vote } = node;
            (id, NodeAddress { http, peer, region, priority, incarnation, shall_vote })
        })
        .collect();
    if voters.is_empty() && nodes.is_empty() {
        return Ok((log_id, Voters::default()));
    }
    let membership =
        Voters::new(voters, nodes).map_err(|_| CodecError { what: "membership", at: None })?;
    Ok((log_id, membership))
}

#[cfg(test)]
mod tests {
    use types::hex;

    use super::*;

    fn log_id() -> LogId {
        LogId { leader_id: LeaderId { term: 3, node_id: 2 }, index: 500 }
    }

    fn voters() -> Voters {
        let node = |region: &str| NodeAddress {
            http: "h:1".into(),
            peer: "p:2".into(),
            region: region.into(),
            priority: 5,
            incarnation: [9; 16],
            shall_vote: region.is_empty(),
        };
        let nodes = BTreeMap::from([(1, node("a")), (2, node("b")), (3, node(""))]);
        Voters::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2])], nodes).expect("voters")
    }

    fn entries() -> [Entry; 3] {
        [
            Payload::Blank,
            Payload::Normal(BatchBytes(Bytes::from_static(b"batch"))),
            Payload::Membership(voters()),
        ]
        .map(|payload| Entry::new(log_id(), payload))
    }

    /// Stored forms are contracts: an older data directory must still be read.
    #[test]
    fn golden() {
        let [blank, batch, membership] = entries().map(|entry| hex(&encode_entry(&entry)));
        let vote = Vote { leader_id: LeaderId { term: 3, node_id: 2 }, committed: true };
        let identity = Identity { node: NodeId(2), cluster_id: "c1".into(), incarnation: [8; 16] };
        let stored = Membership::new(Some(log_id()), voters());
        let forms = [
            (blank, "0183030200"),
            (batch, "01830302016261746368"),
            (
                membership,
                "018303020283f6828201028102 83\
                 870163683a3163703a326161055009090909090909090909090909090909f4\
                 870263683a3163703a326162055009090909090909090909090909090909f4\
                 870363683a3163703a3260055009090909090909090909090909090909f5",
            ),
            (hex(&encode_vote(&vote)), "01830302f5"),
            (hex(&encode_log_id(&log_id())), "018303021901f4"),
            (hex(&encode_identity(&identity)), "01830262633150 08080808080808080808080808080808"),
            (
                hex(&encode_membership(&stored)),
                "018383030219 01f4828201028102 83\
                 870163683a3163703a326161055009090909090909090909090909090909f4\
                 870263683a3163703a326162055009090909090909090909090909090909f4\
                 870363683a3163703a3260055009090909090909090909090909090909f5",
            ),
        ];
        for (position, (found, expected)) in forms.into_iter().enumerate() {
            assert_eq!(found, expected.replace(' ', ""), "form {position}");
        }
    }

    #[test]
    fn every_form_comes_back() {
        for entry in entries() {
            let bytes = Bytes::from(encode_entry(&entry));
            assert_eq!(decode_entry(500, &bytes).as_ref(), Ok(&entry));
        }
        for committed in [true, false] {
            let vote = Vote { leader_id: LeaderId { term: 9, node_id: 1 }, committed };
            assert_eq!(decode_vote(&encode_vote(&vote)), Ok(vote));
        }
        assert_eq!(decode_log_id(&encode_log_id(&log_id())), Ok(log_id()));
        for membership in [Membership::default(), Membership::new(Some(log_id()), voters())] {
            assert_eq!(decode_membership(&encode_membership(&membership)), Ok(membership));
        }
        let identity = Identity { node: NodeId(7), cluster_id: "x".into(), incarnation: [8; 16] };
        assert_eq!(decode_identity(&encode_identity(&identity)), Ok(identity));
    }

    #[test]
    fn another_format_or_damage_is_refused() {
        for entry in entries() {
            let mut bytes = encode_entry(&entry);
            bytes[0] = 2;
            assert!(decode_entry(500, &bytes.clone().into()).is_err(), "newer format");
            bytes[0] = 1;
            bytes[1] = 0xff;
            assert!(decode_entry(500, &bytes.into()).is_err(), "no header");
        }
        assert!(decode_entry(1, &Bytes::new()).is_err());
        assert!(decode_entry(1, &Bytes::from_static(&[1, 0x83, 3, 2, 0, 9])).is_err(), "more");
        assert!(decode_vote(&[2, 0x83, 1, 1, 0xf5]).is_err());
        assert!(decode_membership(&[1]).is_err());
    }
}
