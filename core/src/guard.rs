//! What guards one scope: the mechanisms of its policy, composed.
//!
//! Each mechanism is usable alone and knows neither the others nor this file. Here they are asked in a
//! fixed order, and what one of them says becomes the answer to the call. First all are asked, then
//! all take: what is rejected, or has to wait, consumes nothing.
//!
//! A mechanism's state is a field of [`Guard`]. Its settings are a field of [`Rules`] where the state
//! depends on them (the breaker's); else the policy that asks gives them with each call (the limit of
//! calls under way). It gets its words on the board in [`Guard::new`] or with the first call. It is
//! asked in [`Guard::admit`] and `Guard::admit_or_wait`, told in [`Guard::settle`] and
//! [`Guard::poll`]. [`Guard::is_idle`] says whether all can be forgotten, [`Guard::next_wakeup`] when
//! time makes something due.
//!
//! Nearly every call finds a closed breaker and no other mechanism: the engine asks
//! `Guard::admit_undisturbed` first then, which looks at nothing else.

mod far;
mod leases;
mod limit;
#[cfg(test)]
mod tests;
mod tries;
mod waiting;

use crate::board::account::Account;
use crate::board::{Board, Words};
use crate::breaker::{Breaker, Denied, Order, Permit, State, Transition};
use crate::decision::Rejection;
use crate::outcome::Report;
use crate::policy::{BreakerPolicy, ConcurrencyPolicy, Policy, Share, StateHashes};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub(crate) use limit::Patience;
use limit::{Limit, NoSlot};

/// The settings of a guard that belong to its state: guards with the same hashes have the same.
#[derive(Clone, Debug)]
pub struct Rules {
    hashes: StateHashes,
    breaker: Option<Arc<BreakerPolicy>>,
}

impl Rules {
    /// Those of a policy.
    pub fn of(policy: &Policy) -> Self {
        Self { hashes: policy.hashes, breaker: policy.breaker.clone() }
    }

    /// What decides whether state means the same.
    pub const fn hashes(&self) -> &StateHashes {
        &self.hashes
    }

    /// Whether there is a breaker.
    pub const fn has_breaker(&self) -> bool {
        self.breaker.is_some()
    }

    /// Whether others, by way of a board, can change something in a guard.
    pub fn is_shared(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.share != Share::None)
    }
}

/// Where a guard meets its replicas in other workers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The board; none where workers share nothing.
    pub board: Option<&'a dyn Board>,
    /// The key of the scope.
    pub key: &'a [u8],
}

impl Place<'_> {
    /// The words of one mechanism: the same for every worker where it means the same, whatever else
    /// the policy says.
    pub(crate) fn words(&self, hash: u64, count: usize) -> Option<Arc<dyn Words>> {
        let board = self.board?;
        let name: Vec<u8> = [&hash.to_le_bytes(), self.key].concat();
        board.open(&name, count)
    }

    /// The account of one mechanism, where workers are to lease from it.
    pub(crate) fn account(&self, hash: u64) -> Option<Arc<dyn Account>> {
        let name: Vec<u8> = [&hash.to_le_bytes(), self.key].concat();
        self.board?.account(&name)
    }
}

/// The guard of one scope.
#[derive(Debug, Default)]
pub struct Guard {
    breaker: Option<Breaker>,
    /// None while no policy with a limit asked.
    limit: Option<Box<Limit>>,
    /// Permits given out and not settled, whatever their generation.
    outstanding: u32,
    #[cfg(test)]
    gate: Option<tests::Gate>,
}

/// What a guard says to a call.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit must be settled"]
pub enum Answer {
    /// It goes upstream.
    Admit(GuardPermit),
    /// It does not, by the first rule that says no.
    Reject(Rejection),
    /// It may ask again then.
    Wait(Instant),
}

/// A limit of calls under way at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// How many may be.
    pub limit: u32,
    /// How many are, in all workers that share the limit.
    pub taken: u32,
    /// How many calls of this worker wait.
    pub waiting: u32,
}

/// A permit of a guard: what its mechanisms gave.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit must be settled"]
pub struct GuardPermit {
    breaker: Permit,
    /// Whether it has a slot of the limit of calls under way.
    has_slot: bool,
    /// Whether the breaker knows the result already: that of a try which was told by itself.
    is_told: bool,
}

