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

/// Which arms stand for the origin's configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// The breaker in the program.
    guard: &'static str,
    /// Istio's breaker with a sane pool, and with the origin's.
    outlier: &'static str,
    rule: &'static str,
    /// The same three with a trace of every call.
    traced_guard: &'static str,
    traced_outlier: &'static str,
    traced_rule: &'static str,
    /// What differs from the origin in every comparison with it.
    otherwise: &'static str,
}

impl Stand {
    /// Those of a study on one machine.
    const MACHINE: Self = Self {
        guard: "app-guard",
        outlier: "app-envoy-outlier",
        rule: "app-envoy-destination-rule",
        traced_guard: "traced-policy",
        traced_outlier: "traced-envoy-outlier",
        traced_rule: "traced-envoy-destination-rule",
        otherwise: "here one machine without a network between, Rust in place of Python, no mTLS, \
            and an open loop without think time; the origin counted a sidecar with its connections",
    };

    /// Those of one in a cluster, where every call is traced.
    const CLUSTER: Self = Self {
        guard: "proxy-policy",
        outlier: "mesh-outlier",
        rule: "mesh-destination-rule",
        traced_guard: "proxy-policy",
        traced_outlier: "mesh-outlier",
        traced_rule: "mesh-destination-rule",
        otherwise: "here three nodes on one machine, upstream Kubernetes and Envoy in place of K3s and \
            Istio's build, Rust in place of Python, and an open loop without think time; the origin \
            counted two sidecars and mutual TLS with the breaker",
    };

    /// Those of a study.
    pub(super) fn of(plan: &Plan) -> Self {
        if plan.arms.iter().any(|arm| arm == Self::CLUSTER.guard) {
            Self::CLUSTER
        } else {
            Self::MACHINE
        }
    }

    /// Whether the arms ran in a cluster.
    pub(super) fn is_cluster(self) -> bool {
        self == Self::CLUSTER
    }
}

/// Latency with Istio's breaker over that with the breaker in the program.
pub(super) fn istio_is_slower(plan: &Plan, found: &Findings, with_sane_pool: bool) -> Claim {
    let stand = Stand::of(plan);
    let (arm, pool) = match with_sane_pool {
        true => (stand.outlier, "with a sane pool"),
        false => (stand.rule, "with the origin's pool"),
    };
    let says =
        "Istio's breaker is about 20 % slower than the breaker in the program, at every load";
    let seen = judged(&by_rate(plan, found, arm, stand.guard));
    if seen.is_empty() {
        return unmeasured(ORIGIN, says, &format!("{arm} and {}", stand.guard));
    }
    let about = |one: &&Compared| one.finding == Finding::More && is_about_a_fifth(&one.ratio);
    let all = seen.iter().all(about);
    Claim {
        source: ORIGIN,
        says,
        ours: format!("median latency {pool}: {}", list(&seen)),
        verdict: if all { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!(
            "reproduced would be an interval above 1 that meets 1.1 to 1.3 at every rate; {}",
            stand.otherwise
        ),
    }
}

/// Whether an interval meets what "about 20 %" may mean.
fn is_about_a_fifth(ratio: &Comparison) -> bool {
    ratio.low.is_some_and(|low| low <= 1.3) && ratio.high.is_some_and(|high| high >= 1.1)
}

pub(super) fn payload_changes_nothing(plan: &Plan, found: &Findings) -> Claim {
    let stand = Stand::of(plan);
    let says = "the size of the message does not change the ratio";
    let mut largest_low: f64 = 0.0;
    let mut smallest_high = f64::INFINITY;
    let mut sizes = Vec::new();
    let mut seen = Vec::new();
    let all = plan
        .loads
        .iter()
        .filter_map(|load| found.of(*load, stand.outlier, stand.guard, Measure::P50));
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
            &format!("{} and {} with two sizes of message", stand.outlier, stand.guard),
        );
    }
    let together = largest_low <= smallest_high;
    Claim {
        source: ORIGIN,
        says,
        ours: format!("median latency: {}", list(&seen)),
        verdict: if together { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!("reproduced would be intervals that all meet; {}", stand.otherwise),
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
    let stand = Stand::of(plan);
    let mut seen = judged_spans(plan, found, stand.traced_rule);
    seen.retain(|one| one.span == ROOT);
    if seen.is_empty() {
        return unmeasured(
            ORIGIN,
            says,
            &format!("{} and {}", stand.traced_rule, stand.traced_guard),
        );
    }
    let all = seen.iter().all(|one| one.finding == Finding::More && is_about_a_fifth(&one.ratio));
    Claim {
        source: ORIGIN,
        says,
        ours: format!("with the origin's pool: {}", list_spans(&seen)),
        verdict: if all { Verdict::Reproduced } else { Verdict::NotReproduced },
        because: format!(
            "reproduced would be an interval above 1 that meets 1.1 to 1.3 at every rate; {}",
            stand.otherwise
        ),
    }
}

pub(super) fn processor_spans_are_equal(plan: &Plan, found: &Findings) -> Claim {
    let says = "spans that only use the processor take as long in both variants";
    let stand = Stand::of(plan);
    let mut seen = judged_spans(plan, found, stand.traced_outlier);
    seen.retain(|one| CPU_ONLY.contains(&one.span.as_str()));
    if seen.is_empty() {
        return unmeasured(
            ORIGIN,
            says,
            &format!("{} and {}", stand.traced_outlier, stand.traced_guard),
        );
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
             last microseconds, so that what the caches hold is seen in them; {}",
            stand.otherwise
        ),
    }
}
