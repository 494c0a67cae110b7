//! How long a call's caller still waits, as it said so itself.
//!
//! A caller that has given up makes all further work for it waste. So it sends the time it has left,
//! each hop takes off what it used and passes the rest on, and a call whose time is over is refused
//! before anything is done for it. Time left travels, not a point in time: clocks of machines differ.
//!
//! Two fields carry it: `grpc-timeout` (gRPC over HTTP/2, "Requests") and `x-request-deadline-ms`,
//! whole milliseconds. Where both are there, the shorter one counts. What cannot be read says
//! nothing: a caller's mistake must not fail its call.

use crate::facts::Facts;
use crate::time::{Duration, Instant};
use alloc::string::{String, ToString};
use core::fmt::{self, Write};

/// What is made of the time that a caller has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeadlinePolicy {
    /// Whether `grpc-timeout` is read.
    pub accepts_grpc_timeout: bool,
    /// Whether `x-request-deadline-ms` is read.
    pub accepts_deadline_ms: bool,
    /// What the way back takes: the upstream gets so much less, and a call that has no more left is
    /// refused.
    pub margin: Duration,
    /// Whether the upstream is told what is left.
    pub forwards: bool,
}

/// The field of gRPC.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";
/// The field that counts in milliseconds.
pub const DEADLINE_MS: &str = "x-request-deadline-ms";

/// No time is left for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// What the caller had left when it asked.
    pub left: Duration,
}

impl DeadlinePolicy {
    /// The time that a caller has left by its fields; none where it did not say.
    pub fn left(
        &self,
        grpc_timeout: Option<&[u8]>,
        deadline_ms: Option<&[u8]>,
    ) -> Option<Duration> {
        let grpc = grpc_timeout.filter(|_| self.accepts_grpc_timeout).and_then(read_grpc_timeout);
        let millis = deadline_ms.filter(|_| self.accepts_deadline_ms).and_then(read_millis);
        match (grpc, millis) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// The same for a request.
    pub fn left_of(&self, facts: &dyn Facts) -> Option<Duration> {
        let grpc = self.accepts_grpc_timeout.then(|| facts.header(GRPC_TIMEOUT)).flatten();
        let millis = self.accepts_deadline_ms.then(|| facts.header(DEADLINE_MS)).flatten();
        self.left(grpc.as_deref(), millis.as_deref())
    }

    /// How long an upstream may take for a caller that has `left`, of which `used` is gone since it
    /// asked.
    ///
    /// # Errors
    /// Nothing is left that an upstream could use.
    pub fn check(&self, left: Duration, used: Duration) -> Result<Duration, Expired> {
        let rest = left - used - self.margin;
        if rest.is_zero() { Err(Expired { left }) } else { Ok(rest) }
    }
}

/// When the time of one call's caller ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// What is made of it.
    pub policy: DeadlinePolicy,
    /// What the caller had left when it asked.
    pub left: Duration,
    /// When it asked.
    pub begun: Instant,
}

impl Deadline {
    /// When an answer is of no use any more.
    pub fn ends(&self) -> Instant {
        // One that has passed was rejected.
        self.begun + self.rest(self.begun)
    }

    /// What an upstream has of it at `now`; zero where it is over.
    pub fn rest(&self, now: Instant) -> Duration {
        self.policy.check(self.left, now.since(self.begun)).unwrap_or_default()
    }

    /// The fields that tell an upstream what it has at `now`, each for a request that has one of its name.
    pub fn told(&self, now: Instant) -> impl Iterator<Item = (&'static str, String)> {
        let rest = self.rest(now);
        let grpc = self.policy.accepts_grpc_timeout.then(|| GrpcTimeout(rest).to_string());
        let millis = self.policy.accepts_deadline_ms.then(|| rest.as_millis().to_string());
        let fields = [(GRPC_TIMEOUT, grpc), (DEADLINE_MS, millis)];
        let forwards = self.policy.forwards;
        fields
            .into_iter()
            .filter(move |_| forwards)
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// A `grpc-timeout`: up to eight digits and a unit.
fn read_grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let nanos = match unit {
        b'H' => 3_600_000_000_000,
        b'M' => 60_000_000_000,
        b'S' => 1_000_000_000,
        b'm' => 1_000_000,
        b'u' => 1_000,
        b'n' => 1,
        _ => return None,
    };
    let count = if digits.len() <= 8 { read_number(digits)? } else { return None };
    Some(Duration::from_nanos(count.saturating_mul(nanos)))
}

/// Whole milliseconds. What is negative is over.
fn read_millis(value: &[u8]) -> Option<Duration> {
    match value.strip_prefix(b"-") {
        Some(past) => read_number(past).map(|_| Duration::ZERO),
        None => read_number(value).map(Duration::from_millis),
    }
}

/// Decimal digits and nothing else; a number beyond all ranges is the largest.
fn read_number(digits: &[u8]) -> Option<u64> {
    let mut sum = 0_u64;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.saturating_mul(10).saturating_add(u64::from(digit));
    }
    (!digits.is_empty()).then_some(sum)
}

/// A time as `grpc-timeout` carries it: its finest unit that eight digits hold, rounded down, so that
/// no hop believes to have more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrpcTimeout(pub Duration);

