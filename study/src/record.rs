//! What was measured: blocks, whether they may be used, and pairs of them.

use crate::histogram::Times;
use crate::spans::Spans;
use crate::stats::{Comparison, compare};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Calls that a quantile needs beyond it: fewer, and one call more or less moves it far.
const BEYOND: f64 = 10.0;

/// A call is late when it left so long after it was due, in microseconds.
pub const LATE_US: f64 = 1_000.0;

/// The largest share of late calls in a block that may be used.
pub const LATE_SHARE: f64 = 0.01;

/// One measurement of one arm under one load, with processes of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Block {
    /// The arm's name; a second one of the same program ends in `@2`.
    pub arm: String,
    /// The load's name.
    pub load: String,
    /// The round, from 0.
    pub round: u32,
    /// Its place within the round, from 0.
    pub place: u32,
    /// When it began, in seconds of unix time.
    pub began_s: f64,
    /// What the generator saw.
    pub seen: Seen,
    /// CPU time of the arm's processes over the calls answered, in microseconds; none for an arm
    /// without a process.
    pub cpu_us_per_call: Option<f64>,
    /// CPU time of those of the arm's threads that are told apart; none where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart_us_per_call: Option<f64>,
    /// Resident memory of the arm's processes at the end, in KiB.
    pub rss_kib: Option<u64>,
    /// What its programs wrote of their calls; empty for an arm that is not traced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub spans: Spans,
    /// How much of one core others than the arm, the server and the generator had meanwhile, 0–1
    /// and more.
    pub others: f64,
    /// Why it must not be used; empty for a good one.
    pub invalid: Vec<Flaw>,
}

/// What the generator saw of one block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// How long the block was, in seconds, without its warm-up.
    pub seconds: f64,
    /// Calls that were due.
    pub due: u64,
    /// Calls answered as they should be.
    pub good: u64,
    /// All others, by what happened.
    pub bad: BTreeMap<String, u64>,
    /// Calls that left later than [`LATE_US`] after they were due although a connection was free.
    pub late: u64,
    /// The most calls at a time that waited for a free connection.
    pub longest_queue: u64,
    /// How long after they were due calls left.
    pub lag: Quantiles,
    /// From when a call was due to the end of its answer.
    pub latency: Quantiles,
    /// The same times, whole: HdrHistogram's compressed form (nanoseconds) in base64.
    pub histogram: String,
    /// CPU time of the generator over all calls, in microseconds.
    pub generator_cpu_us_per_call: f64,
}

/// Some quantiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

impl Quantiles {
    /// Those of a histogram.
    pub fn of(times: &Times) -> Self {
        Self {
            p50: times.at_us(0.5),
            p90: times.at_us(0.9),
            p99: times.at_us(0.99),
            p999: times.at_us(0.999),
            max: times.longest_us(),
            mean: times.mean_us(),
        }
    }
}

/// Why a block must not be used. It stays in the record, and is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "why", deny_unknown_fields)]
pub enum Flaw {
    /// The generator did not keep its pace: what it saw is its own slowness.
    GeneratorFellBehind {
        /// The share of late calls.
        share: f64,
    },
    /// Calls failed, or had no answer.
    CallsFailed {
        /// How many.
        calls: u64,
        /// Most of them so.
        as_what: String,
    },
    /// The arm did not start, or ended in the middle.
    ArmDied {
        /// Its last words.
        told: String,
    },
    /// The arm counts what it admits and what it settles, and the two do not meet.
    NotSettled {
        /// Calls admitted.
        admitted: u64,
        /// Calls settled.
        settled: u64,
    },
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GeneratorFellBehind { share } => {
                write!(f, "the generator fell behind with {:.1} % of the calls", share * 100.0)
            }
            Self::CallsFailed { calls, as_what } => {
                write!(f, "{calls} calls failed, most of them: {as_what}")
            }
            Self::ArmDied { told } => write!(f, "the arm did not serve: {told}"),
            Self::NotSettled { admitted, settled } => {
                write!(f, "{admitted} calls admitted, {settled} settled")
            }
        }
    }
}

