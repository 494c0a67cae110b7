//! Every scenario through the filter in a real Envoy, in real time. Without Envoy or the filter
//! these tests count as ignored, and one line says why.

mod support;

use bimetal_conformance::batch::{Limits, run};
use bimetal_conformance::envoy::Config;
use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools::{self, Tools};
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

/// A mistake around the filter, and the scenario that must notice it.
struct Mistake {
    what: &'static str,
    tamper: fn(&mut Config),
    caught_by: &'static str,
}

const MISTAKES: [Mistake; 3] = [
    Mistake {
        what: "no filter",
        tamper: |config| config.filters.clear(),
        caught_by: "consecutive-failures",
    },
    Mistake {
        what: "the mesh retries",
        tamper: |config| {
            config.route = json!({"retry_policy": {"retry_on": "5xx", "num_retries": 1}});
        },
        caught_by: "consecutive-failures",
    },
    Mistake {
        what: "the mesh has a timeout of its own",
        tamper: |config| config.route = json!({"timeout": "0.25s"}),
        caught_by: "slow-rate",
    },
];

fn each_mistake_around_the_filter_is_seen(host: HostName) {
    for (nth, mistake) in MISTAKES.iter().enumerate() {
        let mut scenarios = support::scenarios();
        scenarios.retain(|scenario| scenario.name == mistake.caught_by);
        let tools = Tools::find().unwrap().tampered(mistake.tamper);
        let folder = support::folder(&format!("{host}-mistakes/{nth}"));
        let outcomes = run(host, &tools, &scenarios, Limits::Respected, &folder);
        let red = support::differences(&outcomes);
        println!("{}: {}\n{red}", mistake.what, mistake.caught_by);
        assert!(!red.is_empty(), "{} is not noticed", mistake.what);
    }
}

/// Where the router is told to write no headers of its own, the filter measures by itself.
const SCENARIOS_OF_TIME: [&str; 5] = [
    "client-aborts-after-its-upload",
    "slow-probe",
    "slow-rate",
    "slow-upload-of-a-probe",
    "slow-uploads-are-not-slow-answers",
];

fn latency_is_the_same_without_the_routers_own(host: HostName) {
    let mut scenarios = support::scenarios();
    scenarios.retain(|scenario| SCENARIOS_OF_TIME.contains(&scenario.name.as_str()));
    assert_eq!(scenarios.len(), SCENARIOS_OF_TIME.len(), "a scenario is gone");
    let suppressed: fn(&mut Config) =
        |config| config.router = json!({"suppress_envoy_headers": true});
    let tools = Tools::find().unwrap().tampered(suppressed);
    let folder = support::folder(&format!("{host}-suppressed"));
    let red = support::differences(&run(host, &tools, &scenarios, Limits::Respected, &folder));
    assert!(red.is_empty(), "- expected, + seen\n{red}");
}

fn main() {
    let missing = tools::envoy().err();
    if let Some(why) = &missing {
        println!("skipped: {why}");
    }
    let trial = |name: &str, test: fn(HostName)| {
        let run = move || {
            test(HostName::Envoy);
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(missing.is_some())
    };
    let trials = vec![
        trial("every_scenario_holds_in_envoy", support::every_scenario_holds),
        trial("what_envoy_cannot_is_in_the_table", support::the_limits_are_exact),
        trial(
            "latency_is_the_same_without_the_routers_own",
            latency_is_the_same_without_the_routers_own,
        ),
        trial("each_mistake_around_the_filter_is_seen", each_mistake_around_the_filter_is_seen),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
