//! What an adaptive limit remembers: five words, each changed as a whole.

use super::{
    AdaptivePolicy, Algorithm, BACKOFF, CONGESTED, DOUBT, FASTER, FLOOR_TIME, LEAST_GRADIENT, NEAR,
    PROBE_SHARE, PROBE_TIME, SOON, TOLERANCE, WINDOW_TIME,
};
use crate::time::{Duration, Instant};

/// A [`Learned`].
pub(super) const LEARNED: usize = 0;
/// A [`Window`].
pub(super) const WINDOW: usize = 1;
/// The [`Samples`] of the window.
pub(super) const SAMPLES: usize = 2;
/// What was [`Seen`] in the window.
pub(super) const SEEN: usize = 3;
/// How the floor was [`Measured`].
pub(super) const MEASURED: usize = 4;
/// How many there are.
pub(super) const WORDS: usize = 5;

const fn micros(now: Instant) -> u64 {
    now.as_nanos() / 1_000
}

const fn from_micros(micros: u64) -> Duration {
    Duration::from_nanos(micros * 1_000)
}

/// The limit, and the latency without a queue in the upstream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Learned {
    /// In calls and fractions of one.
    pub(super) limit: f64,
    /// In microseconds; zero where none is known.
    pub(super) floor: u32,
}

/// Parts of a call in the word of the limit.
const PARTS: f64 = 256.0;

impl Learned {
    pub(super) fn unpack(word: u64, policy: &AdaptivePolicy) -> Self {
        // A word of nobody is a limit of none; and the policy's bounds may have changed since.
        let limit = bounded((word >> 32) as f64 / PARTS, policy);
        Self { limit, floor: floor(word) }
    }

    pub(super) fn pack(self) -> u64 {
        ((self.limit * PARTS) as u64) << 32 | u64::from(self.floor)
    }

    /// How many calls may be under way in that phase.
    #[inline]
    pub(super) fn allowed(&self, phase: Phase, policy: &AdaptivePolicy) -> u32 {
        let limit = self.limit as u32;
        match phase {
            Phase::Normal => limit,
            Phase::Drain | Phase::Settle | Phase::Probe => (limit / 2).max(policy.min),
        }
    }

    /// After a window with so many latencies of this mean.
    pub(super) fn moved(
        self,
        count: u64,
        mean: u32,
        is_full: bool,
        policy: &AdaptivePolicy,
    ) -> Self {
        let ratio = f64::from(self.floor) / f64::from(mean.max(1));
        let next = match policy.algorithm {
            Algorithm::Gradient => {
                let gradient = (ratio * TOLERANCE).clamp(LEAST_GRADIENT, TOLERANCE);
                let next = self.limit * gradient + libm::sqrt(self.limit) / 2.0;
                let weight = count as f64 / (count as f64 + DOUBT);
                if next < self.limit { self.limit + (next - self.limit) * weight } else { next }
            }
            Algorithm::Aimd if ratio * CONGESTED < 1.0 => self.limit * BACKOFF,
            Algorithm::Aimd => self.limit + 1.0,
        };
        // What was never reached has no reason to rise.
        let next = if is_full { next } else { next.min(self.limit) };
        Self { limit: bounded(next, policy), ..self }
    }
}

fn bounded(limit: f64, policy: &AdaptivePolicy) -> f64 {
    limit.min(f64::from(policy.max)).max(f64::from(policy.min))
}

/// The floor in a word of [`Learned`], in microseconds.
#[inline]
pub(super) const fn floor(word: u64) -> u32 {
    (word & u32::MAX as u64) as u32
}

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To move the limit.
    Normal,
    /// To let those go who came before a probe: until half the limit lets the first one through.
    Drain,
    /// And those who waited in the upstream with them.
    Settle,
    /// To measure the floor.
    Probe,
}

/// When a window began, and what it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// In microseconds.
    pub(super) began: u64,
    pub(super) phase: Phase,
}

impl Window {
    pub(super) const fn new(now: Instant, phase: Phase) -> Self {
        Self { began: micros(now), phase }
    }

    pub(super) const fn unpack(word: u64) -> Self {
        let phase = match word & 3 {
            0 => Phase::Normal,
            1 => Phase::Drain,
            2 => Phase::Settle,
            _ => Phase::Probe,
        };
        Self { began: word >> 2, phase }
    }

    pub(super) const fn pack(self) -> u64 {
        self.began << 2 | self.phase as u64
    }

    pub(super) const fn age(&self, now: Instant) -> Duration {
        from_micros(micros(now).saturating_sub(self.began))
    }

    /// How long it lasts at least.
    #[inline]
    pub(super) fn length(&self, floor: u32) -> Duration {
        let floor = from_micros(floor as u64);
        match self.phase {
            Phase::Normal => WINDOW_TIME.max(floor + floor),
            Phase::Drain => Duration::ZERO,
            Phase::Settle => floor + floor,
            Phase::Probe => PROBE_TIME.max(floor),
        }
    }