impl fmt::Display for GrpcTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, char); 6] = [
            (1, 'n'),
            (1_000, 'u'),
            (1_000_000, 'm'),
            (1_000_000_000, 'S'),
            (60_000_000_000, 'M'),
            (3_600_000_000_000, 'H'),
        ];
        let nanos = self.0.as_nanos();
        let fits = |unit: &&(u64, char)| nanos / unit.0 <= 99_999_999;
        let (unit, name) = UNITS.iter().find(fits).copied().unwrap_or((3_600_000_000_000, 'H'));
        write!(f, "{}", nanos / unit)?;
        f.write_char(name)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::string::{String, ToString};

    const BOTH: DeadlinePolicy = DeadlinePolicy {
        accepts_grpc_timeout: true,
        accepts_deadline_ms: true,
        margin: Duration::from_millis(5),
        forwards: true,
    };

    fn grpc(value: &str) -> Option<Duration> {
        BOTH.left(Some(value.as_bytes()), None)
    }

    fn millis(value: &str) -> Option<Duration> {
        BOTH.left(None, Some(value.as_bytes()))
    }

    #[test]
    fn grpc_timeouts() {
        for (value, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("250m", 250_000_000),
            ("7u", 7_000),
            ("99999999n", 99_999_999),
            ("0S", 0),
            ("99999999H", u64::MAX),
        ] {
            assert_eq!(grpc(value), Some(Duration::from_nanos(nanos)), "{value}");
        }
        for value in ["", "S", "1", "1s", "1 S", "-1S", "+1S", "1.5S", "100000000n", "1SS", "0x1S"]
        {
            assert_eq!(grpc(value), None, "{value}");
        }
    }

    #[test]
    fn milliseconds() {
        for (value, left) in [("0", 0), ("300", 300), ("-1", 0), ("007", 7)] {
            assert_eq!(millis(value), Some(Duration::from_millis(left)), "{value}");
        }
        assert_eq!(millis("99999999999999999999999"), Some(Duration::MAX));
        for value in ["", "-", "+1", "1.5", "1e3", " 1", "1ms", "--1", "\u{661}"] {
            assert_eq!(millis(value), None, "{value}");
        }
    }

    #[test]
    fn the_shorter_one_counts_and_only_what_is_accepted() {
        let left = |policy: DeadlinePolicy| policy.left(Some(b"1S"), Some(b"300"));
        assert_eq!(left(BOTH), Some(Duration::from_millis(300)));
        let grpc = DeadlinePolicy { accepts_deadline_ms: false, ..BOTH };
        assert_eq!(left(grpc), Some(Duration::from_secs(1)));
        assert_eq!(left(DeadlinePolicy { accepts_grpc_timeout: false, ..grpc }), None);
        assert_eq!(BOTH.left(Some(b"soon"), Some(b"300")), Some(Duration::from_millis(300)));
    }

    #[test]
    fn what_was_used_and_the_margin_come_off() {
        let check =
            |left, used| BOTH.check(Duration::from_millis(left), Duration::from_millis(used));
        assert_eq!(check(300, 100), Ok(Duration::from_millis(195)));
        for (left, used) in [(0, 0), (5, 0), (300, 295), (300, 400)] {
            assert_eq!(check(left, used), Err(Expired { left: Duration::from_millis(left) }));
        }
        assert!(BOTH.check(Duration::MAX, Duration::MAX).is_err());
    }

    #[test]
    fn a_callers_time_runs_from_its_call() {
        let begun = Instant::from_millis(1_000);
        let time = Deadline { policy: BOTH, left: Duration::from_millis(300), begun };
        assert_eq!(time.ends(), Instant::from_millis(1_295));
        let told = |time: Deadline, now| {
            time.told(Instant::from_millis(now)).collect::<std::vec::Vec<_>>()
        };
        let text = |name, value: &str| (name, String::from(value));
        assert_eq!(
            told(time, 1_100),
            // Eight digits do not hold so many nanoseconds.
            [text(GRPC_TIMEOUT, "195000u"), text(DEADLINE_MS, "195")]
        );
        assert_eq!(told(time, 2_000), [text(GRPC_TIMEOUT, "0n"), text(DEADLINE_MS, "0")]);
        let millis = DeadlinePolicy { accepts_grpc_timeout: false, ..BOTH };
        let one = Deadline { policy: millis, ..time };
        assert_eq!(told(one, 1_000), [text(DEADLINE_MS, "295")]);
        let silent = DeadlinePolicy { forwards: false, ..BOTH };
        assert_eq!(told(Deadline { policy: silent, ..time }, 1_000), []);
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_what_was_read_and_never_more(
            nanos in prop_oneof![any::<u64>(), 0_u64..10_000_000_000],
        ) {
            let time = Duration::from_nanos(nanos);
            let text = GrpcTimeout(time).to_string();
            prop_assert!(text.len() <= 9, "{}", text);
            let read = grpc(&text).unwrap();
            prop_assert!(read <= time);
            // At least six digits stay of a time that loses any: a part in a hundred thousand.
            prop_assert!((time - read).as_nanos() <= nanos / 100_000, "{} of {}", text, nanos);
        }

        #[test]
        fn no_value_panics(grpc: String, millis: String) {
            let _ = BOTH.left(Some(grpc.as_bytes()), Some(millis.as_bytes()));
        }
    }
}
