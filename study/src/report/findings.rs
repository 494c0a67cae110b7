//! What the blocks say: each arm by itself, and each comparison.

use super::spans::{SpanCompared, SpansSeen, spans_compared, spans_seen};
use crate::arms::{AGAIN, Arm, program_of};
use crate::load::Load;
use crate::record::{Block, Measure, pairs};
use crate::stats::{Added, Comparison, Finding, added, compare, holm, median};
use crate::store::Head;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// Blocks of the plan.
    pub planned: usize,
    /// Blocks that were measured.
    pub measured: usize,
    /// Blocks of these that must not be used.
    pub invalid: usize,
    /// Each arm under each load.
    pub arms: Vec<ArmSeen>,
    /// Each comparison of two arms under a load, for each measure.
    pub compared: Vec<Compared>,
    /// The spans of each traced arm under each load.
    pub spans: Vec<SpansSeen>,
    /// Each span of a traced arm over the same one of another.
    pub spans_compared: Vec<SpanCompared>,
    /// How much of a core others had, in the middle block and in the worst.
    pub others: [f64; 2],
}

/// One arm under one load: medians over its good blocks, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArmSeen {
    /// Its name.
    pub arm: String,
    /// What it is.
    pub about: String,
    /// The arm on the first step above `direct` that it stands on; its own name where there is none.
    pub family: String,
    /// The load.
    pub load: Load,
    /// Good blocks.
    pub blocks: usize,
    /// Blocks that must not be used.
    pub invalid: usize,
    /// By measure; what too few calls were made for is not there.
    pub medians: BTreeMap<Measure, f64>,
    /// CPU time per call of threads that are told apart, in microseconds.
    pub apart_us: Option<f64>,
    /// Resident memory in KiB.
    pub rss_kib: Option<f64>,
    /// Calls answered a second.
    pub per_second: f64,
}

/// What a comparison is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A step of the ladder: an arm over the one below it.
    Step,
    /// An arm over the call without anything between.
    OverDirect,
    /// Two arms across the ladder, most of them because others claim something of them.
    Claim,
    /// One program twice.
    Same,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The load.
    pub load: Load,
    /// The arm above the line.
    pub arm: String,
    /// The arm below it.
    pub over: String,
    /// What the arm has that the other has not.
    pub step: String,
    /// What it is for.
    pub kind: Kind,
    /// Of what.
    pub measure: Measure,
    /// The ratio.
    pub ratio: Comparison,
    /// The difference in microseconds.
    pub added: Option<Added>,
    /// What the ratio says.
    pub finding: Finding,
    /// Whether that stands among all comparisons of the study (Holm).
    pub stands: bool,
}

/// Pairs of arms across the ladder: what others claim something of, and what tells the sandbox from
/// the filter chain.
const CLAIMED: [(&str, &str, &str); 8] = [
    (
        "app-envoy-outlier",
        "app-guard",
        "Istio's breaker in a sidecar, over the breaker in the program",
    ),
    ("app-envoy-destination-rule", "app-guard", "the same with the origin's pool"),
    (
        "app-envoy-filter",
        "app-guard",
        "the bimetal filter in a sidecar, over the breaker in the program",
    ),
    ("mesh-outlier", "proxy-policy", "Istio's breaker in a mesh, over the breaker in the proxy"),
    ("mesh-destination-rule", "proxy-policy", "the same with the origin's pool"),
    ("mesh-filter", "proxy-policy", "the bimetal filter in a mesh, over the breaker in the proxy"),
    ("envoy", "native", "Envoy, over a plain proxy"),
    ("envoy-noop", "envoy-noop-module", "the sandbox: a filter in Wasm, over a native one"),
];

/// What an arm has that the call without anything between has not.
pub(super) const EVERYTHING: &str = "everything between";

/// Reads `blocks`.
///
/// # Errors
/// A load is not readable.
pub fn findings(head: &Head, blocks: &[Block], arms: &BTreeMap<String, Arm>) -> Result<Findings> {
    let plan = &head.plan;
    let mut seen = Vec::new();
    let mut compared = Vec::new();
    for load in &plan.loads {
        for name in &plan.arms {
            seen.push(arm_seen(blocks, name, *load, arms));
        }
        for (arm, over, step, kind) in comparisons(&plan.arms, arms) {
            for measure in Measure::ALL {
                let pairs = pairs(blocks, &load.to_string(), &arm, &over, measure);
                if let Some(ratio) = compare(&pairs) {
                    compared.push(Compared {
                        load: *load,
                        arm: arm.clone(),
                        over: over.clone(),
                        step: step.clone(),
                        kind,
                        measure,
                        ratio,
                        added: added(&pairs),
                        finding: ratio.finding(),
                        stands: false,
                    });
                }
            }
        }
    }
    let judged =
        |one: &&mut Compared| one.kind != Kind::Same && one.finding != Finding::TooFewPairs;
    let p_values: Vec<f64> = compared.iter_mut().filter(judged).map(|one| one.ratio.p).collect();
    for (one, stands) in compared.iter_mut().filter(judged).zip(holm(&p_values)) {
        one.stands = stands && one.finding != Finding::NoDifferenceSeen;
    }
    let others: Vec<f64> = blocks.iter().map(|block| block.others).collect();
    Ok(Findings {
        planned: plan.blocks().len(),
        measured: blocks.len(),
        invalid: blocks.iter().filter(|block| !block.invalid.is_empty()).count(),
        arms: seen,
        compared,
        spans: spans_seen(plan, blocks),
        spans_compared: spans_compared(plan, blocks),
        others: [median(&others), others.iter().copied().fold(0.0, f64::max)],
    })
}

