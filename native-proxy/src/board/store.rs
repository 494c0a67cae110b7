//! A store of many processes, as one of them knows it.

use super::link::{Given, GivenRecord, Link, Written};
use bimetal_core::board::far::{Answer, Heard, MAX_TOLD, Records, Refused};
use bimetal_core::{Duration, Instant};
use std::time::SystemTime;

/// How often it is looked for what is too old to be kept.
const SWEEP: Duration = Duration::from_secs(30);

/// A key and what all members together say of it.
pub(crate) type Merged = (Box<[u8]>, Vec<u8>);

/// What came of one exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// Whether there is more to be had at once.
    pub has_more: bool,
    /// Records that were not believed: of another version, foreign, one too many.
    pub refused: [u64; 3],
    /// Records that the store did not take because it has later ones of the same members.
    pub outdated: u64,
}

/// Where the records are.
#[derive(Debug)]
enum Place {
    /// In a server.
    Redis(Box<Link>),
    /// Here alone.
    Memory,
}

/// A store, and what is known of it.
#[derive(Debug)]
pub(crate) struct Store {
    place: Place,
    records: Records,
    /// Which store it is, and the last change that is known.
    at: Heard,
    /// Its time at the last exchange.
    now: Instant,
    swept: Instant,
}

impl Store {
    /// A store in a server, of which nothing is known yet.
    pub(crate) fn redis(link: Link) -> Self {
        Self::new(Place::Redis(Box::new(link)), 0)
    }

    /// A store in memory. `number` is one that no other has.
    pub(crate) fn memory(number: u64) -> Self {
        Self::new(Place::Memory, number)
    }

    fn new(place: Place, store: u64) -> Self {
        let at = Heard { store, change: 0 };
        let (now, swept) = (Instant::ZERO, Instant::ZERO);
        Self { place, records: Records::default(), at, now, swept }
    }

    /// Gives these records, and learns what is new.
    ///
    /// # Errors
    /// As [`Link::exchange`].
    pub(crate) async fn exchange(&mut self, written: &[Written<'_>]) -> Result<Learned, String> {
        let learned = match &mut self.place {
            Place::Redis(link) => {
                let given = link.exchange(written).await?;
                self.learn(given)
            }
            Place::Memory => self.keep(written),
        };
        if self.now.since(self.swept) >= SWEEP || self.now < self.swept {
            self.swept = self.now;
            self.records.forget_old(self.now);
        }
        Ok(learned)
    }

    fn learn(&mut self, given: Given) -> Learned {
        if given.is_another {
            self.records = Records::default();
        }
        self.now = given.now;
        self.at = Heard { store: given.store, change: given.change };
        let mut learned = Learned {
            has_more: given.has_more,
            outdated: given.outdated,
            refused: [0, given.foreign, 0],
        };
        for record in &given.records {
            let GivenRecord { change, came, key, record } = record;
            learned.count(self.records.add(*change, *came, key, record));
        }
        learned
    }

    fn keep(&mut self, written: &[Written<'_>]) -> Learned {
        // Answers are told apart by their time.
        self.now = wall().max(self.now + Duration::from_nanos(1));
        let mut learned = Learned::default();
        for Written { key, record, .. } in written {
            let change = self.records.changes().saturating_add(1);
            learned.count(self.records.add(change, self.now, key, record));
        }
        self.at.change = self.records.changes();
        learned
    }

    /// What changed since somebody heard of it.
    pub(crate) fn tell(&mut self, heard: Heard) -> Answer {
        let knows = heard.store == self.at.store && heard.change <= self.at.change;
        let after = if knows { heard.change } else { 0 };
        let changed = self.records.changed_since(after).take(MAX_TOLD + 1);
        let mut changed: Vec<(u64, Box<[u8]>)> =
            changed.map(|(change, key)| (change, Box::from(key))).collect();
        let has_more = changed.len() > MAX_TOLD;
        changed.truncate(MAX_TOLD);
        let heard = match changed.last() {
            Some((change, _)) if has_more => Heard { change: *change, ..self.at },
            _ => self.at,
        };
        let merged = changed.into_iter().filter_map(|(_, key)| {
            let merged = self.records.merged(self.now, &key)?;
            Some((key, merged))
        });
        Answer { merged: merged.collect(), heard, has_more }
    }

    /// How many records are known, and of how many keys.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.records.len(), self.records.keys())
    }
}

impl Learned {
    fn count(&mut self, added: Result<bool, Refused>) {
        let place = match added {
            Ok(_) => return,
            Err(Refused::Version) => 0,
            Err(Refused::Full) => 2,
            Err(_) => 1,
        };
        self.refused[place] += 1;
    }
}

/// Time since 1970: a store in memory that begins again must not be behind the one before.
fn wall() -> Instant {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Instant::ZERO + since.into()
}
