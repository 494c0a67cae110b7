//! Istio's durations (Go's: `1h30m`, `100ms`) as the policy language writes them.

use bimetal_core::doc::units::{DURATION_UNITS, duration, with_unit};

/// The longest time that the language has: a day.
const LONGEST: u64 = 24 * 3_600_000_000_000;

/// The shortest but for none at all: a millisecond.
const SHORTEST: u64 = 1_000_000;

/// Nanoseconds of a duration; none where it is not one.
pub(super) fn nanos(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut sum = 0_u64;
    while !rest.is_empty() {
        let unit = rest.find(|one: char| one.is_ascii_alphabetic() || one == 'µ')?;
        let after = rest.get(unit..)?;
        let end = after.find(|one: char| one.is_ascii_digit() || one == '.');
        let end = end.map_or(rest.len(), |end| unit + end);
        let part = rest.get(..end)?.replace('µ', "u");
        sum = sum.checked_add(duration(&part).ok()?.as_nanos())?;
        rest = rest.get(end..)?;
    }
    (!text.is_empty()).then_some(sum)
}

/// The same time as the language writes it; none where it is beyond what the language takes.
pub(super) fn written(nanos: u64) -> Option<String> {
    (SHORTEST..=LONGEST).contains(&nanos).then(|| {
        let (value, unit) = with_unit(nanos, &DURATION_UNITS);
        format!("{value}{unit}")
    })
}

#[cfg(test)]
mod tests {
    use super::{nanos, written};

    #[test]
    fn gos_durations_are_read_and_written_in_one_unit() {
        let both = |text: &str| nanos(text).and_then(written);
        for (given, wanted) in [
            ("30s", "30s"),
            ("100ms", "100ms"),
            ("1.5s", "1500ms"),
            ("1h30m", "90m"),
            ("3m", "3m"),
            ("0.25s", "250ms"),
            ("1000µs", "1ms"),
        ] {
            assert_eq!(both(given).as_deref(), Some(wanted), "{given}");
        }
        assert_eq!(nanos("0s"), Some(0));
        assert_eq!(nanos("0"), Some(0));
        for none in ["0s", "25h", "1ns"] {
            assert_eq!(both(none), None, "{none}");
        }
        for wrong in ["", "10", "s", "ten seconds", "-1s", "1d"] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }
}