fn arm_seen(blocks: &[Block], name: &str, load: Load, arms: &BTreeMap<String, Arm>) -> ArmSeen {
    let text = load.to_string();
    let own = || blocks.iter().filter(|block| block.arm == name && block.load == text);
    let good: Vec<&Block> = own().filter(|block| block.invalid.is_empty()).collect();
    let middle = |what: &dyn Fn(&Block) -> Option<f64>| {
        let values: Vec<f64> = good.iter().filter_map(|block| what(block)).collect();
        (!values.is_empty()).then(|| median(&values))
    };
    let about = arms.get(program_of(name)).map(|arm| arm.about.clone()).unwrap_or_default();
    let mut family = program_of(name);
    while let Some(over) = arms.get(family).and_then(|arm| arm.over.as_deref()) {
        if over == "direct" {
            break;
        }
        family = over;
    }
    ArmSeen {
        arm: name.to_owned(),
        family: family.to_owned(),
        about: if name.ends_with(AGAIN) { format!("{about}, a second time") } else { about },
        load,
        blocks: good.len(),
        invalid: own().count() - good.len(),
        medians: Measure::ALL
            .into_iter()
            .filter_map(|measure| Some((measure, middle(&|block| measure.of(block))?)))
            .collect(),
        apart_us: middle(&|block| block.apart_us_per_call),
        rss_kib: middle(&|block| block.rss_kib.map(|size| size as f64)),
        per_second: middle(&|block| Some(block.seen.good as f64 / block.seen.seconds))
            .unwrap_or_default(),
    }
}

/// Arm, base, what lies between, and what for, of every comparison among `chosen`.
fn comparisons(
    chosen: &[String],
    arms: &BTreeMap<String, Arm>,
) -> Vec<(String, String, String, Kind)> {
    let has = |name: &str| chosen.iter().any(|one| one == name);
    let mut all = Vec::new();
    for name in chosen {
        if let Some(program) = name.strip_suffix(AGAIN) {
            if has(program) {
                let step = "nothing: the same program twice".to_owned();
                all.push((name.clone(), program.to_owned(), step, Kind::Same));
            }
            continue;
        }
        let Some(arm) = arms.get(name) else { continue };
        if let Some(over) = arm.over.clone().filter(|over| has(over)) {
            let step = arm.step.clone().unwrap_or_default();
            let kind = if over == "direct" { Kind::OverDirect } else { Kind::Step };
            all.push((name.clone(), over, step, kind));
        }
        if arm.over.as_deref().is_some_and(|over| over != "direct") && has("direct") {
            let step = EVERYTHING.to_owned();
            all.push((name.clone(), "direct".to_owned(), step, Kind::OverDirect));
        }
    }
    let claimed = CLAIMED.iter().filter(|(arm, over, _)| has(arm) && has(over));
    all.extend(claimed.map(|(arm, over, step)| {
        ((*arm).to_owned(), (*over).to_owned(), (*step).to_owned(), Kind::Claim)
    }));
    all
}

impl Findings {
    /// A comparison under a load.
    pub fn of(&self, load: Load, arm: &str, over: &str, measure: Measure) -> Option<&Compared> {
        self.compared.iter().find(|one| {
            one.load == load && one.arm == arm && one.over == over && one.measure == measure
        })
    }

    /// Comparisons that could be judged, without A/A.
    pub fn judged(&self) -> impl Iterator<Item = &Compared> {
        let judged =
            |one: &&Compared| one.kind != Kind::Same && one.finding != Finding::TooFewPairs;
        self.compared.iter().filter(judged)
    }