/// What is wrong with what the generator saw.
pub fn flaws(seen: &Seen) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let share = seen.late as f64 / seen.due.max(1) as f64;
    if share > LATE_SHARE {
        flaws.push(Flaw::GeneratorFellBehind { share });
    }
    let calls = seen.bad.values().sum();
    if let Some((as_what, _)) = seen.bad.iter().max_by_key(|(_, calls)| **calls) {
        flaws.push(Flaw::CallsFailed { calls, as_what: as_what.clone() });
    }
    flaws
}

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Median latency.
    P50,
    /// 90th percentile of latency.
    P90,
    /// 99th percentile of latency.
    P99,
    /// 99.9th percentile of latency.
    P999,
    /// CPU time of the arm per call.
    Cpu,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P99, Self::P999, Self::Cpu];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::P999 => "p99.9",
            Self::Cpu => "CPU per call",
        }
    }

    /// It in one block, in microseconds; none where the block has too few calls to tell.
    pub fn of(self, block: &Block) -> Option<f64> {
        let latency = block.seen.latency;
        let (share, value) = match self {
            Self::P50 => (0.5, latency.p50),
            Self::P90 => (0.9, latency.p90),
            Self::P99 => (0.99, latency.p99),
            Self::P999 => (0.999, latency.p999),
            Self::Cpu => return block.cpu_us_per_call,
        };
        // A hair more, for 1 − 0.9 is a hair less than a tenth.
        let beyond = block.seen.good as f64 * (1.0 - share) + 1e-6;
        (beyond >= BEYOND).then_some(value)
    }
}

/// `arm` over `base` under `load`, from the rounds in which both blocks may be used.
pub fn ratio(
    blocks: &[Block],
    load: &str,
    arm: &str,
    base: &str,
    measure: Measure,
) -> Option<Comparison> {
    compare(&pairs(blocks, load, arm, base, measure))
}

/// The values of two arms in the same round, by rounds.
pub fn pairs(
    blocks: &[Block],
    load: &str,
    arm: &str,
    base: &str,
    measure: Measure,
) -> Vec<(f64, f64)> {
    let by_round = |name: &str| -> BTreeMap<u32, f64> {
        let own = blocks.iter().filter(|block| block.arm == name && block.load == load);
        let good = own.filter(|block| block.invalid.is_empty());
        good.filter_map(|block| Some((block.round, measure.of(block)?))).collect()
    };
    let bases = by_round(base);
    let paired = by_round(arm).into_iter();
    paired.filter_map(|(round, own)| Some((own, *bases.get(&round)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::synthetic::{Made, block};
    use fastrand::Rng;

    fn made(arm: &str, round: u32) -> Block {
        block(&Made::default(), arm, round, &mut Rng::with_seed(u64::from(round)))
    }

    #[test]
    fn pairs_are_of_one_round_and_one_load_and_of_good_blocks() {
        let mut blocks: Vec<Block> =
            (0..4).flat_map(|round| [made("b", round), made("a", round)]).collect();
        blocks.iter_mut().for_each(|block| {
            let (own, round) = (if block.arm == "a" { 10.0 } else { 1.0 }, f64::from(block.round));
            block.cpu_us_per_call = Some(own + round);
        });
        blocks.rotate_left(3);
        let seen = pairs(&blocks, "made", "a", "b", Measure::Cpu);
        assert_eq!(seen, [(10.0, 1.0), (11.0, 2.0), (12.0, 3.0), (13.0, 4.0)]);
        for block in &mut blocks {
            match (block.arm.as_str(), block.round) {
                ("a", 1) => block.invalid.push(Flaw::ArmDied { told: "killed".into() }),
                ("b", 2) => block.load = "other".into(),
                _ => {}
            }
        }
        let seen = pairs(&blocks, "made", "a", "b", Measure::Cpu);
        assert_eq!(seen, [(10.0, 1.0), (13.0, 4.0)]);
    }

    #[test]
    fn a_quantile_needs_calls_beyond_it() {
        let mut block = made("a", 0);
        let with = |block: &mut Block, good| {
            block.seen.good = good;
            [Measure::P90, Measure::P99, Measure::P999].map(|one| one.of(block).is_some())
        };
        assert_eq!(with(&mut block, 99), [false, false, false]);
        assert_eq!(with(&mut block, 100), [true, false, false]);
        assert_eq!(with(&mut block, 1_000), [true, true, false]);
        assert_eq!(with(&mut block, 10_000), [true, true, true]);
    }

    #[test]
    fn a_generator_that_fell_behind_and_failed_calls_are_flaws() {
        let mut seen = made("a", 0).seen;
        assert_eq!(flaws(&seen), []);
        seen.late = seen.due / 100;
        assert_eq!(flaws(&seen), []);
        seen.late = seen.due / 50;
        seen.bad = BTreeMap::from([("status 503".into(), 7), ("timeout".into(), 2)]);
        let found = flaws(&seen);
        assert_eq!(found[0], Flaw::GeneratorFellBehind { share: 0.02 });
        assert_eq!(found[1], Flaw::CallsFailed { calls: 9, as_what: "status 503".into() });
        assert_eq!(found.len(), 2);
    }
}
