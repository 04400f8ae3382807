//! `qgate intent submit --batch`: many intents of one file, an answer for each line.

use std::path::Path;

use client::{BatchLine, Verdict};
use serde_json::Value;
use types::limits::INTENT_BATCH_BYTES_MAX;

use crate::cli::Global;
use crate::commands::read_bytes;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::{Column, json_line, line, table_of};

const LINES: &[Column] = &[
    ("line", &["line"]),
    ("status", &["status"]),
    ("intent", &["intentId"]),
    ("answer", &["answer_status", "code", "error"]),
    ("phase", &["phase"]),
    ("replayed", &["idempotency_replayed"]),
    ("reason", &["message", "blockReason"]),
];

/// Submits the lines of a file and prints what each was answered.
pub(crate) async fn run(global: &Global, file: &Path, exit_decision: bool) -> Outcome {
    let (name, bytes) = read_bytes(file, INTENT_BATCH_BYTES_MAX)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::usage(format!("{name}: no text in UTF-8: {error}")))?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("{name}: empty; write one JSON object a line")));
    }
    let answers = global.client()?.submit_batch(&text).await?;
    if global.output().is_json() {
        answers.iter().for_each(|found| json_line(&found.answer));
    } else {
        line(&table_of(&rows(&answers), LINES));
    }
    Ok(exit_of(&answers, exit_decision))
}

/// The answers with the number of each line.
fn rows(answers: &[BatchLine]) -> Vec<Value> {
    let row = |(number, found): (usize, &BatchLine)| {
        let mut row = found.answer.clone();
        row["line"] = number.into();
        row
    };
    (1..).zip(answers).map(row).collect()
}

/// What is worst of all lines.
fn exit_of(answers: &[BatchLine], exit_decision: bool) -> Exit {
    let mut refused = answers.iter().filter(|found| found.verdict.is_none()).peekable();
    if refused.peek().is_some() {
        let undecided = refused.any(|found| found.status() == 503);
        return if undecided { Exit::NoQuorum } else { Exit::Refused };
    }
    let is = |verdict| answers.iter().any(|found| found.verdict == Some(verdict));
    let worst = [Verdict::Blocked, Verdict::Held, Verdict::Duplicate].into_iter().find(|v| is(*v));
    Exit::of_verdict(worst.unwrap_or(Verdict::Allowed), exit_decision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(words: &[&str]) -> Vec<BatchLine> {
        let one = |word: &&str| match Verdict::of_status(word) {
            verdict @ Some(_) => BatchLine { verdict, answer: json!({ "answer_status": word }) },
            None => {
                BatchLine { verdict: None, answer: json!({ "status": word.parse::<u16>().ok() }) }
            }
        };
        words.iter().map(one).collect()
    }

    #[test]
    #[rustfmt::skip]
    fn the_worst_line_gives_the_exit_code() {
        let cases: [(&[&str], u8, u8); 6] = [
            (&["approved", "approved"],                            0, 0),
            (&["approved", "duplicate_blocked"],                   0, 12),
            (&["duplicate_blocked", "pending_approval"],           0, 10),
            (&["pending_approval", "blocked", "duplicate_blocked"], 0, 11),
            (&["blocked", "400"],                                  1, 1),
            (&["400", "approved", "503"],                          4, 4),
        ];
        for (words, plain, with_decision) in cases {
            let answers = answered(words);
            assert_eq!(exit_of(&answers, false) as u8, plain, "{words:?}");
            assert_eq!(exit_of(&answers, true) as u8, with_decision, "{words:?}");
        }
    }

    #[test]
    fn every_line_is_a_row_with_its_number() {
        let answers = [
            json!({
                "status": 200, "answer_status": "approved", "phase": "allowed", "intentId": "int_1",
            }),
            json!({ "status": 400, "error": "invalid_request", "message": "no\u{1b}", "line": 2 }),
        ];
        let answers = answers.map(|answer| BatchLine { verdict: None, answer });
        let expected = "\
LINE  STATUS  INTENT  ANSWER           PHASE    REPLAYED  REASON
1     200     int_1   approved         allowed  -         -
2     400     -       invalid_request  -        -         no\\u{1b}";
        assert_eq!(table_of(&rows(&answers), LINES), expected);
    }
}
