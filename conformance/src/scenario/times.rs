//! Spans of time as scenarios write them: `250ms`, `1.5s`.

use std::time::Duration;

/// A span: a number and `ms` or `s`. `None` where it is anything else, or finer than 1 ms.
pub fn parse_span(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1.0),
        None => (text.strip_suffix('s')?, 1000.0),
    };
    let millis = number.parse::<f64>().ok()? * unit;
    let whole = (0.0..=3_600_000.0).contains(&millis) && (millis - millis.round()).abs() < 1e-6;
    whole.then(|| Duration::from_millis(millis.round() as u64))
}

/// The same the other way: the shortest form.
pub fn show_span(span: Duration) -> String {
    match span.as_millis() {
        0 => "0s".to_owned(),
        millis if millis < 1000 => format!("{millis}ms"),
        millis => format!("{}s", millis as f64 / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_shows() {
        for (text, millis) in [("0s", 0), ("250ms", 250), ("1.5s", 1500), ("12s", 12_000)] {
            let span = Duration::from_millis(millis);
            assert_eq!(parse_span(text), Some(span));
            assert_eq!(show_span(span), text);
        }
        for text in ["", "1", "s", "-1s", "1m", "0.5ms", "1e9s", "NaNs"] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }
}
