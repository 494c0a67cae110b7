//! Histories: how they are drawn, played and checked.

mod rules;
mod told;
mod world;

use bimetal_core::outcome::Outcome;
use bimetal_core::rng::Rng;
#[allow(unused_imports, reason = "the conformance room plays what is told")]
pub(crate) use told::{Story, Told, spaced, tell};
pub(crate) use world::{Coverage, Documents, World};

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes.
    Wait { millis: u64 },
    /// A worker's clock reads earlier than it did; the next step reads right again.
    ClockBack { millis: u64 },
    /// A caller asks a worker.
    Call { worker: usize, key: usize },
    /// Good headers for one of the calls under way (modulo their number).
    Headers { call: usize },
    /// One of the calls under way ends.
    End { call: usize, outcome: Outcome, retry_after: u64 },
    /// One of the calls under way is never heard of again.
    Lose { call: usize },
    /// A worker's tick.
    Tick { worker: usize },
    /// All workers take another document.
    Load { document: usize },
}

/// Which rules are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Those that the breaker promises.
    Real,
    /// As well one that is wrong, to see that a broken rule is found.
    NeverOpens,
}

pub(crate) const WORKERS: usize = 3;
pub(crate) const KEYS: usize = 4;

/// The history of a seed. Some are made of failures, some are healthy, most are mixed.
pub(crate) fn history(seed: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let failing = rng.next_share();
    let patience = 1 + rng.next_u64() % 4_000;
    let mut below = |limit: u64| rng.next_u64() % limit;
    let steps = 60 + below(140);
    (0..steps)
        .map(|_| {
            let call = below(64) as usize;
            match below(100) {
                0..25 => Step::Wait { millis: below(patience) },
                25..26 => Step::ClockBack { millis: below(5_000) },
                26..60 => Step::Call {
                    worker: below(WORKERS as u64) as usize,
                    key: below(KEYS as u64) as usize,
                },
                60..66 => Step::Headers { call },
                66..92 => {
                    let outcome = match below(1_000) as f64 / 1_000.0 {
                        share if share < failing => Outcome::Failure,
                        share if share < failing + 0.05 => Outcome::Slow,
                        share if share < failing + 0.10 => Outcome::Neutral,
                        _ => Outcome::Success,
                    };
                    // Whole seconds, as the header has them.
                    let retry_after = if below(10) == 0 { below(20) * 1_000 } else { 0 };
                    Step::End { call, outcome, retry_after }
                }
                92..94 => Step::Lose { call },
                94..99 => Step::Tick { worker: below(WORKERS as u64) as usize },
                _ => Step::Load { document: below(world::DOCUMENTS.len() as u64) as usize },
            }
        })
        .collect()
}

/// Plays a history. `Err` says which rule broke, and when.
pub(crate) fn play(seed: u64, steps: &[Step]) -> Result<Coverage, String> {
    play_with(seed, steps, Rule::Real)
}

/// Plays a history under a choice of rules.
pub(crate) fn play_with(seed: u64, steps: &[Step], rule: Rule) -> Result<Coverage, String> {
    play_in(&mut World::new(seed, Documents::Drawn), steps, rule)
}

/// Plays a history in a world.
pub(crate) fn play_in(world: &mut World, steps: &[Step], rule: Rule) -> Result<Coverage, String> {
    for (index, step) in steps.iter().enumerate() {
        let told = |broken: String| format!("step {}, {step:?}: {broken}", index + 1);
        world.take(*step).map_err(told)?;
        rules::check(world, rule).map_err(told)?;
    }
    rules::check_end(world)?;
    Ok(world.coverage)
}

/// Takes away steps while the rule stays broken (delta debugging, Zeller 1999, with chunks that
/// halve).
pub(crate) fn shortest(steps: &[Step], breaks: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut left = steps.to_vec();
    let mut size = left.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < left.len() {
            let end = (start + size).min(left.len());
            let shorter = [&left[..start], &left[end..]].concat();
            if breaks(&shorter) {
                left = shorter;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    left
}
