//! Tries of one call: its breaker between two of them.

use super::{Guard, GuardPermit};
use crate::breaker::{Permit, State};
use crate::outcome::Report;
use crate::time::Instant;

impl GuardPermit {
    /// Whether its breaker knows the result already.
    pub(crate) const fn is_told(&self) -> bool {
        self.is_told
    }
}

impl Guard {
    /// Whether another try may be made: the breaker is closed and would admit a call. A probe has one try.
    pub(crate) fn may_try_again(&mut self, now: Instant, permit: &GuardPermit) -> bool {
        let is_fine = self.peek(now).is_ok() && self.state() == State::Closed;
        is_fine && !permit.is_probe()
    }

    /// Tells what became of a try whose call goes on, or may.
    pub(crate) fn settle_try(&mut self, now: Instant, permit: &mut GuardPermit, report: Report) {
        if let Some(breaker) = &mut self.breaker
            && !permit.is_told
        {
            let told = core::mem::replace(&mut permit.breaker, Permit::NONE);
            breaker.settle(now, told, report);
            permit.is_told = true;
        }
    }

    /// The breaker's permit for the next try of a call; false where it refuses.
    pub(crate) fn admit_try(&mut self, now: Instant, permit: &mut GuardPermit) -> bool {
        if !self.may_try_again(now, permit) {
            return false;
        }
        let Some(breaker) = self.breaker.as_mut().filter(|_| permit.is_told) else {
            return true;
        };
        match breaker.admit(now) {
            Ok(again) => {
                permit.breaker = again;
                permit.is_told = false;
                true
            }
            // Another worker was faster.
            Err(_) => false,
        }
    }
}
