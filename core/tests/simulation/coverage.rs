//! What the histories came to.

use bimetal_core::outcome::Outcome;

/// All of it must happen somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub admitted: u64,
    pub rejected: u64,
    pub late: u64,
    pub opened: u64,
    pub closed: u64,
    pub adopted: u64,
    pub expired: u64,
    /// Probes that gave their slot back for their client's sake.
    pub waited: u64,
    /// Further tries.
    pub tried_again: u64,
    /// Slots of dead workers that others freed.
    pub freed: u64,
    /// By [`Outcome`].
    pub outcomes: [u64; 4],
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Self) {
        self.counts().into_iter().zip(other.clone().counts()).for_each(|(sum, count)| {
            *sum += *count;
        });
    }

    pub(super) const fn settled(&mut self, outcome: Outcome) {
        self.outcomes[outcome as usize] += 1;
    }

    fn counts(&mut self) -> [&mut u64; 14] {
        let [success, failure, slow, neutral] = &mut self.outcomes;
        [
            &mut self.admitted,
            &mut self.rejected,
            &mut self.late,
            &mut self.opened,
            &mut self.closed,
            &mut self.adopted,
            &mut self.expired,
            &mut self.waited,
            &mut self.tried_again,
            &mut self.freed,
            success,
            failure,
            slow,
            neutral,
        ]
    }

    pub(crate) fn is_complete(mut self) {
        assert!(self.counts().into_iter().all(|count| *count > 100), "{self:?}");
    }
}
