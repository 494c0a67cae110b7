//! How good alarms are, beside the benchmark's own score: by sample, and by event.

use std::ops::RangeInclusive;

/// Samples by what they are and what was said of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confusion {
    /// Wrong, and flagged.
    pub hits: usize,
    /// Wrong, and not flagged.
    pub misses: usize,
    /// As usual, and flagged.
    pub false_alarms: usize,
    /// As usual, and not flagged.
    pub quiet: usize,
}

impl Confusion {
    /// Counts the samples; `None` is a sample that is missing or not judged.
    pub fn count(samples: impl Iterator<Item = (bool, Option<bool>)>) -> Self {
        let mut counts = Self::default();
        for (is_wrong, flagged) in samples {
            match (is_wrong, flagged) {
                (true, Some(true)) => counts.hits += 1,
                (true, Some(false)) => counts.misses += 1,
                (false, Some(true)) => counts.false_alarms += 1,
                (false, Some(false)) => counts.quiet += 1,
                (_, None) => {}
            }
        }
        counts
    }

    /// Adds another series.
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.false_alarms += other.false_alarms;
        self.quiet += other.quiet;
    }

    /// The share of samples that were judged rightly.
    pub fn accuracy(self) -> f64 {
        share(self.hits + self.quiet, self.misses + self.false_alarms)
    }

    /// The share of flagged samples that are wrong.
    pub fn precision(self) -> f64 {
        share(self.hits, self.false_alarms)
    }

    /// The share of wrong samples that were flagged.
    pub fn recall(self) -> f64 {
        share(self.hits, self.misses)
    }

    /// The share of usual samples that were flagged.
    pub fn false_alarm_share(self) -> f64 {
        share(self.false_alarms, self.quiet)
    }
}

fn share(these: usize, others: usize) -> f64 {
    if these == 0 { 0.0 } else { these as f64 / (these + others) as f64 }
}

/// Alarms that lie so close (in samples) are one: a person is woken once.
pub const TOGETHER: usize = 12;

/// The rows at which a person is woken: the first of each run of flags.
pub fn alarms(flags: impl Iterator<Item = bool>) -> Vec<usize> {
    let mut alarms = Vec::new();
    let mut last = None;
    for (row, _) in flags.enumerate().filter(|(_, flag)| *flag) {
        if last.is_none_or(|last| row - last > TOGETHER) {
            alarms.push(row);
        }
        last = Some(row);
    }
    alarms
}

/// Alarms held against events. Every false alarm counts in full, however close it is to an event, and
/// a second alarm for one event is worth nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ByEvent {
    /// Events with an alarm within.
    pub found: usize,
    /// Events without.
    pub missed: usize,
    /// Alarms outside all events.
    pub false_alarms: usize,
    /// Alarms within events.
    pub true_alarms: usize,
    /// The rows from each found event's beginning to its first alarm, summed.
    pub delay: usize,
    /// Events that as many alarms, thrown at random, would have found on average.
    pub by_luck: f64,
}

impl ByEvent {
    /// Holds `alarms` (rows, in order) against `events` of a series, both from row `judged_from` on.
    pub fn count(
        alarms: &[usize],
        events: &[RangeInclusive<usize>],
        judged_from: usize,
        rows: usize,
    ) -> Self {
        let mut counts = Self::default();
        let alarms: Vec<usize> =
            alarms.iter().copied().filter(|alarm| *alarm >= judged_from).collect();
        let judged = rows.saturating_sub(judged_from).max(1) as f64;
        for event in events.iter().filter(|event| *event.end() >= judged_from) {
            let mut within = alarms.iter().filter(|alarm| event.contains(alarm));
            match within.next() {
                Some(first) => {
                    counts.found += 1;
                    counts.delay += first - event.start();
                }
                None => counts.missed += 1,
            }
            let width = (event.end() - event.start() + 1) as f64;
            counts.by_luck += 1.0 - (1.0 - width / judged).max(0.0).powi(alarms.len() as i32);
        }
        let is_true = |alarm: &&usize| events.iter().any(|event| event.contains(alarm));
        counts.true_alarms = alarms.iter().filter(is_true).count();
        counts.false_alarms = alarms.len() - counts.true_alarms;
        counts
    }

    /// Adds another series.
    pub fn add(&mut self, other: Self) {
        self.found += other.found;
        self.missed += other.missed;
        self.false_alarms += other.false_alarms;
        self.true_alarms += other.true_alarms;
        self.delay += other.delay;
        self.by_luck += other.by_luck;
    }

    /// All alarms.
    pub fn alarms(&self) -> usize {
        self.true_alarms + self.false_alarms
    }

    /// The share of alarms that lie within an event.
    pub fn precision(&self) -> f64 {
        share(self.true_alarms, self.false_alarms)
    }

    /// The share of events that were found.
    pub fn recall(&self) -> f64 {
        share(self.found, self.missed)
    }

    /// The share of events that as many random alarms would have found.
    pub fn recall_by_luck(&self) -> f64 {
        self.by_luck / (self.found + self.missed).max(1) as f64
    }

    /// Harmonic mean of precision and recall, where each event's further alarms count for nothing.
    pub fn f1(&self) -> f64 {
        let all = 2 * self.found + self.missed + self.false_alarms;
        if all == 0 { 0.0 } else { 2.0 * self.found as f64 / all as f64 }
    }

    /// Rows from an event's beginning to its first alarm, on average over those found.
    pub fn mean_delay(&self) -> f64 {
        self.delay as f64 / self.found.max(1) as f64
    }
}
