//! The one clock of a process.

use bimetal_core::Instant;

/// Monotonic time since the process asked for its clock first. Copies share the origin, so times
/// of different workers can be compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(crate) fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// Time since the origin.
    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.origin.elapsed().into()
    }

    /// The same moment on the clock that timers use.
    pub(crate) fn timer_instant(self, at: Instant) -> std::time::Instant {
        self.origin + std::time::Duration::from_nanos(at.as_nanos())
    }
}
