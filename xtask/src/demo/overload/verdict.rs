//! What the overload showed, in numbers, and whether it is what was promised.

use super::arm::Arm;
use super::attack::{LENGTH, PATIENCE, RATE, throughput};
use super::record::{Block, Hit, Seen, quantile};
use crate::demo::verdict::Claim;
use std::time::Duration;

/// The least share of what can be had that our arms must keep.
const GOODPUT: f64 = 0.95;

/// How late the last call may be sent.
const LAG: Duration = Duration::from_millis(250);

/// One arm over all of its blocks.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which.
    pub arm: Arm,
    /// Calls sent.
    pub calls: usize,
    /// Calls with a good answer.
    pub good: usize,
    /// Calls that were turned away.
    pub rejected: usize,
    /// Calls whose client left.
    pub lost: usize,
    /// Good answers a second over the smaller of load and capacity: the mean of the blocks.
    pub goodput: f64,
    /// Of what the models worked on, the share that no client got: 0-1.
    pub wasted: f64,
    /// What clients waited that were not turned away: p50, p95, p99.
    pub waited: [Option<Duration>; 3],
}

impl Verdict {
    /// Draws the sum of an arm's blocks.
    pub fn of(blocks: &[Block], arm: Arm) -> Self {
        let blocks: Vec<&Block> = blocks.iter().filter(|block| block.arm == arm).collect();
        let hits: Vec<&Hit> = blocks.iter().flat_map(|block| &block.hits).collect();
        let count = |seen| hits.iter().filter(|hit| hit.seen == seen).count();
        let good = count(Seen::Good);
        let done: f64 = blocks.iter().map(|block| block.done).sum();
        let shares = blocks.iter().map(|block| {
            let goodput = throughput(&block.hits).unwrap_or(0.0).min(f64::from(RATE));
            goodput / block.capacity.min(f64::from(RATE))
        });
        Self {
            arm,
            calls: hits.len(),
            good,
            rejected: count(Seen::Rejected),
            lost: count(Seen::Lost),
            goodput: shares.sum::<f64>() / blocks.len().max(1) as f64,
            wasted: if done > 0.0 { (1.0 - good as f64 / done).max(0.0) } else { 0.0 },
            waited: [0.5, 0.95, 0.99].map(|share| quantile(hits.iter().copied(), share)),
        }
    }

    /// The share of all calls that got a good answer, 0-1.
    pub fn success(&self) -> f64 {
        self.good as f64 / self.calls.max(1) as f64
    }
}

/// The columns of the closing table.
pub const COLUMNS: [&str; 10] =
    ["arm", "calls", "success", "rejected", "lost", "goodput", "p50", "p95", "p99", "wasted work"];

/// What the columns mean.
pub fn explained(capacity: f64) -> String {
    format!(
        "offered: {RATE} calls a second for {} s in each round; capacity: {capacity:.0} a second, measured \
         before each round by clients that never rest. lost: the client left after {} ms. goodput: good \
         answers a second over the smaller of load and capacity. p50 to p99: what clients waited that were \
         not turned away; who left waited at least {} ms. wasted work: what the models worked on and no \
         client got. The origin's figures behind Istio's breaker, on other machines: success 78.28 %, p50 \
         90 ms, p95 672 ms, p99 1.42 s, without a client's time limit.",
        LENGTH.as_secs(),
        PATIENCE.as_millis(),
        PATIENCE.as_millis(),
    )
}

/// The rows of the closing table, one an arm.
pub fn rows(verdicts: &[Verdict]) -> Vec<[String; 10]> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    verdicts
        .iter()
        .map(|verdict| {
            let [p50, p95, p99] = verdict.waited.map(|time| {
                time.map_or_else(|| "-".to_owned(), |time| format!("{} ms", time.as_millis()))
            });
            [
                verdict.arm.name().to_owned(),
                verdict.calls.to_string(),
                percent(verdict.success()),
                verdict.rejected.to_string(),
                verdict.lost.to_string(),
                format!("{:.3}", verdict.goodput),
                p50,
                p95,
                p99,
                percent(verdict.wasted),
            ]
        })
        .collect()
}

/// What was promised, and whether it holds.
pub fn claims(blocks: &[Block], verdicts: &[Verdict]) -> Vec<Claim> {
    let mut claims = vec![sent(blocks), overloaded(blocks)];
    for verdict in verdicts.iter().filter(|verdict| Arm::OURS.contains(&verdict.arm)) {
        let name = verdict.arm.name();
        claims.push(Claim {
            text: format!(
                "{name}: goodput {:.3} of the smaller of load and capacity; promised are {GOODPUT}",
                verdict.goodput
            ),
            holds: verdict.goodput >= GOODPUT,
        });
        let p99 = verdict.waited[2];
        claims.push(Claim {
            text: format!(
                "{name}: of those not turned away 99 in 100 waited at most {} ms; promised are less than {}",
                p99.map_or(0, |time| time.as_millis()),
                PATIENCE.as_millis()
            ),
            holds: p99.is_some_and(|time| time < PATIENCE),
        });
        claims.push(counted(blocks, verdict));
    }
    claims
}

