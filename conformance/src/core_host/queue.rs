//! What happens next on the virtual timeline.

use super::sighting::Sighting;
use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happens at a moment; numbers are indices of steps and of played calls.
#[derive(Clone, Debug)]
pub(super) enum Moment {
    /// A step begins.
    Step(usize),
    /// The n-th call of a step begins.
    Call(usize, u32),
    /// The host sees something of the try of that number of a call.
    Seen(usize, usize, Sighting),
    /// A call waited long enough for its next try.
    Retry(usize),
    /// A call's time for its response headers may be over.
    Deadline(usize),
    /// The time that a call's caller has is over.
    CallersTime(usize),
    /// A call that waits for a slot may have waited in vain.
    Patience(usize),
    /// The client of a call that waits leaves.
    Leaves(usize),
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
