//! What the origin study says.

use super::super::findings::{Compared, Findings};
use super::super::spans::SpanCompared;
use super::super::text;
use super::{Claim, Verdict, by_rate, judged, list, smallest, unmeasured};
use crate::plan::Plan;
use crate::record::Measure;
use crate::spans::{CPU_ONLY, ROOT};
use crate::stats::{Comparison, Finding, holm};

const ORIGIN: &str = "the origin study (2025): K3s, Istio, Python";

/// What differs from the origin in every comparison with it.
const OTHERWISE: &str = "here one machine without a network between, Rust in place of Python, no mTLS, \
    and an open loop without think time; the origin counted a sidecar with its connections";

pub(super) fn istio_is_slower(
    plan: &Plan,
    found: &Findings,
    arm: &'static str,
    pool: &str,
) -> Claim {
    let says =
        "Istio's breaker is about 20 % slower than the breaker in the program, at every load";
    let seen = judged(&by_rate(plan, found, arm, "app-guard"));
    if seen.is_empty() {
        return unmeasured(ORIGIN, says, &format!("{arm} and app-guard"));
    }
    let about = |one: &&Compared| one.finding == Finding::More && is_about_a_fifth(&one.ratio);
    let all = seen.iter().all(about);
    Claim {
        source: ORIGIN,
        says,
        ours: format!("median latency {pool}: {}", list(&seen)),
        verdict: if all { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!(
            "reproduced would be an interval above 1 that meets 1.1 to 1.3 at every rate; {OTHERWISE}"
        ),
    }
}

/// Whether an interval meets what "about 20 %" may mean.
fn is_about_a_fifth(ratio: &Comparison) -> bool {
    ratio.low.is_some_and(|low| low <= 1.3) && ratio.high.is_some_and(|high| high >= 1.1)
}

pub(super) fn payload_changes_nothing(plan: &Plan, found: &Findings) -> Claim {
    let says = "the size of the message does not change the ratio";
    let mut largest_low: f64 = 0.0;
    let mut smallest_high = f64::INFINITY;
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    let all = plan
        .loads
        .iter()
        .filter_map(|load| found.of(*load, "app-envoy-outlier", "app-guard", Measure::P50));
    for one in judged(&all.collect::<Vec<_>>()) {
        // One rate of each size: the ladder of rates is another claim.
        if sizes.contains(&one.load.bytes) {
            continue;
        }
        sizes.push(one.load.bytes);
        seen.push(one);
        largest_low = largest_low.max(one.ratio.low.unwrap_or(0.0));
        smallest_high = smallest_high.min(one.ratio.high.unwrap_or(f64::INFINITY));
    }
    if sizes.len() < 2 {
        return unmeasured(
            ORIGIN,
            says,
            "app-envoy-outlier and app-guard with two sizes of message",
        );
    }
    let together = largest_low <= smallest_high;
    Claim {
        source: ORIGIN,
        says,
        ours: format!("median latency: {}", list(&seen)),
        verdict: if together { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!("reproduced would be intervals that all meet; {OTHERWISE}"),
    }
}

/// Spans that could be judged, of an arm under every rate of the smallest message.
fn judged_spans<'a>(plan: &Plan, found: &'a Findings, arm: &str) -> Vec<&'a SpanCompared> {
    let small = smallest(plan);
    let own = found.spans_compared.iter().filter(|one| one.arm == arm && one.load.bytes == small);
    own.filter(|one| one.finding != Finding::TooFewPairs).collect()
}

fn shown_span(one: &SpanCompared) -> String {
    let ratio = text::ratio(&one.ratio);
    format!("{} at {}: {ratio}", one.span, one.load)
}

fn list_spans(of: &[&SpanCompared]) -> String {
    of.iter().map(|one| shown_span(one)).collect::<Vec<_>>().join(", ")
}

pub(super) fn traces_are_longer(plan: &Plan, found: &Findings) -> Claim {
    let says = "the mean trace is about 20 % longer with Istio's breaker, at every load";
    let mut seen = judged_spans(plan, found, "traced-envoy-destination-rule");
    seen.retain(|one| one.span == ROOT);
    if seen.is_empty() {
        return unmeasured(ORIGIN, says, "traced-envoy-destination-rule and traced-policy");
    }
    let all = seen.iter().all(|one| one.finding == Finding::More && is_about_a_fifth(&one.ratio));
    Claim {
        source: ORIGIN,
        says,
        ours: format!("with the origin's pool: {}", list_spans(&seen)),
        verdict: if all { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!(
            "reproduced would be an interval above 1 that meets 1.1 to 1.3 at every rate; {OTHERWISE}"
        ),
    }
}

pub(super) fn processor_spans_are_equal(plan: &Plan, found: &Findings) -> Claim {
    let says = "spans that only use the processor take as long in both variants";
    let mut seen = judged_spans(plan, found, "traced-envoy-outlier");
    seen.retain(|one| CPU_ONLY.contains(&one.span.as_str()));
    if seen.is_empty() {
        return unmeasured(ORIGIN, says, "traced-envoy-outlier and traced-policy");
    }
    let p_values: Vec<f64> = seen.iter().map(|one| one.ratio.p).collect();
    let differ = seen.iter().zip(holm(&p_values)).filter(|(_, stands)| *stands).count();
    Claim {
        source: ORIGIN,
        says,
        ours: format!("{differ} of {} differ: {}", seen.len(), list_spans(&seen)),
        verdict: if differ == 0 { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!(
            "reproduced would be no span whose difference stands among these by Holm's rule; spans here \
             last microseconds, so that what the caches hold is seen in them; {OTHERWISE}"
        ),
    }
}
