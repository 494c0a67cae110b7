//! Policy documents at work: what a host asks.
//!
//! A worker owns an engine, which has the state: breakers, their evidence, counts. What judges a
//! request is held by the place that it passes through, a listener or a filter instance: see
//! [`Policies`]. For each request the worker asks [`Engine::admit`], and tells [`Engine::settle`]
//! what became of what was admitted. Nothing in here waits, locks or performs.

mod policies;
mod recorder;
mod view;

use crate::board::Board;
use crate::decision::{
    Admission, Pass, PassReason, Plan, Rejected, Rejection, Settled, Ticket, Verdict, Wait,
};
use crate::event::{Decided, Event};
use crate::facts::{Facts, without_port};
use crate::guard::Answer;
use crate::outcome::Report;
use crate::policy::{Mode, Policy, Scope, Subject};
use crate::registry::Registry;
use crate::rng::Rng;
use crate::series::Counts;
use crate::time::Instant;
use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
pub use policies::Policies;
use policies::{Entry, State};
use recorder::Recorder;
pub use recorder::{MAX_EVENTS, Totals, Tracing};
pub use view::Snapshot;

/// Policy documents at work.
#[derive(Debug)]
pub struct Engine {
    states: Vec<State>,
    recorder: Recorder,
    calls: u64,
    next_registry: u32,
    rng: Rng,
    board: Option<Arc<dyn Board>>,
}

impl Engine {
    /// An engine without a state. `seed` fixes jitter and the order of hash tables; workers should
    /// have different ones.
    pub fn new(seed: u64) -> Self {
        Self {
            states: Vec::new(),
            recorder: Recorder::new(seed),
            calls: 0,
            next_registry: 0,
            rng: Rng::new(seed),
            board: None,
        }
    }

    /// An engine whose breakers are replicas on `board`, where their policy says
    /// `share: process`. Give every worker of the process the same board.
    pub fn with_board(seed: u64, board: Arc<dyn Board>) -> Self {
        Self { board: Some(board), ..Self::new(seed) }
    }

    /// Decides one request by the first of `policies` that matches it.
    pub fn admit(&mut self, now: Instant, policies: &Policies, facts: &dyn Facts) -> Verdict {
        let subject = Subject::new(facts);
        let matching = |entry: &&Entry| entry.policy.matcher.holds(&subject);
        let Some(entry) = policies.entries.iter().find(matching) else {
            return Verdict::Unmatched;
        };
        let policy = entry.policy.clone();
        if policy.mode == Mode::Disabled {
            let why = PassReason::Disabled;
            return Verdict::Pass(Pass { policy, why });
        }
        let wanted = entry.state.registry;
        let at = self.states.iter().position(|state| state.registry.id == wanted);
        if at.and_then(|at| self.states.get(at)).is_some_and(|state| !state.in_force) {
            self.put_in_force(policies);
        }
        let Some(State { registry, .. }) = at.and_then(|at| self.states.get_mut(at)) else {
            // Policies that another engine made.
            return Verdict::Unmatched;
        };
        let key = scope_key(&policy.scope, facts);
        let place = registry.find_or_make(&key, self.recorder.series());
        let Some((slot, place)) = place.and_then(|at| Some((registry.slot_mut(at)?, at))) else {
            self.recorder.unprotected(&policy.name);
            let why = PassReason::TableFull;
            return Verdict::Pass(Pass { policy, why });
        };
        let answer = match policy.mode {
            Mode::ForcedOpen => Answer::Reject(Rejection::ForcedOpen),
            _ => slot.guard.admit(now),
        };
        let decided = match &answer {
            Answer::Admit(_) => Decided::Admitted,
            Answer::Reject(rejection) => Decided::Rejected(rejection.rule()),
            Answer::Wait(until) => {
                let until = *until;
                settle_up(registry, place, &mut self.recorder);
                return Verdict::Wait(Wait { policy, until });
            }
        };
        let is_shadow = policy.mode == Mode::Shadow;
        self.calls += 1;
        self.recorder.decided(now, slot.row, self.calls, decided, is_shadow);
        let (row, state) = (slot.row, slot.guard.state());
        settle_up(registry, place, &mut self.recorder);
        match answer {
            Answer::Admit(permit) => {
                let (registry, call, plan) = (registry.id, self.calls, plan(&policy));
                let ticket = Ticket { registry, slot: place, row, permit, call };
                Verdict::Admit(Admission { policy, ticket, plan, state })
            }
            Answer::Reject(rejection) if is_shadow => {
                let why = PassReason::Shadow(rejection);
                Verdict::Pass(Pass { policy, why })
            }
            Answer::Reject(rejection) => Verdict::Reject(Rejected { policy, rejection }),
            // It returned above.
            Answer::Wait(until) => Verdict::Wait(Wait { policy, until }),
        }
    }

