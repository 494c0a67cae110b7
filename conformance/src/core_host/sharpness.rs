//! Whether a scenario can be judged with real clocks.
//!
//! A real host is never exactly on time. So each scenario is played many times with its steps half
//! a tick early or late, with slower answers, and with the clock at other places in a window's
//! buckets. All plays must give one log; a scenario that does not is too sharp and is refused.

use super::{Shift, play};
use crate::log::{answers, normalise};
use crate::report::difference;
use crate::scenario::Scenario;

/// How many shifts drawn by a small generator are tried beside the four regular ones.
const DRAWN: u64 = 12;

/// The shifts that a scenario has to bear.
pub fn shifts(scenario: &Scenario) -> Vec<Shift> {
    let half = i64::try_from(scenario.tick.as_nanos() / 2).unwrap_or(0);
    let late = half.unsigned_abs();
    let regular = [vec![-half], vec![half], vec![half, -half], vec![-half, half]];
    let regular = regular.into_iter().zip([0, late, late, 0]).zip(0_u64..);
    let regular =
        regular.map(|((steps, delay), nth)| Shift { steps, delay, origin: nth * 37_000_001 });
    let drawn = (1..=DRAWN).map(|seed| {
        let mut state = seed;
        let mut side = || {
            // Numerical Recipes' generator: any even spread will do here.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 63 == 1
        };
        let steps = scenario.steps.iter().map(|_| if side() { half } else { -half }).collect();
        let delay = if side() { late } else { 0 };
        Shift { steps, delay, origin: seed * 613_000_007 }
    });
    regular.chain(drawn).collect()
}

/// Plays `scenario` under every shift.
///
/// # Errors
/// The difference between the exact play and the first that is not like it.
pub fn check(scenario: &Scenario) -> Result<(), String> {
    let seen = |shift: &Shift| {
        let recording = play(scenario, shift, None);
        let mut lines = answers(&recording);
        lines.extend(normalise(scenario, &recording));
        lines
    };
    let exact = seen(&Shift::default());
    for shift in shifts(scenario) {
        let shifted = seen(&shift);
        if shifted != exact {
            let diff = difference(&exact, &shifted);
            return Err(format!("too sharp for real clocks: {shift:?} changes its log\n{diff}"));
        }
    }
    Ok(())
}
