//! What the demo showed, in numbers, and whether it is what was promised.

use super::metrics::Page;
use super::record::{Arm, Line, Record, Sample, Seen};
use super::script::{self, SCRIPT, Trouble};
use hdrhistogram::Histogram;
use std::time::Duration;

/// After an outage, how long the machine is left to settle before latencies are compared.
const SETTLE: Duration = Duration::from_secs(4);

/// One outage at one host.
#[derive(Clone, Debug)]
pub struct Outage {
    /// What the echo server did.
    pub name: &'static str,
    /// Failures let through before the breaker tripped.
    pub leaked: usize,
    /// Failures let through after that: the probes.
    pub probes: usize,
    /// From the first failing call to the first rejected one, by the time they were sent.
    pub to_trip: Option<Duration>,
    /// From the end of the outage to the first good answer after which nothing was rejected.
    pub to_recover: Option<Duration>,
}

/// One arm of the demo.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Which.
    pub arm: Arm,
    /// Calls sent.
    pub calls: usize,
    /// Calls with a good answer.
    pub good: usize,
    /// Calls that failed.
    pub failed: usize,
    /// Calls that the breaker rejected.
    pub rejected: usize,
    /// What it did in each outage.
    pub outages: Vec<Outage>,
    /// Middle latency while all was well.
    pub p50: Duration,
    /// The latency that 99 of 100 calls stayed below while all was well.
    pub p99: Duration,
}

impl Verdict {
    /// Draws the sum of what was seen of one arm.
    pub fn of(record: &Record, arm: Arm) -> Self {
        let line = record.line(arm);
        let count = |seen| line.samples.iter().filter(|sample| sample.seen == seen).count();
        let (p50, p99) = healthy_latency(line);
        Self {
            arm,
            calls: line.samples.len(),
            good: count(Seen::Good),
            failed: count(Seen::Failed),
            rejected: count(Seen::Rejected),
            outages: script::outages()
                .map(|(phase, until)| outage(&line.samples, phase, until))
                .collect(),
            p50,
            p99,
        }
    }

    /// Failures let through before the breaker tripped, over all outages.
    pub fn leaked(&self) -> usize {
        self.outages.iter().map(|outage| outage.leaked).sum()
    }
}

fn outage(samples: &[Sample], phase: &script::Phase, until: Duration) -> Outage {
    let first = |seen: Seen, from: Duration| {
        let due = samples.iter().filter(|sample| sample.seen == seen).map(|sample| sample.due);
        due.filter(|due| from <= *due && *due < until).min()
    };
    let failed = first(Seen::Failed, phase.from());
    let tripped = first(Seen::Rejected, phase.from());
    let failures = samples.iter().filter(|sample| {
        sample.seen == Seen::Failed && phase.from() <= sample.due && sample.due < until
    });
    let (leaked, probes): (Vec<&Sample>, Vec<&Sample>) =
        failures.partition(|sample| tripped.is_none_or(|tripped| sample.due < tripped));
    let last_rejected = samples
        .iter()
        .filter(|sample| sample.seen == Seen::Rejected)
        .map(|sample| sample.due)
        .filter(|due| phase.from() <= *due && *due < until)
        .max();
    let recovered = last_rejected.and_then(|last| first(Seen::Good, last.max(phase.to())));
    Outage {
        name: phase.name,
        leaked: leaked.len(),
        probes: probes.len(),
        to_trip: tripped.zip(failed).map(|(tripped, failed)| tripped.saturating_sub(failed)),
        to_recover: recovered.map(|at| at.saturating_sub(phase.to())),
    }
}

