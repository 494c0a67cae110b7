//! What the soak holds: the host's counts against what its clients saw, and its memory.

use super::load::Tally;
use crate::demo::metrics::Page;
use std::sync::atomic::Ordering::Relaxed;

/// One claim about the soak, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What was claimed and what was seen.
    pub text: String,
    /// Whether both agree.
    pub holds: bool,
}

impl Claim {
    fn new(holds: bool, text: String) -> Self {
        Self { text, holds }
    }
}

/// What a host counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounts {
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

impl HostCounts {
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
    pub fn claims(&self, seen: &Tally) -> Vec<Claim> {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
        let (calls, left) = (count(&seen.calls), count(&seen.left));
        let within = |counted: u64, seen: u64| (seen..=seen + left).contains(&counted);
        let decided = self.admitted + self.rejected + self.unprotected;
        let strange = count(&seen.strange);
        let Self { admitted, settled, outstanding, errors, trips, .. } = *self;
        let mut claims = vec![
            Claim::new(
                self.are_closed() && admitted > 0,
                format!("{settled} of {admitted} admitted calls settled, {outstanding} open"),
            ),
            Claim::new(
                (calls.saturating_sub(left)..=calls).contains(&decided),
                format!("{decided} of {calls} calls decided; {left} clients left"),
            ),
            Claim::new(strange == 0, format!("{strange} answers that nothing explains")),
            Claim::new(errors == 0, format!("{errors} host calls failed")),
            Claim::new(trips > 0, format!("{trips} times a breaker opened")),
        ];
        for (what, counted, seen) in [
            ("rejections", self.rejected, count(&seen.rejected)),
            ("failures", self.failures, count(&seen.failures)),
            ("successes", self.successes, count(&seen.successes)),
        ] {
            let what = format!("{counted} {what} counted, {seen} seen");
            claims.push(Claim::new(within(counted, seen), what));
        }
        claims
    }
}

/// Most that memory may grow from the first fifth of the calls to the end: a tenth, and what an
/// allocator keeps in hand.
pub fn memory(samples: &[u64]) -> Claim {
    const IN_HAND: u64 = 16 << 20;
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let early = samples.len() / 5;
    let (Some(first), Some(last)) = (samples.get(early), samples.last()) else {
        return Claim::new(false, "memory was never looked at".to_owned());
    };
    let most = samples.get(early..).unwrap_or_default().iter().max().unwrap_or(last);
    let what = format!(
        "memory {:.1} MB after a fifth of the calls, {:.1} MB at the end, {:.1} MB at most",
        megabytes(*first),
        megabytes(*last),
        megabytes(*most)
    );
    Claim::new(*last <= first + first / 10 + IN_HAND, what)
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

    fn counts() -> HostCounts {
        HostCounts {
            admitted: 8,
            rejected: 1,
            successes: 5,
            failures: 2,
            settled: 8,
            trips: 1,
            ..HostCounts::default()
        }
    }

    /// The places of the claims that do not hold.
    fn broken(counts: HostCounts, seen: &Tally) -> Vec<usize> {
        let claims = counts.claims(seen);
        let broken = claims.iter().enumerate().filter(|(_, claim)| !claim.holds);
        broken.map(|(place, _)| place).collect()
    }

    const SETTLED: usize = 0;
    const DECIDED: usize = 1;
    const STRANGE: usize = 2;
    const ERRORS: usize = 3;
    const TRIPS: usize = 4;
    const REJECTIONS: usize = 5;
    const FAILURES: usize = 6;
    const SUCCESSES: usize = 7;

    #[test]
    fn books_that_meet_break_nothing() {
        for (what, counts) in [
            ("each client that left was counted", counts()),
            ("neither was", HostCounts { admitted: 7, settled: 7, ..counts() }),
            (
                "a rejection went to one that left",
                HostCounts { admitted: 7, settled: 7, rejected: 2, ..counts() },
            ),
            ("both were failures", HostCounts { failures: 4, ..counts() }),
            ("both were successes", HostCounts { successes: 7, ..counts() }),
            (
                "the table of scopes was full for one",
                HostCounts { admitted: 7, settled: 7, unprotected: 1, ..counts() },
            ),
        ] {
            assert_eq!(broken(counts, &seen()), [0; 0], "{what}");
        }
    }

    #[test]
    fn each_promise_is_held_alone() {
        for (what, counts, claim) in [
            ("a call is never settled", HostCounts { settled: 7, ..counts() }, SETTLED),
            ("one is settled twice", HostCounts { settled: 9, ..counts() }, SETTLED),
            ("one is still open", HostCounts { outstanding: 1, ..counts() }, SETTLED),
            ("more decisions than calls", HostCounts { unprotected: 2, ..counts() }, DECIDED),
            (
                "a call without a decision",
                HostCounts { admitted: 6, settled: 6, ..counts() },
                DECIDED,
            ),
            ("a host call failed", HostCounts { errors: 1, ..counts() }, ERRORS),
            ("nothing tripped", HostCounts { trips: 0, ..counts() }, TRIPS),
            (
                "a rejection that nobody got",
                HostCounts { rejected: 4, admitted: 6, settled: 6, ..counts() },
                REJECTIONS,
            ),
            ("a rejection is not counted", HostCounts { rejected: 0, ..counts() }, REJECTIONS),
            ("a failure that nobody saw", HostCounts { failures: 5, ..counts() }, FAILURES),
            ("a failure is not counted", HostCounts { failures: 1, ..counts() }, FAILURES),
            ("a success that nobody saw", HostCounts { successes: 8, ..counts() }, SUCCESSES),
            ("a success is not counted", HostCounts { successes: 4, ..counts() }, SUCCESSES),
        ] {
            assert_eq!(broken(counts, &seen()), [claim], "{what}");
        }
        let strange = seen();
        strange.strange.store(1, Relaxed);
        assert_eq!(broken(counts(), &strange), [STRANGE]);
        // Of nothing nothing can be said.
        let idle = HostCounts { trips: 1, ..HostCounts::default() };
        assert_eq!(broken(idle, &Tally::default()), [SETTLED]);
    }

    #[test]
    fn memory_that_grows_is_found() {
        let megabyte = 1_u64 << 20;
        let flat = [40, 50, 50, 52, 51, 50].map(|size| size * megabyte);
        assert!(memory(&flat).holds);
        let grows = [40, 50, 60, 70, 80, 90].map(|size| size * megabyte);
        assert!(!memory(&grows).holds);
        assert!(!memory(&[]).holds);
    }
}
