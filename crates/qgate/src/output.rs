//! What commands print: tables for people, JSON for programs.
//!
//! Promise: results go to stdout, everything else to stderr; JSON output is the server's body as it
//! came. Invariant: text of agents never reaches a terminal with its control characters.

use std::io::{self, Write};

use comfy_table::{Table, presets};
use serde_json::Value;

/// Lines of a value that are shown to people.
const VALUE_LINES_MAX: usize = 40;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// A column of a table: its title and the fields that fill it, the first one present wins; a field
/// inside another is written `/outer/inner`.
pub(crate) type Column = (&'static str, &'static [&'static str]);

/// Prints results of one command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Prints a body whole as JSON, or only the named fields of it for people.
    pub(crate) fn fields(self, body: &Value, columns: &[Column]) {
        if self.is_json() {
            return json(body);
        }
        let mut table = plain_table();
        for (title, names) in columns {
            if let Some(value) = first(body, names) {
                table.add_row([(*title).to_owned(), cell(value)]);
            }
        }
        line(&trimmed(&table));
    }

    /// Prints the rows below `list` of a body, or the body whole as JSON.
    pub(crate) fn rows(self, body: &Value, list: &str, columns: &[Column]) {
        if self.is_json() {
            return json(body);
        }
        let rows = body.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if rows.is_empty() {
            return line("none");
        }
        line(&table_of(rows, columns));
    }

    /// Prints a value for people, cut after some lines, with the command that shows `all` of it;
    /// nothing in JSON output.
    pub(crate) fn value(self, title: &str, value: Option<&Value>, all: &str) {
        let Some(value) = value.filter(|value| !value.is_null() && !self.is_json()) else { return };
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        line(&format!("\n{title}"));
        for text in lines.iter().take(VALUE_LINES_MAX) {
            line(&format!("  {}", harmless(text)));
        }
        let rest = lines.len().saturating_sub(VALUE_LINES_MAX);
        if rest > 0 {
            line(&format!("  ... {rest} more lines; all of it: {all}"));
        }
    }

    /// Prints a sentence for people; nothing in JSON output.
    pub(crate) fn say(self, text: &str) {
        if !self.is_json() {
            line(text);
        }
    }
}

/// A table of JSON objects.
pub(crate) fn table_of(rows: &[Value], columns: &[Column]) -> String {
    let mut table = plain_table();
    table.set_header(columns.iter().map(|(title, _)| title.to_uppercase()));
    for row in rows {
        table.add_row(columns.iter().map(|(_, names)| first(row, names).map_or("-".into(), cell)));
    }
    trimmed(&table)
}

/// Prints JSON on stdout.
pub(crate) fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()));
}

/// Prints JSON on one line of stdout, for programs that read line by line.
pub(crate) fn json_line(value: &Value) {
    line(&value.to_string());
}

/// Prints a line on stdout. A reader that went away is not our trouble.
pub(crate) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Prints a line on stderr.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Text as a terminal may see it: control characters become visible.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || is_direction_mark(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Marks that make a terminal show text in another order than it is stored.
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// The table without the padding at both ends of its lines.
fn trimmed(table: &Table) -> String {
    let text = table.to_string();
    let lines = text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn first<'v>(row: &'v Value, names: &[&str]) -> Option<&'v Value> {
    let field = |name: &&str| {
        if name.starts_with('/') { row.pointer(name) } else { row.get(name) }
    };
    names.iter().filter_map(field).find(|value| !value.is_null())
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => harmless(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => harmless(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] =
        &[("id", &["intentId", "id"]), ("status", &["status"]), ("tags", &["tags"])];

    #[test]
    fn tables_align_and_take_the_first_field_present() {
        let rows = [
            json!({"id": "int_1", "status": "approved", "tags": ["a", "b"]}),
            json!({"intentId": "int_22", "id": "other", "status": null}),
        ];
        let expected = "\
ID      STATUS    TAGS
int_1   approved  a, b
int_22  -         -";
        assert_eq!(table_of(&rows, COLUMNS), expected);
    }

    #[test]
    fn text_of_agents_cannot_steer_a_terminal() {
        let rows = [json!({"id": "\u{1b}[2J\u{7}x\ny", "status": "a\u{202e}b", "tags": 3})];
        let shown = table_of(&rows, COLUMNS);
        assert!(shown.contains("\\u{1b}[2J\\u{7}x\\u{a}y"), "{shown}");
        assert!(shown.contains("a\\u{202e}b"), "{shown}");
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown}");
    }
}
