//! Histories: how they are drawn, played and checked.

mod calls;
mod coverage;
mod documents;
mod draw;
mod inputs;
mod probes;
mod rules;
mod told;
mod watched;
mod world;

pub(crate) use coverage::Coverage;
pub(crate) use documents::Documents;
pub(crate) use draw::{Character, history};
pub(crate) use inputs::{By, Input, Media, Reply, Start};
#[allow(unused_imports, reason = "the conformance room plays what is told")]
pub(crate) use told::{Story, Told, spaced, tell};
pub(crate) use world::World;

/// One step of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Time passes.
    Wait { millis: u64 },
    /// A worker's clock reads earlier than it did; the next step reads right again.
    ClockBack { millis: u64 },
    /// A caller asks a worker; its request is sent so where it is admitted.
    Call { worker: usize, key: usize, start: Start },
    /// The host sees something of one of the calls under way (modulo their number, or the [`NEWEST`]).
    See { call: usize, input: Input },
    /// One of the calls under way is never heard of again.
    Lose { call: usize },
    /// A worker's tick.
    Tick { worker: usize },
    /// A worker dies with all its calls; another one takes its place.
    Restart { worker: usize },
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

/// The call that was admitted last, among those under way.
pub(crate) const NEWEST: usize = 1_000;

pub(crate) const WORKERS: usize = 3;
pub(crate) const KEYS: usize = 4;

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
