//! Where evidence is counted: the last calls, or the last while.
//!
//! A window answers one question at any time: of how many calls, how many were bad? What is bad
//! (failed, or slow) its owner decides.

mod buckets;
mod mesh;
mod ring;
pub mod shared;

pub(crate) use buckets::BUCKETS;
pub use buckets::TimeBuckets;
pub use mesh::MeshWindow;
pub use ring::CallRing;
pub use shared::SharedBuckets;

use crate::board::Words;
use crate::policy::WindowSize;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;

/// Calls in a window, and the bad ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that are evidence.
    pub calls: u32,
    /// Bad ones among them.
    pub bad: u32,
}

impl Tally {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            bad: self.bad.saturating_add(other.bad),
        }
    }
}

/// A window of any kind.
#[derive(Clone, Debug)]
pub enum Window {
    /// The last N calls.
    Calls(CallRing),
    /// The last T, in ten buckets.
    Time(TimeBuckets),
    /// The last T of all workers together.
    Shared(SharedBuckets),
    /// One of those, or none, whose counts go to other processes as well.
    Mesh(Box<MeshWindow>),
}

impl Window {
    /// An empty window; the only place where it allocates.
    pub fn new(size: WindowSize) -> Self {
        match size {
            WindowSize::Calls(calls) => Self::Calls(CallRing::new(calls)),
            WindowSize::Time(span) => Self::Time(TimeBuckets::new(span)),
        }
    }

    /// An empty time window that workers share: its buckets are the words from `first` on.
    pub fn shared(span: Duration, words: Arc<dyn Words>, first: usize) -> Self {
        Self::Shared(SharedBuckets::new(span, words, first))
    }

    /// A window that decides as `inner`, which was made for `size`, and whose counts go to other processes.
    pub fn mesh(size: Option<WindowSize>, inner: Option<Self>) -> Self {
        Self::Mesh(Box::new(MeshWindow::new(size, inner)))
    }

    /// The window whose counts go to other processes, where it is such a one.
    pub fn as_mesh(&mut self) -> Option<&mut MeshWindow> {
        match self {
            Self::Mesh(window) => Some(window),
            _ => None,
        }
    }

    /// Whether one more call, bad or good, would change nothing; then no rate can trip either, as
    /// nothing in the window is bad. Time passes in the other windows, so theirs always changes.
    #[inline]
    pub fn absorbs(&self, bad: bool) -> bool {
        matches!(self, Self::Calls(ring) if ring.absorbs(bad))
    }

    /// Adds a call and gives the window's tally with it.
    #[inline]
    pub fn record(&mut self, now: Instant, bad: bool) -> Tally {
        match self {
            Self::Calls(ring) => ring.record(bad),
            Self::Time(buckets) => buckets.record(now, bad),
            Self::Shared(buckets) => buckets.record(now, bad),
            Self::Mesh(window) => window.record(now, bad),
        }
    }

    /// The tally now.
    pub fn tally(&self, now: Instant) -> Tally {
        match self {
            Self::Calls(ring) => ring.tally(),
            Self::Time(buckets) => buckets.tally(now),
            Self::Shared(buckets) => buckets.tally(now),
            Self::Mesh(window) => window.inner().map_or_else(Tally::default, |one| one.tally(now)),
        }
    }

    /// Whether anything here decides by it; else it only counts for other processes.
    pub(crate) const fn decides(&self) -> bool {
        match self {
            Self::Mesh(window) => window.inner().is_some(),
            _ => true,
        }
    }

    /// Shows other workers what was recorded here, and learns what they recorded; and finds a clock
    /// that came back from far ahead.
    pub fn exchange(&mut self, now: Instant) {
        match self {
            Self::Shared(buckets) => buckets.exchange(now),
            Self::Mesh(window) => window.inner_mut().into_iter().for_each(|one| one.exchange(now)),
            Self::Time(buckets) => buckets.come_back(now),
            Self::Calls(_) => {}
        }
    }

    /// When other workers should see what was recorded here; none where they did, or never do.
    pub fn shows_at(&self) -> Option<Instant> {
        match self {
            Self::Shared(buckets) => buckets.shows_at(),
            Self::Mesh(window) => window.inner()?.shows_at(),
            Self::Calls(_) | Self::Time(_) => None,
        }
    }

    /// Forgets everything: `generation` of the breaker begins.
    pub fn clear(&mut self, generation: u32) {
        match self {
            Self::Calls(ring) => ring.clear(),
            Self::Time(buckets) => buckets.clear(),
            Self::Shared(buckets) => buckets.clear(generation),
            Self::Mesh(window) => {
                window.inner_mut().into_iter().for_each(|one| one.clear(generation))
            }
        }
    }
}
