//! The store's half: what it keeps for one key, and what it makes of it.

use super::claimed::Claimed;
use super::{Buckets, Claim, Claims, Delta, Member, Merged, Refused, Streak, Sum};
use crate::breaker::{Cause, State};
use crate::time::{Duration, Instant};
use crate::window::Tally;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most members that one key has. One more is refused and decides alone.
pub const MAX_MEMBERS: usize = 1_024;

/// How long a store keeps the last delta of a member, and how long a failure counts for others.
pub const KEPT: Duration = Duration::from_secs(600);

/// The newest record of each member, for one scope or for one key of a limit.
#[derive(Clone, Debug)]
pub struct Gathered {
    key: Box<[u8]>,
    /// In the order of their members, so the workers of a replica are neighbours.
    entries: Vec<Entry>,
    /// Of a key of a limit.
    claimed: Option<Claimed>,
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
        Self { key: key.into(), entries: Vec::new(), claimed: None }
    }

    /// Takes a member's record that comes at `now` on the store's clock. True where it is newer than
    /// the one that is kept: one that is repeated or overtaken changes nothing.
    ///
    /// # Errors
    /// It is not a record of this version and of this key, or there are too many members.
    pub fn add(&mut self, now: Instant, record: &[u8]) -> Result<bool, Refused> {
        if Claim::is_kind(record) {
            let claim = Claim::decode(record, &self.key)?;
            return self.claimed.get_or_insert_default().add(now, claim);
        }
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
        match &mut self.claimed {
            Some(claimed) => claimed.all(now).encode(&self.key),
            None => self.sum(now).encode(&self.key),
        }
    }

    /// The claims that hold at `now`, where it is a key of a limit: for a page that people look at.
    pub fn claims(&mut self, now: Instant) -> Option<Claims> {
        self.claimed.as_mut().map(|claimed| claimed.all(now))
    }

    /// What all of it comes to at `now`: for a page that people look at.
    pub fn sum(&mut self, now: Instant) -> Merged {
        self.forget_old(now);
        let rank = |entry: &Entry| (entry.delta.generation, entry.delta.is_mesh_open);
        // The highest generation; where two say different things of one, it is open.
        let (generation, is_open) = self.entries.iter().map(rank).max().unwrap_or_default();
        let is_current = |entry: &&Entry| entry.delta.generation == generation;
        let current = || self.entries.iter().filter(is_current);
        let good = current().map(|entry| entry.since(now, entry.delta.streak.good)).min();
        let good = good.unwrap_or(Duration::MAX);
        let mut merged = Merged {
            at: now,
            generation,
            is_open,
            votes: 0,
            open_for: Duration::ZERO,
            level: 0,
            cause: Cause::ProbesSucceeded,
            streak: 0,
            streak_of_others: 0,
            failures: Sum::default(),
            slow: Sum::default(),
        };
        let (mut streak, mut failures, mut slow) =
            (Total::default(), Total::default(), Total::default());
        for replica in self.entries.chunk_by(same_replica) {
            let members = || replica.iter().filter(is_current);
            let votes = members().any(|entry| entry.delta.is_vote && entry.open_for(now).is_some());
            merged.votes = merged.votes.saturating_add(u16::from(votes));
            streak.add(
                members().map(|entry| entry.streak(now, good)).fold(Tally::default(), Tally::plus),
            );
            let share = |buckets: fn(&Delta) -> &Buckets| {
                members().map(move |entry| entry.tally(now, buckets(&entry.delta)))
            };
            failures.add(share(|delta| &delta.failures).fold(Tally::default(), Tally::plus));
            slow.add(share(|delta| &delta.slow).fold(Tally::default(), Tally::plus));
        }
        (merged.streak, merged.streak_of_others) = (streak.sum().all.bad, streak.sum().others.bad);
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
        self.entries
            .iter()
            .map(|entry| entry.delta.member)
            .chain(self.claimed.iter().flat_map(Claimed::members))
    }

    /// Whether nothing is left at `now`: then the store may forget the key.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        self.forget_old(now);
        self.claimed.iter_mut().for_each(|claimed| claimed.forget_old(now));
        self.entries.is_empty() && self.claimed.as_ref().is_none_or(Claimed::is_empty)
    }

    /// How many members there are, as of the last time that anything was asked.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + self.claimed.as_ref().map_or(0, Claimed::len)
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

    /// Its failures after the last good result of any member. Of a streak that began before it, nobody
    /// knows how many came after; the last one did.
    fn streak(&self, now: Instant, good: Duration) -> Tally {
        let Streak { failures, first, last, .. } = self.delta.streak;
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
            sum = sum.plus(tally);
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
        self.all = self.all.plus(replica);
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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"key";

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1_000)
    }

    /// A closed member that knows nothing.
    fn delta(replica: u64, worker: u16) -> Delta {
        Delta {
            member: Member { replica, worker },
            sequence: 1,
            state: State::Closed,
            open_for: Duration::ZERO,
            level: 0,
            cause: Cause::ProbesSucceeded,
            generation: 0,
            is_mesh_open: false,
            is_vote: false,
            streak: Streak { good: Duration::MAX, ..Streak::default() },
            failures: Buckets::default(),
            slow: Buckets::default(),
        }
    }

    fn failing(replica: u64, failures: u32, first: u64, last: u64, good: u64) -> Delta {
        let streak = Streak { failures, first: secs(first), last: secs(last), good: secs(good) };
        Delta { streak, ..delta(replica, 0) }
    }

    fn open(replica: u64, worker: u16, left: u64) -> Delta {
        let state = State::Open;
        Delta { state, open_for: secs(left), is_vote: true, level: 3, ..delta(replica, worker) }
    }

    fn gathered(deltas: &[Delta]) -> Gathered {
        let mut all = Gathered::new(KEY);
        deltas.iter().for_each(|one| assert_eq!(all.add(at(1_000), &one.encode(KEY)), Ok(true)));
        all
    }

    #[test]
    fn a_streak_is_what_came_after_the_last_good_result_of_all() {
        for (deltas, streak, of_others) in [
            ([failing(1, 2, 5, 4, 90), failing(2, 3, 3, 1, 80)], 5, 2),
            // One of the first one's came after the good result of the second, or both did.
            ([failing(1, 2, 5, 2, 90), failing(2, 3, 3, 1, 4)], 4, 1),
            ([failing(1, 2, 5, 4, 90), failing(2, 3, 3, 1, 4)], 3, 0),
            ([failing(1, 2, 5, 4, 90), failing(2, 0, 0, 0, 3)], 0, 0),
            ([failing(1, 2, 700, 601, 800), failing(2, 1, 3, 1, 900)], 1, 0),
        ] {
            let merged = gathered(&deltas).sum(at(1_000));
            assert_eq!((merged.streak, merged.streak_of_others), (streak, of_others), "{deltas:?}");
        }
    }

    #[test]
    fn a_replica_is_one_however_many_workers_it_has() {
        let deltas = [open(1, 0, 30), open(1, 1, 30), open(2, 0, 20)];
        let mut all = gathered(&deltas);
        let merged = all.sum(at(1_005));
        assert_eq!((merged.votes, merged.open_for, merged.level), (2, secs(15), 3));
        let merged = all.sum(at(1_020));
        assert_eq!((merged.votes, merged.open_for), (1, secs(10)), "the second one's time is over");
        assert_eq!(all.sum(at(1_030)).votes, 0);
        let streak = |failures| Streak { failures, first: secs(2), last: secs(1), good: secs(9) };
        let both = [0, 1].map(|worker| Delta { streak: streak(2), ..delta(1, worker) });
        assert_eq!(gathered(&both).sum(at(1_000)).streak_of_others, 0);
    }

    #[test]
    fn the_highest_generation_holds_and_open_goes_first() {
        let with = |replica, generation, is_mesh_open| Delta {
            generation,
            is_mesh_open,
            is_vote: false,
            ..open(replica, 0, 30)
        };
        let rank = |deltas: &[Delta]| {
            let merged = gathered(deltas).sum(at(1_000));
            (merged.generation, merged.is_open)
        };
        assert_eq!(rank(&[]), (0, false));
        assert_eq!(rank(&[with(1, 4, false), with(2, 3, true)]), (4, false));
        assert_eq!(rank(&[with(1, 4, false), with(2, 4, true)]), (4, true));
        // Votes and evidence of an older generation say nothing.
        let old = [open(1, 0, 30), open(2, 0, 30), failing(3, 3, 3, 1, 9)];
        let merged = gathered(&[&old[..], &[with(4, 2, false)]].concat()).sum(at(1_000));
        assert_eq!((merged.votes, merged.streak), (0, 0));
    }

    #[test]
    fn a_window_is_as_long_as_its_buckets_wherever_they_begin() {
        let counts = core::array::from_fn(|_| Tally { calls: 2, bad: 1 });
        let failures = Buckets { width: secs(1), newest: Duration::from_millis(500), counts };
        let mut all = gathered(&[Delta { failures, ..delta(1, 0) }]);
        for (later, calls) in [(0, 20), (1, 18), (9, 2), (10, 0)] {
            assert_eq!(all.sum(at(1_000 + later)).failures.all.calls, calls, "{later} s later");
        }
    }

    #[test]
    fn members_are_bounded_and_leave_when_they_are_not_heard() {
        let mut all = Gathered::new(KEY);
        for replica in 0..MAX_MEMBERS as u64 {
            all.add(at(0), &delta(replica, 0).encode(KEY)).unwrap();
        }
        let one_more = delta(u64::MAX, 0).encode(KEY);
        assert_eq!(all.add(at(1), &one_more), Err(Refused::Full));
        let known = Delta { sequence: 2, ..delta(0, 0) }.encode(KEY);
        assert_eq!(all.add(at(1), &known), Ok(true), "who is known is heard");
        assert_eq!(all.add(at(2), &known), Ok(false), "once");
        assert_eq!(all.add(at(600), &one_more), Ok(true), "the others left");
        assert_eq!(all.members().count(), 2);
        assert!(!all.is_empty(at(1_199)) && all.is_empty(at(1_200)));
    }
}
