//! What happened to breakers lately: changes of state, and what operators ordered. A few hundred entries;
//! older ones are in the log.

use bimetal_core::Instant;
use bimetal_core::breaker::Order;
use bimetal_core::event::Transition;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// So many entries are kept.
pub(crate) const MOST_ENTRIES: usize = 512;

/// Something that happened to a breaker.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Instant,
    /// The policy.
    pub policy: Arc<str>,
    /// The scope, as people are told of it.
    pub scope: String,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// It changed its state, by this worker's decision.
    Changed(usize, Transition),
    /// Somebody ordered it to, from there.
    Ordered(Order, IpAddr),
}

/// The entries of all workers. An entry is made when a breaker changes its state, which is rare; who reads
/// holds the lock for a copy.
#[derive(Debug, Default)]
pub(crate) struct History {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    list: VecDeque<Arc<Entry>>,
    last: u64,
}

impl History {
    /// Adds one more; the oldest goes where there are too many.
    pub(crate) fn add(&self, at: Instant, policy: &Arc<str>, scope: String, what: What) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.last += 1;
        let entry = Entry { number: entries.last, at, policy: policy.clone(), scope, what };
        if entries.list.len() == MOST_ENTRIES {
            entries.list.pop_front();
        }
        entries.list.push_back(Arc::new(entry));
    }

    /// Those after number `last`, the oldest first.
    pub(crate) fn since(&self, last: u64) -> Vec<Arc<Entry>> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.list.iter().filter(|entry| entry.number > last).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stay_and_are_told_once() {
        let history = History::default();
        for number in 0..MOST_ENTRIES + 10 {
            let what = What::Ordered(Order::Reset, IpAddr::from([127, 0, 0, 1]));
            history.add(Instant::ZERO, &"p".into(), number.to_string(), what);
        }
        let all = history.since(0);
        assert_eq!((all.len(), all[0].number, &*all[0].scope), (MOST_ENTRIES, 11, "10"));
        let last = all.last().unwrap().number;
        assert_eq!((last, history.since(last).len()), (MOST_ENTRIES as u64 + 10, 0));
        assert_eq!(history.since(last - 2).len(), 2);
    }
}
