//! The breakers that are measured beside each other, each behind the same two verbs.
//!
//! Every arm trips on the same evidence as its partner of ours: three failures in a row, or half of
//! the last hundred calls. An arm is one closed breaker that sees successes, or one open breaker
//! that turns calls away.

pub mod clock;
pub mod layers;
pub mod ours;
pub mod peers;

/// What a call did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was admitted and settled.
    Called,
    /// It was turned away.
    Rejected,
}

/// How an upstream answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Well.
    Good,
    /// With a failure.
    Bad,
}

/// One circuit breaker under measurement.
pub trait Arm {
    /// Asks for admission and, where it is given, settles at once with `answer`. `now` is
    /// nanoseconds of a clock that the caller read; arms that read their own ignore it.
    fn call(&mut self, now: u64, answer: Answer) -> Fate;
}

/// Trips `arm` by failures, as many as its rule asks for.
///
/// # Panics
/// When it does not trip: a measurement of its rejections would mean nothing.
pub fn opened<A: Arm>(mut arm: A) -> A {
    let mut calls = (0..1000).map(|_| arm.call(0, Answer::Bad));
    assert!(calls.any(|fate| fate == Fate::Rejected), "a thousand failures did not open it");
    arm
}
