//! What an operator has a breaker do, whatever it would decide itself.
//!
//! A breaker that is held has a state as before, and others may read it; but no call, no result and no time
//! moves it, and each replica that got the order answers by it alone. So each replica of a process has to get
//! it. An order is kept with the scope: a scope that is held does not leave its table.

use super::record::{Phase, Record};
use super::{Breaker, Cause, Denied, State};
use crate::time::Instant;

/// What an operator has a breaker do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// It turns every call away until it is reset.
    ForceOpen,
    /// It lets every call pass, and learns nothing from them, until it is reset.
    Disable,
    /// It begins anew: closed, without evidence, with the shortest open time. Whatever held it ends.
    Reset,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 3] = [Self::ForceOpen, Self::Disable, Self::Reset];

    /// The name in requests, events and the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForceOpen => "force_open",
            Self::Disable => "disable",
            Self::Reset => "reset",
        }
    }

    /// The order of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.name() == name)
    }

    const fn holds(self) -> Option<Held> {
        match self {
            Self::ForceOpen => Some(Held::Open),
            Self::Disable => Some(Held::Closed),
            Self::Reset => None,
        }
    }
}

/// Where an operator holds a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// It turns every call away.
    Open,
    /// It lets every call pass.
    Closed,
}

impl Held {
    /// The name of the order that holds it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => Order::ForceOpen.name(),
            Self::Closed => Order::Disable.name(),
        }
    }

    pub(super) const fn state(self) -> State {
        match self {
            Self::Open => State::Open,
            Self::Closed => State::Closed,
        }
    }
}

impl Breaker {
    /// Carries out an operator's order. Replicas that share a record carry it out one by one: whoever comes
    /// second finds the state as it should be.
    pub fn order(&mut self, now: Instant, order: Order) {
        self.look(now);
        self.expire_leases(now);
        let held = order.holds();
        let cold = self.cold();
        cold.held = held;
        let ramps = cold.ramp.is_some();
        self.is_disturbed = held.is_some() || ramps;
        while let Some(next) = self.ordered(now, order) {
            if self.change(now, next) {
                break;
            }
        }
        // Also where the state was the same before.
        if order == Order::Reset && self.state() == State::Closed {
            let generation = self.record.generation;
            if let Some(evidence) = &mut self.evidence {
                evidence.clear(generation);
            }
        }
        self.absorbs_success = false;
    }

    /// The record after an order; none where it is so already.
    fn ordered(&self, now: Instant, order: Order) -> Option<Record> {
        let record = self.record;
        match (order, record.phase) {
            (Order::ForceOpen, Phase::Open { .. }) if record.cause == Cause::Forced => None,
            (Order::ForceOpen, phase) => {
                // For those that did not get the order yet; who got it looks at no time.
                let open = Phase::Open { until: now + self.policy.open.max };
                Some(match phase {
                    Phase::Open { .. } => Record { phase: open, cause: Cause::Forced, ..record },
                    _ => record.entering(open, Cause::Forced),
                })
            }
            (Order::Disable | Order::Reset, Phase::Closed { streak: 0 }) if record.level == 0 => {
                None
            }
            (Order::Disable | Order::Reset, Phase::Closed { .. }) => {
                Some(Record { phase: Phase::Closed { streak: 0 }, level: 0, ..record })
            }
            (Order::Disable | Order::Reset, _) => {
                let closed = Phase::Closed { streak: 0 };
                Some(Record { level: 0, ..record.entering(closed, Cause::Reset) })
            }
        }
    }

    /// Where an operator holds it.
    pub fn held(&self) -> Option<Held> {
        // Nearly all breakers: without a look at what lies elsewhere.
        if !self.is_disturbed {
            return None;
        }
        self.cold.as_ref()?.held
    }

    /// What a held breaker says to a call; none where it is not held.
    pub(super) fn held_answer(&self) -> Option<Result<(), Denied>> {
        self.held().map(|held| match held {
            Held::Open => Err(Denied::Held),
            Held::Closed => Ok(()),
        })
    }
}
