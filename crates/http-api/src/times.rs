//! Times as clients read and write them: log time out as ISO 8601, UTC, with milliseconds; in as
//! text or as milliseconds.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

pub(crate) use gate::times::iso;

/// Unix milliseconds of a time that a client sent: a number of them, a time with its zone, or a
/// date, which is its midnight in UTC.
pub(crate) fn read_ms(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            // Fractions of a millisecond are cut off.
            let text = number.to_string();
            text.split_once('.').map_or(&*text, |(whole, _)| whole).parse().ok()
        }
        Value::String(text) => read_text(text),
        _ => None,
    }
}

fn read_text(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    // Dates are also read out of longer texts, whose zone would be guessed then.
    let date: Date = text.parse().ok().filter(|_| text.len() == "2026-11-22".len())?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}
