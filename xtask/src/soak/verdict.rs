//! What the soak holds: the host's books against what its clients saw, and its memory.

use super::load::Tally;
use crate::demo::metrics::Page;
use std::sync::atomic::Ordering::Relaxed;

/// One thing that was to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// What.
    pub what: String,
    /// Whether it was kept.
    pub kept: Kept,
}

/// Whether a promise was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It was.
    Yes,
    /// It was not.
    No,
}

impl Promise {
    fn new(kept: bool, what: String) -> Self {
        Self { what, kept: if kept { Kept::Yes } else { Kept::No } }
    }
}

/// What a host counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    admitted: u64,
    rejected: u64,
    unprotected: u64,
    successes: u64,
    failures: u64,
    settled: u64,
    outstanding: i64,
    errors: u64,
    trips: u64,
}

impl Books {
    /// Reads them.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    pub fn of(page: &Page) -> Self {
        let count = |name, labels: &[(&str, &str)]| page.sum(name, labels) as u64;
        let outcome = |outcome| count("bimetal_outcomes_total", &[("outcome", outcome)]);
        Self {
            admitted: count("bimetal_requests_total", &[("decision", "admitted")]),
            rejected: count("bimetal_requests_total", &[("decision", "breaker")]),
            unprotected: count("bimetal_unprotected_total", &[]),
            successes: outcome("success"),
            failures: outcome("failure"),
            settled: count("bimetal_outcomes_total", &[]),
            outstanding: page.sum("bimetal_calls_outstanding", &[]) as i64,
            errors: count("bimetal_decision_errors_total", &[]),
            trips: count("bimetal_breaker_transitions_total", &[("to", "open")]),
        }
    }

    /// Whether no admitted call is still to be settled.
    pub const fn are_closed(&self) -> bool {
        self.outstanding == 0 && self.admitted == self.settled
    }

    /// What they say beside what the clients saw. Whose client left may have been counted in any
    /// way, or not at all where it left before the host had read its request.
    pub fn promises(&self, seen: &Tally) -> Vec<Promise> {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let (calls, left) = (count(&seen.calls), count(&seen.left));
        let within = |counted: u64, seen: u64| (seen..=seen + left).contains(&counted);
        let decided = self.admitted + self.rejected + self.unprotected;
        let strange = count(&seen.strange);
        let Self { admitted, settled, outstanding, errors, trips, .. } = *self;
        let mut promises = vec![
            Promise::new(
                self.are_closed() && admitted > 0,
                format!("{settled} of {admitted} admitted calls settled, {outstanding} open"),
            ),
            Promise::new(
                (calls.saturating_sub(left)..=calls).contains(&decided),
                format!("{decided} of {calls} calls decided; {left} clients left"),
            ),
            Promise::new(strange == 0, format!("{strange} answers that nothing explains")),
            Promise::new(errors == 0, format!("{errors} host calls failed")),
            Promise::new(trips > 0, format!("{trips} times a breaker opened")),
        ];
        for (what, counted, seen) in [
            ("rejections", self.rejected, count(&seen.rejected)),
            ("failures", self.failures, count(&seen.failures)),
            ("successes", self.successes, count(&seen.successes)),
        ] {
            let what = format!("{counted} {what} counted, {seen} seen");
            promises.push(Promise::new(within(counted, seen), what));
        }
        promises
    }
}

/// Most that memory may grow from the first fifth of the calls to the end: a tenth, and what an
/// allocator keeps in hand.
pub fn memory(samples: &[u64]) -> Promise {
    const IN_HAND: u64 = 16 << 20;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let early = samples.len() / 5;
    let (Some(first), Some(last)) = (samples.get(early), samples.last()) else {
        return Promise::new(false, "memory was never looked at".to_owned());
    };
    let most = samples.get(early..).unwrap_or_default().iter().max().unwrap_or(last);
    let what = format!(
        "memory {:.1} MB after a fifth of the calls, {:.1} MB at the end, {:.1} MB at most",
        megabytes(*first),
        megabytes(*last),
        megabytes(*most)
    );
    Promise::new(*last <= first + first / 10 + IN_HAND, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Tally {
        let tally = Tally::default();
        tally.calls.store(10, Relaxed);
        tally.successes.store(5, Relaxed);
        tally.failures.store(2, Relaxed);
        tally.rejected.store(1, Relaxed);
        tally.left.store(2, Relaxed);
        tally
    }

    fn books() -> Books {
        Books {
            admitted: 8,
            rejected: 1,
            successes: 5,
            failures: 2,
            settled: 8,
            trips: 1,
            ..Books::default()
        }
    }

    fn broken(books: Books) -> usize {
        books.promises(&seen()).iter().filter(|promise| promise.kept == Kept::No).count()
    }

    #[test]
    fn books_that_meet_break_nothing() {
        assert_eq!(broken(books()), 0);
    }

    #[test]
    fn every_wrong_number_is_found() {
        assert_eq!(broken(Books { settled: 7, ..books() }), 1, "a call that is never settled");
        assert_eq!(broken(Books { settled: 9, ..books() }), 1, "one that is settled twice");
        assert_eq!(broken(Books { rejected: 4, ..books() }), 2, "one rejection too many");
        assert_eq!(broken(Books { failures: 1, ..books() }), 1);
        assert_eq!(broken(Books { successes: 8, ..books() }), 1);
        assert_eq!(broken(Books { errors: 1, ..books() }), 1);
        assert_eq!(broken(Books { trips: 0, ..books() }), 1);
    }

    #[test]
    fn memory_that_grows_is_found() {
        let megabyte = 1_u64 << 20;
        let flat = [40, 50, 50, 52, 51, 50].map(|size| size * megabyte);
        assert_eq!(memory(&flat).kept, Kept::Yes);
        let grows = [40, 50, 60, 70, 80, 90].map(|size| size * megabyte);
        assert_eq!(memory(&grows).kept, Kept::No);
        assert_eq!(memory(&[]).kept, Kept::No);
    }
}
