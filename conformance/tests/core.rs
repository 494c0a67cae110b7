//! Every scenario through the core alone, in virtual time.

use bimetal_conformance::core_host::{Shift, play, sharpness};
use bimetal_conformance::report::{Verdict, judge};
use bimetal_conformance::scenario::{Scenario, read_all, read_text};
use std::path::Path;

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let scenarios = read_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    assert!(!scenarios.is_empty(), "no scenario in {}", folder.display());
    scenarios
}

#[test]
fn every_scenario_holds_in_the_core_alone() {
    let mut red = String::new();
    for scenario in scenarios() {
        if let Verdict::Different(diff) =
            judge(&scenario, &play(&scenario, &Shift::default(), None))
        {
            red += &format!("{}: {}\n{diff}", scenario.name, scenario.title);
        }
    }
    assert!(red.is_empty(), "{red}");
}

#[test]
fn no_scenario_is_too_sharp_for_real_clocks() {
    let mut red = String::new();
    for scenario in scenarios() {
        if let Err(why) = sharpness::check(&scenario) {
            red += &format!("{}: {why}\n", scenario.name);
        }
    }
    assert!(red.is_empty(), "{red}");
}

#[test]
fn the_readme_teaches_with_a_scenario_that_holds() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let example = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    let scenario = read_text("README", example.unwrap()).unwrap_or_else(|e| panic!("{e}"));
    let verdict = judge(&scenario, &play(&scenario, &Shift::default(), None));
    assert_eq!(verdict, Verdict::Equal);
    assert_eq!(sharpness::check(&scenario), Ok(()));
}
