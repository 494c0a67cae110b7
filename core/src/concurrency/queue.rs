//! Calls that wait for a slot: who is served next, and who has waited in vain.
//!
//! While load comes and goes, the oldest is served first: it is the fair order, and everybody has a slot in
//! time. Under overload that order serves nobody: each call waits for nearly as long as it may, and its
//! client has often gone when its turn comes. Then the newest is served first, and the oldest is dropped: most
//! of those that are served have waited for next to nothing, and those that have waited long would have been
//! lost in any order. This is the adaptive LIFO of Facebook (Maurer, "Fail at Scale", ACM Queue 13(8), 2015),
//! and its sign of overload is that of CoDel there: a queue that was not empty for so long, here for as long
//! as a call may wait. A full queue says the same at once.
//!
//! A slot is kept for a call that is served until it asks again, so that no other can come before it. The
//! queue holds at most `max` calls; whoever asks it passes the time.

use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// How many calls may wait, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueuePolicy {
    /// So many at once, 1 at least.
    pub max: u32,
    /// None longer than this.
    pub max_wait: Duration,
}

/// Calls that wait, of one worker.
#[derive(Debug, Default)]
pub struct Queue {
    /// The oldest first.
    waiting: VecDeque<Waiter>,
    /// Calls that a slot is kept for.
    called: Vec<u32>,
    /// Calls that are to ask again.
    woken: VecDeque<u32>,
    /// Since when it is not empty.
    filled: Instant,
    max_wait: Duration,
    was_full: bool,
    /// Whether a call came behind one with a higher number: it has waited for something else before.
    is_mixed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    number: u32,
    until: Instant,
}

/// Where a call stands that began to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Waits,
    /// A slot is kept for it.
    Called,
    /// It is not here any more: it was dropped, or has waited too long.
    Gone,
}

impl Queue {
    /// How many wait.
    pub fn len(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nobody waits, and no slot is kept for anybody.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.called.is_empty()
    }

    /// Whether the newest is served first.
    pub fn is_overloaded(&self, now: Instant) -> bool {
        !self.waiting.is_empty() && (self.was_full || now.since(self.filled) >= self.max_wait)
    }

    /// Has a call wait, until then at most. Numbers rise, modulo 2^32. Where the queue is full the oldest
    /// call is dropped, and woken to learn it.
    pub fn enter(&mut self, now: Instant, policy: &QueuePolicy, number: u32, until: Instant) {
        if self.waiting.is_empty() {
            self.filled = now;
            self.was_full = false;
            self.is_mixed = false;
        }
        self.max_wait = policy.max_wait;
        // The policy may have changed: then there may be more than one too many.
        while self.len() >= policy.max.max(1) {
            self.was_full = true;
            if let Some(oldest) = self.waiting.pop_front() {
                self.woken.push_back(oldest.number);
            }
        }
        let last = self.waiting.back();
        self.is_mixed |= last.is_some_and(|last| number.wrapping_sub(last.number) > u32::MAX / 2);
        self.waiting.push_back(Waiter { number, until });
    }

    /// Keeps a free slot for whoever is to be served next, and wakes that call. False where nobody waits
    /// whose time is not over.
    pub fn call_next(&mut self, now: Instant) -> bool {
        let newest_first = self.is_overloaded(now);
        loop {
            let next =
                if newest_first { self.waiting.pop_back() } else { self.waiting.pop_front() };
            let Some(Waiter { number, until }) = next else {
                return false;
            };
            self.woken.push_back(number);
            if now < until {
                self.called.push(number);
                return true;
            }
        }
    }

    /// Where a call stands.
    pub fn standing(&self, number: u32) -> Standing {
        if self.called.contains(&number) {
            Standing::Called
        } else if self.find(number).is_some() {
            Standing::Waits
        } else {
            Standing::Gone
        }
    }

    /// Until when a call waits.
    pub fn until(&self, number: u32) -> Option<Instant> {
        self.waiting.get(self.find(number)?).map(|waiter| waiter.until)
    }

    /// Forgets a call. Whether a slot was kept for it: that is the caller's now.
    pub fn leave(&mut self, number: u32) -> bool {
        if let Some(place) = self.called.iter().position(|called| *called == number) {
            self.called.swap_remove(place);
            return true;
        }
        if let Some(place) = self.find(number) {
            self.waiting.remove(place);
        }
        false
    }

    /// Whether there is a call that is to ask again.
    #[inline]
    pub fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    /// A call that is to ask again; each is told once.
    pub fn take_woken(&mut self) -> Option<u32> {
        self.woken.pop_front()
    }

    /// Calls stand in the order of their numbers, but for those that have waited before.
    fn find(&self, number: u32) -> Option<usize> {
        if self.is_mixed {
            return self.waiting.iter().position(|waiter| waiter.number == number);
        }
        let first = self.waiting.front()?.number;
        let place = number.wrapping_sub(first);
        self.waiting.binary_search_by_key(&place, |waiter| waiter.number.wrapping_sub(first)).ok()
    }
}

#[cfg(test)]
mod tests;
