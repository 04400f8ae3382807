//! Times as clients read and write them: log time out as ISO 8601, UTC, with milliseconds; in as
//! text or as milliseconds.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use types::LogTime;

/// The text of a time, such as `2026-11-22T12:18:48.557Z`.
pub(crate) fn iso(time: LogTime) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_never_fail() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_349_928_557, "2026-11-22T12:18:48.557Z"),
            (1_795_349_928_000, "2026-11-22T12:18:48.000Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(iso(LogTime(ms)), text);
        }
        assert!(iso(LogTime(u64::MAX)).starts_with("9999-12-30"), "{}", iso(LogTime(u64::MAX)));
    }
}
