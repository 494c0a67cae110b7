//! What the tests of the core share: a breaker with a clock of its own.
#![allow(dead_code, missing_docs, unreachable_pub)]

use bimetal_core::breaker::{Breaker, Denied, Permit};
use bimetal_core::event::{State, Transition};
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{
    BreakerPolicy, Growth, HalfOpen, Judge, Open, RateCondition, Share, Trip, WindowSize,
};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;

/// 3 consecutive failures, 10 s open, one probe with a lease of 5 s.
pub fn policy() -> BreakerPolicy {
    BreakerPolicy {
        trip: Trip { consecutive_failures: Some(3), ..Trip::default() },
        open: Open {
            base: Duration::from_secs(10),
            multiplier: 1.0,
            growth: Growth::Exponential,
            max: Duration::from_secs(300),
            jitter: 0.0,
        },
        half_open: HalfOpen {
            max_probes: 1,
            required_successes: 1,
            judge: Judge::Each,
            lease: Duration::from_secs(5),
        },
        ramp: Duration::ZERO,
        respect_retry_after: true,
        share: Share::None,
    }
}

pub fn rate(threshold: f64, window: WindowSize, minimum_calls: u32) -> RateCondition {
    RateCondition { threshold, window, minimum_calls, z_squared: 0.0 }
}

/// A breaker and the time it is asked at, in seconds.
pub struct Bench {
    pub breaker: Breaker,
    pub now: Instant,
}

impl Bench {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self { breaker: Breaker::new(Arc::new(policy), 7), now: Instant::ZERO }
    }

    pub fn at(&mut self, secs: f64) -> &mut Self {
        self.now = Instant::from_nanos((secs * 1e9) as u64);
        self
    }

    pub fn admit(&mut self) -> Result<Permit, Denied> {
        self.breaker.admit(self.now)
    }

    pub fn permit(&mut self) -> Permit {
        self.admit().expect("the breaker should admit")
    }

    pub fn settles_late(&mut self, permit: Permit, outcome: Outcome) -> bool {
        self.breaker.settle(self.now, permit, Report::from(outcome))
    }

    /// A call that is admitted and settled at once.
    pub fn call(&mut self, outcome: Outcome) -> &mut Self {
        let permit = self.permit();
        assert!(!self.settles_late(permit, outcome));
        self
    }

    pub fn calls(&mut self, count: usize, outcome: Outcome) -> &mut Self {
        (0..count).for_each(|_| {
            self.call(outcome);
        });
        self
    }

    pub fn state(&self) -> State {
        self.breaker.state()
    }

    /// The changes since the last call, as `from>to cause@secs`.
    pub fn changes(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        while let Some(change) = self.breaker.take_transition() {
            changes.push(line(&change));
        }
        changes
    }
}

pub fn line(change: &Transition) -> String {
    let (from, to, cause) = (change.from.name(), change.to.name(), change.cause.name());
    format!("{from}>{to} {cause}@{}", change.at.as_nanos() as f64 / 1e9)
}
