//! Raft's messages as they travel, and back. What travels is checked here.
//!
//! Invariant: a message that does not make sense becomes an error, never a guess.

use openraft::impls::leader_id_adv::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tonic::Status;
use wire::peer;

use crate::codec;
use crate::raft::{Entry, LogId, TypeConfig, Vote};

/// What a stream of appends answers, one for each request.
pub(crate) type StreamResult = Result<Option<LogId>, StreamAppendError<TypeConfig>>;

fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("the message has no {what}"))
}

pub(crate) fn log_id(id: &LogId) -> peer::LogId {
    let LeaderId { term, node_id: node } = id.leader_id;
    peer::LogId { term, node, index: id.index }
}

pub(crate) fn log_id_of(id: peer::LogId) -> LogId {
    LogId { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
}

pub(crate) fn vote(vote: &Vote) -> peer::Vote {
    let LeaderId { term, node_id: node } = vote.leader_id;
    peer::Vote { term, node, committed: vote.committed }
}

pub(crate) fn vote_of(vote: Option<peer::Vote>) -> Result<Vote, Status> {
    let peer::Vote { term, node, committed } = vote.ok_or_else(|| missing("vote"))?;
    Ok(Vote { leader_id: LeaderId { term, node_id: node }, committed })
}

pub(crate) fn append_request(request: &AppendEntriesRequest<TypeConfig>) -> peer::AppendRequest {
    let entry = |entry: &Entry| {
        let (header, batch) = codec::entry_parts(entry);
        peer::Entry { index: entry.log_id.index, header: header.into(), batch }
    };
    peer::AppendRequest {
        vote: Some(vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id),
        entries: request.entries.iter().map(entry).collect(),
        committed: request.leader_commit.as_ref().map(log_id),
    }
}

pub(crate) fn append_request_of(
    request: peer::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let entry = |peer::Entry { index, header, batch }| {
        codec::decode_parts(index, &header, batch)
            .map_err(|error| Status::invalid_argument(format!("entry {index}: {error}")))
    };
    Ok(AppendEntriesRequest {
        vote: vote_of(request.vote)?,
        prev_log_id: request.previous.map(log_id_of),
        entries: request.entries.into_iter().map(entry).collect::<Result<_, _>>()?,
        leader_commit: request.committed.map(log_id_of),
    })
}

pub(crate) fn append_reply(result: &StreamResult) -> peer::AppendReply {
    use peer::append_reply::Result as Wire;
    let result = match result {
        Ok(matching) => Wire::Matching(peer::Matching { log_id: matching.as_ref().map(log_id) }),
        Err(StreamAppendError::Conflict(at)) => Wire::Conflict(log_id(at)),
        Err(StreamAppendError::HigherVote(higher)) => Wire::HigherVote(vote(higher)),
    };
    peer::AppendReply { result: Some(result) }
}

pub(crate) fn append_reply_of(reply: peer::AppendReply) -> Result<StreamResult, Status> {
    use peer::append_reply::Result as Wire;
    match reply.result.ok_or_else(|| missing("result"))? {
        Wire::Matching(peer::Matching { log_id }) => Ok(Ok(log_id.map(log_id_of))),
        Wire::Conflict(at) => Ok(Err(StreamAppendError::Conflict(log_id_of(at)))),
        Wire::HigherVote(higher) => Ok(Err(StreamAppendError::HigherVote(vote_of(Some(higher))?))),
    }
}

/// The answer to a single append, which says less than that of a stream.
pub(crate) fn single(result: StreamResult) -> AppendEntriesResponse<TypeConfig> {
    result.into()
}

/// The answer to a single append without entries, with what a stream says.
pub(crate) fn stream_result(
    answer: AppendEntriesResponse<TypeConfig>,
    previous: Option<LogId>,
) -> StreamResult {
    match (answer, previous) {
        (AppendEntriesResponse::Conflict, Some(previous)) => {
            Err(StreamAppendError::Conflict(previous))
        }
        (AppendEntriesResponse::HigherVote(vote), _) => Err(StreamAppendError::HigherVote(vote)),
        // Nothing conflicts with the beginning of the log.
        (AppendEntriesResponse::Conflict | AppendEntriesResponse::Success, _) => Ok(previous),
        (AppendEntriesResponse::PartialSuccess(matching), _) => Ok(matching),
    }
}

pub(crate) fn vote_request(request: &VoteRequest<TypeConfig>) -> peer::VoteRequest {
    peer::VoteRequest {
        vote: Some(vote(&request.vote)),
        last: request.last_log_id.as_ref().map(log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request_of(
    request: peer::VoteRequest,
) -> Result<VoteRequest<TypeConfig>, Status> {
    let mut asked = VoteRequest::new(vote_of(request.vote)?, request.last.map(log_id_of));
    asked.leadership_transfer = request.leadership_transfer;
    Ok(asked)
}

pub(crate) fn vote_reply(reply: &VoteResponse<TypeConfig>) -> peer::VoteReply {
    peer::VoteReply {
        vote: Some(vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(log_id),
    }
}

pub(crate) fn vote_reply_of(reply: peer::VoteReply) -> Result<VoteResponse<TypeConfig>, Status> {
    let vote = vote_of(reply.vote)?;
    Ok(VoteResponse::new(vote, reply.last.map(log_id_of), reply.granted))
}

pub(crate) fn transfer_request(
    request: &TransferLeaderRequest<TypeConfig>,
) -> peer::TransferRequest {
    peer::TransferRequest {
        from: Some(vote(request.from_leader())),
        to: *request.to_node_id(),
        last: request.last_log_id().map(log_id),
    }
}

pub(crate) fn transfer_request_of(
    request: peer::TransferRequest,
) -> Result<TransferLeaderRequest<TypeConfig>, Status> {
    let from = vote_of(request.from)?;
    Ok(TransferLeaderRequest::new(from, request.to, request.last.map(log_id_of)))
}

pub(crate) fn transfer_reply(reply: &TransferLeaderResponse<TypeConfig>) -> peer::TransferReply {
    use peer::transfer_reply::Refused;
    let refused = match reply {
        Ok(()) => None,
        Err(TransferLeaderError::VoteChanged { actual, .. }) => {
            Some(Refused::OtherVote(vote(actual)))
        }
        Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
            let log_id = actual.as_ref().map(log_id);
            Some(Refused::Behind(peer::Matching { log_id }))
        }
    };
    peer::TransferReply { refused }
}

pub(crate) fn transfer_reply_of(
    reply: peer::TransferReply,
    asked: &TransferLeaderRequest<TypeConfig>,
) -> Result<TransferLeaderResponse<TypeConfig>, Status> {
    use peer::transfer_reply::Refused;
    Ok(match reply.refused {
        None => Ok(()),
        Some(Refused::OtherVote(actual)) => {
            let (expected, actual) = (*asked.from_leader(), vote_of(Some(actual))?);
            Err(TransferLeaderError::VoteChanged { expected, actual })
        }
        Some(Refused::Behind(peer::Matching { log_id })) => {
            let (expected, actual) = (asked.last_log_id().copied(), log_id.map(log_id_of));
            Err(TransferLeaderError::LogNotFlushed { expected, actual })
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::entry::RaftEntry as _;

    use super::*;
    use crate::raft::{BatchBytes, Payload};

    fn id(index: u64) -> LogId {
        LogId { leader_id: LeaderId { term: 7, node_id: 3 }, index }
    }

    fn a_vote() -> Vote {
        Vote { leader_id: LeaderId { term: 8, node_id: 2 }, committed: true }
    }

    #[test]
    fn what_travels_arrives() {
        for (previous, batches) in [(None, 0), (Some(id(4)), 3)] {
            let entries = (0..batches).map(|at| {
                let batch = BatchBytes(Bytes::from(vec![7; at]));
                Entry::new(id(5 + at as u64), Payload::Normal(batch))
            });
            let request = AppendEntriesRequest::<TypeConfig> {
                vote: a_vote(),
                prev_log_id: previous,
                entries: entries.chain([Entry::new(id(9), Payload::Blank)]).collect(),
                leader_commit: previous,
            };
            let arrived = append_request_of(append_request(&request)).expect("whole");
            assert_eq!(format!("{arrived:?}"), format!("{request:?}"));
        }
        for result in [
            Ok(None),
            Ok(Some(id(9))),
            Err(StreamAppendError::Conflict(id(2))),
            Err(StreamAppendError::HigherVote(a_vote())),
        ] {
            assert_eq!(append_reply_of(append_reply(&result)).expect("whole"), result);
        }
        let mut request = VoteRequest::<TypeConfig>::new(a_vote(), Some(id(3)));
        request.leadership_transfer = true;
        assert_eq!(vote_request_of(vote_request(&request)).expect("whole"), request);
        let reply = VoteResponse::<TypeConfig>::new(a_vote(), Some(id(3)), true);
        assert_eq!(vote_reply_of(vote_reply(&reply)).expect("whole"), reply);
        let transfer = TransferLeaderRequest::<TypeConfig>::new(a_vote(), 3, Some(id(3)));
        assert_eq!(transfer_request_of(transfer_request(&transfer)).expect("whole"), transfer);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(append_request_of(peer::AppendRequest::default()).is_err(), "no vote");
        let entry =
            peer::Entry { index: 1, header: Bytes::from_static(&[9]), ..Default::default() };
        let vote = Some(vote(&a_vote()));
        let request = peer::AppendRequest { vote, entries: vec![entry], ..Default::default() };
        assert!(append_request_of(request).is_err(), "an unknown format");
        assert!(append_reply_of(peer::AppendReply::default()).is_err());
        assert!(vote_request_of(peer::VoteRequest::default()).is_err());
        assert!(transfer_request_of(peer::TransferRequest::default()).is_err());
    }
}
