//! Log time as text: ISO 8601, UTC, milliseconds.

use jiff::Timestamp;
use types::LogTime;

/// The text of a time, such as `2026-11-22T12:18:48.557Z`.
#[must_use]
pub fn iso(time: LogTime) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
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
