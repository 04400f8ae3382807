//! US dollars as written in JSON, and back: millionths, exact, without floating point.
//!
//! What is finer than a millionth is rounded up, so that an estimate never shrinks.

use serde_json::Number;

/// Digits behind the point that a micro has.
const MICRO_DIGITS: i64 = 6;
/// Exponents beyond this are absurd for money, and would make long strings of zeros.
const EXPONENT_MAX: i64 = 30;

/// Millionths of a number that is written `1250.5` or `1.25e3`; `None` if it is negative or absurd.
pub(crate) fn micros(text: &str) -> Option<u64> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    if exponent.abs() > EXPONENT_MAX {
        return None;
    }
    let negative = mantissa.starts_with('-');
    let (whole, fraction) =
        mantissa.trim_start_matches('-').split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('-');
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.iter().all(|digit| *digit == b'0') {
        return Some(0);
    }
    if negative {
        return None;
    }
    let places = i64::try_from(whole.len()).ok()? + exponent + MICRO_DIGITS;
    let places = usize::try_from(places.max(0)).ok()?;
    let mut amount: u64 = 0;
    for place in 0..places {
        let digit = digits.get(place).map_or(0, |digit| u64::from(digit - b'0'));
        amount = amount.checked_mul(10)?.checked_add(digit)?;
    }
    // With a strongly negative exponent every digit lies behind the millionths.
    let rest = digits.get(places..).unwrap_or_default();
    let finer = rest.iter().any(|digit| *digit != b'0');
    amount.checked_add(u64::from(finer))
}

/// The number of dollars.
pub(crate) fn dollars(micros: u64) -> Number {
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if rest == 0 {
        return whole.into();
    }
    let text = format!("{whole}.{rest:06}");
    // A decimal without an exponent is a JSON number.
    text.trim_end_matches('0').parse().unwrap_or_else(|_| whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_become_millionths_exactly() {
        let cases = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("1", Some(1_000_000)),
            ("1250.50", Some(1_250_500_000)),
            ("0.000001", Some(1)),
            ("0.0000001", Some(1)),
            ("1e-30", Some(1)),
            ("0.30000000000000004", Some(300_001)),
            ("1.25e3", Some(1_250_000_000)),
            ("1E+2", Some(100_000_000)),
            ("125e-2", Some(1_250_000)),
            ("18446744073709.551615", Some(u64::MAX)),
            ("18446744073709.551616", None),
            ("1e20", None),
            ("1e999999", None),
            ("-1", None),
            ("-0.01", None),
        ];
        for (text, expected) in cases {
            assert_eq!(micros(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        /// What is shown reads back as what is kept.
        #[test]
        fn shown_dollars_read_back(amount: u64) {
            proptest::prop_assert_eq!(micros(&dollars(amount).to_string()), Some(amount));
        }
    }
}
