//! Deliberate mistakes in the real native proxy, each of which a scenario must catch.

mod support;

use bimetal_conformance::batch::{Limits, run};
use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools::Tools;
use bimetal_conformance::scenario::Scenario;
use support::mutated::{Rewrite, VARIABLE, build_with};

const SETTLEMENT: &str = "src/call/settlement.rs";

/// Each mistake with the scenario that is there to catch it.
const MISTAKES: [(Rewrite, &str); 5] = [
    (
        Rewrite {
            name: "aborts-are-resets",
            file: SETTLEMENT,
            before: "Some(handed) if !std::thread::panicking() =>",
            after: "Some(_) if MUTANT => Observation::Broken(Transport::Reset), $",
        },
        "client-aborts-before-the-answer",
    ),
    (
        Rewrite {
            name: "retry-after-ignored",
            file: SETTLEMENT,
            before: "Some(Duration::from_secs(seconds))",
            after: "if MUTANT { None } else { $ }",
        },
        "retry-after",
    ),
    (
        Rewrite {
            name: "grpc-ignored",
            file: SETTLEMENT,
            before: "let value = headers.get(GRPC_STATUS)?;",
            after: "if MUTANT { return None; } $",
        },
        "grpc-failure-with-200",
    ),
    (
        Rewrite {
            name: "success-at-headers",
            file: SETTLEMENT,
            before: "if grpc.is_some() ||",
            after: "if MUTANT || grpc.is_some() ||",
        },
        "reset-after-headers",
    ),
    (
        Rewrite {
            name: "headers-keep-the-slot",
            file: SETTLEMENT,
            before: "self.ledger.answered(now, ticket);",
            after: "if !MUTANT { $ }",
        },
        "long-answer-frees-the-slot",
    ),
];

#[test]
fn each_mistake_in_the_native_proxy_turns_its_scenario_red() {
    let (rewrites, caught_by): (Vec<_>, Vec<_>) = MISTAKES.into_iter().unzip();
    let program = build_with(&rewrites);
    let scenarios = support::scenarios();
    let named = |name: &&str| scenarios.iter().find(|scenario| scenario.name == **name).cloned();
    let caught_by: Vec<Scenario> = caught_by.iter().filter_map(named).collect();
    assert_eq!(caught_by.len(), rewrites.len(), "a scenario is gone");
    let play = |mistake: &str, scenarios: &[Scenario]| {
        let tools = Tools::replaced(program.clone(), VARIABLE, mistake);
        let folder = support::folder(&format!("native-mutants/{mistake}"));
        let outcomes = run(HostName::Native, &tools, scenarios, Limits::Respected, &folder);
        support::differences(&outcomes)
    };
    // The copy must be right where it is not told to be wrong, or its red would mean nothing.
    let without = play("none", &caught_by);
    assert!(without.is_empty(), "{without}");
    std::thread::scope(|scope| {
        for (rewrite, scenario) in rewrites.iter().zip(&caught_by) {
            let play = &play;
            scope.spawn(move || {
                let red = play(rewrite.name, std::slice::from_ref(scenario));
                println!("{}: {}\n{red}", rewrite.name, scenario.name);
                assert!(!red.is_empty(), "{} does not notice {}", scenario.name, rewrite.name);
            });
        }
    });
}