    /// Good response headers arrived for `ticket`: a probe's slot is free again. Not for headers
    /// that already are a failure: settle those.
    pub fn answered(&mut self, now: Instant, ticket: &mut Ticket) {
        let Some(State { registry, .. }) = find(&mut self.states, ticket.registry) else {
            return;
        };
        if let Some(slot) = registry.slot_mut(ticket.slot) {
            slot.guard.answered(now, &mut ticket.permit);
        }
        settle_up(registry, ticket.slot, &mut self.recorder);
    }

    /// The upstream's clock of the call runs or stands from now on: see [`crate::call`].
    pub fn upstream_clock(&mut self, now: Instant, ticket: &Ticket, runs: bool) {
        let Some(State { registry, .. }) = find(&mut self.states, ticket.registry) else {
            return;
        };
        if let Some(slot) = registry.slot_mut(ticket.slot) {
            slot.guard.upstream_clock(now, &ticket.permit, runs);
        }
        settle_up(registry, ticket.slot, &mut self.recorder);
    }

    /// Tells what became of an admitted call. The ticket is used up: a call settles once. A result
    /// for a policy that is gone is counted as late.
    pub fn settle(&mut self, now: Instant, ticket: Ticket, report: Report) -> Settled {
        let Ticket { registry, slot: place, row, permit, call } = ticket;
        let outcome = report.outcome;
        let Some(State { registry, .. }) = find(&mut self.states, registry) else {
            let settled = Settled { outcome, late: true };
            self.recorder.settled(now, row, call, settled);
            return settled;
        };
        let late = match registry.slot_mut(place) {
            Some(slot) => slot.guard.settle(now, permit, report),
            None => true,
        };
        let settled = Settled { outcome, late };
        self.recorder.settled(now, row, call, settled);
        settle_up(registry, place, &mut self.recorder);
        settled
    }

    /// Carries out what time made due, and frees the state of policies that are gone. A host calls it
    /// on its tick; what is due in its own scope every verb carries out by itself.
    pub fn poll(&mut self, now: Instant) {
        for State { registry, .. } in &mut self.states {
            for place in 0..registry.places_to_poll() {
                if let Some(slot) = registry.slot_mut(place) {
                    slot.guard.poll(now);
                    settle_up(registry, place, &mut self.recorder);
                }
            }
        }
        self.free_states();
    }

    /// When [`Engine::poll`] will next have something to do.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.states.iter().filter_map(|state| state.registry.next_wakeup()).min()
    }

    /// Chooses which events are kept.
    pub fn set_tracing(&mut self, tracing: Tracing) {
        self.recorder.set_tracing(tracing);
    }

    /// The oldest event that was not taken yet. To be called after every verb until it is empty:
    /// at most [`MAX_EVENTS`] wait.
    #[inline]
    pub fn take_event(&mut self) -> Option<Event> {
        self.recorder.take_event()
    }

    /// Counts per policy and scope label: what metrics are published from.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str, &Counts)> {
        self.recorder.rows()
    }

    /// Sums over everything since the engine began.
    pub fn totals(&self) -> Totals {
        let scopes = self.states.iter().map(|state| state.registry.len() as u64).sum();
        Totals { scopes, ..self.recorder.totals() }
    }
}

fn find(states: &mut [State], registry: u32) -> Option<&mut State> {
    states.iter_mut().find(|state| state.registry.id == registry)
}

/// To be called after every verb on a scope: records its changes of state, and keeps the order of
/// idle ones.
fn settle_up(registry: &mut Registry, place: u32, recorder: &mut Recorder) {
    while let Some((change, row, key)) = registry.slot_mut(place).and_then(|slot| {
        let change = slot.guard.take_transition()?;
        Some((change, slot.row, slot.key().into()))
    }) {
        registry.note(&change);
        recorder.transition(row, key, change);
    }
    registry.touched(place);
}

/// In shadow mode nothing is applied, so the host has nothing to do.
fn plan(policy: &Policy) -> Plan {
    match policy.mode {
        Mode::Shadow => Plan::default(),
        _ => Plan {
            request_timeout: policy.timeout.request,
            connect_timeout: policy.timeout.connect,
        },
    }
}

/// The key of a request's scope; empty where the policy has one scope, or the host does not know.
fn scope_key<'a>(scope: &Scope, facts: &'a dyn Facts) -> Cow<'a, [u8]> {
    let key = match scope {
        Scope::Policy => None,
        Scope::Destination => facts.destination(),
        Scope::Route => facts.route(),
        Scope::Authority => facts
            .authority()
            .map(|authority| Cow::Owned(without_port(&authority).to_ascii_lowercase())),
        Scope::Client => facts.client(),
        Scope::Header(name) => facts.header(name),
    };
    key.unwrap_or(Cow::Borrowed(&[]))
}
