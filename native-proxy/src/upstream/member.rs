//! One endpoint of an upstream, as all workers of the process know it.

use crate::config::Endpoint;
use bimetal_core::Instant;
use bimetal_core::ejection::{Record, Streak};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// One endpoint of an upstream. Workers read it and count in it; what changes seldom is written by whoever
/// holds the lock of its [group](super::group::Group).
#[derive(Debug)]
pub(crate) struct Member {
    /// Where it is.
    pub place: Endpoint,
    /// The same as text: its name in scopes.
    pub name: Box<str>,
    /// Calls under way to it, of all workers.
    calls: AtomicUsize,
    /// Failures in a row.
    pub(super) streak: Streak,
    record: Mutex<Record>,
    /// The record's end of the last ejection, to be read without the lock.
    out_until: AtomicU64,
    health: AtomicU8,
    /// Since when it is healthy, or one of the endpoints; zero: from the beginning.
    in_since: AtomicU64,
}

/// What the checks say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is there from the beginning, and nobody has looked yet, or nobody does: it is taken for healthy.
    Unknown,
    /// It came later, and nobody has looked yet: others are better.
    New,
    /// It passed.
    Healthy,
    /// It failed.
    Unhealthy,
}

impl Health {
    const ALL: [Self; 4] = [Self::Unknown, Self::New, Self::Healthy, Self::Unhealthy];

    /// Whether it may get calls beside others.
    pub(crate) const fn is_good(self) -> bool {
        matches!(self, Self::Unknown | Self::Healthy)
    }

    /// The name in the admin interface.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::New => "new",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What keeps calls from an endpoint, as far as there are others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    In,
    /// It is ejected, because calls to it failed.
    Ejected,
    /// It fails its checks, or came later than others and nobody has looked yet.
    Unhealthy,
}

impl State {
    /// All three.
    pub(crate) const ALL: [Self; 3] = [Self::In, Self::Ejected, Self::Unhealthy];

    /// The name in metrics and the admin interface.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Ejected => "ejected",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Member {
    /// One of which nothing is known but what `health` says, since `in_since`.
    pub(super) fn new(place: Endpoint, health: Health, in_since: Instant) -> Self {
        Self {
            name: place.to_string().into(),
            place,
            calls: AtomicUsize::new(0),
            streak: Streak::new(),
            record: Mutex::default(),
            out_until: AtomicU64::new(0),
            health: AtomicU8::new(health as u8),
            in_since: AtomicU64::new(in_since.as_nanos()),
        }
    }

    /// A call to it begins.
    #[inline]
    pub(super) fn enter(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call to it is over.
    #[inline]
    pub(super) fn leave(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls under way to it. Where an upstream has one endpoint only, they are not counted.
    #[inline]
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// What is known of its ejections.
    pub(crate) fn record(&self) -> Record {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was decided of its ejections.
    pub(super) fn set_record(&self, record: Record) {
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
        self.out_until.store(record.until().as_nanos(), Ordering::Release);
    }

    /// When its last ejection ends, or ended.
    #[inline]
    pub(crate) fn out_until(&self) -> Instant {
        Instant::from_nanos(self.out_until.load(Ordering::Acquire))
    }

    /// Whether it is ejected.
    #[inline]
    pub(crate) fn is_out(&self, now: Instant) -> bool {
        self.out_until() > now
    }

    /// What keeps calls from it.
    pub(crate) fn state(&self, now: Instant) -> State {
        match (self.health().is_good(), self.is_out(now)) {
            (false, _) => State::Unhealthy,
            (true, true) => State::Ejected,
            (true, false) => State::In,
        }
    }

    /// What the checks say of it.
    pub(crate) fn health(&self) -> Health {
        let health = usize::from(self.health.load(Ordering::Acquire));
        Health::ALL.get(health).copied().unwrap_or(Health::Unknown)
    }

    /// Writes what the checks say of it, since `now`.
    pub(super) fn set_health(&self, health: Health, now: Instant) {
        if health == Health::Healthy && !self.health().is_good() {
            self.in_since.store(now.as_nanos(), Ordering::Release);
        }
        self.health.store(health as u8, Ordering::Release);
    }

    /// Since when it may get calls, as far as it was without before; zero: from the beginning.
    pub(super) fn returned_at(&self) -> Instant {
        self.out_until().max(Instant::from_nanos(self.in_since.load(Ordering::Acquire)))
    }
}