    /// Whether its clock has come back since it began.
    #[inline]
    pub(super) const fn is_ahead(&self, now: Instant) -> bool {
        self.began > micros(now)
    }
}

/// The most latencies of a window.
const MOST_SAMPLES: u64 = (1 << 20) - 1;
/// Bits of their sum.
const SUM_BITS: u32 = 44;

/// Latencies: how many, and their sum in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples {
    pub(super) count: u64,
    sum: u64,
}

impl Samples {
    pub(super) const fn unpack(word: u64) -> Self {
        Self { count: word >> SUM_BITS, sum: word & ((1 << SUM_BITS) - 1) }
    }

    pub(super) const fn pack(self) -> u64 {
        self.count << SUM_BITS | self.sum
    }

    /// With one more; none where there is no room for it: those that are there say enough.
    pub(super) fn and(self, latency: Duration) -> Option<Self> {
        let micros = (latency.as_nanos() / 1_000).min(u64::from(u32::MAX));
        let sum = self.sum + micros;
        let fits = self.count < MOST_SAMPLES && sum >> SUM_BITS == 0;
        fits.then_some(Self { count: self.count + 1, sum })
    }

    /// In microseconds, at least one.
    pub(super) fn mean(self) -> Option<u32> {
        let mean = self.sum.checked_div(self.count)?.max(1);
        Some(u32::try_from(mean).unwrap_or(u32::MAX))
    }
}

/// Most calls under way, whether the limit was reached, and how many calls ran out of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) most: u32,
    pub(super) is_full: bool,
    pub(super) lost: u32,
}

/// Where the count of lost calls begins in its word. It has 31 bits.
const LOST_AT: u32 = 33;

impl Seen {
    pub(super) const fn unpack(word: u64) -> Self {
        let most = (word >> 1 & u32::MAX as u64) as u32;
        Self { most, is_full: word & 1 == 1, lost: (word >> LOST_AT) as u32 }
    }

    pub(super) const fn pack(self) -> u64 {
        let lost = self.lost & (u32::MAX >> 1);
        (lost as u64) << LOST_AT | (self.most as u64) << 1 | self.is_full as u64
    }

    /// With what was seen besides.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            most: self.most.max(other.most),
            is_full: self.is_full || other.is_full,
            lost: self.lost + other.lost,
        }
    }
}

/// When the floor was measured, for how long that is believed, and the highest limit since.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    /// In hundredths of a second.
    at: u64,
    /// In tenths of a second.
    lasts: u64,
    limit: u32,
}

const LIMIT_BITS: u32 = 20;
const LASTS_BITS: u32 = 8;
const HUNDREDTH: u64 = Duration::from_millis(10).as_nanos();

impl Measured {
    pub(super) const fn unpack(word: u64) -> Self {
        Self {
            at: word >> (LIMIT_BITS + LASTS_BITS),
            lasts: word >> LIMIT_BITS & ((1 << LASTS_BITS) - 1),
            limit: (word & ((1 << LIMIT_BITS) - 1)) as u32,
        }
    }

    pub(super) const fn pack(self) -> u64 {
        self.at << (LIMIT_BITS + LASTS_BITS) | self.lasts << LIMIT_BITS | self.limit as u64
    }

    /// Measured now, at the price of a probe that took so long; zero for one that cost nothing. Where it
    /// has fallen much, half of the limit may still have been too much.
    pub(super) fn new(now: Instant, probe: Duration, old: u32, learned: &Learned) -> Self {
        let lasts = if f64::from(learned.floor) < f64::from(old) * FASTER {
            SOON.as_millis()
        } else {
            FLOOR_TIME.as_millis().max(probe.as_millis().saturating_mul(PROBE_SHARE))
        };
        Self {
            at: now.as_nanos() / HUNDREDTH,
            lasts: (lasts / 100).min((1 << LASTS_BITS) - 1),
            limit: 0,
        }
        .and(learned)
    }

    /// With the highest limit since.
    pub(super) fn and(self, learned: &Learned) -> Self {
        let limit = (learned.limit as u32).min((1 << LIMIT_BITS) - 1);
        Self { limit: self.limit.max(limit), ..self }
    }

    /// Whether it should be measured anew: it is old, and latencies are not near it, as they are without a
    /// queue upstream; or by it the limit has halved, or calls are faster than it, and so it is wrong.
    pub(super) fn is_due(
        &self,
        now: Instant,
        mean: u32,
        learned: &Learned,
        policy: &AdaptivePolicy,
    ) -> bool {
        let (mean, floor) = (f64::from(mean), f64::from(learned.floor));
        let highest = f64::from(self.limit.min(policy.max));
        let is_wrong = learned.limit * 2.0 < highest || mean < floor * FASTER;
        let began = Instant::from_nanos(self.at * HUNDREDTH);
        let age = now.since(began);
        let is_old = age.as_millis() >= self.lasts * 100 && mean > floor * NEAR;
        // Or the clock came back.
        is_old || now < began || (is_wrong && age >= SOON)
    }
}
