//! What is measured beside what, and what is hoped for.

use super::Extent;
use super::arms::Kind;
use super::blocks::{Block, Pace};
use super::servers::Relay;
use super::stats::Estimate;

/// A run: arms, rounds, comparisons.
#[derive(Debug)]
pub struct Plan {
    /// Names and kinds; the first is the server itself.
    pub arms: Vec<(&'static str, Kind)>,
    /// How long and how often.
    pub pace: Pace,
    /// What is compared with what.
    pub ratios: Vec<Ratio>,
    /// What the interval around a ratio is.
    pub interval: Interval,
}

/// What an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// From the smallest to the largest round.
    Range,
    /// 95 % of the bootstrapped medians.
    Bootstrap,
}

/// A measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Requests per second on one core.
    PerSecond,
    /// CPU time per request.
    Cpu,
    /// 99th percentile of latency.
    P99,
}

impl Measure {
    /// The name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "requests/s",
            Self::Cpu => "CPU per request",
            Self::P99 => "p99",
        }
    }

    /// It in one block.
    pub fn of(self, block: &Block) -> f64 {
        match self {
            Self::PerSecond => block.per_second,
            Self::Cpu => block.cpu_us,
            Self::P99 => block.seen.p99_us,
        }
    }
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// No difference: both arms are the same program, and the interval must hold 1.
    Same,
}

impl Aim {
    /// Whether `ratio` is as hoped for.
    pub fn reached_by(self, ratio: Estimate) -> bool {
        match self {
            Self::AtLeast(least) => ratio.value >= least,
            Self::AtMost(most) => ratio.value <= most,
            Self::Same => ratio.holds(1.0),
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least:.2}"),
            Self::AtMost(most) => write!(f, "<= {most:.2}"),
            Self::Same => f.write_str("holds 1"),
        }
    }
}

/// One arm over another.
#[derive(Clone, Copy, Debug)]
pub struct Ratio {
    /// The arm above the line, by name.
    pub arm: &'static str,
    /// The arm below it.
    pub base: &'static str,
    /// Of what.
    pub of: Measure,
    /// What is hoped for, where something is.
    pub aim: Option<Aim>,
}

const fn ratio(arm: &'static str, base: &'static str, of: Measure, aim: Option<Aim>) -> Ratio {
    Ratio { arm, base, of, aim }
}

/// Every proxy beside every other.
pub fn compare(extent: Extent) -> Plan {
    use Measure::{Cpu, P99, PerSecond};
    let (rounds, seconds) = match extent {
        Extent::Usual => (7, 3),
        Extent::Quick => (2, 1),
    };
    Plan {
        arms: vec![
            ("direct", Kind::Direct),
            ("native", Kind::NativeBare),
            ("native+policy", Kind::NativePolicy),
            ("nginx", Kind::Nginx),
            ("haproxy", Kind::Haproxy(Relay::Http)),
            ("haproxy-tcp", Kind::Haproxy(Relay::Tcp)),
            ("envoy", Kind::EnvoyBare),
            ("envoy+noop", Kind::EnvoyNoop),
            ("envoy+filter", Kind::EnvoyFilter),
        ],
        pace: Pace { rounds, seconds, warm_up: 1 },
        ratios: vec![
            ratio("envoy+filter", "envoy+noop", Cpu, Some(Aim::AtMost(1.1))),
            ratio("native+policy", "envoy", PerSecond, Some(Aim::AtLeast(2.5))),
            ratio("native+policy", "haproxy", PerSecond, Some(Aim::AtLeast(1.0))),
            ratio("native+policy", "haproxy", P99, None),
            ratio("native+policy", "haproxy", Cpu, None),
            ratio("native+policy", "haproxy-tcp", Cpu, None),
            ratio("native+policy", "nginx", PerSecond, None),
            ratio("native+policy", "native", Cpu, None),
            ratio("native+policy", "envoy+filter", PerSecond, None),
            ratio("envoy+noop", "envoy", Cpu, None),
        ],
        interval: Interval::Range,
    }
}

/// Whose change is judged: programs of the time before it, named in the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// None: both hosts are looked at as they are.
    Neither,
    /// The proxy's (`BIMETAL_BEFORE`).
    Native,
    /// The filter's (`BIMETAL_FILTER_BEFORE`).
    Filter,
    /// Both.
    Both,
}

