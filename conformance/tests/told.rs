//! What the core's simulation tells of a broken history is a scenario: it is read, and its play is
//! what the simulation saw.

#[path = "../../core/tests/support/board.rs"]
mod board;
#[allow(dead_code, unreachable_pub, reason = "the simulation's own tests need more of it")]
#[path = "../../core/tests/simulation/mod.rs"]
mod simulation;

use bimetal_conformance::core_host::{Shift, play};
use bimetal_conformance::log::{answers, normalise};
use bimetal_conformance::report::difference;
use bimetal_conformance::scenario::{Scenario, read_file, read_text};
use simulation::{Rule, Step, Story, history, play_with, spaced, tell};
use std::fs;
use std::path::Path;

/// What clients got and the upstream saw, as told and as played.
fn told_and_played(scenario: &Scenario) -> (Vec<String>, Vec<String>) {
    let played = play(scenario, &Shift::default(), None);
    assert!(played.complaints.is_empty(), "{:?}", played.complaints);
    (scenario.expected_answers(), answers(&played))
}

/// A rule that is wrong on purpose, that no breaker opens: the file that tells of it shows a breaker
/// that opens.
#[test]
fn a_broken_history_becomes_a_file_that_breaks_it_again() {
    let breaks = |seed: &u64| play_with(*seed, &history(*seed), Rule::NeverOpens).is_err();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulation");
    fs::create_dir_all(&folder).unwrap();
    let mut documents = [false; 4];
    for seed in (0..40).filter(breaks) {
        let told = tell(seed, &history(seed), Rule::NeverOpens);
        let file = folder.join(format!("never-opens-{seed}.yaml"));
        fs::write(&file, &told.text).unwrap();
        let scenario = read_file(&file).unwrap_or_else(|error| panic!("{error}\n{}", told.text));
        let (expected, seen) = told_and_played(&scenario);
        assert_eq!(expected, seen, "{}", told.text);
        let log = normalise(&scenario, &play(&scenario, &Shift::default(), None));
        assert!(log.iter().any(|line| line.contains(" → open for ")), "{}\n{log:?}", told.text);
        documents[seed as usize % 4] = true;
    }
    assert_eq!(documents, [true; 4], "each document is told once");
}

/// Long histories too, as far as a scenario can tell them.
#[test]
fn a_play_sees_what_the_simulation_saw() {
    let mut compared = 0;
    for seed in 0..400 {
        let alone = history(seed).into_iter().map(|step| match step {
            Step::Call { key, start, .. } => Step::Call { worker: 0, key, start },
            Step::Tick { .. } => Step::Tick { worker: 0 },
            other => other,
        });
        let steps: Vec<_> = alone.collect();
        // As many steps as can be told: one that cannot would end the comparison.
        let tellable =
            |length: &usize| Story::of(seed, &spaced(&steps[..*length])).left_out.is_empty();
        let lengths: Vec<_> = (0..steps.len()).collect();
        let longest = lengths.partition_point(tellable).saturating_sub(1);
        let text = Story::of(seed, &spaced(&steps[..longest])).text(seed, "a comparison");
        let Ok(scenario) = read_text("told", &text) else {
            assert!(!text.contains("  - {step"), "{text}");
            continue;
        };
        let (expected, seen) = told_and_played(&scenario);
        let differs = difference(&expected, &seen);
        assert!(expected == seen, "seed {seed}\n{differs}{text}");
        compared += expected.len();
    }
    assert!(compared > 2_000, "{compared} calls say little");
}
