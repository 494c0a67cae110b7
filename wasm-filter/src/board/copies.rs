//! What a worker knows of the board: a copy of the words of each of its scopes, and which of the
//! copies may be old.

use super::bucket::Bucket;
use super::place::Table;
use super::seeded::Seeded;
use bimetal_core::board;
use std::collections::HashMap;

/// One worker's copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// One for each state hash; a worker meets few of them.
    tables: Vec<Known>,
    /// By owner. Clients choose keys, so the map's own hash is one that they do not know.
    scopes: HashMap<u64, Scope, Seeded>,
    /// Owners whose copy is not all zero, by the place of their table and their bucket.
    held: HashMap<Spot, Vec<u64>, Seeded>,
    /// Owners whose words others changed, each once, for [`Copies::take_changed`].
    news: Vec<u64>,
    secret: Option<u64>,
    /// How often all copies became old at once.
    epoch: u32,
    sweep: Sweep,
}

/// A bucket: where its table stands among the tables, and its number.
type Spot = (usize, u64);

/// A table, and how many scopes of this worker lie in it.
#[derive(Debug)]
struct Known {
    state_hash: u64,
    table: Table,
    scopes: u32,
}

#[derive(Debug)]
struct Scope {
    /// Where its table stands.
    table: usize,
    /// What its breaker is called where others changed it.
    watched: Option<u64>,
    /// Whether it is among the news already.
    told: bool,
    /// How many hold it.
    handles: u32,
    count: usize,
    /// Empty while all are zero.
    words: Box<[u64]>,
    /// The epoch in which it was read.
    epoch: u32,
    /// Whether another worker changed it since it was read.
    changed: bool,
    /// Whether it says what only this worker knows, because there was no place for it.
    alone: bool,
}

/// How far a worker is that looks through all buckets, a few at a time.
#[derive(Debug, Default)]
struct Sweep {
    next: Spot,
    left: u64,
}

impl Copies {
    /// None yet; what clients choose is hashed with `seed`.
    pub(super) fn new(seed: u64) -> Self {
        let hash = Seeded(seed);
        let (scopes, held) = (HashMap::with_hasher(hash), HashMap::with_hasher(hash));
        Self { scopes, held, ..Self::default() }
    }

    /// The policy of this state hash has this table.
    pub(super) fn expect(&mut self, state_hash: u64, table: Table) {
        let at = self.table_of(state_hash, || table.clone());
        // Copies were made from the table that is known.
        if let Some(known) = self.tables.get_mut(at).filter(|known| known.scopes == 0) {
            known.table = table;
        }
    }

    fn table_of(&mut self, state_hash: u64, unknown: impl FnOnce() -> Table) -> usize {
        let same = self.tables.iter().position(|known| known.state_hash == state_hash);
        same.unwrap_or_else(|| {
            self.tables.push(Known { state_hash, table: unknown(), scopes: 0 });
            self.tables.len() - 1
        })
    }

    /// A scope of `count` words; `unknown` is its table where nobody said which it is.
    pub(super) fn open(
        &mut self,
        owner: u64,
        state_hash: u64,
        count: usize,
        unknown: impl FnOnce() -> Table,
    ) {
        let (table, epoch) = (self.table_of(state_hash, unknown), self.epoch);
        let tables = &mut self.tables;
        let mut comes_into_use = false;
        let scope = self.scopes.entry(owner).or_insert_with(|| {
            if let Some(known) = tables.get_mut(table) {
                comes_into_use = known.scopes == 0;
                known.scopes += 1;
            }
            // What is on the board already was not read yet.
            let (changed, alone, watched) = (true, false, None);
            let (handles, words, told) = (0, Box::default(), false);
            Scope { table, watched, told, handles, count, words, epoch, changed, alone }
        });
        scope.handles += 1;
        if comes_into_use && self.sweep.left > 0 {
            // Its buckets take turns too, and none of those that the others wait for may be lost.
            self.sweep.left = self.buckets_in_use();
        }
    }

