//! Every scenario through the filter in a real Envoy, in real time.

mod support;

use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools;

/// Says in one line why a test is skipped, where it has to be.
fn can_run() -> bool {
    match tools::envoy() {
        Ok(_) => true,
        Err(why) => {
            println!("skipped: {why}");
            false
        }
    }
}

#[test]
fn every_scenario_holds_in_envoy() {
    if can_run() {
        support::every_scenario_holds(HostName::Envoy);
    }
}

#[test]
fn what_envoy_cannot_is_in_the_table() {
    if can_run() {
        support::the_limits_are_exact(HostName::Envoy);
    }
}