impl Before {
    /// As the environment says.
    pub fn named() -> Self {
        let named = |variable| std::env::var_os(variable).is_some();
        match (named("BIMETAL_BEFORE"), named("BIMETAL_FILTER_BEFORE")) {
            (false, false) => Self::Neither,
            (true, false) => Self::Native,
            (false, true) => Self::Filter,
            (true, true) => Self::Both,
        }
    }
}

/// The same program twice, the program without what is judged, the program with it. A change of
/// one host is judged among that host's arms alone: so the rounds are short and close together.
pub fn ab(extent: Extent, before: Before) -> Plan {
    use Measure::{Cpu, P99, PerSecond};
    let rounds = match extent {
        Extent::Usual => 20,
        Extent::Quick => 6,
    };
    let mut plan = Plan {
        arms: vec![("direct", Kind::Direct)],
        pace: Pace { rounds, seconds: 1, warm_up: 1 },
        ratios: Vec::new(),
        interval: Interval::Bootstrap,
    };
    if before != Before::Filter {
        plan.arms.extend([
            ("native A", Kind::NativePolicy),
            ("native A again", Kind::NativePolicy),
            ("native", Kind::NativeBare),
            ("haproxy", Kind::Haproxy(Relay::Http)),
            ("haproxy-tcp", Kind::Haproxy(Relay::Tcp)),
        ]);
        plan.ratios.extend([
            ratio("native A again", "native A", Cpu, Some(Aim::Same)),
            ratio("native A again", "native A", PerSecond, Some(Aim::Same)),
            ratio("native A", "native", Cpu, None),
            ratio("native A", "haproxy", PerSecond, Some(Aim::AtLeast(1.1))),
            ratio("native A", "haproxy", P99, Some(Aim::AtMost(1.0))),
            ratio("native A", "haproxy", Cpu, None),
            ratio("haproxy-tcp", "haproxy", Cpu, None),
        ]);
    }
    if before != Before::Native {
        plan.arms.extend([
            ("envoy+noop A", Kind::EnvoyNoop),
            ("envoy+noop A again", Kind::EnvoyNoop),
            ("envoy+filter", Kind::EnvoyFilter),
        ]);
        plan.ratios.extend([
            ratio("envoy+noop A again", "envoy+noop A", Cpu, Some(Aim::Same)),
            ratio("envoy+filter", "envoy+noop A", Cpu, Some(Aim::AtMost(1.1))),
        ]);
    }
    if matches!(before, Before::Native | Before::Both) {
        plan.arms.push(("native before", Kind::NativeBefore));
        plan.ratios.push(ratio("native A", "native before", Cpu, None));
        plan.ratios.push(ratio("native A", "native before", PerSecond, None));
    }
    if matches!(before, Before::Filter | Before::Both) {
        plan.arms.push(("filter before", Kind::EnvoyFilterBefore));
        plan.ratios.push(ratio("envoy+filter", "filter before", Cpu, None));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ratio_is_between_arms_of_its_plan() {
        let judging = [Before::Neither, Before::Native, Before::Filter, Before::Both];
        let judging = judging.map(|before| ab(Extent::Quick, before));
        for plan in [Extent::Usual, Extent::Quick].map(compare).into_iter().chain(judging) {
            assert_eq!(plan.arms[0].1, Kind::Direct);
            for ratio in &plan.ratios {
                for name in [ratio.arm, ratio.base] {
                    assert!(plan.arms.iter().any(|(arm, _)| *arm == name), "{name}");
                }
            }
        }
    }

    #[test]
    fn an_aim_is_judged_by_the_median_and_sameness_by_the_interval() {
        let ratio = Estimate { value: 1.05, low: 0.99, high: 1.2 };
        assert!(Aim::AtMost(1.1).reached_by(ratio) && !Aim::AtMost(1.0).reached_by(ratio));
        assert!(Aim::AtLeast(1.0).reached_by(ratio) && !Aim::AtLeast(1.1).reached_by(ratio));
        assert!(Aim::Same.reached_by(ratio));
        assert!(!Aim::Same.reached_by(Estimate { low: 1.01, ..ratio }));
    }
}
