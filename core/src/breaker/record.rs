//! The state of a breaker as one value, and that value as one word that workers can share.
//!
//! | bits | what |
//! |---|---|
//! | 0–1 | state: 0 closed, 1 half-open, 2 open, 3 half-open with a trial |
//! | 2–7 | level of the open time |
//! | 8–10 | what caused the last change, of those that lead to this state |
//! | 11–26 | generation, modulo 2^16 |
//! | 27–63 | closed: streak of failures; open: its end in ms; half-open: 10 bits each for probes outstanding, successes, and leases that ran out in a row, then 7 for the number of the last probe; trial: 7 bits each for probes admitted, failures, slow answers and successes |
//!
//! The zero word is a closed breaker that never changed.

use super::{Cause, State};
use crate::policy::Trip;
use crate::time::Instant;

/// The highest level of the open time.
pub const MAX_LEVEL: u8 = 63;
/// The most probes, and the most successes that can be asked of them.
pub const MAX_PROBES: u32 = 1_000;

/// The most probes of one trial.
pub const MAX_TRIAL: u32 = 100;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// State, and what is counted in it.
    pub phase: Phase,
    /// How often the state changed, modulo 2^32.
    pub generation: u32,
    /// Level of the open time, 0–[`MAX_LEVEL`].
    pub level: u8,
    /// What caused the last change.
    pub cause: Cause,
}

/// A state with what is counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Calls pass.
    Closed {
        /// Failures since the last success.
        streak: u32,
    },
    /// Nothing passes.
    Open {
        /// Until then; a call after it half-opens.
        until: Instant,
    },
    /// A few probes pass, and each decides.
    HalfOpen(Probing),
    /// A few probes pass, and decide together; half-open as well.
    Trial(Trial),
}

/// What is counted while half-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probing {
    /// Probes that wait for response headers.
    pub outstanding: u32,
    /// Probes that succeeded.
    pub successes: u32,
    /// Leases that ran out since the last good headers.
    pub missed: u32,
    /// Number of the last probe, modulo [`NUMBERS`]. A slot that is given back and taken again looks
    /// different by it, so others see that something moved.
    pub number: u32,
}

/// How many numbers of probes there are.
pub const NUMBERS: u32 = 128;

impl Probing {
    /// With one probe more.
    pub const fn admitting(self) -> Self {
        let number = (self.number + 1) % NUMBERS;
        Self { outstanding: self.outstanding + 1, number, ..self }
    }
}

/// What is counted in a trial. No count is over [`MAX_TRIAL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// Probes that have a place: under way, or ended with evidence.
    pub admitted: u32,
    /// Probes that failed.
    pub failures: u32,
    /// Probes that were answered too late.
    pub slow: u32,
    /// Probes that succeeded.
    pub successes: u32,
}

impl Record {
    /// A breaker that never changed.
    pub const NEW: Self = Self {
        phase: Phase::Closed { streak: 0 },
        generation: 0,
        level: 0,
        cause: Cause::ProbesSucceeded,
    };

    /// The state.
    #[inline]
    pub const fn state(&self) -> State {
        state_of(&self.phase)
    }

    /// The record with another phase of the same state.
    pub const fn counting(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }

    /// The record after a change of state.
    pub const fn entering(self, phase: Phase, cause: Cause) -> Self {
        Self { phase, cause, generation: self.generation.wrapping_add(1), ..self }
    }

    /// As one word. An open time is rounded up to whole milliseconds, so no replica ends it early.
    pub fn pack(&self) -> u64 {
        let (state, payload) = match self.phase {
            Phase::Closed { streak } => (0, u64::from(streak)),
            Phase::HalfOpen(Probing { outstanding, successes, missed, number }) => {
                let fields = [outstanding, successes, missed].map(|n| u64::from(n.min(1023)));
                let number = u64::from(number % NUMBERS);
                (1, fields.into_iter().rev().fold(number, |word, field| word << 10 | field))
            }
            Phase::Trial(Trial { admitted, failures, slow, successes }) => {
                let fields = [admitted, failures, slow, successes];
                let most = u64::from(NUMBERS - 1);
                let shifted = |word, n| word << 7 | u64::from(n).min(most);
                (3, fields.into_iter().rev().fold(0, shifted))
            }
            Phase::Open { until } => (2, until.as_nanos().div_ceil(1_000_000).min(MAX_MILLIS)),
        };
        let level = u64::from(self.level.min(MAX_LEVEL));
        let generation = u64::from(self.generation & 0xffff);
        state | level << 2 | cause_code(self.cause) << 8 | generation << 11 | payload << 27
    }

    /// From one word. `known` is a record that is not newer: it completes the generation, and
    /// `trip` the count of failures that a word has no room for.
    pub fn unpack(word: u64, known: &Self, trip: &Trip) -> Self {
        let payload = word >> 27;
        let field = |index: u32| (payload >> (10 * index) & 1023) as u32;
        let short = |index: u32| (payload >> (7 * index)) as u32 % NUMBERS;
        let phase = match word & 3 {
            0 => Phase::Closed { streak: u32::try_from(payload).unwrap_or(u32::MAX) },
            1 => Phase::HalfOpen(Probing {
                outstanding: field(0),
                successes: field(1),
                missed: field(2),
                number: field(3) % NUMBERS,
            }),
            2 => Phase::Open { until: Instant::from_millis(payload) },
            _ => Phase::Trial(Trial {
                admitted: short(0),
                failures: short(1),
                slow: short(2),
                successes: short(3),
            }),
        };
        let passed = ((word >> 11) as u16).wrapping_sub(known.generation as u16);
        Self {
            phase,
            generation: known.generation.wrapping_add(u32::from(passed)),
            level: (word >> 2 & 63) as u8,
            cause: cause_of(word >> 8 & 7, state_of(&phase), trip),
        }
    }
}

