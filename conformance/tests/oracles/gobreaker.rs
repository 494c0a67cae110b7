//! sony/gobreaker 2 in Go, under a clock that the test sets.

use crate::history::{Habits, LONG, Script, below};
use bimetal_core::outcome::Outcome::{Failure, Success};
use bimetal_core::rng::Rng;
use serde_json::json;
use std::process::Command;

const HABITS: Habits = Habits {
    outcomes: &[Success, Failure, Failure],
    heeds_late_results: false,
    shows_half_open_early: true,
};

pub(crate) fn check(original: Command) {
    let mut rng = Rng::new(2);
    let mut script = Script::default();
    for history in 0..500 {
        let wait_ms = 1 + 2 * (500 + below(&mut rng, 500));
        // Every tenth has the profile's own threshold.
        let failures = if history % 10 == 0 { 6 } else { 1 + below(&mut rng, 5) };
        let mut breaker = json!({
            "profile": "gobreaker",
            "open": {"base": format!("{wait_ms}ms")},
            "half_open": {"lease": LONG.to_string()},
        });
        if failures != 6 {
            breaker["trip"] = json!({"consecutive_failures": failures});
        }
        let new = format!("new {failures} {wait_ms}");
        script.add(&mut rng, HABITS, (new, &breaker), (wait_ms, 120));
    }
    println!("{} openings, {} closings", script.openings, script.closings);
    assert!(script.openings > 500 && script.closings > 100, "too few changes of state");
    script.check(original);
}
