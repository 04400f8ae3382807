//! Spans of time as people write them: `90m`, `30s`.

use types::limits::{EXPIRES_IN_MS_DEFAULT, EXPIRES_IN_MS_MAX, WAIT_MS_MAX};

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// `expiresIn` as existing clients write it: digits and `s`, `m`, `h` or `d`; bare digits are
/// hours; any other text is one hour. `None` beyond the limit.
pub(crate) fn expires_in_ms(text: &str) -> Option<u64> {
    let Some((digits, unit)) = parts(text) else { return Some(EXPIRES_IN_MS_DEFAULT) };
    let unit_ms = match unit {
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "" | "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return Some(EXPIRES_IN_MS_DEFAULT),
    };
    times(digits, unit_ms).filter(|ms| *ms <= EXPIRES_IN_MS_MAX)
}

/// `wait`: digits and `ms`, `s` or `m`; bare digits are seconds. `None` for other text and beyond
/// the limit.
pub(crate) fn wait_ms(text: &str) -> Option<u64> {
    let (digits, unit) = parts(text)?;
    let unit_ms = match unit {
        "ms" => 1,
        "" | "s" => SECOND_MS,
        "m" => MINUTE_MS,
        _ => return None,
    };
    times(digits, unit_ms).filter(|ms| *ms <= WAIT_MS_MAX)
}

fn parts(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn times(digits: &str, unit_ms: u64) -> Option<u64> {
    digits.parse::<u64>().ok()?.checked_mul(unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_read_as_existing_clients_write_them() {
        let cases = [
            ("1h", Some(HOUR_MS)),
            ("90m", Some(90 * MINUTE_MS)),
            ("0s", Some(0)),
            ("2", Some(2 * HOUR_MS)),
            ("30d", Some(30 * DAY_MS)),
            ("31d", None),
            ("721", None),
            ("99999999999999999999", None),
            ("soon", Some(HOUR_MS)),
            ("", Some(HOUR_MS)),
            ("-5m", Some(HOUR_MS)),
            ("5 m", Some(HOUR_MS)),
            ("5w", Some(HOUR_MS)),
        ];
        for (text, expected) in cases {
            assert_eq!(expires_in_ms(text), expected, "{text:?}");
        }
    }

    #[test]
    fn long_polls_are_bounded() {
        let cases = [
            ("30s", Some(30_000)),
            ("30", Some(30_000)),
            ("250ms", Some(250)),
            ("1m", Some(60_000)),
            ("61s", None),
            ("2m", None),
            ("s", None),
            ("", None),
            ("1h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(wait_ms(text), expected, "{text:?}");
        }
    }
}