impl GuardPermit {
    /// Whether it is of a breaker's probe that waits for response headers.
    pub fn is_probe(&self) -> bool {
        self.breaker.is_probe()
    }

    /// Whether it has a slot of the limit of calls under way.
    #[inline]
    pub(crate) const fn has_slot(&self) -> bool {
        self.has_slot
    }
}

impl Guard {
    /// A guard by `rules` whose mechanisms meet their replicas at `place`. `seed` fixes jitter.
    pub fn new(rules: &Rules, seed: u64, place: Place<'_>) -> Self {
        let breaker = rules.breaker.clone().map(|policy| {
            let words = match policy.share {
                Share::None => None,
                _ => place.words(rules.hashes.breaker, Breaker::words_needed(&policy)),
            };
            match words {
                Some(words) => Breaker::shared(policy, seed, words),
                None => Breaker::new(policy, seed),
            }
        });
        Self {
            breaker,
            limit: None,
            outstanding: 0,
            #[cfg(test)]
            gate: None,
        }
    }

    /// What others change in it is told by `number` from now on, see [`Words::watch`].
    pub fn watch(&self, number: u64) {
        if let Some(breaker) = &self.breaker {
            breaker.watch(number);
        }
    }

    /// Whether a call may go upstream now, by a policy without a limit of calls under way.
    #[inline]
    pub fn admit(&mut self, now: Instant) -> Answer {
        #[cfg(test)]
        if let Err(answer) = self.ask_gate(now) {
            return answer;
        }
        let permit = match &mut self.breaker {
            Some(breaker) => match breaker.admit(now) {
                Ok(permit) => permit,
                Err(denied) => return Answer::Reject(Rejection::Breaker(denied)),
            },
            None => Permit::NONE,
        };
        self.outstanding = self.outstanding.saturating_add(1);
        Answer::Admit(GuardPermit { breaker: permit, has_slot: false, is_told: false })
    }

    /// A permit, where [`Guard::admit`] would give one without any change to the breaker: it is closed,
    /// without a ramp, and no other replica changed it. None where [`Guard::admit`] has to be asked.
    #[inline]
    pub(crate) fn admit_undisturbed(&mut self) -> Option<GuardPermit> {
        #[cfg(test)]
        if self.gate.is_some() {
            return None;
        }
        let permit = match &self.breaker {
            Some(breaker) => breaker.admit_undisturbed()?,
            None => Permit::NONE,
        };
        self.outstanding = self.outstanding.saturating_add(1);
        Some(GuardPermit { breaker: permit, has_slot: false, is_told: false })
    }

    /// Whether the breaker would admit a call now. Nothing is taken, see [`Breaker::peek`].
    ///
    /// # Errors
    /// It would not.
    pub fn peek(&mut self, now: Instant) -> Result<(), Denied> {
        self.breaker.as_mut().map_or(Ok(()), |breaker| breaker.peek(now))
    }

    /// Whether a call may go upstream now, by a policy that limits calls under way; `place` is where the
    /// limit is shared. No call waits here.
    pub fn admit_within(
        &mut self,
        now: Instant,
        limit: &ConcurrencyPolicy,
        hashes: &StateHashes,
        place: Place<'_>,
    ) -> Answer {
        self.admit_or_wait(now, limit, hashes, place, Patience::default())
    }

    /// The same for a call that may wait, or has waited.
    #[inline(never)]
    pub(crate) fn admit_or_wait(
        &mut self,
        now: Instant,
        policy: &ConcurrencyPolicy,
        hashes: &StateHashes,
        place: Place<'_>,
        call: Patience,
    ) -> Answer {
        if let Err(denied) = self.peek(now) {
            self.forget_waiting(now, call);
            return Answer::Reject(Rejection::Breaker(denied));
        }
        self.admit_peeked(now, policy, hashes, place, call)
    }

