//! Watches over the calls of scopes, where policies ask for them. They lie beside the scopes, as budgets
//! of retries do, and live on the counts that are kept anyway: a call of a policy without `anomaly`
//! touches nothing of this.
//!
//! There is one watch for each label that a policy's counts have, so they are as bounded as labels are.

use super::Engine;
use super::due::DueQueue;
use super::policies::{Hold, put};
use crate::anomaly::{AnomalyPolicy, Seen, Signal, Watch};
use crate::outcome::{Outcome, Report};
use crate::policy::Policy;
use crate::series::Counts;
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A clock that falls back by more than this came from ahead; by less, threads passed each other.
const CAME_BACK: Duration = Duration::from_secs(1);

/// What a table asks for room in: see [`Room`](super::Room).
const ROOM_UNIT: usize = 1024;

/// All watches.
#[derive(Debug, Default)]
pub(super) struct Anomalies {
    groups: Vec<Option<Group>>,
    /// Latencies by row, where one is watched.
    latencies: Vec<Latencies>,
    last: Instant,
}

/// The watches of one policy, as long as somebody refers to it. One that means the same after a reload
/// keeps them.
#[derive(Debug)]
struct Group {
    name: Arc<str>,
    policy: AnomalyPolicy,
    held: Arc<Hold>,
    /// With the rows that they are over.
    watches: Vec<(u32, Watch)>,
    /// Numbers of watches by row, from 1; 0 is none.
    by_row: Vec<u32>,
    due: DueQueue,
}

/// Latencies that were reported of a row's calls.
#[derive(Clone, Copy, Debug, Default)]
struct Latencies {
    nanos: u64,
    count: u64,
}

/// What an entry of policies has of its watches.
#[derive(Clone, Debug)]
pub(super) struct HeldWatches {
    group: u32,
    /// Keeps the group alive.
    _held: Arc<Hold>,
}

impl Anomalies {
    /// Refers to the watches of `policy`; none where it asks for none.
    pub(super) fn load(&mut self, policy: &Policy) -> Option<HeldWatches> {
        let asked = policy.anomaly.as_ref()?;
        let same = |group: &Option<Group>| {
            group.as_ref().is_some_and(|group| group.name == policy.name && group.policy == *asked)
        };
        let place = self.groups.iter().position(same).unwrap_or_else(|| {
            let new = Group {
                name: policy.name.clone(),
                policy: asked.clone(),
                held: Hold::new(),
                watches: Vec::new(),
                by_row: Vec::new(),
                due: DueQueue::default(),
            };
            put(&mut self.groups, new)
        });
        let held = self.groups.get(place)?.as_ref()?.held.clone();
        Some(HeldWatches { group: u32::try_from(place).ok()?, _held: held })
    }

    /// Sees to it that a row is watched from now on.
    fn watch(
        &mut self,
        now: Instant,
        held: &HeldWatches,
        row: u32,
        counts: &Counts,
        room: super::Room,
    ) {
        let Some(Some(group)) = self.groups.get_mut(held.group as usize) else {
            return;
        };
        let place = row as usize;
        if group.by_row.get(place).is_some_and(|number| *number > 0) {
            return;
        }
        let wanted = (group.watches.len() + 1) * Watch::size(&group.policy) / ROOM_UNIT;
        if !room(wanted) {
            return;
        }
        if place >= group.by_row.len() {
            group.by_row.resize(place + 1, 0);
        }
        if group.policy.watches(Signal::Latency) && place >= self.latencies.len() {
            self.latencies.resize(place + 1, Latencies::default());
        }
        let seen = seen(counts, self.latencies.get(place));
        let watch = Watch::new(&group.policy, now, seen);
        let number = u32::try_from(group.watches.len()).unwrap_or(u32::MAX);
        group.due.add(watch.due(), number);
        group.watches.push((row, watch));
        if let Some(known) = group.by_row.get_mut(place) {
            *known = number.saturating_add(1);
        }
    }

    /// A call of a row is over, and its latency was asked for.
    pub(super) fn settled(&mut self, row: u32, report: &Report) {
        if let (Some(latency), Some(row)) = (report.latency, self.latencies.get_mut(row as usize)) {
            row.nanos = row.nanos.saturating_add(latency.as_nanos());
            row.count += 1;
        }
    }

    /// When the next interval is over.
    pub(super) fn next(&self) -> Option<Instant> {
        self.groups.iter().flatten().filter_map(|group| group.due.first()).min()
    }

    /// Frees the watches that nobody refers to any more.
    fn free(&mut self) {
        for place in &mut self.groups {
            place.take_if(|group| Arc::strong_count(&group.held) == 1);
        }
    }
}

/// What the counts say of a scope's calls.
fn seen(counts: &Counts, latencies: Option<&Latencies>) -> Seen {
    let latencies = latencies.copied().unwrap_or_default();
    let failures = counts.outcome(Outcome::Failure);
    let good = counts.outcome(Outcome::Success) + counts.outcome(Outcome::Slow);
    Seen {
        calls: counts.decisions.iter().sum(),
        settled: failures + good,
        failures,
        latency: latencies.nanos,
        latencies: latencies.count,
    }
}

impl Engine {
    /// A call came to a scope that is watched.
    pub(super) fn watch(&mut self, now: Instant, held: &HeldWatches, place: u32) {
        let Some(row) = self.slots.get(place).map(|slot| slot.row) else {
            return;
        };
        if let Some(counts) = self.recorder.series().counts(row) {
            self.anomalies.watch(now, held, row, counts, self.room);
        }
    }

    /// How many scopes' labels are watched.
    pub fn watches(&self) -> usize {
        self.anomalies.groups.iter().flatten().map(|group| group.watches.len()).sum()
    }

    /// Judges what the intervals that are over brought.
    pub(super) fn poll_anomalies(&mut self, now: Instant) {
        // What nobody asks for any more is told no more.
        self.anomalies.free();
        let Anomalies { groups, latencies, last } = &mut self.anomalies;
        if groups.is_empty() {
            return;
        }
        let came_back = last.since(now) > CAME_BACK;
        *last = now;
        for Group { policy, watches, due, .. } in groups.iter_mut().flatten() {
            if came_back {
                *due = DueQueue::default();
                for (number, (row, watch)) in watches.iter_mut().enumerate() {
                    let counts = self.recorder.series().counts(*row);
                    let seen = counts.map(|counts| seen(counts, latencies.get(*row as usize)));
                    watch.restart(policy, now, seen.unwrap_or_default());
                    due.add(watch.due(), u32::try_from(number).unwrap_or(u32::MAX));
                }
            }
            while let Some((_, number)) = due.take(now) {
                let Some((row, watch)) = watches.get_mut(number as usize) else {
                    continue;
                };
                let Some(counts) = self.recorder.series().counts(*row) else {
                    continue;
                };
                let seen = seen(counts, latencies.get(*row as usize));
                watch.poll(policy, now, seen, &mut |anomaly| {
                    self.recorder.anomaly(now, *row, anomaly);
                });
                // At the end of time there is no other interval.
                if watch.due() > now {
                    due.add(watch.due(), number);
                }
            }
        }
    }
}
