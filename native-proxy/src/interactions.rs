//! How services call each other: what is noticed on the way of a call. It changes no decision.
//!
//! - `calls_per_trace`: one request of a user led to more calls of one upstream by one route than are
//!   fine. Someone calls in a loop.
//! - `after_deadline`: work went on for a caller whose time was over.
//! - `db_transaction`: the caller holds a database transaction, and with it a connection, for as long
//!   as the upstream likes.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is warned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// One upstream was called too often within a trace.
    CallsPerTrace,
    /// An answer came, or work was given up, when its caller's time was over.
    AfterDeadline,
    /// Its caller holds a database transaction.
    DbTransaction,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Self; 3] =
        [Self::CallsPerTrace, Self::AfterDeadline, Self::DbTransaction];

    /// A bit of its own.
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    /// The name in metrics, logs and spans.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CallsPerTrace => "calls_per_trace",
            Self::AfterDeadline => "after_deadline",
            Self::DbTransaction => "db_transaction",
        }
    }
}

/// Places for counts: 128 KiB in all.
const PLACES: usize = 1 << 14;
/// Bits of a word that count.
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// How often each upstream was called by each route within a trace, for all workers of a process: a
/// trace's calls come over many connections.
///
/// Each pair of trace and callee has one place among [`PLACES`], which is a word: 44 bits of its hash,
/// 20 of its count. Another pair of the same place begins a count of its own there, so a crowd of
/// traces has some counted too low, and none too high but for two pairs with the same 58 bits of hash.
/// Nobody waits, and nothing has to be thrown away. The hash has a secret of the process: clients
/// choose the ids of traces.
#[derive(Debug, Default)]
pub(crate) struct TraceCalls {
    places: OnceLock<Box<[AtomicU64]>>,
    secret: RandomState,
}

impl TraceCalls {
    /// One more call of `upstream` by `route` within `trace`. How many there are now.
    pub(crate) fn called(&self, trace: &[u8; 16], upstream: &str, route: &str) -> u32 {
        self.count(self.secret.hash_one((trace, upstream, route)))
    }

    fn count(&self, hash: u64) -> u32 {
        let places = self.places.get_or_init(|| (0..PLACES).map(|_| AtomicU64::new(0)).collect());
        let mark = hash & !COUNT_MASK;
        let next = |word: u64| match word & !COUNT_MASK == mark {
            true if word & COUNT_MASK == COUNT_MASK => word,
            true => word + 1,
            false => mark | 1,
        };
        let Some(place) = places.get(hash as usize % PLACES) else {
            return 0;
        };
        // Always some: so both sides hold the word from before.
        let (Ok(before) | Err(before)) =
            place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(next(word)));
        (next(before) & COUNT_MASK) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: [u8; 16] = [7; 16];

    #[test]
    fn each_trace_upstream_and_route_is_counted_alone() {
        let calls = TraceCalls::default();
        for number in 1..=11 {
            assert_eq!(calls.called(&TRACE, "monolith", "/a"), number);
        }
        assert_eq!(calls.called(&[8; 16], "monolith", "/a"), 1);
        assert_eq!(calls.called(&TRACE, "other", "/a"), 1);
        assert_eq!(calls.called(&TRACE, "monolith", "/b"), 1);
    }

    #[test]
    fn who_has_the_same_place_is_counted_too_low_and_never_too_high() {
        let calls = TraceCalls::default();
        let (one, other) = ((5 << COUNT_BITS) + 3, (6 << COUNT_BITS) + 3);
        assert_eq!([calls.count(one), calls.count(one)], [1, 2]);
        assert_eq!(calls.count(other), 1);
        assert_eq!([calls.count(one), calls.count(one)], [1, 2]);
    }

    #[test]
    fn a_count_ends_at_its_largest_and_spoils_no_mark() {
        let calls = TraceCalls::default();
        let hash = (5 << COUNT_BITS) + 3;
        for _ in 0..(1 << COUNT_BITS) + 5 {
            calls.count(hash);
        }
        assert_eq!(calls.count(hash), (1 << COUNT_BITS) - 1);
    }

    #[test]
    fn no_call_of_many_threads_is_lost() {
        let calls = TraceCalls::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        calls.called(&TRACE, "monolith", "/a");
                    }
                });
            }
        });
        assert_eq!(calls.called(&TRACE, "monolith", "/a"), 4_001);
    }
}