/// Every arm had the whole load, at its pace: vegeta lags where it cannot open connections or gets
/// no processor time.
fn sent(blocks: &[Block]) -> Claim {
    let each = RATE as usize * LENGTH.as_secs() as usize;
    let least = blocks.iter().map(|block| block.hits.len()).min().unwrap_or(0);
    let most = blocks.iter().map(|block| block.hits.len()).max().unwrap_or(0);
    let last = blocks.iter().flat_map(|block| &block.hits).map(|hit| hit.due).max();
    let last = last.unwrap_or_default();
    Claim {
        text: format!(
            "each arm got {each} calls in each round, but for one in a thousand ({least} to {most}), the last one \
             sent after {:.2} s",
            last.as_secs_f64()
        ),
        holds: least >= each - each / 1000 && most <= each && last < LENGTH + LAG,
    }
}

/// The load was more than the models can do.
fn overloaded(blocks: &[Block]) -> Claim {
    let most = blocks.iter().map(|block| block.capacity).fold(0.0, f64::max);
    Claim {
        text: format!("it was an overload: {RATE} calls a second, capacity {most:.0}"),
        holds: most > 0.0 && most < f64::from(RATE),
    }
}

/// What a host of ours counted is what its clients saw.
fn counted(blocks: &[Block], verdict: &Verdict) -> Claim {
    let mut rejected = 0.0;
    let mut seen = 0.0;
    for block in blocks.iter().filter(|block| block.arm == verdict.arm) {
        let Some(page) = &block.metrics else { continue };
        let all = page.sum("bimetal_requests_total", &[]);
        seen += all;
        rejected += all - page.sum("bimetal_requests_total", &[("decision", "admitted")]);
    }
    Claim {
        text: format!(
            "{}: its metrics are what clients saw ({seen} of {} calls, {rejected} of {} rejections)",
            verdict.arm.name(),
            verdict.calls,
            verdict.rejected,
        ),
        holds: seen == verdict.calls as f64 && rejected == verdict.rejected as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::metrics::Page;

    /// A block of ten seconds in which `good` calls a second are answered after `ms`, `lost` are
    /// not answered and the rest is turned away.
    fn block(arm: Arm, good: u64, lost: u64, ms: u64) -> Block {
        let hits = (0..10_000_u64).map(|number| {
            let seen = match number % 1000 {
                place if place < good => Seen::Good,
                place if place < good + lost => Seen::Lost,
                _ => Seen::Rejected,
            };
            Hit { due: Duration::from_millis(number), latency: Duration::from_millis(ms), seen }
        });
        let rejected = 10_000 - 10 * (good + lost);
        let admitted = 10 * (good + lost);
        let metrics = Page(format!(
            "bimetal_requests_total{{decision=\"admitted\"}} {admitted}\n\
             bimetal_requests_total{{decision=\"concurrency\"}} {rejected}\n"
        ));
        let done = (10 * (good + lost)) as f64;
        Block { arm, capacity: 880.0, hits: hits.collect(), done, metrics: Some(metrics) }
    }

    fn holds(blocks: &[Block]) -> Vec<bool> {
        let verdicts = Arm::ALL.map(|arm| Verdict::of(blocks, arm));
        claims(blocks, &verdicts).iter().map(|claim| claim.holds).collect()
    }

    fn kept() -> Vec<Block> {
        Arm::OURS.map(|arm| block(arm, 870, 0, 25)).to_vec()
    }

    #[test]
    fn an_arm_is_judged_by_what_its_clients_saw() {
        let blocks = [block(Arm::Unprotected, 300, 700, 100), block(Arm::Envoy, 880, 0, 25)];
        let verdict = Verdict::of(&blocks, Arm::Unprotected);
        assert_eq!((verdict.calls, verdict.good, verdict.lost), (10_000, 3_000, 7_000));
        assert!((verdict.success() - 0.3).abs() < 1e-9 && (verdict.wasted - 0.7).abs() < 1e-9);
        assert_eq!(verdict.waited[2], Some(PATIENCE));
        assert!((verdict.goodput - 0.365).abs() < 0.03, "{}", verdict.goodput);
        assert!(Verdict::of(&blocks, Arm::Envoy).goodput > 0.99);
        assert_eq!(Verdict::of(&blocks, Arm::Native).goodput, 0.0);
    }

    #[test]
    fn each_promise_is_held_alone() {
        assert_eq!(holds(&kept()), [true; 8]);
        let changed = |change: fn(&mut Vec<Block>)| {
            let mut blocks = kept();
            change(&mut blocks);
            blocks
        };
        for (what, blocks, broken) in [
            ("capacity is above the load", changed(|all| all[0].capacity = 1001.0), vec![1, 2]),
            (
                "the filter's goodput is low",
                changed(|all| all[0] = block(Arm::Envoy, 700, 0, 25)),
                vec![2],
            ),
            (
                "the filter's answers are late",
                changed(|all| all[0] = block(Arm::Envoy, 880, 0, 501)),
                vec![3],
            ),
            (
                "the proxy loses calls",
                changed(|all| all[1] = block(Arm::Native, 860, 20, 25)),
                vec![6],
            ),
            (
                "the proxy's count is wrong",
                changed(|all| all[1].metrics = Some(Page(String::new()))),
                vec![7],
            ),
        ] {
            let seen = holds(&blocks);
            let seen: Vec<usize> = (0..seen.len()).filter(|place| !seen[*place]).collect();
            assert_eq!(seen, broken, "{what}");
        }
        let late = changed(|all| all[1].hits[9_999].due = Duration::from_secs(11));
        assert!(!holds(&late)[0]);
        let short = changed(|all| all[0].hits.truncate(9_989));
        assert!(!holds(&short)[0]);
    }
}