const MAX_MILLIS: u64 = (1 << 37) - 1;

const fn state_of(phase: &Phase) -> State {
    match phase {
        Phase::Closed { .. } => State::Closed,
        Phase::Open { .. } => State::Open,
        Phase::HalfOpen(_) | Phase::Trial(_) => State::HalfOpen,
    }
}

/// Three bits. An operator's orders have the codes of causes that never lead to the same state.
pub(crate) const fn cause_code(cause: Cause) -> u64 {
    match cause {
        Cause::ProbesSucceeded => 0,
        Cause::ConsecutiveFailures { .. } => 1,
        Cause::FailureRate { .. } => 2,
        Cause::SlowRate { .. } => 3,
        Cause::OpenElapsed | Cause::Forced => 4,
        Cause::ProbeFailed => 5,
        Cause::ProbeSlow => 6,
        Cause::ProbesExpired | Cause::Reset => 7,
    }
}

/// What led to `state`, by its code.
pub(crate) fn cause_of(code: u64, state: State, trip: &Trip) -> Cause {
    match code {
        4 if state == State::Open => Cause::Forced,
        7 if state == State::Closed => Cause::Reset,
        1 => Cause::ConsecutiveFailures { count: trip.consecutive_failures.unwrap_or(1) },
        2 => Cause::FailureRate { calls: 0, failures: 0 },
        3 => Cause::SlowRate { calls: 0, slow: 0 },
        4 => Cause::OpenElapsed,
        5 => Cause::ProbeFailed,
        6 => Cause::ProbeSlow,
        7 => Cause::ProbesExpired,
        _ => Cause::ProbesSucceeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn phases() -> impl Strategy<Value = Phase> {
        prop_oneof![
            any::<u32>().prop_map(|streak| Phase::Closed { streak }),
            (0..=MAX_MILLIS).prop_map(|at| Phase::Open { until: Instant::from_millis(at) }),
            (0..=MAX_PROBES, 0..=MAX_PROBES, 0..=MAX_PROBES, 0..NUMBERS).prop_map(
                |(outstanding, successes, missed, number)| {
                    Phase::HalfOpen(Probing { outstanding, successes, missed, number })
                }
            ),
            [0..=MAX_TRIAL, 0..=MAX_TRIAL, 0..=MAX_TRIAL, 0..=MAX_TRIAL].prop_map(
                |[admitted, failures, slow, successes]| {
                    Phase::Trial(Trial { admitted, failures, slow, successes })
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_word_keeps_the_record(
            phase in phases(), generation: u32, behind in 0_u32..60_000, level in 0..=MAX_LEVEL
        ) {
            let record = Record { phase, generation, level, cause: Cause::ProbeFailed };
            let known = Record { generation: generation.wrapping_sub(behind), ..Record::NEW };
            let trip = Trip::default();
            prop_assert_eq!(Record::unpack(record.pack(), &known, &trip), record);
        }

        #[test]
        fn no_word_breaks_it(word: u64) {
            let _ = Record::unpack(word, &Record::NEW, &Trip::default()).pack();
        }
    }

    #[test]
    fn the_zero_word_is_a_new_breaker() {
        assert_eq!(Record::NEW.pack(), 0);
        assert_eq!(Record::unpack(0, &Record::NEW, &Trip::default()), Record::NEW);
    }

    #[test]
    fn a_word_keeps_the_cause() {
        let trip = Trip { consecutive_failures: Some(3), ..Trip::default() };
        let closed = Phase::Closed { streak: 0 };
        let open = Phase::Open { until: Instant::from_millis(1) };
        for (phase, cause) in [
            (closed, Cause::ProbesSucceeded),
            (open, Cause::ConsecutiveFailures { count: 3 }),
            (open, Cause::FailureRate { calls: 0, failures: 0 }),
            (open, Cause::SlowRate { calls: 0, slow: 0 }),
            (Phase::HalfOpen(Probing::default()), Cause::OpenElapsed),
            (closed, Cause::OpenElapsed),
            (open, Cause::ProbeFailed),
            (open, Cause::ProbeSlow),
            (open, Cause::ProbesExpired),
            (open, Cause::Forced),
            (closed, Cause::Reset),
        ] {
            let record = Record { phase, cause, ..Record::NEW };
            assert_eq!(Record::unpack(record.pack(), &Record::NEW, &trip), record);
        }
    }

    #[test]
    fn an_end_beyond_every_word_is_the_last_one() {
        let record = Record { phase: Phase::Open { until: Instant::FAR_FUTURE }, ..Record::NEW };
        let seen = Record::unpack(record.pack(), &Record::NEW, &Trip::default());
        // 2^37 ms: four years.
        let last = Instant::from_millis((1 << 37) - 1);
        assert_eq!(seen, Record { phase: Phase::Open { until: last }, ..Record::NEW });
    }

    #[test]
    fn an_open_time_is_never_shortened() {
        let until = Instant::from_nanos(1_000_001);
        let record = Record { phase: Phase::Open { until }, ..Record::NEW };
        let seen = Record::unpack(record.pack(), &Record::NEW, &Trip::default());
        assert_eq!(seen.phase, Phase::Open { until: Instant::from_millis(2) });
    }
}
