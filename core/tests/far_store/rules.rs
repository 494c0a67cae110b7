//! What must hold after every step of a history.

use super::fleet::{Change, Fleet, Result as Seen};
use super::histories::Coverage;
use bimetal_core::Duration;
use bimetal_core::board::far::KEPT;
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome;
use std::collections::BTreeSet;

/// Rounding to milliseconds on a board within a process.
const ROUNDING: Duration = Duration::from_millis(1);

pub(crate) struct Rules {
    quorum: u16,
    checked: usize,
}

impl Rules {
    pub(crate) const fn new(quorum: u16) -> Self {
        Self { quorum, checked: 0 }
    }

    pub(crate) fn check(&mut self, fleet: &Fleet, seen: &mut Coverage) -> Result<(), String> {
        for index in self.checked..fleet.changes.len() {
            let one = &fleet.changes[index];
            cover(one, seen);
            is_bounded(fleet, one)?;
            self.has_grounds(fleet, index)?;
        }
        self.checked = fleet.changes.len();
        is_small(fleet)
    }

    /// An OPEN that came by a merge has grounds: failures on two replicas at least, or a quorum that
    /// tripped on what it saw itself; and within the time for which anybody remembers such a thing.
    fn has_grounds(&self, fleet: &Fleet, index: usize) -> Result<(), String> {
        let one = &fleet.changes[index];
        if !one.by_merge || one.change.to != State::Open {
            return Ok(());
        }
        let from = one.time.saturating_sub(2 * KEPT.as_nanos());
        let before = &fleet.changes[..index];
        let tripped: BTreeSet<_> = before
            .iter()
            .filter(|other| other.key == one.key && other.time >= from && !other.by_merge)
            .filter(|other| other.change.to == State::Open)
            .map(|other| other.replica)
            .collect();
        let failing: BTreeSet<_> = fleet
            .results
            .iter()
            .filter(|result| result.key == one.key && result.time >= from && is_bad(result))
            .map(|result| result.replica)
            .collect();
        let by_quorum = tripped.len() >= usize::from(self.quorum);
        if by_quorum || failing.len() >= 2 {
            return Ok(());
        }
        Err(format!("{one:?} without grounds: {tripped:?} tripped, {failing:?} failed"))
    }
}

fn is_bad(result: &Seen) -> bool {
    matches!(result.outcome, Outcome::Failure | Outcome::Slow)
}

/// What is adopted lasts no longer than `open.max`, what is drawn no longer than with all its jitter.
fn is_bounded(fleet: &Fleet, one: &Change) -> Result<(), String> {
    let open = &fleet.policy().open;
    let longest = if one.change.adopted && one.by_merge {
        open.max
    } else {
        open.max + open.max.mul_f64(open.jitter) + ROUNDING
    };
    if one.change.to == State::Open && one.change.open_for > longest {
        return Err(format!("{one:?} for longer than {longest}"));
    }
    Ok(())
}

/// Nothing grows with time: what waits is bounded by how long it may.
fn is_small(fleet: &Fleet) -> Result<(), String> {
    let members = fleet.replicas.len() * fleet.replicas[0].workers.len();
    for gathered in fleet.store.gathered.values() {
        let known = gathered.members().count();
        if known > members {
            return Err(format!("{known} members of {members}"));
        }
    }
    Ok(())
}

fn cover(one: &Change, seen: &mut Coverage) {
    match (one.change.to, one.by_merge, one.change.adopted) {
        (State::Open, true, true) => seen.followed_open += 1,
        (State::Open, true, false) => seen.tripped_by_all += 1,
        (State::Open, false, false) => seen.tripped += 1,
        (State::Closed, true, _) => seen.followed_close += 1,
        _ => {}
    }
}
