//! What happens next on the virtual timeline.

use bimetal_core::outcome::Transport;
use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happens at a moment; numbers are indices of steps and of lives of calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// A step begins.
    Step(usize),
    /// Response headers arrive.
    Headers(usize),
    /// The answer's body ends.
    End(usize),
    /// The upstream breaks off, or the host gives up.
    Broken(usize, Transport),
    /// The client goes away.
    ClientGone(usize),
}

/// Moments in order of time, those of one time in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Queue {
    moments: BTreeMap<(Duration, u64), Moment>,
    added: u64,
}

impl Queue {
    pub(super) fn add(&mut self, at: Duration, moment: Moment) {
        self.added += 1;
        self.moments.insert((at, self.added), moment);
    }

    pub(super) fn next(&mut self) -> Option<(Duration, Moment)> {
        self.moments.pop_first().map(|((at, _), moment)| (at, moment))
    }
}