/// p50 and p99 of good answers while the echo server was well and the hosts had recovered.
fn healthy_latency(line: &Line) -> (Duration, Duration) {
    let mut latencies = Histogram::<u64>::new(3).ok();
    let calm = SCRIPT.iter().filter(|phase| phase.trouble == Trouble::None);
    let calm: Vec<(Duration, Duration)> =
        calm.map(|phase| (phase.from() + SETTLE, phase.to())).collect();
    for sample in line.samples.iter().filter(|sample| sample.seen == Seen::Good) {
        if calm.iter().any(|(from, to)| from <= &sample.due && sample.due < *to) {
            let nanos = u64::try_from(sample.latency.as_nanos()).unwrap_or(u64::MAX);
            if let Some(latencies) = &mut latencies {
                // Grows as needed: no value is too large for it.
                let _ = latencies.record(nanos);
            }
        }
    }
    let quantile = |share| {
        let nanos = latencies.as_ref().map_or(0, |all| all.value_at_quantile(share));
        Duration::from_nanos(nanos)
    };
    (quantile(0.5), quantile(0.99))
}

/// One claim about the demo, and whether it holds.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What was claimed and what was seen.
    pub text: String,
    /// Whether both agree.
    pub holds: bool,
}

/// Compares what a host says with what its clients saw.
pub fn claims(verdict: &Verdict, page: &Page) -> Vec<Claim> {
    let name = verdict.arm.name();
    let sum = |metric, labels: &[(&str, &str)]| page.sum(metric, labels);
    let admitted = sum("bimetal_requests_total", &[("decision", "admitted")]);
    let rejected = sum("bimetal_requests_total", &[("decision", "breaker")]);
    let settled = sum("bimetal_outcomes_total", &[]);
    let reopened =
        sum("bimetal_breaker_transitions_total", &[("from", "half_open"), ("to", "open")]);
    let (went, turned) = (verdict.good + verdict.failed, verdict.rejected);
    let probes: usize = verdict.outages.iter().map(|outage| outage.probes).sum();
    let tripped = verdict.outages.iter().filter(|outage| outage.to_trip.is_some()).count();
    let recovered = verdict.outages.iter().filter(|outage| outage.to_recover.is_some()).count();
    let of = verdict.outages.len();
    vec![
        Claim {
            text: format!(
                "{name}: tripped in {tripped} of {of} outages and recovered from {recovered}"
            ),
            holds: tripped == of && recovered == of,
        },
        Claim {
            text: format!(
                "{name}: every admitted call was settled once ({admitted} admitted, {settled} settled)"
            ),
            holds: admitted == settled && admitted > 0.0,
        },
        Claim {
            text: format!(
                "{name}: its metrics are what clients saw ({admitted} of {went} admitted, {rejected} of {turned} rejected)"
            ),
            holds: admitted == went as f64 && rejected == turned as f64,
        },
        Claim {
            text: format!(
                "{name}: no call was admitted while open ({probes} failed after the trips, {reopened} of them probes)"
            ),
            holds: probes as f64 == reopened,
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(due_ms: u64, seen: Seen) -> Sample {
        let latency = Duration::from_millis(1);
        Sample { arm: Arm::Native, due: Duration::from_millis(due_ms), latency, seen }
    }

    /// An outage as it should be: three failures, rejections, a failed probe, recovery.
    fn record() -> Record {
        let mut record = Record::default();
        for (due, seen) in [
            (5_000, Seen::Good),
            (8_000, Seen::Failed),
            (8_010, Seen::Failed),
            (8_020, Seen::Failed),
            (8_030, Seen::Rejected),
            (10_050, Seen::Failed),
            (10_060, Seen::Rejected),
            (17_500, Seen::Rejected),
            (18_250, Seen::Good),
        ] {
            record.add(sample(due, seen));
        }
        record
    }

    #[test]
    fn an_outage_is_measured_by_what_the_client_saw() {
        let verdict = Verdict::of(&record(), Arm::Native);
        let outage = &verdict.outages[0];
        assert_eq!((outage.leaked, outage.probes), (3, 1));
        assert_eq!(outage.to_trip, Some(Duration::from_millis(30)));
        assert_eq!(outage.to_recover, Some(Duration::from_millis(1250)));
        assert_eq!(verdict.outages[1].to_trip, None, "nothing happened in the second one");
    }

    #[test]
    fn latencies_are_taken_while_all_was_well() {
        let mut record = Record::default();
        for (due_s, latency_ms) in [(5, 2), (6, 2), (7, 30), (10, 900), (18, 900)] {
            record.add(Sample {
                latency: Duration::from_millis(latency_ms),
                ..sample(due_s * 1000, Seen::Good)
            });
        }
        let verdict = Verdict::of(&record, Arm::Native);
        let near = |time: Duration, ms: f64| (time.as_secs_f64() * 1e3 - ms).abs() < ms / 100.0;
        assert!(near(verdict.p50, 2.0), "{:?}", verdict.p50);
        assert!(near(verdict.p99, 30.0), "{:?}", verdict.p99);
    }

    /// A demo that kept every promise: five good calls, four failures of which one was a probe, two
    /// rejections.
    fn kept() -> Verdict {
        let outage = |name, probes| Outage {
            name,
            leaked: 3,
            probes,
            to_trip: Some(Duration::from_millis(30)),
            to_recover: Some(Duration::from_secs(1)),
        };
        Verdict {
            arm: Arm::Native,
            calls: 11,
            good: 5,
            failed: 4,
            rejected: 2,
            outages: vec![outage("answers 500", 1), outage("hangs", 0)],
            p50: Duration::ZERO,
            p99: Duration::ZERO,
        }
    }

    /// What its host counted.
    fn page(admitted: u32, rejected: u32, settled: u32, reopened: u32) -> Page {
        Page(format!(
            "bimetal_requests_total{{decision=\"admitted\"}} {admitted}\n\
             bimetal_requests_total{{decision=\"breaker\"}} {rejected}\n\
             bimetal_outcomes_total{{outcome=\"success\"}} {settled}\n\
             bimetal_breaker_transitions_total{{from=\"half_open\",to=\"open\"}} {reopened}\n"
        ))
    }

    #[test]
    fn each_promise_is_held_alone() {
        let holds = |verdict: &Verdict, page: &Page| -> Vec<bool> {
            claims(verdict, page).iter().map(|claim| claim.holds).collect()
        };
        assert_eq!(holds(&kept(), &page(9, 2, 9, 1)), [true; 4]);
        let changed = |change: fn(&mut Verdict)| {
            let mut verdict = kept();
            change(&mut verdict);
            verdict
        };
        let idle = changed(|verdict| (verdict.good, verdict.failed) = (0, 0));
        for (what, verdict, page, broken) in [
            (
                "it did not trip in one outage",
                changed(|verdict| verdict.outages[1].to_trip = None),
                page(9, 2, 9, 1),
                0,
            ),
            (
                "it did not recover from one",
                changed(|verdict| verdict.outages[0].to_recover = None),
                page(9, 2, 9, 1),
                0,
            ),
            ("one call was never settled", kept(), page(9, 2, 8, 1), 1),
            ("one call was settled twice", kept(), page(9, 2, 10, 1), 1),
            ("nothing was admitted", idle, page(0, 2, 0, 1), 1),
            ("it counts a call that nobody made", kept(), page(10, 2, 10, 1), 2),
            ("it counts a rejection that nobody got", kept(), page(9, 3, 9, 1), 2),
            ("it does not count a rejection", kept(), page(9, 1, 9, 1), 2),
            ("a failure after a trip was no probe", kept(), page(9, 2, 9, 0), 3),
            ("a probe that failed reached nobody", kept(), page(9, 2, 9, 2), 3),
        ] {
            let mut wanted = [true; 4];
            wanted[broken] = false;
            assert_eq!(holds(&verdict, &page), wanted, "{what}");
        }
    }

    #[test]
    fn what_the_first_outage_shows_is_not_taken_for_the_second() {
        let claims = claims(&Verdict::of(&record(), Arm::Native), &page(6, 3, 6, 1));
        let holds: Vec<_> = claims.iter().map(|claim| claim.holds).collect();
        assert_eq!(holds, [false, true, true, true]);
    }
}
