//! Samples that the store does not have yet.

use super::super::statistics::Judged;
use std::collections::VecDeque;

/// Most samples that wait for the store. Of more the oldest are given up: counted, but not kept.
const MOST: usize = 100_000;
/// Most samples of one group.
const GROUP: usize = 5_000;

/// Samples in the order in which they were taken in.
#[derive(Debug, Default)]
pub(super) struct Debts {
    waiting: VecDeque<Judged>,
    /// What is on its way. It stays the same until the store has confirmed it: who does not know whether
    /// it arrived has to send the very same again.
    group: Vec<Judged>,
    anomalies: u64,
    /// Samples that were ever owed.
    owed: u64,
}

/// Samples that were given up, and the anomalies among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) samples: u64,
    pub(super) anomalies: u64,
}

impl Debts {
    /// Owes these, too.
    pub(super) fn add(&mut self, judged: Vec<Judged>) -> GivenUp {
        self.owed += judged.len() as u64;
        self.anomalies += judged.iter().map(|one| u64::from(one.is_anomaly)).sum::<u64>();
        self.waiting.extend(judged);
        let mut given_up = GivenUp::default();
        while self.waiting.len() > MOST
            && let Some(oldest) = self.waiting.pop_front()
        {
            given_up.samples += 1;
            given_up.anomalies += u64::from(oldest.is_anomaly);
        }
        self.anomalies -= given_up.anomalies;
        given_up
    }

    /// The group to send: the one that is not confirmed, or the oldest that wait.
    pub(super) fn group(&mut self) -> &[Judged] {
        if self.group.is_empty() {
            let count = self.waiting.len().min(GROUP);
            self.group.extend(self.waiting.drain(..count));
        }
        &self.group
    }

    /// The group has arrived.
    pub(super) fn confirm(&mut self) {
        self.anomalies -= self.group.drain(..).map(|one| u64::from(one.is_anomaly)).sum::<u64>();
    }

    /// Whether a group is on its way, or may have arrived.
    pub(super) const fn is_under_way(&self) -> bool {
        !self.group.is_empty()
    }

    /// The names of those that still wait.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.waiting.iter().map(|one| &*one.sample.id)
    }

    /// Samples that are owed.
    pub(super) fn len(&self) -> u64 {
        (self.waiting.len() + self.group.len()) as u64
    }

    /// Whether no more should be taken in while the store works.
    pub(super) fn is_much(&self) -> bool {
        self.waiting.len() >= MOST / 2
    }

    /// Anomalies among them.
    pub(super) const fn anomalies(&self) -> u64 {
        self.anomalies
    }

    /// Samples that were ever owed: the mark of the last one.
    pub(super) const fn mark(&self) -> u64 {
        self.owed
    }

    /// The mark up to which nothing is owed any more.
    pub(super) fn settled(&self) -> u64 {
        self.owed - self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sample::Sample;
    use super::*;

    fn judged(count: usize, is_anomaly: bool) -> Vec<Judged> {
        let one = |micros| Sample { micros, cpu: 1.0, rps: 1.0, id: "".into(), is_named: false };
        (0..count).map(|place| Judged { sample: one(place as u64), is_anomaly }).collect()
    }

    #[test]
    fn a_group_stays_the_same_until_it_is_confirmed() {
        let mut debts = Debts::default();
        debts.add(judged(2, true));
        assert_eq!(debts.group().len(), 2);
        debts.add(judged(3, false));
        assert_eq!(debts.group().len(), 2);
        assert_eq!((debts.len(), debts.anomalies(), debts.settled(), debts.mark()), (5, 2, 0, 5));
        debts.confirm();
        assert_eq!((debts.len(), debts.anomalies(), debts.settled()), (3, 0, 2));
        assert_eq!(debts.group().len(), 3);
    }

    #[test]
    fn the_oldest_are_given_up_and_the_group_never() {
        let mut debts = Debts::default();
        debts.add(judged(10, true));
        debts.group();
        assert_eq!(debts.add(judged(MOST, true)), GivenUp::default());
        let given_up = debts.add(judged(7, false));
        assert_eq!(given_up, GivenUp { samples: 7, anomalies: 7 });
        assert_eq!((debts.len(), debts.anomalies()), ((MOST + 10) as u64, (MOST + 3) as u64));
        assert_eq!(debts.settled(), 7);
    }
}
