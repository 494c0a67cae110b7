//! Values with a unit, read without floats.

use crate::time::Duration;

/// What a duration may look like, for problems and the schema.
pub const DURATION_FORM: &str = r#"a text such as "250ms", "30s", "5m" or "1h""#;

/// What a size may look like, for problems and the schema.
pub const SIZE_FORM: &str = r#"a text such as "512B", "64KiB" or "10MiB""#;

/// Units of durations, in nanoseconds; the first is the one that zero is shown in.
pub const DURATION_UNITS: [(&str, u64); 6] = [
    ("s", 1_000_000_000),
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Units of sizes, in bytes; the first is the one that zero is shown in.
pub const SIZE_UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Why a text is no value with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not begin with a plain decimal number.
    Number,
    /// A number stands alone.
    NoUnit,
    /// The unit is not known.
    Unit,
    /// It is larger than 64 bits hold.
    TooLarge,
}

impl Fault {
    /// What follows the value in a problem.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Number => "does not begin with a number",
            Self::NoUnit => "has no unit",
            Self::Unit => "has an unknown unit",
            Self::TooLarge => "is too large",
        }
    }
}

/// Reads a duration: a decimal number and one of `ns`, `us`, `ms`, `s`, `m`, `h`, as in `1.5s`.
///
/// # Errors
/// A [`Fault`] says what is wrong with the text. Digits below a nanosecond are dropped.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    scaled(text, &DURATION_UNITS).map(Duration::from_nanos)
}

/// Reads a size in bytes: a decimal number and one of [`SIZE_UNITS`], as in `64KiB`.
///
/// # Errors
/// A [`Fault`] says what is wrong with the text. A part of a byte is dropped.
pub fn size(text: &str) -> Result<u64, Fault> {
    scaled(text, &SIZE_UNITS)
}

/// `value` in the largest of `units` that divides it.
pub fn with_unit(value: u64, units: &[(&'static str, u64)]) -> (u64, &'static str) {
    let fitting = units.iter().filter(|(_, scale)| value.is_multiple_of(*scale));
    match fitting.max_by_key(|(_, scale)| *scale) {
        Some((name, scale)) if value > 0 => (value / scale, name),
        _ => (value, units.first().map_or("", |(name, _)| name)),
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Result<u64, Fault> {
    let (whole, rest) = digits(text)?;
    let (parts, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => ("", rest),
    };
    if rest.is_empty() {
        return Err(Fault::NoUnit);
    }
    let (_, scale) = units.iter().find(|(name, _)| *name == rest).ok_or(Fault::Unit)?;
    let whole: u64 = whole.parse().map_err(|_| Fault::TooLarge)?;
    // From the last digit to the first, each step a tenth of what is there: exact, since a floor of
    // floors is the floor of the whole, and without the 128-bit division that the filter would pay.
    let part =
        parts.bytes().rev().fold(0, |part, digit| (part + u64::from(digit - b'0') * scale) / 10);
    whole.checked_mul(*scale).and_then(|value| value.checked_add(part)).ok_or(Fault::TooLarge)
}

/// Splits off the leading ASCII digits, of which there must be one.
fn digits(text: &str) -> Result<(&str, &str), Fault> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    match text.split_at_checked(end) {
        Some((number, rest)) if end > 0 => Ok((number, rest)),
        _ => Err(Fault::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("250ms", 250_000_000),
            ("30s", 30_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0s", 0),
            ("5m", 300_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0.333us", 333),
            ("0.0000000001s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for (text, fault) in [
            ("", Fault::Number),
            ("s", Fault::Number),
            ("-1s", Fault::Number),
            ("1.s", Fault::Number),
            ("30", Fault::NoUnit),
            ("30 s", Fault::Unit),
            ("30sec", Fault::Unit),
            ("30S", Fault::Unit),
            ("1e3s", Fault::Unit),
            ("18446744073709551616ns", Fault::TooLarge),
            ("10000000000h", Fault::TooLarge),
        ] {
            assert_eq!(duration(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1.5MiB"), Ok(1_572_864));
        assert_eq!(size("1MB"), Ok(1_000_000));
        assert_eq!(size("64kib"), Err(Fault::Unit));
    }

    #[test]
    fn shows_the_largest_whole_unit() {
        assert_eq!(with_unit(90_000_000_000, &DURATION_UNITS), (90, "s"));
        assert_eq!(with_unit(86_400_000_000_000, &DURATION_UNITS), (24, "h"));
        assert_eq!(with_unit(0, &DURATION_UNITS), (0, "s"));
        assert_eq!(with_unit(10 << 20, &SIZE_UNITS), (10, "MiB"));
    }
}
