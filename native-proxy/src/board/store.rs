//! A store of many processes, as one of them knows it.

use super::link::{Given, Link, Written};
use bimetal_core::board::far::{Records, Refused};
use bimetal_core::{Duration, Instant};

/// How often it is looked for what is too old to be kept.
const SWEEP: Duration = Duration::from_secs(30);

/// A key and what all members together say of it.
pub(crate) type Merged = (Box<[u8]>, Vec<u8>);

/// What came of one exchange.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// The keys of which there is news.
    pub merged: Vec<Merged>,
    /// Whether there is more to be had at once.
    pub has_more: bool,
    /// Records that were not believed: of another version, foreign, one too many.
    pub refused: [u64; 3],
    /// Records that the store did not take because it has later ones of the same members.
    pub outdated: u64,
}

/// The way to a store, and what came of it so far.
#[derive(Debug)]
pub(crate) struct Store {
    link: Link,
    records: Records,
    swept: Instant,
}

impl Store {
    /// A store of which nothing is known yet.
    pub(crate) fn new(link: Link) -> Self {
        Self { link, records: Records::default(), swept: Instant::ZERO }
    }

    /// Gives these records, and learns what is new.
    ///
    /// # Errors
    /// As [`Link::exchange`].
    pub(crate) async fn exchange(&mut self, written: &[Written<'_>]) -> Result<Learned, String> {
        let given = self.link.exchange(written).await?;
        Ok(self.learn(given))
    }

    fn learn(&mut self, given: Given) -> Learned {
        if given.is_another {
            self.records = Records::default();
        }
        let mut learned = Learned {
            has_more: given.has_more,
            outdated: given.outdated,
            refused: [0, given.foreign, 0],
            merged: Vec::new(),
        };
        let before = self.records.changes();
        for record in &given.records {
            let place = match self.records.add(record.came, &record.key, &record.record) {
                Ok(_) => continue,
                Err(Refused::Version) => 0,
                Err(Refused::Full) => 2,
                Err(_) => 1,
            };
            learned.refused[place] += 1;
        }
        let changed = self.records.changed_since(before).map(|(_, key)| Box::from(key));
        let changed: Vec<Box<[u8]>> = changed.collect();
        let merged = changed.into_iter().filter_map(|key| {
            let merged = self.records.merged(given.now, &key)?;
            Some((key, merged))
        });
        learned.merged = merged.collect();
        if given.now.since(self.swept) >= SWEEP || given.now < self.swept {
            self.swept = given.now;
            self.records.forget_old(given.now);
        }
        learned
    }
}