    /// A handle of a scope is gone.
    pub(super) fn close(&mut self, owner: u64) {
        let Some(scope) = self.scopes.get_mut(&owner) else {
            return;
        };
        scope.handles -= 1;
        if scope.handles > 0 {
            return;
        }
        let table = scope.table;
        self.keep(owner, &[], false);
        self.scopes.remove(&owner);
        if let Some(known) = self.tables.get_mut(table) {
            known.scopes -= 1;
        }
    }

    /// By which scopes are spread over buckets; none before it is known.
    pub(super) const fn secret(&self) -> Option<u64> {
        self.secret
    }

    /// By this secret scopes are spread over buckets.
    pub(super) fn set_secret(&mut self, secret: u64) {
        if self.secret.replace(secret) == Some(secret) {
            return;
        }
        self.held.clear();
        let held = self.scopes.iter().filter(|(_, scope)| !scope.words.is_empty());
        let owners: Vec<u64> = held.map(|(owner, _)| *owner).collect();
        for owner in owners {
            if let Some(spot) = self.spot(owner) {
                self.held.entry(spot).or_default().push(owner);
            }
        }
    }

    fn spot(&self, owner: u64) -> Option<Spot> {
        let at = self.scopes.get(&owner)?.table;
        Some((at, self.tables.get(at)?.table.bucket(self.secret?, owner)))
    }

    /// The key of a scope's bucket, and the part of its policy's state hash that its record carries.
    /// None before the secret is known.
    pub(super) fn place(&self, owner: u64) -> Option<(String, u32)> {
        let (at, bucket) = self.spot(owner)?;
        let table = &self.tables.get(at)?.table;
        Some((table.key(bucket), table.policy))
    }

    /// Whether the copy may be old.
    pub(super) fn is_old(&self, owner: u64) -> bool {
        let swept = self.sweep.left == 0;
        let old = |scope: &Scope| scope.changed || !swept && scope.epoch != self.epoch;
        self.scopes.get(&owner).is_some_and(old)
    }

    /// Whether another worker is known to have changed it.
    pub(super) fn is_changed(&self, owner: u64) -> bool {
        self.scopes.get(&owner).is_some_and(|scope| scope.changed)
    }

    /// A word of the copy.
    pub(super) fn word(&self, owner: u64, index: usize) -> u64 {
        let words = self.scopes.get(&owner).map(|scope| &scope.words);
        words.and_then(|words| words.get(index)).copied().unwrap_or(0)
    }

    /// All words of the copy.
    pub(super) fn words(&self, owner: u64) -> Vec<u64> {
        let count = self.scopes.get(&owner).map_or(0, |scope| scope.count);
        (0..count).map(|index| self.word(owner, index)).collect()
    }

    /// Makes the copy say `words`; `alone` when the board does not.
    pub(super) fn keep(&mut self, owner: u64, words: &[u64], alone: bool) {
        let spot = self.spot(owner);
        let Some(scope) = self.scopes.get_mut(&owner) else {
            return;
        };
        let any = words.iter().any(|word| *word != 0);
        scope.words = if any { words.into() } else { Box::default() };
        // A breaker that is as good as new says nothing that others do not know.
        scope.alone = alone && any;
        let Some(spot) = spot else {
            return;
        };
        let owners = self.held.entry(spot).or_default();
        owners.retain(|other| *other != owner);
        if any {
            owners.push(owner);
        } else if owners.is_empty() {
            self.held.remove(&spot);
        }
    }

    /// Whether the copy says what the board does not.
    pub(super) fn is_alone(&self, owner: u64) -> bool {
        self.scopes.get(&owner).is_some_and(|scope| scope.alone)
    }

