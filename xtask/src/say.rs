//! What the tasks tell: to stderr, in plain words, with the time a thing took. No step is silent
//! for longer than [`BEAT`].

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a step that is at work says that it still is.
pub const BEAT: Duration = Duration::from_secs(10);

/// One line about what goes on.
pub fn line(text: impl Display) {
    eprintln!("{text}");
}

/// A step begins.
pub fn begins(step: &str, why: &str) {
    eprintln!("==> {step}: {why}");
}

/// A step is still at work; `now` is its last line of output.
pub fn works(step: &str, since: Instant, now: &str) {
    let now = now.trim();
    let shown: String = now.chars().take(70).collect();
    if shown.is_empty() {
        eprintln!("    {step}: {}", span(since.elapsed()))
    } else {
        eprintln!("    {step}: {} ({shown})", span(since.elapsed()))
    }
}

/// A step ended.
pub fn ended(step: &str, how: &str, took: Duration) {
    eprintln!("    {step}: {how} in {}", span(took));
}

/// A time for people: `0.4 s`, `12 s`, `3 min 5 s`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// A number of bytes for people: `124 KB` (1 KB = 1000 bytes).
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..10_000_000 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        assert_eq!(span(Duration::from_millis(430)), "0.4 s");
        assert_eq!(span(Duration::from_secs(12)), "12 s");
        assert_eq!(span(Duration::from_secs(185)), "3 min 5 s");
        assert_eq!(size(123_900), "123 KB");
        assert_eq!(size(36_000_000), "36 MB");
    }
}
