//! What replicas have counted, as numbers that only grow: merged by the largest, so that nothing is
//! counted twice and a store that forgot is told again.

use super::super::analysis::Totals;
use std::collections::BTreeMap;

/// What each replica counts.
pub(super) const SAMPLES: &str = "samples";
pub(super) const ANOMALIES: &str = "anomalies";
/// Samples that were counted, and given up before the store had them.
pub(super) const UNCACHED: &str = "uncached";
/// Anomalies among those.
pub(super) const UNCACHED_ANOMALIES: &str = "uncached_anomalies";
/// The last group that the store took in.
pub(super) const SEQUENCE: &str = "sequence";

const ALL: [&str; 5] = [SAMPLES, ANOMALIES, UNCACHED, UNCACHED_ANOMALIES, SEQUENCE];
/// What the store's script can count without rounding.
const LARGEST: u64 = 1 << 53;

/// The counters of all replicas, by `replica/counter`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// The counter's value; 0 where nothing was counted.
    pub(super) fn get(&self, replica: &str, counter: &str) -> u64 {
        self.0.get(&field(replica, counter)).copied().unwrap_or_default()
    }

    /// Raises a counter to at least this.
    pub(super) fn raise(&mut self, replica: &str, counter: &str, least: u64) {
        let value = self.0.entry(field(replica, counter)).or_default();
        *value = least.max(*value);
    }

    /// Takes in what the store tells. What is no counter is no news.
    pub(super) fn merge(&mut self, told: &[(String, String)]) {
        for (name, value) in told {
            let is_ours = name.split_once('/').is_some_and(|(replica, counter)| {
                replica.len() == 16
                    && replica.bytes().all(|byte| byte.is_ascii_hexdigit())
                    && ALL.contains(&counter)
            });
            match value.parse::<u64>() {
                Ok(value) if is_ours && value <= LARGEST => {
                    let held = self.0.entry(name.clone()).or_default();
                    *held = value.max(*held);
                }
                _ => {}
            }
        }
    }

    /// What of this the store does not know: it tells less, or nothing.
    pub(super) fn missing_in(&self, told: &[(String, String)]) -> Self {
        let mut theirs = Self::default();
        theirs.merge(told);
        let is_missing = |(name, value): &(&String, &u64)| theirs.0.get(*name) < Some(*value);
        let missing = self.0.iter().filter(is_missing).filter(|(_, value)| **value > 0);
        Self(missing.map(|(name, value)| (name.clone(), *value)).collect())
    }

    /// Sums over all replicas.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            samples: self.sum(SAMPLES) + self.sum(UNCACHED),
            anomalies: self.sum(ANOMALIES) + self.sum(UNCACHED_ANOMALIES),
        }
    }

    /// The sum of one counter over all replicas.
    pub(super) fn sum(&self, counter: &str) -> u64 {
        let of = |name: &str| name.split_once('/').is_some_and(|(_, of)| of == counter);
        self.0.iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
    }

    /// How many replicas have stored anything.
    pub(super) fn replicas(&self) -> usize {
        self.0.keys().filter(|name| name.ends_with("/sequence")).count()
    }

    /// All counters by their fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

fn field(replica: &str, counter: &str) -> String {
    format!("{replica}/{counter}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbb";

    fn told(rows: &[(&str, &str)]) -> Vec<(String, String)> {
        rows.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_largest_is_right_and_what_is_forgotten_is_told_again() {
        let mut counters = Counters::default();
        counters.raise(A, SAMPLES, 5);
        counters.raise(A, SAMPLES, 3);
        let rows = told(&[("bbbbbbbbbbbbbbbb/samples", "7"), ("aaaaaaaaaaaaaaaa/samples", "4")]);
        counters.merge(&rows);
        assert_eq!((counters.get(A, SAMPLES), counters.get(B, SAMPLES)), (5, 7));
        assert_eq!(counters.totals().samples, 12);
        let missing = counters.missing_in(&rows);
        assert_eq!(missing.fields().collect::<Vec<_>>(), [("aaaaaaaaaaaaaaaa/samples", 5)]);
        assert_eq!(counters.missing_in(&[]), counters);
    }

    #[test]
    fn garbage_is_no_counter() {
        let mut counters = Counters::default();
        counters.merge(&told(&[
            ("samples", "1"),
            ("a/samples", "1"),
            ("aaaaaaaaaaaaaaaa/other", "1"),
            ("aaaaaaaaaaaaaaaa/samples", "-1"),
            ("bbbbbbbbbbbbbbbb/samples", "nan"),
            ("bbbbbbbbbbbbbbbb/anomalies", "9007199254740993"),
        ]));
        assert_eq!(counters, Counters::default());
    }
}
