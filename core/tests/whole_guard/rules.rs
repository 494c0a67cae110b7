//! What must hold, whatever happened.

use super::world::{WORKERS, World, at};
use bimetal_core::Instant;
use bimetal_core::breaker::View;
use bimetal_core::event::State;
use std::collections::HashMap;

type Ruled = Result<(), String>;

/// Whether a rule is kept.
fn holds(is_kept: bool, broken: impl FnOnce() -> String) -> Ruled {
    if is_kept { Ok(()) } else { Err(broken()) }
}

fn breaker(world: &World, worker: usize, scope: usize) -> Option<View> {
    let name = scope.to_string();
    let key: &[u8] = if world.drawn.is_by_tenant { name.as_bytes() } else { b"" };
    let mut all = world.workers[worker].breakers(at(world.now));
    all.find(|seen| seen.key == key).map(|seen| seen.view)
}

/// Until when this worker knows a scope to be open.
pub(crate) fn open_until(world: &World, worker: usize, scope: usize) -> Option<Instant> {
    breaker(world, worker, scope).filter(|view| view.state == State::Open)?.next_probe
}

/// A breaker that turned a call away is not closed.
pub(crate) fn is_not_closed(world: &World, worker: usize, scope: usize) -> Ruled {
    let state = breaker(world, worker, scope).map(|view| view.state);
    let is_kept = matches!(state, Some(State::Open | State::HalfOpen));
    holds(is_kept, || format!("turned away by a breaker that is {state:?}"))
}

/// How many calls have a slot of the limit that `worker` asks for `scope`, and how many wait for one.
fn on_slots(world: &World, worker: usize, scope: usize) -> (usize, usize) {
    let is_shared = world.drawn.slots.is_some_and(|slots| slots.is_shared);
    let has = world
        .under_way
        .iter()
        .filter(|call| call.scope == scope && (is_shared || call.worker == worker));
    let waits = (0..WORKERS)
        .filter(|other| is_shared || *other == worker)
        .map(|other| world.waiting[other].values().filter(|call| call.scope == scope).count());
    (has.count(), waits.sum())
}

/// How many connections of a client are at work: of its calls that are under way, and of those that wait.
pub(crate) fn at_work(world: &World, tenant: usize) -> usize {
    let under_way = world.under_way.iter().filter(|call| call.tenant == tenant).count();
    let waiting = world.waiting.iter().flat_map(HashMap::values);
    under_way + waiting.filter(|call| call.request.tenant == tenant).count()
}

/// A call that is admitted finds a slot.
pub(crate) fn has_free_slot(world: &World, worker: usize, scope: usize) -> Ruled {
    let Some(slots) = world.drawn.slots else {
        return Ok(());
    };
    let (taken, _) = on_slots(world, worker, scope);
    holds(taken < slots.max as usize, || format!("{taken} of {} are taken", slots.max))
}

/// A call that is turned away for want of a slot finds none, or those that are free are kept for calls
/// that wait.
pub(crate) fn has_no_free_slot(world: &World, worker: usize, scope: usize) -> Ruled {
    let Some(slots) = world.drawn.slots else {
        return Err("there is no limit".into());
    };
    let (taken, waits) = on_slots(world, worker, scope);
    holds(taken + waits >= slots.max as usize, || format!("{taken} taken and {waits} wait"))
}

/// A call waits for no longer than its policy says, and than its caller does.
pub(crate) fn may_wait(
    world: &World,
    (worker, scope): (usize, usize),
    begun: u64,
    until: Instant,
    left: Option<u64>,
) -> Ruled {
    let most = world.drawn.slots.and_then(|slots| slots.max_wait);
    let Some(most) = most.filter(|_| !world.drawn.is_shadow) else {
        return Err("it waits without a queue".into());
    };
    let now = at(world.now);
    holds(now < until, || "it would ask for ever".into())?;
    holds(until <= at(begun + most), || format!("it waits until {until:?}, begun at {begun}"))?;
    let left = left.map(|left| at(world.now + left));
    holds(left.is_none_or(|left| until <= left), || format!("until {until:?} of {left:?}"))?;
    has_no_free_slot(world, worker, scope)
}

pub(crate) fn check(world: &World) -> Ruled {
    books(world)?;
    let now = at(world.now);
    for (worker, calls) in world.waiting.iter().enumerate() {
        let views = world.workers[worker].limits().map(|limit| limit.view.waiting as usize);
        let (known, waiting) = (views.sum::<usize>(), calls.len());
        holds(known == waiting, || format!("worker {worker} knows {known} of {waiting} waiting"))?;
        for call in calls.values() {
            let most = world.drawn.slots.and_then(|slots| slots.max_wait).unwrap_or_default();
            let waited = now.since(at(call.begun));
            holds(now <= at(call.begun + most), || format!("one has waited for {waited}"))?;
            // Nobody waits beside a free slot.
            let (taken, waits) = on_slots(world, worker, call.scope);
            let max = world.drawn.slots.map_or(0, |slots| slots.max as usize);
            holds(taken == max, || format!("{waits} wait, and {taken} of {max} are taken"))?;
        }
    }
    slots(world)
}

/// Each admitted call is settled or under way.
fn books(world: &World) -> Ruled {
    for (worker, engine) in world.workers.iter().enumerate() {
        let under_way = world.under_way.iter().filter(|call| call.worker == worker).count() as u64;
        let totals = engine.totals();
        holds(totals.issued == totals.settled + under_way, || {
            format!("worker {worker}: {totals:?} with {under_way} under way")
        })?;
    }
    Ok(())
}

/// A slot is taken by a call under way, and by nobody else.
fn slots(world: &World) -> Ruled {
    let Some(drawn) = world.drawn.slots else {
        return Ok(());
    };
    let mut by_label: HashMap<&str, Vec<u32>> = HashMap::new();
    for (worker, engine) in world.workers.iter().enumerate() {
        let own = world.under_way.iter().filter(|call| call.worker == worker).count();
        let mut taken = 0;
        for limit in engine.limits() {
            taken += limit.view.taken as usize;
            by_label.entry(limit.label).or_default().push(limit.view.taken);
        }
        holds(drawn.is_shared || taken == own, || {
            format!("worker {worker}: {taken} slots are taken by {own} calls")
        })?;
    }
    // Where tenants have scopes, the label tells no tenant: the words of both are seen by each worker.
    if drawn.is_shared && !world.drawn.is_by_tenant {
        let all = world.under_way.len() as u32;
        let wrong = by_label.values().flatten().find(|taken| **taken != all);
        holds(wrong.is_none(), || format!("{wrong:?} slots are taken by {all} calls"))?;
    }
    Ok(())
}

/// Once all is over nothing is left: no call that waits, no slot that is taken.
pub(crate) fn check_end(world: &World) -> Ruled {
    check(world)?;
    for (worker, engine) in world.workers.iter().enumerate() {
        let left: Vec<_> = engine
            .limits()
            .map(|limit| (limit.view.taken, limit.view.waiting))
            .filter(|left| *left != (0, 0))
            .collect();
        holds(left.is_empty() && !engine.has_waiting(), || {
            format!("worker {worker} is left with {left:?}")
        })?;
    }
    let waiting: usize = world.waiting.iter().map(HashMap::len).sum();
    holds(waiting == 0, || format!("{waiting} calls are forgotten"))
}
