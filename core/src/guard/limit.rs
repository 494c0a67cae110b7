//! The limit of calls under way in one scope: its slots, the limit that finds itself, and the calls that
//! wait.

use super::Place;
use crate::concurrency::adaptive::Adaptive;
use crate::concurrency::queue::{Queue, QueuePolicy, Standing};
use crate::concurrency::{Concurrency, Denied};
use crate::hash::Hash;
use crate::outcome::{Outcome, Report};
use crate::policy::{ConcurrencyPolicy, Share, StateHashes};
use crate::time::{Duration, Instant};

/// How a call asks for a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// What it is known by if it waits; none where it cannot.
    pub(crate) number: Option<u32>,
    /// Whether it has waited already, and for how long.
    pub(crate) waited: Option<Duration>,
    /// How long its caller can wait at most.
    pub(crate) left: Option<Duration>,
}

/// Why a call has no slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// It waits, until then at most.
    Waits(Instant),
    Denied(Denied),
}

/// The limit of one scope, as one worker sees it.
#[derive(Debug)]
pub(super) struct Limit {
    /// By whoever asked last: what is known of it where nobody asks.
    policy: ConcurrencyPolicy,
    slots: Concurrency,
    adaptive: Option<Adaptive>,
    queue: Queue,
    /// Whether the next slot that comes free is for another worker, where calls wait here and there.
    is_others_turn: bool,
    /// Whether a slot is free that calls of other workers wait for.
    rings: bool,
}

impl Limit {
    pub(super) fn new(policy: &ConcurrencyPolicy, hashes: &StateHashes, place: Place<'_>) -> Self {
        let account = match policy.share {
            Share::None => None,
            _ => place.account(hashes.scopes),
        };
        let words = match policy.share {
            Share::None => None,
            _ if account.is_some() => None,
            _ => place.words(hashes.scopes, Concurrency::WORDS),
        };
        let mut new = Self {
            policy: *policy,
            slots: match (account, words) {
                (Some(account), _) => Concurrency::leased(account),
                (None, Some(words)) => Concurrency::shared(words),
                (None, None) => Concurrency::new(),
            },
            adaptive: None,
            queue: Queue::default(),
            is_others_turn: false,
            rings: false,
        };
        new.follow(policy, hashes, place);
        new
    }

    /// Whether it can go on under that policy: with whom it is shared can change once nobody has a slot.
    pub(super) fn suits(&self, policy: &ConcurrencyPolicy) -> bool {
        self.policy.share == policy.share || !self.is_idle()
    }

    /// Whoever asks now has this policy.
    pub(super) fn follow(
        &mut self,
        policy: &ConcurrencyPolicy,
        hashes: &StateHashes,
        place: Place<'_>,
    ) {
        let share = self.policy.share;
        self.policy = ConcurrencyPolicy { share, ..*policy };
        if policy.adaptive.is_some() && self.adaptive.is_none() {
            let words = match share {
                Share::None => None,
                _ if self.slots.is_leased() => None,
                // Words of its own beside those of the slots.
                _ => {
                    let hash = Hash::default().number(hashes.scopes).bytes(b"adaptive");
                    place.words(hash.finish(), Adaptive::WORDS)
                }
            };
            self.adaptive = Some(words.map_or_else(Adaptive::new, Adaptive::shared));
        }
    }

    /// How many calls may be under way.
    fn allowed(&mut self, now: Instant) -> u32 {
        match (&self.policy.adaptive, &mut self.adaptive) {
            (Some(policy), Some(adaptive)) => adaptive.limit(now, policy),
            _ => self.policy.max,
        }
    }

    /// The same, for whoever wants to see it.
    pub(super) fn allowed_now(&self) -> u32 {
        match (&self.policy.adaptive, &self.adaptive) {
            (Some(policy), Some(adaptive)) => adaptive.current(policy),
            _ => self.policy.max,
        }
    }

    pub(super) const fn slots(&self) -> &Concurrency {
        &self.slots
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether nobody has a slot or waits for one.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.taken() == 0 && self.queue.is_idle()
    }

