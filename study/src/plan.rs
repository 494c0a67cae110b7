//! What is to be measured, in which order.

use crate::load::Load;
use fastrand::Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Shows that everything works. No figure of it means anything.
    Quick,
    /// Enough pairs for claims.
    Usual,
    /// More loads and longer blocks.
    Full,
}

/// A study, as it was begun. A resumed one goes on with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// How much is measured.
    pub extent: Extent,
    /// Draws the order.
    pub seed: u64,
    /// Rounds: pairs of each comparison, at most.
    pub rounds: u32,
    /// Seconds of a block that count.
    pub seconds: f64,
    /// Seconds before, which do not.
    pub warm_up: f64,
    /// The generator's connections at most.
    pub connections: usize,
    /// The arms. One that ends in `@2` is the same program again.
    pub arms: Vec<String>,
    /// The loads.
    pub loads: Vec<Load>,
    /// Arms that were left out, and why.
    pub left_out: BTreeMap<String, String>,
}

/// One block to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// The arm.
    pub arm: String,
    /// The load.
    pub load: Load,
    /// The round.
    pub round: u32,
    /// The place within the round.
    pub place: u32,
}

impl Plan {
    /// How long so many blocks will take, about; `around` is what one takes beside its load, in
    /// seconds: processes that start and end.
    pub fn about(&self, blocks: usize, around: f64) -> Duration {
        let seconds = blocks as f64 * (self.warm_up + self.seconds + around);
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Every block in its order: round by round, the loads of a round in an order drawn anew, and
    /// for each load its arms. The same plan gives the same order.
    pub fn blocks(&self) -> Vec<Next> {
        let mut rng = Rng::with_seed(self.seed);
        let mut blocks = Vec::new();
        for round in 0..self.rounds {
            let mut place = 0;
            let mut loads = self.loads.clone();
            rng.shuffle(&mut loads);
            for load in loads {
                let mut arms = self.arms.clone();
                rng.shuffle(&mut arms);
                for arm in arms {
                    blocks.push(Next { arm, load, round, place });
                    place += 1;
                }
            }
        }
        blocks
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn plan() -> Plan {
        Plan {
            extent: Extent::Quick,
            seed: 1,
            rounds: 30,
            seconds: 1.0,
            warm_up: 0.5,
            connections: 8,
            arms: ["direct", "native", "native@2"].map(str::to_owned).into(),
            loads: ["200", "100x5KB"].map(|load| load.parse().unwrap()).into(),
            left_out: BTreeMap::new(),
        }
    }

    #[test]
    fn every_round_has_every_arm_under_every_load_once() {
        let blocks = plan().blocks();
        assert_eq!(blocks.len(), 30 * 3 * 2);
        for (number, round) in blocks.chunks(6).enumerate() {
            let mut own: Vec<_> =
                round.iter().map(|next| (next.load.rate, next.arm.as_str())).collect();
            own.sort_unstable();
            own.dedup();
            assert_eq!(own.len(), 6);
            assert!(round.iter().all(|next| next.round as usize == number));
            assert!(round.iter().zip(0..).all(|(next, place)| next.place == place));
        }
        assert_eq!(blocks, plan().blocks());
    }

    #[test]
    fn how_long_blocks_take_is_told_before() {
        assert_eq!(plan().about(30, 0.5), Duration::from_secs(60));
        assert_eq!(plan().about(0, 0.5), Duration::ZERO);
    }

    #[test]
    fn the_order_is_drawn_so_that_each_arm_is_first_about_as_often() {
        let blocks = plan().blocks();
        let firsts = blocks.chunks(3).filter(|own| own[0].arm == "direct").count();
        // Of 60, a third; fewer than 8 or more than 32 happen once in ten thousand.
        assert!((8..=32).contains(&firsts), "{firsts}");
        let other = Plan { seed: 2, ..plan() };
        assert_ne!(blocks, other.blocks());
    }
}
