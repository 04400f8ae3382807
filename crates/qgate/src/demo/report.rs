//! What the demo shows: the story as it happens, and its checks with what was found.
//!
//! Invariant: a check holds if what was found is what is expected, and the demo passes only if it
//! came to its end and every check holds.

use serde_json::{Value, json};

use crate::output::{Output, harmless, line, note};

/// Something that must be so, and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    scene: String,
    what: String,
    expected: Value,
    found: Value,
}

impl Check {
    fn holds(&self) -> bool {
        self.expected == self.found
    }

    fn shown(&self) -> String {
        let (what, found) = (&self.what, plain(&self.found));
        if self.holds() {
            return format!("  ok      {what}: {found}");
        }
        format!("  FAILED  {what}: {found}, expected {}", plain(&self.expected))
    }

    fn as_json(&self) -> Value {
        json!({
            "scene": self.scene,
            "check": self.what,
            "expected": self.expected,
            "found": self.found,
            "ok": self.holds(),
        })
    }
}

/// The story so far.
pub(crate) struct Report {
    output: Output,
    scene: String,
    checks: Vec<Check>,
    /// Its last scene was played.
    finished: bool,
    /// What the gate kept of it.
    kept: Value,
}

impl Report {
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            scene: String::new(),
            checks: Vec::new(),
            finished: false,
            kept: Value::Null,
        }
    }

    /// Begins a scene.
    pub(crate) fn scene(&mut self, title: &str) {
        self.scene = title.to_owned();
        self.show("");
        self.show(title);
    }

    /// One sentence. With JSON on stdout the story goes to stderr.
    pub(crate) fn say(&self, text: &str) {
        self.show(&format!("  {}", harmless(text)));
    }

    /// Something that takes a moment.
    pub(crate) fn waiting(&self, what: &str) {
        self.show(&format!("  ...     {}", harmless(what)));
    }

    /// Lines that were made for the terminal already.
    pub(crate) fn block(&self, text: &str) {
        text.lines().for_each(|text| self.show(&format!("  {text}")));
    }

    /// Compares, and shows what came of it.
    pub(crate) fn check(
        &mut self,
        what: &str,
        expected: impl Into<Value>,
        found: impl Into<Value>,
    ) {
        let check = Check {
            scene: self.scene.clone(),
            what: what.to_owned(),
            expected: expected.into(),
            found: found.into(),
        };
        self.show(&harmless(&check.shown()));
        self.checks.push(check);
    }

    /// Keeps what the gate says of the whole for the JSON output.
    pub(crate) fn keep(&mut self, kept: Value) {
        self.kept = kept;
    }

    /// The last scene was played.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// The demo passes.
    pub(crate) fn passes(&self) -> bool {
        self.finished && self.failed() == 0 && !self.checks.is_empty()
    }

    /// Shows the end: how many checks held, or everything as JSON.
    pub(crate) fn close(&self) {
        let (all, failed) = (self.checks.len(), self.failed());
        self.show("");
        self.show(&match (self.finished, failed) {
            (true, 0) => format!("All {all} checks held."),
            (true, _) => format!("{failed} of {all} checks FAILED."),
            (false, _) => format!("Not finished: {} of {all} checks held so far.", all - failed),
        });
        if self.output.is_json() {
            crate::output::json(&self.as_json());
        }
    }

    fn as_json(&self) -> Value {
        let checks: Vec<Value> = self.checks.iter().map(Check::as_json).collect();
        json!({
            "passed": self.passes(),
            "finished": self.finished,
            "checks_total": checks.len(),
            "checks_failed": self.failed(),
            "checks": checks,
            "gate": self.kept,
        })
    }

    fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.holds()).count()
    }

    fn show(&self, text: &str) {
        if self.output.is_json() {
            note(text);
        } else {
            line(text);
        }
    }
}

/// A value without the quotes of text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    fn report(found: &[u64], finished: bool) -> Report {
        let mut report = Report::new(Output::new(Format::Json));
        found.iter().for_each(|&found| report.check("records written", 0, found));
        if finished {
            report.finish();
        }
        report
    }

    #[test]
    #[rustfmt::skip]
    fn it_passes_only_when_it_ended_and_everything_was_as_expected() {
        let cases: [(&[u64], bool, bool); 6] = [
            // found where 0 is expected, came to its end, passes
            (&[0],      true,  true),
            (&[0, 0],   true,  true),
            (&[0, 847], true,  false),
            (&[1],      true,  false),
            (&[0, 0],   false, false),
            (&[],       true,  false),
        ];
        for (found, finished, passes) in cases {
            let report = report(found, finished);
            assert_eq!(report.passes(), passes, "{found:?} {finished}");
            assert_eq!(report.as_json()["passed"], passes, "{found:?} {finished}");
        }
    }

    #[test]
    fn a_failed_check_shows_both_numbers() {
        let report = report(&[0, 847], true);
        let shown: Vec<String> = report.checks.iter().map(Check::shown).collect();
        assert_eq!(
            shown,
            ["  ok      records written: 0", "  FAILED  records written: 847, expected 0",]
        );
        let json = report.as_json();
        assert_eq!((&json["checks_total"], &json["checks_failed"]), (&json!(2), &json!(1)));
        assert_eq!(json["checks"][1]["ok"], false);
    }
}
