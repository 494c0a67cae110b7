//! Resilience4j 2.4.0 on the JVM.

use crate::history::{Habits, LONG, Script, below};
use bimetal_core::outcome::Outcome::{Failure, Neutral, Slow, Success};
use bimetal_core::rng::Rng;
use serde_json::json;
use std::process::Command;

/// An odd number of milliseconds.
const WAIT_MS: u64 = 1_001;

const HABITS: Habits = Habits {
    outcomes: &[Success, Success, Failure, Failure, Slow, Neutral],
    heeds_late_results: true,
    shows_half_open_early: false,
};

pub(crate) fn check(original: Command) {
    let mut rng = Rng::new(4);
    let mut script = Script::default();
    for _ in 0..600 {
        let calls = 1 + below(&mut rng, 20);
        let minimum = 1 + below(&mut rng, calls);
        let [failures, slow] =
            [(); 2].map(|()| [10, 25, 30, 50, 75, 100][below(&mut rng, 6) as usize]);
        let permitted = 1 + below(&mut rng, 12);
        let new = format!("new {calls} {minimum} {failures} {slow} 500 {WAIT_MS} {permitted}");
        let window = json!({"calls": calls});
        let share = |percent: u64| percent as f64 / 100.0;
        let breaker = json!({
            "profile": "resilience4j",
            "trip": {
                "failure_rate": {
                    "threshold": share(failures), "window": window, "minimum_calls": minimum
                },
                "slow_rate": {
                    "threshold": share(slow), "slower_than": "500ms", "window": window,
                    "minimum_calls": minimum
                }
            },
            "open": {"base": format!("{WAIT_MS}ms")},
            "half_open": {"max_probes": permitted, "lease": LONG.to_string()},
        });
        script.add(&mut rng, HABITS, (new, &breaker), (WAIT_MS, 120));
    }
    // The defaults themselves: a hundred calls, ten probes.
    for _ in 0..20 {
        let new = "new 100 100 50 100 60000 60000 10".to_owned();
        let breaker = json!({
            "profile": "resilience4j", "open": {"base": "60001ms"}, "half_open": {"lease": LONG.to_string()}
        });
        let new = new.replace(" 60000 10", " 60001 10");
        script.add(&mut rng, HABITS, (new, &breaker), (60_001, 2_000));
    }
    println!("{} openings, {} closings", script.openings, script.closings);
    assert!(script.openings > 500 && script.closings > 100, "too few changes of state");
    script.check(original);
}