    /// The same behind a [`Guard::peek`] at the same time that admits the call.
    pub(crate) fn admit_peeked(
        &mut self,
        now: Instant,
        policy: &ConcurrencyPolicy,
        hashes: &StateHashes,
        place: Place<'_>,
        call: Patience,
    ) -> Answer {
        let breaker = self.state();
        let limit = match &mut self.limit {
            Some(known) if known.suits(policy) => &mut **known,
            unknown => &mut **unknown.insert(Box::new(Limit::new(policy, hashes, place))),
        };
        limit.follow(policy, hashes, place);
        match limit.ask(now, call) {
            Ok(()) => {}
            Err(NoSlot::Waits(until)) => return Answer::Wait(until),
            Err(NoSlot::Denied(denied)) => {
                return Answer::Reject(Rejection::Concurrency { denied, breaker });
            }
        }
        match self.admit(now) {
            Answer::Admit(permit) => Answer::Admit(GuardPermit { has_slot: true, ..permit }),
            // Another worker was faster.
            other => {
                self.give_back(now);
                other
            }
        }
    }

    /// Good response headers arrived, see [`Breaker::answered`].
    #[inline]
    pub fn answered(&mut self, now: Instant, permit: &mut GuardPermit) {
        if let Some(breaker) = &mut self.breaker {
            breaker.answered(now, &mut permit.breaker);
        }
    }

    /// The upstream's clock of a call runs or stands, see [`Breaker::upstream_clock`].
    pub fn upstream_clock(&mut self, now: Instant, permit: &GuardPermit, runs: bool) {
        if let Some(breaker) = &mut self.breaker {
            breaker.upstream_clock(now, &permit.breaker, runs);
        }
    }

    /// Tells what became of a call, exactly once a permit. Returns whether the result came too late,
    /// see [`Breaker::settle`].
    #[inline]
    pub fn settle(&mut self, now: Instant, permit: GuardPermit, report: Report) -> bool {
        self.outstanding = self.outstanding.saturating_sub(1);
        if permit.has_slot {
            self.settle_slot(now, &report);
        }
        match &mut self.breaker {
            Some(breaker) if !permit.is_told => breaker.settle(now, permit.breaker, report),
            _ => false,
        }
    }

    /// Tells that an admitted call is over whose policies are gone: it says nothing any more. Its
    /// breaker is not asked, for it would carry out what is due and move those that others still
    /// have; a probe's slot they free themselves.
    pub fn settle_late(&mut self, permit: GuardPermit) {
        self.outstanding = self.outstanding.saturating_sub(1);
        // Nobody waits where the policies are gone: then no time is needed.
        if permit.has_slot {
            self.give_back(Instant::ZERO);
        }
    }

    #[cold]
    fn settle_slot(&mut self, now: Instant, report: &Report) {
        if let Some(limit) = &mut self.limit {
            limit.settle(now, report);
        }
    }

    #[cold]
    fn give_back(&mut self, now: Instant) {
        if let Some(limit) = &mut self.limit {
            limit.give_back(now);
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

    /// Whether there may be a change of state to take, or something that time makes due before `due`.
    #[inline]
    pub fn is_stirred(&self, due: Instant) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.is_stirred(due))
    }

    /// How many permits are given out and not settled.
    pub const fn outstanding(&self) -> u32 {
        self.outstanding
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

    /// How many calls may be under way, how many are, in all workers that share the limit, and how many of
    /// this worker wait; and whether it is shared. None while no policy with a limit asked.
    pub(crate) fn limit(&self) -> Option<(LimitView, bool)> {
        let limit = self.limit.as_deref()?;
        let view = LimitView {
            limit: limit.allowed_now(),
            taken: limit.slots().all_taken(),
            waiting: limit.queue().len(),
        };
        Some((view, limit.slots().is_shared()))
    }

    /// Carries out an operator's order. False where there is no breaker.
    pub fn order(&mut self, now: Instant, order: Order) -> bool {
        match &mut self.breaker {
            Some(breaker) => {
                breaker.order(now, order);
                true
            }
            None => false,
        }
    }

    /// Whether it may leave the table: closed, nobody waits, to settle or for a slot, and no operator holds it.
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.outstanding == 0
            && self.state() == State::Closed
            && self.breaker.as_ref().is_none_or(|breaker| breaker.held().is_none())
            && self.limit.as_ref().is_none_or(|limit| limit.is_idle())
    }
}
