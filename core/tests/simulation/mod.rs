//! Histories: how they are drawn, played and checked.

mod rules;
mod world;

use bimetal_core::outcome::Outcome;
use bimetal_core::rng::Rng;
use std::fmt::Write;
pub(crate) use world::{Coverage, World};

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
                    let retry_after = if below(10) == 0 { below(20_000) } else { 0 };
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
    let mut world = World::new(seed);
    for (index, step) in steps.iter().enumerate() {
        let told = |broken: String| format!("step {}, {step:?}: {broken}", index + 1);
        world.take(*step).map_err(told)?;
        rules::check(&mut world, rule).map_err(told)?;
    }
    rules::check_end(&mut world)?;
    Ok(world.coverage)
}

/// A history as the steps of a scenario of the conformance room, for a person to finish: one
/// worker's calls translate as they are, what only several workers have is a comment.
pub(crate) fn scenario(steps: &[Step]) -> String {
    let mut text = String::from("steps:\n");
    let (mut now, mut calls) = (0, 0);
    for step in steps {
        let at = format!("{}.{:03}s", now / 1_000, now % 1_000);
        let line = match step {
            Step::Wait { millis } => {
                now += millis;
                continue;
            }
            Step::Call { worker, key } => {
                calls += 1;
                format!(
                    "  - {{step: {calls}, at: {at}, call: POST /echo, headers: {{x-tenant: k{key}}}}}  # worker {worker}"
                )
            }
            Step::End { call, outcome, retry_after: 0 } => {
                format!("  # {at}: call {call} (modulo those under way) ends: {}", outcome.name())
            }
            other => format!("  # {at}: {other:?}"),
        };
        let _ = writeln!(text, "{line}");
    }
    text
}
