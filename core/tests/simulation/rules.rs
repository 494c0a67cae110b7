//! What must hold after every step, whatever happened.

use super::calls::UnderWay;
use super::probes::{Probe, Slot};
use super::watched::{probing, record};
use super::{Character, Input, Reply, Rule, Start, Step, World};
use bimetal_core::breaker::View;
use bimetal_core::breaker::record::{Phase, Probing};
use bimetal_core::call::Upload;
use bimetal_core::event::{Cause, EventKind, State};
use bimetal_core::series::TRANSITIONS;
use bimetal_core::{Duration, Instant};

/// The longest open time of any document, with its jitter.
const LONGEST: Duration = Duration::from_secs(330);

pub(super) fn check(world: &mut World, rule: Rule) -> Result<(), String> {
    transitions(world)?;
    books(world)?;
    breakers(world)?;
    slots(world)?;
    expiries(world)?;
    trials(world)?;
    world.calls.iter().try_for_each(UnderWay::check)?;
    if world.character == Character::Healthy && world.coverage.opened > 0 {
        return Err("it opened, though the upstream answered everything well and at once".into());
    }
    if rule == Rule::NeverOpens && world.coverage.opened > 0 {
        return Err("it opened".into());
    }
    Ok(())
}

/// Each change is one of the kinds that there are, begins a new generation, and an open time is
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

/// The slots that a half-open breaker counts are those of its probes, never more than there may be;
/// those of dead workers are free once nothing moved for three leases.
fn slots(world: &mut World) -> Result<(), String> {
    let (half_open, now) = (*world.half_open(world.document), world.now);
    let three_leases = half_open.lease + half_open.lease + half_open.lease;
    let mut freed = 0;
    let seen = world.board.seen();
    for (index, breaker) in seen.breakers.iter().enumerate() {
        let Some((generation, probing)) = probing(breaker.word()) else {
            continue;
        };
        if breaker.document != seen.document {
            continue;
        }
        let own = || {
            let of_it = move |probe: &&Probe| probe.is_of(index, generation);
            world.probes.iter().filter(of_it)
        };
        let held = own().filter(|probe| probe.is_held()).count() as u32;
        let orphans = own().filter(|probe| probe.slot == Slot::Orphaned).count() as u32;
        let counted = probing.outstanding;
        let told = |what: &str| {
            let probes: Vec<_> = own().collect();
            Err(format!("{what}: {counted} counted, {held} held, {orphans} orphans: {probes:?}"))
        };
        if counted > half_open.max_probes {
            return told("more probes than there may be");
        }
        if world.has_jumped || !world.is_punctual {
            continue;
        }
        if counted < held {
            return told("slots were given away twice");
        }
        if counted > held + orphans {
            return told("slots were not given back");
        }
        freed += u64::from(counted < held + orphans);
        for replica in seen.replicas.iter().filter(|replica| replica.breaker == index) {
            let knows = replica.word == breaker.word() && replica.looked == now;
            let unchanged = knows && now.since(replica.since) > three_leases;
            let own_held = own().filter(|p| p.is_held() && p.worker == replica.worker).count();
            if unchanged && counted > own_held as u32 {
                return told("nothing moved for three leases");
            }
        }
    }
    drop(seen);
    world.coverage.freed += freed;
    Ok(())
}

/// Probes that went unanswered re-open only where the upstream had the whole lease of as many as
/// there may be: one that waited for its own client says nothing.
fn expiries(world: &World) -> Result<(), String> {
    let seen = world.seen();
    for write in seen.writes.iter().filter(|_| !world.has_jumped) {
        let (old, new) = (record(write.old), record(write.new));
        if !matches!((old.phase, new.phase), (Phase::HalfOpen(_), Phase::Open { .. }))
            || new.cause != Cause::ProbesExpired
        {
            continue;
        }
        let most = world.half_open(seen.breakers[write.breaker].document).max_probes as usize;
        let own = || world.probes.iter().filter(|p| p.is_of(write.breaker, old.generation));
        if own().filter(|probe| probe.slot == Slot::Over { missed: true }).count() < most {
            let probes: Vec<_> = own().collect();
            return Err(format!("re-opened by probes that were not missed: {probes:?}"));
        }
    }
    Ok(())
}

/// A trial never has more probes than its policy says, and goes on only while too few of them ended.
fn trials(world: &World) -> Result<(), String> {
    let seen = world.seen();
    for write in &seen.writes {
        let Phase::Trial(trial) = record(write.new).phase else {
            continue;
        };
        let most = world.half_open(seen.breakers[write.breaker].document).max_probes;
        if trial.admitted > most || trial.ended() >= most {
            return Err(format!("a trial of {most} probes has {trial:?}"));
        }
    }
    Ok(())
}

/// Long after the last step, every breaker of a healthy upstream is closed again, whatever was
/// lost: none is stuck.
pub(super) fn check_end(world: &mut World) -> Result<(), String> {
    let whole = Start::HandedOver(Upload::Complete);
    world.is_healing = true;
    for round in 0..40 {
        world.take(Step::Wait { millis: 400_000 })?;
        for key in 0..super::KEYS {
            for worker in 0..super::WORKERS {
                let before = world.calls.len();
                world.take(Step::Call { worker, key, start: whole })?;
                while world.calls.len() > before {
                    let call = world.calls.len() - 1;
                    let input = Input::Headers(Reply::whole(200));
                    world.take(Step::See { call, input })?;
                }
            }
        }
        books(world).map_err(|broken| format!("healing, round {round}: {broken}"))?;
    }
    for _ in 0..2 {
        (0..super::WORKERS).try_for_each(|worker| world.take(Step::Tick { worker }))?;
        world.take(Step::Wait { millis: 400_000 })?;
    }
    let now: Instant = world.now;
    let seen = world.seen();
    let in_force = seen.breakers.iter().filter(|breaker| breaker.document == seen.document);
    let slots_held = in_force.filter_map(|breaker| probing(breaker.word())).any(is_held);
    drop(seen);
    let all = world.workers.iter().flat_map(|worker| worker.breakers(now));
    // One that nobody asks any more stays open past its time, or half-open: the next call would
    // probe it. Only what tenants share where there is no room can be that one.
    let well = |key: &[u8], view: View| match view.state {
        State::Closed => true,
        State::HalfOpen => key.is_empty() && !slots_held,
        State::Open => view.next_probe.is_some_and(|until| until <= now),
    };
    let stuck: Vec<_> = all.filter(|seen| !well(seen.key, seen.view)).collect();
    if !stuck.is_empty() {
        return Err(format!("stuck: {stuck:?}"));
    }
    all_settle(world)
}

const fn is_held((_, probing): (u32, Probing)) -> bool {
    probing.outstanding > 0
}

/// Each call that was not lost settles, once it is dropped at the latest.
fn all_settle(world: &mut World) -> Result<(), String> {
    while let Some(call) = world.calls.len().checked_sub(1) {
        world.take(Step::See { call, input: Input::Dropped })?;
        if world.calls.len() > call {
            return Err(format!("it does not settle: {:?}", world.calls[call]));
        }
    }
    books(world)
}
