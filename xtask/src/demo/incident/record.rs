//! What was seen of each part, by time.

use super::numbers::{LENGTH, SHARDS};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The unit of the timeline.
pub const TICK: Duration = Duration::from_millis(500);

/// Whose calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The monolith's own clients.
    Monolith,
    /// Checkout's own clients.
    Checkout,
    /// Jobs of this shard.
    Shard(usize),
}

impl Part {
    /// Every part.
    pub fn all() -> Vec<Self> {
        let shards = (0..SHARDS).map(Self::Shard);
        [Self::Monolith, Self::Checkout].into_iter().chain(shards).collect()
    }

    /// Its name for people.
    pub fn name(self) -> String {
        match self {
            Self::Monolith => "monolith".to_owned(),
            Self::Checkout => "checkout".to_owned(),
            Self::Shard(number) => format!("shard {}", number + 1),
        }
    }
}

/// What became of one call of a client, tries and all, or of one job.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Whose.
    pub part: Part,
    /// When it was due, from the start.
    pub due: Duration,
    /// Whether it was served in time.
    pub is_good: bool,
}

/// The state of the tiers at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    /// When, from the start.
    pub at: Duration,
    /// Calls that wait for the monolith.
    pub monolith_waiting: usize,
    /// Calls that wait for a connection of checkout's database.
    pub checkout_waiting: usize,
    /// Connections of checkout's database in use.
    pub database: usize,
    /// Copies of jobs that wait in each shard.
    pub backlog: [usize; SHARDS],
}

/// Where the clients write what they saw.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<Event>>);

impl Log {
    /// Notes one call or job.
    pub fn note(&self, part: Part, due: Duration, is_good: bool) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(Event { part, due, is_good });
    }

    /// What was noted since the last time.
    pub fn taken(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All that was seen of one arm.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Calls and jobs, in the order of their ends.
    pub events: Vec<Event>,
    /// The tiers over time.
    pub sights: Vec<Sight>,
}

/// How many ticks there are.
pub fn ticks_each() -> usize {
    usize::try_from(LENGTH.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX)
}

impl Record {
    /// Good and failed calls of a part in each tick.
    pub fn ticks(&self, part: Part) -> Vec<(u32, u32)> {
        let mut ticks = vec![(0, 0); ticks_each()];
        for event in self.events.iter().filter(|event| event.part == part) {
            let at =
                usize::try_from(event.due.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
            if let Some(tick) = ticks.get_mut(at) {
                let side = if event.is_good { &mut tick.0 } else { &mut tick.1 };
                *side += 1;
            }
        }
        ticks
    }

    /// The share of a part's calls due in this time that were served in time; 1 where there was none.
    pub fn good_share(&self, part: Part, from: Duration, to: Duration) -> f64 {
        let due = |event: &&Event| event.part == part && from <= event.due && event.due < to;
        let all = self.events.iter().filter(due).count();
        let good = self.events.iter().filter(due).filter(|event| event.is_good).count();
        if all == 0 { 1.0 } else { good as f64 / all as f64 }
    }

    /// The last sight of the tiers.
    pub fn last(&self) -> Sight {
        self.sights.last().copied().unwrap_or_default()
    }
}
