//! What a policy watches of its calls: rate, latency and errors at fixed intervals, each judged against
//! what it was before.
//!
//! A watch keeps no samples of calls. It is told sums that only grow, and what grew within an interval is
//! one sample of each signal. It tells what it finds and decides nothing.

use super::{Outlier, ZScore};
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Calls in a second, rejected ones among them: what callers want.
    Rate,
    /// Mean latency on the upstream's clock, in seconds.
    Latency,
    /// The share of failures among what is evidence.
    Errors,
}

impl Signal {
    /// Every signal, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Rate, Self::Latency, Self::Errors];
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The name in policies, metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Latency => "latency",
            Self::Errors => "errors",
        }
    }
}

/// By which rule a sample is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Judging {
    /// Deviations from the mean of the last samples, itself included: [`ZScore`].
    #[default]
    ZScore,
    /// Median distances from a line through the last samples: [`Outlier`].
    Robust,
}

impl Judging {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::ZScore, Self::Robust];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ZScore => "zscore",
            Self::Robust => "robust",
        }
    }
}

/// What is watched, and how. It changes no decision.
#[derive(Clone, Debug, PartialEq)]
pub struct AnomalyPolicy {
    /// The signals, each once.
    pub signals: Vec<Signal>,
    /// By which rule.
    pub detector: Judging,
    /// How many samples one is judged against. Nothing is told before there are so many.
    pub window: u32,
    /// A score beyond this, on either side, is an anomaly.
    pub threshold: f64,
    /// The time of one sample.
    pub interval: Duration,
    /// With fewer settled calls an interval says nothing of latency and errors.
    pub minimum_calls: u32,
}

impl AnomalyPolicy {
    /// Whether it watches a signal.
    pub fn watches(&self, signal: Signal) -> bool {
        self.signals.contains(&signal)
    }

    /// What a score cannot exceed: of the z-score, with the judged sample in its own window,
    /// (n − 1)/√n.
    pub fn highest_score(detector: Judging, window: u32) -> f64 {
        let samples = f64::from(window);
        match detector {
            Judging::ZScore => (samples - 1.0) / libm::sqrt(samples),
            Judging::Robust => Outlier::FARTHEST,
        }
    }
}

/// Sums over the calls of a scope; none ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Calls that were decided.
    pub calls: u64,
    /// Settled calls that are evidence.
    pub settled: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Sum of the latencies that were reported, in nanoseconds.
    pub latency: u64,
    /// How many.
    pub latencies: u64,
}

impl Seen {
    /// What was seen since `before`.
    const fn since(&self, before: &Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            settled: self.settled.saturating_sub(before.settled),
            failures: self.failures.saturating_sub(before.failures),
            latency: self.latency.saturating_sub(before.latency),
            latencies: self.latencies.saturating_sub(before.latencies),
        }
    }

    /// The sample of a signal, of what was seen within `passed`. None where it says nothing.
    fn sample(&self, signal: Signal, passed: Duration, minimum: u32) -> Option<f64> {
        let share =
            |part: u64, of: u64| (of >= u64::from(minimum.max(1))).then(|| part as f64 / of as f64);
        match signal {
            Signal::Rate => Some(self.calls as f64 / passed.as_secs_f64()),
            Signal::Latency => share(self.latency, self.latencies).map(|nanos| nanos / 1e9),
            Signal::Errors => share(self.failures, self.settled),
        }
    }
}

/// A sample unlike those before it, with its evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anomaly {
    /// Of what.
    pub signal: Signal,
    /// The sample: calls in a second, seconds, or a share.
    pub value: f64,
    /// What was expected: the window's mean; of a robust judge what the line through it says.
    pub mean: f64,
    /// The window's deviation, or its robust likeness.
    pub deviation: f64,
    /// How many deviations lie between them.
    pub score: f64,
}

