//! Decimal numbers of any length, compared exactly and without floats.

use core::cmp::Ordering;

/// A number: sign, significant digits and the position of the point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Without leading or trailing zeros; empty for zero.
    digits: String,
    /// The point stands this many digits to the right of the first digit's left edge.
    point: i64,
}

impl Decimal {
    /// Reads the JSON spelling of a number, also with a leading `+`, zeros or point.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
            return None;
        }
        let joined = [whole, fraction].concat();
        let digits = joined.trim_start_matches('0');
        let leading = i64::try_from(joined.len() - digits.len()).ok()?;
        let point = i64::try_from(whole.len()).ok()?.saturating_sub(leading);
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), point: 0 });
        }
        Some(Self { negative, digits: digits.into(), point: point.saturating_add(exponent) })
    }

    /// The digits of a whole number of at most 64 digits.
    pub(crate) fn whole_text(&self) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".into());
        }
        let length = usize::try_from(self.point).ok()?;
        if length > 64 || length < self.digits.len() {
            return None;
        }
        let sign = if self.negative { "-" } else { "" };
        Some(format!("{sign}{:0<length$}", self.digits))
    }

    fn cmp_magnitude(&self, other: &Self) -> Ordering {
        match (self.digits.is_empty(), other.digits.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => {
                self.point.cmp(&other.point).then_with(|| self.digits.cmp(&other.digits))
            }
        }
    }
}

/// Exponents beyond 18 digits are as good as infinite.
fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size = digits
        .trim_start_matches('0')
        .parse::<i64>()
        .unwrap_or_else(|_| if digits.bytes().all(|byte| byte == b'0') { 0 } else { i64::MAX / 4 });
    let size = size.min(i64::MAX / 4);
    Some(if negative { -size } else { size })
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.cmp_magnitude(other),
            (true, true) => other.cmp_magnitude(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value_however_written() {
        let cases = [
            ("0", "-0", Ordering::Equal),
            ("1", "1.0", Ordering::Equal),
            ("100", "1e2", Ordering::Equal),
            ("0.1", "1E-1", Ordering::Equal),
            ("99.99", "100", Ordering::Less),
            ("100.0000000000000000001", "100", Ordering::Greater),
            ("-5", "3", Ordering::Less),
            ("-5", "-3", Ordering::Less),
            ("9", "10", Ordering::Less),
            ("0.09", "0.1", Ordering::Less),
            ("0", "0.0001", Ordering::Less),
            ("1e400000", "1e399999", Ordering::Greater),
            ("1e99999999999999999999", "5", Ordering::Greater),
            ("-1e99999999999999999999", "5", Ordering::Less),
            ("18446744073709551616", "18446744073709551615", Ordering::Greater),
        ];
        for (one, other, expected) in cases {
            let (left, right) = (Decimal::parse(one).unwrap(), Decimal::parse(other).unwrap());
            assert_eq!(left.cmp(&right), expected, "{one} and {other}");
            assert_eq!(right.cmp(&left), expected.reverse(), "{other} and {one}");
        }
    }

    #[test]
    fn whole_numbers_have_one_text() {
        let cases = [
            ("42", Some("42")),
            ("42.0", Some("42")),
            ("4.2e1", Some("42")),
            ("-0", Some("0")),
            ("-7", Some("-7")),
            ("1e3", Some("1000")),
            ("0.5", None),
            ("1e400", None),
        ];
        for (written, expected) in cases {
            let whole = Decimal::parse(written).unwrap().whole_text();
            assert_eq!(whole.as_deref(), expected, "{written}");
        }
        for bad in ["", "-", "1e", "abc", "1.2.3", "0x10", "1 ", "."] {
            assert_eq!(Decimal::parse(bad), None, "{bad}");
        }
    }
}
