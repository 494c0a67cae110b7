//! Which endpoint gets a call.

use crate::config::Balance;
use bimetal_core::rng::Rng;

/// What is asked of those that may get a call.
pub(super) trait Candidates {
    /// How many there are.
    fn count(&self) -> usize;
    /// Calls under way to one of them.
    fn load(&self, index: usize) -> usize;
    /// The share of its usual calls that one gets, above 0: less than 1 for one that has just returned.
    fn share(&self, index: usize) -> f64;
    /// Whether another one is to be preferred, whatever else is said of it.
    fn is_avoided(&self, index: usize) -> bool;
}

/// Chooses endpoints.
#[derive(Debug)]
pub(super) struct Chooser {
    balance: Balance,
    turn: usize,
    rng: Rng,
}

impl Chooser {
    /// One whose draws follow from `seed`.
    pub(super) const fn new(balance: Balance, seed: u64) -> Self {
        Self { balance, turn: 0, rng: Rng::new(seed) }
    }

    /// One of the candidates; none where there is none. One that is avoided only where all are.
    pub(super) fn choose(&mut self, among: &impl Candidates) -> Option<usize> {
        let count = among.count();
        let avoided = (0..count).filter(|index| among.is_avoided(*index)).count();
        if avoided == 0 || avoided == count {
            return self.of(count, |place| place, among);
        }
        let free: Vec<usize> = (0..count).filter(|index| !among.is_avoided(*index)).collect();
        self.of(free.len(), |place| free.get(place).copied().unwrap_or(0), among)
    }

    /// One of `count`, of which the one at a place has the number that `at` says.
    fn of(
        &mut self,
        count: usize,
        at: impl Fn(usize) -> usize,
        among: &impl Candidates,
    ) -> Option<usize> {
        if count < 2 {
            return (count == 1).then(|| at(0));
        }
        let mut chosen = self.draw(count, &at, among);
        // Whoever has just returned passes some of its calls on. After a draw for each there is none who
        // takes this one: then it stays where it is.
        for _ in 0..count {
            let share = among.share(chosen);
            if share >= 1.0 || self.rng.next_share() < share {
                break;
            }
            chosen = self.draw(count, &at, among);
        }
        Some(chosen)
    }

    fn draw(
        &mut self,
        count: usize,
        at: &impl Fn(usize) -> usize,
        among: &impl Candidates,
    ) -> usize {
        match self.balance {
            Balance::RoundRobin => {
                self.turn = self.turn.wrapping_add(1);
                at((self.turn - 1) % count)
            }
            Balance::Random => at(self.below(count)),
            Balance::LeastRequest => {
                let first = self.below(count);
                // Another one, never the same twice: one that hangs would win against itself.
                let second = (first + 1 + self.below(count - 1)) % count;
                let (first, second) = (at(first), at(second));
                if among.load(second) < among.load(first) { second } else { first }
            }
        }
    }

    /// A number below `count`. The bias of the remainder is one part in 2^32 for as many endpoints as
    /// there can be.
    fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.rng.next_u64() % count).unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "balance_tests.rs"]
mod tests;
