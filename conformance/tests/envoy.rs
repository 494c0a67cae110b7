//! Every scenario through the filter in a real Envoy, in real time. Without Envoy or the filter
//! these tests count as ignored, and one line says why.

mod support;

use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools;
use libtest_mimic::{Arguments, Trial};

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
        trial(
            "every_scenario_holds_in_envoy",
            support::every_scenario_holds,
        ),
        trial(
            "what_envoy_cannot_is_in_the_table",
            support::the_limits_are_exact,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