    /// Comparisons of one program with itself.
    pub fn same(&self) -> impl Iterator<Item = &Compared> {
        self.compared.iter().filter(|one| one.kind == Kind::Same)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::plan::{Extent, Plan};
    use crate::record::Flaw;
    use crate::stats::synthetic::{Made, block};
    use fastrand::Rng;
    use std::path::Path;

    /// A made study: `native` costs 1.5 times `direct`, `native-policy` 1.1 times that, and the rest
    /// as much as `native`.
    pub(in crate::report) fn made(rounds: u32) -> (Head, Vec<Block>, BTreeMap<String, Arm>) {
        let names = [
            ("direct", 1.0),
            ("native", 1.5),
            ("native-policy", 1.65),
            ("native-policy@2", 1.65),
            ("app", 1.5),
            ("app-guard", 1.54),
            ("app-envoy-outlier", 1.85),
        ];
        let loads: Vec<Load> = ["250", "1000", "50x100KB"].map(|one| one.parse().unwrap()).into();
        let mut rng = Rng::with_seed(4);
        let mut blocks = Vec::new();
        for (load, round) in loads.iter().flat_map(|load| (0..rounds).map(move |one| (load, one))) {
            for (arm, factor) in names {
                let made = Made { factor, between: 0.02, ..Made::default() };
                let mut block = block(&made, arm, round, &mut rng);
                block.load = load.to_string();
                block.rss_kib = (arm != "direct").then_some(20_000);
                block.cpu_us_per_call = block.cpu_us_per_call.filter(|_| arm != "direct");
                blocks.push(block);
            }
        }
        if let Some(block) = blocks.get_mut(3) {
            block.invalid.push(Flaw::GeneratorFellBehind { share: 0.02 });
        }
        let plan = Plan {
            extent: Extent::Usual,
            seed: 1,
            rounds,
            seconds: 1.0,
            warm_up: 0.5,
            connections: 8,
            arms: names.map(|(name, _)| name.to_owned()).into(),
            loads,
            left_out: [("haproxy".to_owned(), "haproxy is <not> here".to_owned())].into(),
        };
        let arms = crate::arms::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("arms")).unwrap();
        (Head { plan, machine: Machine::default() }, blocks, arms)
    }

    #[test]
    fn the_steps_of_the_ladder_are_found_with_what_they_cost() {
        let (head, blocks, arms) = made(11);
        let found = findings(&head, &blocks, &arms).unwrap();
        assert_eq!((found.planned, found.measured, found.invalid), (231, 231, 1));
        let load = head.plan.loads[0];
        let step = found.of(load, "native-policy", "native", Measure::P50).unwrap();
        assert_eq!((step.kind, step.finding), (Kind::Step, Finding::More));
        assert!(step.ratio.holds(1.1) && step.stands, "{step:?}");
        assert!(step.added.unwrap().mean > 20.0, "{step:?}");
        let direct = found.of(load, "native-policy", "direct", Measure::P50).unwrap();
        assert!(direct.kind == Kind::OverDirect && direct.ratio.holds(1.65), "{direct:?}");
        assert!(found.of(load, "native", "direct", Measure::Cpu).is_none());
        let same: Vec<_> = found.same().collect();
        // Two thousand calls say nothing of p99.9.
        assert_eq!(same.len(), 3 * 4);
        assert!(same.iter().all(|one| one.over == "native-policy" && !one.stands));
        // The invalid block is of round 0 and the first load.
        assert_eq!(
            found.of(load, "native-policy@2", "native-policy", Measure::P50).unwrap().ratio.pairs,
            10
        );
        let seen = found.arms.iter().find(|one| one.arm == "native-policy@2").unwrap();
        assert_eq!((seen.blocks, seen.invalid), (10, 1));
        assert!(seen.about.ends_with("a second time") && seen.family == "native");
        assert!((seen.medians[&Measure::P50] / 495.0 - 1.0).abs() < 0.05, "{seen:?}");
        assert!(!seen.medians.contains_key(&Measure::P999));
    }

    #[test]
    fn a_weak_difference_does_not_stand_among_so_many() {
        let (head, blocks, arms) = made(11);
        let found = findings(&head, &blocks, &arms).unwrap();
        let p_values: Vec<f64> = found.judged().map(|one| one.ratio.p).collect();
        for (one, stands) in found.judged().zip(holm(&p_values)) {
            let is_seen = one.finding != Finding::NoDifferenceSeen;
            assert_eq!(one.stands, stands && is_seen, "{one:?}");
        }
        let weak = |one: &Compared| one.finding == Finding::More && !one.stands;
        assert!(found.judged().any(weak) && found.judged().any(|one| one.stands));
    }

    #[test]
    fn nothing_stands_with_too_few_pairs() {
        let (head, blocks, arms) = made(3);
        let found = findings(&head, &blocks, &arms).unwrap();
        assert!(
            found.compared.iter().all(|one| one.finding == Finding::TooFewPairs && !one.stands)
        );
        assert_eq!(found.judged().count(), 0);
    }
}
