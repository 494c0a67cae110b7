//! Interleaved blocks: every round measures every arm once, in an order drawn anew, so that a
//! machine that gets slower or faster meanwhile does so for all of them.

use super::arms::Arm;
use super::cores::{self, Cores};
use super::load::{Load, Seen};
use crate::say;
use anyhow::Result;
use fastrand::Rng;
use serde::Serialize;

/// How long and how often.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pace {
    /// Measured blocks of each arm.
    pub rounds: usize,
    /// Seconds of a block.
    pub seconds: u64,
    /// Seconds of load before each block that do not count.
    pub warm_up: u64,
}

/// One measured block.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Block {
    /// Place of its arm.
    pub arm: usize,
    /// Its round, from 0. The round's blocks are pairs for a comparison.
    pub round: usize,
    /// What the load saw.
    #[serde(flatten)]
    pub seen: Seen,
    /// Requests per second.
    pub per_second: f64,
    /// CPU time of the arm's process per request, in microseconds.
    pub cpu_us: f64,
    /// How much of its core the process had, 0–1. Well below 1 the load side was the limit, and
    /// requests per second say little about the arm.
    pub busy: f64,
}

/// Measures all `arms` by `pace`.
///
/// # Errors
/// An arm fails a request or is gone.
pub fn measure(
    arms: &[Arm],
    load: &Load,
    cores: Cores,
    pace: Pace,
    rng: &mut Rng,
) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for round in 0..pace.rounds {
        say::line(format!("    round {} of {}", round + 1, pace.rounds));
        let mut order: Vec<usize> = (0..arms.len()).collect();
        rng.shuffle(&mut order);
        for place in order {
            let arm = &arms[place];
            let block = cores::on(cores.load, || {
                load.run(&arm.name, arm.address, pace.warm_up)?;
                block(arm, load, pace.seconds)
            })?;
            blocks.push(Block { arm: place, round, ..block });
        }
    }
    Ok(blocks)
}

fn block(arm: &Arm, load: &Load, seconds: u64) -> Result<Block> {
    let before = cores::time_used(arm.process)?;
    let seen = load.run(&arm.name, arm.address, seconds)?;
    let used = cores::time_used(arm.process)?.saturating_sub(before).as_secs_f64();
    let requests = seen.requests as f64;
    Ok(Block {
        arm: 0,
        round: 0,
        seen,
        per_second: requests / seen.seconds,
        cpu_us: used * 1e6 / requests,
        busy: used / seen.seconds,
    })
}

/// What one arm's blocks say of `what`, in the order of the rounds.
pub fn series(blocks: &[Block], arm: usize, what: impl Fn(&Block) -> f64) -> Vec<f64> {
    let mut own: Vec<&Block> = blocks.iter().filter(|block| block.arm == arm).collect();
    own.sort_by_key(|block| block.round);
    own.into_iter().map(what).collect()
}

/// `what` of `arm` over `what` of `base`, round by round.
pub fn ratios(blocks: &[Block], arm: usize, base: usize, what: impl Fn(&Block) -> f64) -> Vec<f64> {
    let (own, others) = (series(blocks, arm, &what), series(blocks, base, &what));
    own.iter().zip(others).map(|(own, other)| own / other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_pairs_whatever_the_order_they_ran_in() {
        let block = |arm, round, cpu_us| Block {
            arm,
            round,
            seen: Seen { requests: 1, seconds: 1.0, p50_us: 1.0, p99_us: 1.0, errors: 0 },
            per_second: 1.0,
            cpu_us,
            busy: 1.0,
        };
        let blocks = [block(1, 1, 9.0), block(0, 0, 2.0), block(0, 1, 3.0), block(1, 0, 8.0)];
        assert_eq!(series(&blocks, 0, |block| block.cpu_us), [2.0, 3.0]);
        assert_eq!(ratios(&blocks, 1, 0, |block| block.cpu_us), [4.0, 3.0]);
    }
}