    /// Asks for a slot.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn ask(&mut self, now: Instant, call: Patience) -> Result<(), NoSlot> {
        let allowed = self.allowed(now);
        match (self.policy.queue, call.number) {
            (Some(_), Some(number)) if call.waited.is_some() => {
                self.ask_again(now, allowed, number, call.waited.unwrap_or_default())
            }
            (Some(queue), Some(number)) => {
                let left = call.left.map_or(queue.max_wait, |left| left.min(queue.max_wait));
                self.ask_or_wait(now, allowed, &queue, number, now + left)
            }
            _ => {
                // Its policy has no queue any more.
                if let Some(number) = call.number {
                    self.forget(now, number);
                }
                self.take(now, allowed).map_err(NoSlot::Denied)
            }
        }
    }

    fn take(&mut self, now: Instant, allowed: u32) -> Result<(), Denied> {
        self.slots.prepare(now, allowed);
        let taken = self.slots.take_one(allowed);
        match (&mut self.adaptive, taken) {
            (Some(adaptive), Ok(taken)) => adaptive.took(taken, allowed),
            (Some(adaptive), Err(_)) => adaptive.denied(),
            (None, _) => {}
        }
        taken.map(drop)
    }

    #[cold]
    fn ask_or_wait(
        &mut self,
        now: Instant,
        allowed: u32,
        policy: &QueuePolicy,
        number: u32,
        until: Instant,
    ) -> Result<(), NoSlot> {
        // In its order a slot that came free is for those who wait. Under overload the newest is first.
        if !self.queue.is_empty() && !self.queue.is_overloaded(now) {
            self.serve(now);
        }
        self.slots.prepare(now, allowed);
        if let Ok(taken) = self.slots.take_or_wait(allowed) {
            if let Some(adaptive) = &mut self.adaptive {
                adaptive.took(taken, allowed);
            }
            return Ok(());
        }
        if let Some(adaptive) = &mut self.adaptive {
            adaptive.denied();
        }
        self.queue.enter(now, policy, number, until);
        self.slots.waits(self.queue.len());
        Err(NoSlot::Waits(until))
    }

    #[cold]
    fn ask_again(
        &mut self,
        now: Instant,
        allowed: u32,
        number: u32,
        waited: Duration,
    ) -> Result<(), NoSlot> {
        self.serve(now);
        match self.queue.standing(number) {
            Standing::Called => {
                self.queue.leave(number);
                Ok(())
            }
            Standing::Waits if self.queue.until(number).is_some_and(|until| now < until) => {
                Err(NoSlot::Waits(self.queue.until(number).unwrap_or(now)))
            }
            Standing::Waits | Standing::Gone => {
                self.queue.leave(number);
                self.slots.waits(self.queue.len());
                Err(NoSlot::Denied(Denied::after(allowed, waited)))
            }
        }
    }

    /// Gives free slots to those who wait.
    pub(super) fn serve(&mut self, now: Instant) {
        let allowed = self.allowed(now);
        while !self.queue.is_empty() && self.take(now, allowed).is_ok() {
            if !self.queue.call_next(now) {
                self.slots.give_back();
                self.slots.release(now);
            }
        }
        self.slots.waits(self.queue.len());
    }

    /// A call that waits, or that a slot is kept for, has ended.
    pub(super) fn forget(&mut self, now: Instant, number: u32) {
        let had_slot = self.queue.leave(number);
        self.slots.waits(self.queue.len());
        if had_slot {
            self.give_back(now);
        }
    }

    /// A call is over: its latency counts, and its slot is free.
    pub(super) fn settle(&mut self, now: Instant, report: &Report) {
        if let (Some(adaptive), Some(latency)) = (&mut self.adaptive, report.latency) {
            match report.outcome {
                Outcome::Failure => adaptive.lost(latency),
                _ => adaptive.answered(latency),
            }
        }
        self.give_back(now);
    }

    /// Gives a slot to whoever waits for one, here or in another worker. Where calls wait here and there
    /// they take turns: so those of one worker do not wait for as long as others keep it busy.
    pub(super) fn give_back(&mut self, now: Instant) {
        if self.queue.is_empty() {
            self.slots.give_back();
            self.slots.release(now);
            self.rings |= self.slots.others_wait();
            return;
        }
        let others = self.slots.others_wait();
        let is_mine = !others || !self.is_others_turn;
        self.is_others_turn = others && is_mine;
        let (taken, allowed) = (self.slots.all_taken(), self.allowed_now());
        if is_mine && taken <= allowed && self.queue.call_next(now) {
            // Under a lasting overload no slot is ever free, and calls are let through by this alone.
            if let Some(adaptive) = &mut self.adaptive {
                adaptive.took(taken, allowed);
            }
            self.slots.waits(self.queue.len());
            return;
        }
        self.slots.waits(self.queue.len());
        self.slots.give_back();
        self.slots.release(now);
        self.rings |= others;
    }

    /// See [`Concurrency::renew`].
    pub(super) fn renew_lease(&mut self, now: Instant) -> bool {
        self.slots.renew(now)
    }

    /// Whether slots are leased and nobody looks after them yet; said once.
    pub(super) fn is_lease_to_be_listed(&mut self) -> bool {
        self.slots.is_to_be_listed()
    }

    /// Whether a call that waited is to ask again, or other workers are to be told of a free slot.
    #[inline]
    pub(super) fn wakes(&self) -> bool {
        self.rings || self.queue.has_woken()
    }

    /// A call that waited and is to ask again.
    pub(super) fn take_woken(&mut self) -> Option<u32> {
        self.queue.take_woken()
    }

    /// Whether other workers are to be told of a free slot.
    pub(super) fn take_ring(&mut self) -> bool {
        core::mem::take(&mut self.rings)
    }
}