/// What a judge says of one sample.
#[derive(Clone, Copy, Debug)]
struct Judged {
    mean: f64,
    deviation: f64,
    score: f64,
}

#[derive(Clone, Debug)]
enum Judge {
    ZScore(ZScore),
    Robust(Box<Outlier>),
}

impl Judge {
    fn new(policy: &AnomalyPolicy) -> Self {
        match policy.detector {
            Judging::ZScore => Self::ZScore(ZScore::new(policy.window as usize)),
            Judging::Robust => Self::Robust(Box::default()),
        }
    }

    /// What it says of a sample; none while it has seen too few.
    fn observe(&mut self, value: f64, window: u32) -> Option<Judged> {
        match self {
            Self::ZScore(score) => {
                let reading = score.observe(value)?;
                let (mean, deviation) = (reading.mean, reading.deviation);
                // Of the first samples each is far from the others.
                let is_full = score.len() >= window as usize;
                is_full.then_some(Judged { mean, deviation, score: reading.z })
            }
            Self::Robust(outlier) => {
                let reading = outlier.read(value)?;
                let (mean, deviation) = (reading.expected, reading.deviation);
                Some(Judged { mean, deviation, score: reading.distance })
            }
        }
    }
}

/// The watch over one scope's calls. It allocates when it is made, and never again.
#[derive(Clone, Debug)]
pub struct Watch {
    /// In the order of [`Signal::ALL`].
    judges: [Option<Judge>; Signal::COUNT],
    /// When the interval under way began, and what had been seen by then.
    begun: Instant,
    before: Seen,
    due: Instant,
}

impl Watch {
    /// A watch that begins now, when so much had been seen.
    pub fn new(policy: &AnomalyPolicy, now: Instant, seen: Seen) -> Self {
        let judge = |signal| policy.watches(signal).then(|| Judge::new(policy));
        Self {
            judges: Signal::ALL.map(judge),
            begun: now,
            before: seen,
            due: now + policy.interval,
        }
    }

    /// About how many bytes a watch by `policy` needs.
    pub fn size(policy: &AnomalyPolicy) -> usize {
        let judge = match policy.detector {
            Judging::ZScore => policy.window as usize * size_of::<f64>(),
            Judging::Robust => size_of::<Outlier>(),
        };
        size_of::<Self>() + policy.signals.len() * judge
    }

    /// When its interval is over.
    pub const fn due(&self) -> Instant {
        self.due
    }

    /// The clock came back from ahead: its interval begins anew.
    pub fn restart(&mut self, policy: &AnomalyPolicy, now: Instant, seen: Seen) {
        self.begun = now;
        self.before = seen;
        self.due = now + policy.interval;
    }

    /// Takes the samples of the interval that is over, and tells those that are anomalies. Nothing
    /// happens before it is over.
    pub fn poll(
        &mut self,
        policy: &AnomalyPolicy,
        now: Instant,
        seen: Seen,
        tell: &mut dyn FnMut(Anomaly),
    ) {
        if now < self.due {
            return;
        }
        // A tick comes late, by more or less: a rate is over the time that passed.
        let passed = now.since(self.begun);
        let within = seen.since(&self.before);
        for (signal, judge) in Signal::ALL.into_iter().zip(&mut self.judges) {
            let Some(judge) = judge else { continue };
            let Some(value) = within.sample(signal, passed, policy.minimum_calls) else { continue };
            if let Some(judged) = judge.observe(value, policy.window)
                && judged.score.abs() > policy.threshold
            {
                let Judged { mean, deviation, score } = judged;
                tell(Anomaly { signal, value, mean, deviation, score });
            }
        }
        self.begun = now;
        self.before = seen;
        // On the grid of its intervals, so that being late does not add up.
        let interval = policy.interval.as_nanos().max(1);
        let whole = now.since(self.due).as_nanos() / interval + 1;
        self.due += Duration::from_nanos(interval.saturating_mul(whole));
    }
}
