//! What guards one scope: the mechanisms of its policy, composed.
//!
//! Today that is the breaker. The order of the rules is fixed: match, mode, then the rules one
//! after the other; what is rejected consumes nothing.

use crate::board::Words;
use crate::breaker::{Breaker, Permit};
use crate::decision::Rejection;
use crate::event::{State, Transition};
use crate::outcome::Report;
use crate::policy::BreakerPolicy;
use crate::time::Instant;
use alloc::sync::Arc;

/// The guard of one scope.
#[derive(Clone, Debug)]
pub struct Guard {
    breaker: Option<Breaker>,
    /// Permits given out and not settled, whatever their generation.
    outstanding: u32,
}

/// A permit of a guard; its breaker's permit where the policy has a breaker.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit must be settled"]
pub struct GuardPermit(Option<Permit>);

impl GuardPermit {
    /// Whether it is of a breaker's probe that waits for response headers.
    pub fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(Permit::is_probe)
    }
}

impl Guard {
    /// A guard with a breaker where there is a policy for one; it is a replica where there are
    /// `words` for it. The only place that allocates.
    pub fn new(
        breaker: Option<Arc<BreakerPolicy>>,
        seed: u64,
        words: Option<Arc<dyn Words>>,
    ) -> Self {
        let breaker = breaker.map(|breaker| match words {
            Some(words) => Breaker::shared(breaker, seed, words),
            None => Breaker::new(breaker, seed),
        });
        Self { breaker, outstanding: 0 }
    }

    /// Whether a call may go upstream now.
    ///
    /// # Errors
    /// The first rule that says no.
    #[inline]
    pub fn admit(&mut self, now: Instant) -> Result<GuardPermit, Rejection> {
        let permit = match &mut self.breaker {
            Some(breaker) => Some(breaker.admit(now)?),
            None => None,
        };
        self.outstanding = self.outstanding.saturating_add(1);
        Ok(GuardPermit(permit))
    }

    /// Good response headers arrived, see [`Breaker::answered`].
    #[inline]
    pub fn answered(&mut self, now: Instant, permit: &mut GuardPermit) {
        if let (Some(breaker), Some(permit)) = (&mut self.breaker, &mut permit.0) {
            breaker.answered(now, permit);
        }
    }

    /// The upstream's clock of a call runs or stands, see [`Breaker::upstream_clock`].
    pub fn upstream_clock(&mut self, now: Instant, permit: &GuardPermit, runs: bool) {
        if let (Some(breaker), Some(permit)) = (&mut self.breaker, &permit.0) {
            breaker.upstream_clock(now, permit, runs);
        }
    }

    /// Tells what became of a call, exactly once a permit. Returns whether the result came too late,
    /// see [`Breaker::settle`].
    #[inline]
    pub fn settle(&mut self, now: Instant, permit: GuardPermit, report: Report) -> bool {
        self.outstanding = self.outstanding.saturating_sub(1);
        match (&mut self.breaker, permit.0) {
            (Some(breaker), Some(permit)) => breaker.settle(now, permit, report),
            _ => false,
        }
    }

    /// Carries out what time made due.
    pub fn poll(&mut self, now: Instant) {
        if let Some(breaker) = &mut self.breaker {
            breaker.poll(now);
        }
    }

    /// When [`Guard::poll`] will next have something to do.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.breaker.as_ref().and_then(Breaker::next_wakeup)
    }

    /// The oldest change of state that was not taken yet.
    #[inline]
    pub fn take_transition(&mut self) -> Option<Transition> {
        self.breaker.as_mut().and_then(Breaker::take_transition)
    }

    /// The breaker's state; closed where there is none.
    #[inline]
    pub fn state(&self) -> State {
        self.breaker.as_ref().map_or(State::Closed, Breaker::state)
    }

    /// The breaker, where the policy has one.
    pub const fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }

    /// Whether it may leave the table: closed, and nobody waits to settle.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.state() == State::Closed
    }
}
