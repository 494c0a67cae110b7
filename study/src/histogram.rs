//! Histograms of times, and the text in which they are kept: HdrHistogram's own compressed form in
//! base64, which its tools in other languages read too.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use std::time::Duration;

/// Three significant digits: a time is kept within a thousandth.
const DIGITS: u8 = 3;

/// Nanoseconds beyond which a time is kept as this: no call is waited for so long.
const LONGEST: u64 = 120_000_000_000;

/// Times in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet.
    ///
    /// # Errors
    /// None: the bounds are constants that the crate takes.
    pub fn new() -> Result<Self> {
        let empty = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        empty.map(Self).map_err(|error| anyhow!("no histogram: {error}"))
    }

    /// Adds one.
    pub fn add(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(LONGEST);
        self.0.saturating_record(nanos.max(1));
    }

    /// Adds all of another's.
    ///
    /// # Errors
    /// None: all have the same bounds.
    pub fn add_all(&mut self, other: &Self) -> Result<()> {
        self.0.add(&other.0).map_err(|error| anyhow!("histograms do not add: {error}"))
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which a share of them lie, in microseconds; 0 of none.
    pub fn at_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// The longest, in microseconds.
    pub fn longest_us(&self) -> f64 {
        self.0.max() as f64 / 1e3
    }

    /// Their mean, in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.0.mean() / 1e3
    }

    /// As text.
    ///
    /// # Errors
    /// The compression fails.
    pub fn to_text(&self) -> Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new()
            .serialize(&self.0, &mut bytes)
            .map_err(|error| anyhow!("a histogram cannot be written: {error:?}"))?;
        Ok(STANDARD.encode(bytes))
    }

    /// From text.
    ///
    /// # Errors
    /// It is not what [`Times::to_text`] gives.
    pub fn from_text(text: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text).context("a histogram is not base64")?;
        let read = Deserializer::new().deserialize(&mut bytes.as_slice());
        read.map(Self).map_err(|error| anyhow!("a histogram cannot be read: {error:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let mut times = Times::new().unwrap();
        (1..=1_000).for_each(|micros| times.add(Duration::from_micros(micros)));
        let again = Times::from_text(&times.to_text().unwrap()).unwrap();
        assert_eq!(again, times);
        assert_eq!(again.count(), 1_000);
        assert!((again.at_us(0.5) / 500.0 - 1.0).abs() < 0.002);
        assert!((again.longest_us() / 1_000.0 - 1.0).abs() < 0.002);
        assert!((again.mean_us() / 500.5 - 1.0).abs() < 0.002);
        assert!(Times::from_text("nonsense").is_err());
        assert!(Times::from_text("####").is_err());
    }

    #[test]
    fn times_beyond_the_bounds_are_kept_at_them() {
        let mut times = Times::new().unwrap();
        times.add(Duration::ZERO);
        times.add(Duration::from_secs(1_000));
        assert_eq!(times.count(), 2);
        assert!(times.longest_us() > 119e6);
        let mut sum = times.clone();
        sum.add_all(&times).unwrap();
        assert_eq!(sum.count(), 4);
    }
}
