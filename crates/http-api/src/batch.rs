//! `POST /v1/intents/batch`: many intents in one request, a line each, answered line by line.
//!
//! Each line is what `POST /v1/intents` takes as its body, and gets the answer that this would
//! give, with what would stand in its head beside it. Lines are judged in order; a bad one fails
//! alone. Invariant: a line of the answer leaves after its command is durable and applied, and
//! after the lines before it; an answer that is cut off has fewer lines than the request.

use std::collections::VecDeque;
use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use gate::{NotJudged, Piece, SubmitRequest};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{Instrument, Span};
use types::limits::{INLINE_BYTES_MAX, INTENT_BATCH_LINES_MAX, INTENT_PIECE_LINES_MAX};
use types::{KeyId, Role};

use crate::body::{JsonBody, LinesBody, NDJSON, malformed};
use crate::call::Authed;
use crate::finish::{RequestId, StillMade};
use crate::problem::Problem;
use crate::propose::{NEEDS, Spelling, read_named, told};
use crate::propose_answer::Place;
use crate::state::App;

type Judged = gate::Judged<Problem>;

/// Some lines that follow each other.
struct Lines {
    bytes: Bytes,
    /// Number of the first one, from 1.
    first: usize,
}

/// `POST /v1/intents/batch`.
pub(crate) async fn batch(
    State(app): State<App>,
    mut call: Authed,
    body: LinesBody,
) -> Result<Response, Problem> {
    call.need(Role::may_submit, NEEDS).await?;
    if call.idempotency_key.is_some() {
        let message = "a batch is not remembered as a whole; give each item a `request_key`";
        return Err(Problem::field("Idempotency-Key", message));
    }
    let LinesBody { bytes, room, request_id } = body;
    let length = bytes.len();
    let pieces = app.gate.beside().run(length, move || cut(&bytes)).await??;
    let lines = pieces.iter().map(|piece| piece.items).sum();
    call.counts_as(lines)?;
    // Answers wait here for a caller that reads slowly, so that nothing else does.
    let (out, judged) = mpsc::channel(lines);
    let key = call.caller.key;
    let mut task = JoinSet::new();
    let work = async move {
        app.gate.submit_batch(&call.caller, pieces, move |lines| read(key, &lines), &out).await;
        // Room and places in flight are free once all is judged, however long the caller reads.
        drop((room, call));
    };
    task.spawn(work.in_current_span());
    let (buffer, next, span) = (VecDeque::new(), 1, Span::current());
    let answers = Answers { judged, buffer, next, lines, task, request_id, span };
    let body = Body::from_stream(stream::unfold(answers, Answers::step));
    let mut response = (StatusCode::OK, body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(StillMade);
    Ok(response)
}

/// Cuts a body into pieces of some lines each. Space at its end is no line.
///
/// # Errors
/// 400 without a line, and with too many.
fn cut(body: &Bytes) -> Result<Vec<Piece<Lines>>, Problem> {
    let text = body.trim_ascii_end();
    if text.is_empty() {
        return Err(Problem::field("body", "empty; send one JSON object a line"));
    }
    let mut pieces = Vec::new();
    let (mut start, mut items, mut lines, mut end) = (0, 0, 0, 0);
    for line in text.split(|byte| *byte == b'\n') {
        lines += 1;
        if lines > INTENT_BATCH_LINES_MAX {
            let message = format!("more than {INTENT_BATCH_LINES_MAX} lines; nothing was done");
            let problem = Problem::field("body", message);
            return Err(problem.with("limit_lines", INTENT_BATCH_LINES_MAX));
        }
        let after = end + line.len() + 1;
        if items == INTENT_PIECE_LINES_MAX || (items > 0 && after - start > INLINE_BYTES_MAX) {
            pieces.push(piece(body.slice(start..end), items, lines - items));
            (start, items) = (end, 0);
        }
        (items, end) = (items + 1, after);
    }
    pieces.push(piece(body.slice(start..text.len()), items, lines + 1 - items));
    Ok(pieces)
}

fn piece(bytes: Bytes, items: usize, first: usize) -> Piece<Lines> {
    Piece { items, bytes: bytes.len(), content: Lines { bytes, first } }
}

/// Reads the lines of a piece, each as if it were the body of a request.
fn read(key: KeyId, lines: &Lines) -> Vec<Result<SubmitRequest, Problem>> {
    let text = lines.bytes.strip_suffix(b"\n").unwrap_or(&lines.bytes);
    let numbered = text.split(|byte| *byte == b'\n').zip(lines.first..);
    numbered.map(|(line, number)| read_line(key, line, number)).collect()
}

fn read_line(key: KeyId, line: &[u8], number: usize) -> Result<SubmitRequest, Problem> {
    if line.trim_ascii().is_empty() {
        return Err(Problem::field("$", "an empty line; only the end of the body may have some"));
    }
    let value = policy::json::parse(line).map_err(|mut error| {
        error.line = number;
        malformed(&error)
    })?;
    if !value.is_object() {
        return Err(Problem::field("$", "expected an object"));
    }
    read_named(key, None, JsonBody::of(value, line.len()), Spelling::Intents)
}

/// What becomes the body of the answer.
struct Answers {
    judged: mpsc::Receiver<Judged>,
    /// What is judged and not yet on its way.
    buffer: VecDeque<Judged>,
    /// Number of the line that comes next, from 1.
    next: usize,
    lines: usize,
    /// Ends with this.
    task: JoinSet<()>,
    request_id: RequestId,
    span: Span,
}

impl Answers {
    /// All lines that are there by now, up to so many at a time.
    async fn step(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.buffer.is_empty() {
            let mut more = Vec::new();
            self.judged.recv_many(&mut more, INTENT_PIECE_LINES_MAX).await;
            self.buffer = more.into();
        }
        if !self.buffer.is_empty() {
            let bytes = self.print();
            return Some((Ok(bytes), self));
        }
        let is_whole = self.next == self.lines + 1;
        if is_whole && self.task.join_next().await.is_none_or(|ended| ended.is_ok()) {
            return None;
        }
        self.span.in_scope(|| tracing::error!(line = self.next, "a batch broke off"));
        // The next step would be asked for only after an error that nobody minds.
        self.next = self.lines + 1;
        self.task = JoinSet::new();
        Some((Err(io::Error::other("the batch broke off")), self))
    }

    fn print(&mut self) -> Bytes {
        let mut text = Vec::new();
        while text.len() < INLINE_BYTES_MAX
            && let Some(judged) = self.buffer.pop_front()
        {
            let problem = match judged {
                Ok(answer) => told(&answer, Place::Line).map(|told| told.write_line(&mut text)),
                Err(NotJudged::Unread(problem)) => Err(problem),
                Err(NotJudged::Failed(error)) => Err(error.into()),
            };
            if let Err(problem) = problem {
                if let Some(cause) = problem.cause() {
                    let line = self.next;
                    self.span.in_scope(|| tracing::error!(cause, line, "a line failed"));
                }
                problem.write_line(self.request_id.text(), self.next, &mut text);
            }
            self.next += 1;
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line is in one piece, under its number, whatever ends it.
    #[test]
    fn pieces_hold_every_line_once() {
        let (long, half) = ("x".repeat(INLINE_BYTES_MAX + 1), "y".repeat(INLINE_BYTES_MAX / 2));
        let cases = [
            ("a".to_owned(), vec![1]),
            ("a\n".to_owned(), vec![1]),
            ("a\n\nb\r\n \n\n".to_owned(), vec![3]),
            ("\na".to_owned(), vec![2]),
            ("a\n".repeat(64), vec![64]),
            ("a\n".repeat(65), vec![64, 1]),
            ("a\n".repeat(1_000), [vec![64; 15], vec![40]].concat()),
            (format!("{half}\n{half}\n{half}"), vec![1, 1, 1]),
            (format!("a\n{long}\nb\nc\n"), vec![1, 1, 2]),
        ];
        for (text, expected) in cases {
            let body = Bytes::from(text);
            let pieces = cut(&body).expect("lines");
            let items: Vec<usize> = pieces.iter().map(|piece| piece.items).collect();
            assert_eq!(items, expected, "{:?}", &body[..body.len().min(10)]);
            let (mut first, mut lines) = (1, Vec::new());
            for piece in &pieces {
                assert_eq!(piece.content.first, first);
                first += piece.items;
                let text = piece.content.bytes.strip_suffix(b"\n").unwrap_or(&piece.content.bytes);
                let found: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
                assert_eq!(found.len(), piece.items);
                lines.extend(found);
            }
            let whole: Vec<&[u8]> = body.trim_ascii_end().split(|byte| *byte == b'\n').collect();
            assert!(lines == whole);
        }
        for text in ["", "\n", " \r\n\n\t"] {
            assert!(cut(&Bytes::from(text)).is_err(), "{text:?}");
        }
        assert!(cut(&Bytes::from("a\n".repeat(1_001))).is_err());
    }
}
