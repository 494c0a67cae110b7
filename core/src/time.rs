//! Instants and durations, both whole nanoseconds.
//!
//! The core has no clock: every verb takes `now`. A host passes any monotonic clock; only
//! differences matter. All arithmetic saturates, so a clock that jumps cannot overflow anything,
//! and a clock that runs backwards reads as "no time has passed".

use core::fmt;
use core::ops::{Add, AddAssign, Sub};

/// A point in monotonic time: nanoseconds since an origin that the host chose.
///
/// Range: the whole of `u64`, about 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

/// A span of time in nanoseconds. Range: the whole of `u64`, about 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Instant {
    /// The host's origin.
    pub const ZERO: Self = Self(0);
    /// Later than every instant that a host can pass.
    pub const FAR_FUTURE: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `millis` milliseconds after the origin; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl Duration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span.
    pub const MAX: Self = Self(u64::MAX);

    /// A span of `nanos` nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A span of `millis` milliseconds; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// A span of `secs` seconds; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Whole nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Seconds as a fraction, for text and ratios only: decisions use whole nanoseconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// Whole milliseconds, rounded up.
    pub(crate) const fn as_millis_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// Whole seconds, rounded up: what `retry-after` carries (RFC 9110, 10.2.3).
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000_000)
    }

    /// Whether the span is empty.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The span times `factor`, saturating at [`Duration::MAX`]; a negative or undefined factor
    /// gives zero.
    pub fn mul_f64(self, factor: f64) -> Self {
        // A float to integer cast saturates at both ends and maps NaN to zero.
        Self((self.0 as f64 * factor) as u64)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Add for Duration {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Duration {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl From<core::time::Duration> for Duration {
    fn from(span: core::time::Duration) -> Self {
        Self(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(span: Duration) -> Self {
        Self::from_nanos(span.0)
    }
}

/// As people say it: `250ms`, `12.4s`, `5m`. Never finer than the unit's first decimal.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..1_000 => return write!(f, "{}ns", self.0),
            1_000..1_000_000 => (1_000, "us"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        // Integers, not floats: float formatting costs the filter some 20 KB of code.
        let (whole, tenth) = (self.0 / unit, self.0 % unit * 10 / unit);
        match tenth {
            0 => write!(f, "{whole}{name}"),
            _ => write!(f, "{whole}.{tenth}{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::FAR_FUTURE + Duration::MAX, Instant::FAR_FUTURE);
        assert_eq!(Instant::ZERO.since(Instant::FAR_FUTURE), Duration::ZERO);
        assert_eq!(Duration::from_secs(1).mul_f64(1e300), Duration::MAX);
        assert_eq!(Duration::from_secs(1).mul_f64(f64::NAN), Duration::ZERO);
        assert_eq!(Duration::from_secs(1).mul_f64(-1.0), Duration::ZERO);
    }

    #[test]
    fn displays_like_people_write() {
        for (millis, text) in [(0, "0ns"), (250, "250ms"), (12_400, "12.4s"), (30_000, "30s")] {
            assert_eq!(Duration::from_millis(millis).to_string(), text);
        }
        assert_eq!(Duration::from_nanos(1_500).to_string(), "1.5us");
    }

    #[test]
    fn what_others_wait_for_rounds_up() {
        assert_eq!(Duration::from_nanos(1).as_millis_ceil(), 1);
        assert_eq!(Duration::from_millis(2).as_millis_ceil(), 2);
        assert_eq!(Duration::from_millis(1).as_secs_ceil(), 1);
        assert_eq!(Duration::from_secs(2).as_secs_ceil(), 2);
    }
}