    /// The board was read: it has these words for the scope, or none.
    ///
    /// A breaker that is missing was closed, or at rest and gave way to another. Where the copy is at
    /// rest too it stays: it has the same meaning, and a generation that went on from here must not
    /// begin again. What had no place on the board is not known to others, and stays as well.
    pub(super) fn learn(&mut self, owner: u64, found: Option<&[u64]>) {
        self.looked(owner);
        let Some(scope) = self.scopes.get(&owner) else {
            return;
        };
        let count = scope.count;
        match found {
            Some(found) => {
                let padded = found.iter().copied().chain(std::iter::repeat(0)).take(count);
                self.keep(owner, &padded.collect::<Vec<_>>(), false);
            }
            None if scope.alone || board::is_at_rest(&scope.words) => {}
            None => self.keep(owner, &[], false),
        }
    }

    /// The board was asked for the scope's words: until others change them the copy is as good as new.
    pub(super) fn looked(&mut self, owner: u64) {
        if let Some(scope) = self.scopes.get_mut(&owner) {
            (scope.changed, scope.epoch) = (false, self.epoch);
        }
    }

    /// Others changed these records.
    pub(super) fn changed(&mut self, owners: &[u64]) {
        for owner in owners {
            if let Some(scope) = self.scopes.get_mut(owner) {
                scope.changed = true;
            }
            self.tell(*owner);
        }
    }

    /// Others changed a scope: whoever watches it shall hear of it, once.
    fn tell(&mut self, owner: u64) {
        let watched = self.scopes.get_mut(&owner).filter(|scope| scope.watched.is_some());
        if let Some(scope) = watched.filter(|scope| !scope.told) {
            scope.told = true;
            self.news.push(owner);
        }
    }

    /// What a scope's breaker is called where others changed it.
    pub(super) fn watch(&mut self, owner: u64, number: u64) {
        if let Some(scope) = self.scopes.get_mut(&owner) {
            scope.watched = Some(number);
        }
    }

    /// The numbers of the breakers that others changed since this was asked last, each once.
    pub(super) fn take_changed(&mut self) -> Vec<u64> {
        let scopes = &mut self.scopes;
        let numbers = self.news.drain(..).filter_map(|owner| {
            let scope = scopes.get_mut(&owner)?;
            scope.told = false;
            scope.watched
        });
        numbers.collect()
    }

    /// Nobody knows what others changed: every copy is old until it was read again, when it is asked
    /// for or when its bucket's turn in the sweep comes.
    pub(super) fn lose_track(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        // The sweep goes on from where it is: buckets at the end have their turn too, however often
        // it begins again.
        self.sweep.left = self.buckets_in_use();
    }

    fn buckets_in_use(&self) -> u64 {
        let in_use = self.tables.iter().filter(|known| known.scopes > 0);
        in_use.map(|known| known.table.buckets).sum()
    }

    /// The bucket whose turn it is, with its key; none when all had theirs.
    pub(super) fn sweep(&mut self) -> Option<(Spot, String)> {
        self.sweep.left.checked_sub(1)?;
        let (at, bucket) = self.sweep.next;
        let in_use = |(_, known): &(usize, &Known)| known.scopes > 0;
        let tables = || self.tables.iter().enumerate();
        let later = tables().skip(at).find(in_use);
        let (found, Known { table, .. }) = later.or_else(|| tables().find(in_use))?;
        let bucket = if found == at && bucket < table.buckets { bucket } else { 0 };
        let is_last = bucket + 1 == table.buckets;
        self.sweep.next = if is_last { (found + 1, 0) } else { (found, bucket + 1) };
        Some(((found, bucket), table.key(bucket)))
    }

    /// A bucket was read in its turn; nothing where its value is not ours.
    pub(super) fn swept(&mut self, spot: Spot, bucket: Option<&Bucket>) {
        self.sweep.left = self.sweep.left.saturating_sub(1);
        let Some(bucket) = bucket else {
            return;
        };
        let mut owners = self.held.get(&spot).cloned().unwrap_or_default();
        owners.extend(bucket.records().iter().map(|record| record.owner));
        for owner in owners {
            if self.spot(owner) == Some(spot) {
                let known = self.words(owner);
                self.learn(owner, bucket.find(owner));
                if known != self.words(owner) {
                    self.tell(owner);
                }
            }
        }
    }
}
