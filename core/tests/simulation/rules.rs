//! What must hold after every step, whatever happened.

use super::{Rule, World};
use bimetal_core::breaker::View;
use bimetal_core::event::{EventKind, State};
use bimetal_core::series::TRANSITIONS;
use bimetal_core::{Duration, Instant};

/// The longest open time of any document, with its jitter.
const LONGEST: Duration = Duration::from_secs(330);

pub(super) fn check(world: &mut World, rule: Rule) -> Result<(), String> {
    transitions(world)?;
    books(world)?;
    breakers(world)?;
    if rule == Rule::NeverOpens && world.coverage.opened > 0 {
        return Err("it opened".into());
    }
    Ok(())
}

/// Each change is one of the eight that there are, begins a new generation, and an open time is
/// neither empty nor endless.
fn transitions(world: &World) -> Result<(), String> {
    for (worker, event) in &world.events {
        let EventKind::Transition(change) = &event.kind else {
            continue;
        };
        let known = TRANSITIONS.iter().any(|kind| {
            (kind.from, kind.to, kind.cause) == (change.from, change.to, change.cause.name())
        });
        // Who follows may have missed what lay between.
        let lawful = known || change.adopted;
        let timed =
            (change.to == State::Open) == (change.open_for > Duration::ZERO) || change.adopted;
        let bounded = change.open_for <= LONGEST && change.at <= world.now;
        if !lawful || !timed || !bounded || change.generation == 0 {
            return Err(format!("worker {worker}: {change:?}"));
        }
    }
    Ok(())
}

/// Each admitted call is settled, under way or lost; counts of states are those of the breakers.
fn books(world: &World) -> Result<(), String> {
    for (index, worker) in world.workers.iter().enumerate() {
        let totals = worker.totals();
        let under_way = world.calls.iter().filter(|call| call.worker == index).count() as u64;
        let open = under_way + world.lost[index];
        if totals.issued != totals.settled + open || totals.events_lost != 0 {
            return Err(format!("worker {index}: {totals:?} with {open} open"));
        }
        let mut counted = [0_u32; 3];
        for (_, _, counts) in worker.series() {
            counted.iter_mut().zip(counts.states).for_each(|(sum, count)| *sum += count);
        }
        let mut seen = [0_u32; 3];
        worker.breakers(world.now).for_each(|breaker| seen[breaker.view.state as usize] += 1);
        if counted != seen {
            return Err(format!("worker {index} counts states {counted:?}, has {seen:?}"));
        }
    }
    Ok(())
}

/// No breaker is open without an end.
fn breakers(world: &World) -> Result<(), String> {
    let all = world.workers.iter().flat_map(|worker| worker.breakers(world.now));
    let ends = |until: Option<Instant>| until.is_none_or(|until| until <= world.now + LONGEST);
    match all.map(|seen| seen.view).find(|view| !ends(view.next_probe)) {
        Some(endless) => Err(format!("{endless:?}")),
        None => Ok(()),
    }
}

/// Long after the last step, every breaker of a healthy upstream is closed again, whatever was
/// lost: none is stuck.
pub(super) fn check_end(world: &mut World) -> Result<(), String> {
    use super::Step;
    use bimetal_core::outcome::Outcome;
    for round in 0..40 {
        world.take(Step::Wait { millis: 400_000 })?;
        for key in 0..super::KEYS {
            for worker in 0..super::WORKERS {
                let before = world.calls.len();
                world.take(Step::Call { worker, key })?;
                while world.calls.len() > before {
                    let call = world.calls.len() - 1;
                    world.take(Step::End { call, outcome: Outcome::Success, retry_after: 0 })?;
                }
            }
        }
        books(world).map_err(|broken| format!("healing, round {round}: {broken}"))?;
    }
    (0..super::WORKERS).try_for_each(|worker| world.take(Step::Tick { worker }))?;
    let now: Instant = world.now;
    let all = world.workers.iter().flat_map(|worker| worker.breakers(now));
    // One that nobody asks any more stays open past its time: the next call would probe it.
    let well = |view: View| {
        view.state == State::Closed || view.next_probe.is_some_and(|until| until <= now)
    };
    let stuck: Vec<_> = all.filter(|seen| !well(seen.view)).collect();
    if stuck.is_empty() { Ok(()) } else { Err(format!("stuck: {stuck:?}")) }
}
