//! The store's half: what it keeps for one key, and what it makes of it.

use super::{Buckets, Delta, Member, Merged, Refused, Run, Sum};
use crate::breaker::{Cause, State};
use crate::time::{Duration, Instant};
use crate::window::Tally;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most members that one key has. One more is refused and decides alone.
pub const MAX_MEMBERS: usize = 1_024;

/// How long a store keeps what a member told it last, and how long a failure counts for others.
pub const KEPT: Duration = Duration::from_secs(600);

/// All that members told about one scope, the newest record of each.
#[derive(Clone, Debug)]
pub struct Gathered {
    key: Box<[u8]>,
    /// In the order of their members, so the workers of a replica are neighbours.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    delta: Delta,
    /// When it came, on the store's clock: what is an age in the record counts from here.
    came: Instant,
}

impl Gathered {
    /// Nothing yet for `key`.
    pub fn new(key: &[u8]) -> Self {
        Self { key: key.into(), entries: Vec::new() }
    }

    /// Takes a member's record that comes at `now` on the store's clock. True where it is newer than
    /// what the member told before: one that is repeated or overtaken changes nothing.
    ///
    /// # Errors
    /// It is not a record of this version and of this key, or there are too many members.
    pub fn add(&mut self, now: Instant, record: &[u8]) -> Result<bool, Refused> {
        let delta = Delta::decode(record, &self.key)?;
        self.forget_old(now);
        let entry = Entry { delta, came: now };
        match self.entries.binary_search_by_key(&delta.member, |entry| entry.delta.member) {
            Ok(at) => {
                let known = self.entries.get_mut(at);
                let Some(known) = known.filter(|known| known.delta.sequence < delta.sequence)
                else {
                    return Ok(false);
                };
                *known = entry;
            }
            Err(_) if self.entries.len() >= MAX_MEMBERS => return Err(Refused::Full),
            Err(at) => self.entries.insert(at, entry),
        }
        Ok(true)
    }

    /// What all of it comes to at `now`, as the record for [`Engine::merge`](crate::Engine::merge).
    pub fn merged(&mut self, now: Instant) -> Vec<u8> {
        self.sum(now).encode(&self.key)
    }

    /// What all of it comes to at `now`: for a page that people look at.
    pub fn sum(&mut self, now: Instant) -> Merged {
        self.forget_old(now);
        let rank = |entry: &Entry| (entry.delta.generation, entry.delta.is_mesh_open);
        // The highest generation; where two say different things of one, it is open.
        let (generation, is_open) = self.entries.iter().map(rank).max().unwrap_or_default();
        let is_current = |entry: &&Entry| entry.delta.generation == generation;
        let current = || self.entries.iter().filter(is_current);
        let good = current().map(|entry| entry.since(now, entry.delta.run.good)).min();
        let good = good.unwrap_or(Duration::MAX);
        let mut merged = Merged {
            at: now,
            generation,
            is_open,
            votes: 0,
            open_for: Duration::ZERO,
            level: 0,
            cause: Cause::ProbesSucceeded,
            run: 0,
            run_of_others: 0,
            failures: Sum::default(),
            slow: Sum::default(),
        };
        let (mut run, mut failures, mut slow) =
            (Total::default(), Total::default(), Total::default());
        for replica in self.entries.chunk_by(same_replica) {
            let members = || replica.iter().filter(is_current);
            let votes = members().any(|entry| entry.delta.is_vote && entry.open_for(now).is_some());
            merged.votes = merged.votes.saturating_add(u16::from(votes));
            run.add(members().map(|entry| entry.run(now, good)).fold(Tally::default(), plus));
            let share = |buckets: fn(&Delta) -> &Buckets| {
                members().map(move |entry| entry.tally(now, buckets(&entry.delta)))
            };
            failures.add(share(|delta| &delta.failures).fold(Tally::default(), plus));
            slow.add(share(|delta| &delta.slow).fold(Tally::default(), plus));
        }
        (merged.run, merged.run_of_others) = (run.sum().all.bad, run.sum().others.bad);
        (merged.failures, merged.slow) = (failures.sum(), slow.sum());
        let openers = current().filter(|entry| entry.delta.is_vote || entry.delta.is_mesh_open);
        let openers = openers.filter_map(|entry| Some((entry.open_for(now)?, entry.delta)));
        // The shortest: what is on its way longer must not make it longer from hop to hop.
        if let Some((left, delta)) = openers.min_by_key(|(left, _)| *left) {
            (merged.open_for, merged.level, merged.cause) = (left, delta.level, delta.cause);
        }
        merged
    }

    /// The members that are heard of.
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.entries.iter().map(|entry| entry.delta.member)
    }

    /// Whether nothing is left at `now`: then the store may forget the key.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.entries.is_empty()
    }

    fn forget_old(&mut self, now: Instant) {
        // A clock that was ahead and is not any more must not keep for ever what came meanwhile.
        self.entries.iter_mut().for_each(|entry| entry.came = entry.came.min(now));
        self.entries.retain(|entry| now.since(entry.came) < KEPT);
    }
}

fn same_replica(one: &Entry, other: &Entry) -> bool {
    one.delta.member.replica == other.delta.member.replica
}

impl Entry {
    /// How long ago it is what was `age` ago when the record was taken.
    fn since(&self, now: Instant, age: Duration) -> Duration {
        now.since(self.came) + age
    }

    /// For how long its breaker will still be open.
    fn open_for(&self, now: Instant) -> Option<Duration> {
        let left = self.delta.open_for - now.since(self.came);
        (self.delta.state == State::Open && !left.is_zero()).then_some(left)
    }

    /// Its failures after the last good result of any member. Of a run that began before it, nobody
    /// knows how many came after; the last one did.
    fn run(&self, now: Instant, good: Duration) -> Tally {
        let Run { failures, first, last, .. } = self.delta.run;
        let (first, last) = (self.since(now, first), self.since(now, last));
        let counted = match failures {
            0 => 0,
            _ if last >= good.min(KEPT) => 0,
            all if first < good => all,
            _ => 1,
        };
        Tally { calls: counted, bad: counted }
    }

    /// What of its window is not too old.
    fn tally(&self, now: Instant, buckets: &Buckets) -> Tally {
        let Buckets { width, newest, counts } = *buckets;
        let span = counts.iter().fold(Duration::ZERO, |span, _| span + width);
        let mut began = self.since(now, newest);
        let mut sum = Tally::default();
        for tally in counts {
            if began >= span {
                break;
            }
            sum = plus(sum, tally);
            began = began + width;
        }
        sum
    }
}

/// A sum over replicas, and the one that has most of what is bad.
#[derive(Default)]
struct Total {
    all: Tally,
    worst: Tally,
}

impl Total {
    fn add(&mut self, replica: Tally) {
        self.all = plus(self.all, replica);
        if replica.bad > self.worst.bad {
            self.worst = replica;
        }
    }

    const fn sum(&self) -> Sum {
        let Self { all, worst } = self;
        let calls = all.calls.saturating_sub(worst.calls);
        let bad = all.bad.saturating_sub(worst.bad);
        // More calls than can be counted leave less good ones than there are.
        let bad = if bad < calls { bad } else { calls };
        Sum { all: self.all, others: Tally { calls, bad } }
    }
}

const fn plus(one: Tally, other: Tally) -> Tally {
    Tally { calls: one.calls.saturating_add(other.calls), bad: one.bad.saturating_add(other.bad) }
}
