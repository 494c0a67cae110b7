//! Readers of single fields: one value in, one checked value out, or what is wrong with it.

use serde_json::Value;
use std::time::Duration;

/// One day: longer than any test, short enough to be seen as a slip of the unit.
const LONGEST_SECONDS: f64 = 86_400.0;

/// Seconds as a number, 0–86,400.
pub(super) fn seconds(value: &Value) -> Result<Duration, String> {
    match value.as_f64() {
        Some(s) if (0.0..=LONGEST_SECONDS).contains(&s) => Ok(Duration::from_secs_f64(s)),
        _ => Err(format!("{value} is not a number of seconds in 0–86400")),
    }
}

/// Whole milliseconds, 0–86,400,000.
pub(super) fn millis(value: &Value) -> Result<Duration, String> {
    match value.as_u64() {
        Some(ms) if ms <= 86_400_000 => Ok(Duration::from_millis(ms)),
        _ => Err(format!("{value} is not a whole number of milliseconds in 0–86400000")),
    }
}

/// A share, over 0 and up to 1.
pub(super) fn share(value: &Value) -> Result<f64, String> {
    match value.as_f64() {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err(format!("{value} is outside 0–1")),
    }
}

/// A whole number in `low..=high`.
pub(super) fn whole(value: &Value, low: u64, high: u64) -> Result<u64, String> {
    match value.as_u64() {
        Some(n) if (low..=high).contains(&n) => Ok(n),
        _ => Err(format!("{value} is not a whole number in {low}–{high}")),
    }
}

/// True or false; `1` and `0` too, because header values are written so.
pub(super) fn flag(value: &Value) -> Result<bool, String> {
    match (value.as_bool(), value.as_u64()) {
        (Some(flag), _) => Ok(flag),
        (_, Some(1)) => Ok(true),
        (_, Some(0)) => Ok(false),
        _ => Err(format!("{value} is neither true nor false")),
    }
}

/// A name that fits into a path: 1–64 of `A-Z a-z 0-9 . _ -`.
pub(super) fn name(value: &Value) -> Result<String, String> {
    let fits = |text: &&str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match value.as_str().filter(fits) {
        Some(text) => Ok(text.to_owned()),
        None => Err(format!("{value} is not a name of 1–64 letters, digits, '.', '_' or '-'")),
    }
}

/// Text from a flag or a header as the value that JSON would have held.
pub(super) fn from_text(field: &str, text: &str) -> Value {
    let is_text = matches!(field, "hold" | "reset");
    let parsed = if is_text { None } else { serde_json::from_str(text).ok() };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}
