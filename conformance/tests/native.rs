//! Every scenario through the native proxy, in real time.

mod support;

use bimetal_conformance::limits::HostName;

#[test]
fn every_scenario_holds_in_the_native_proxy() {
    support::every_scenario_holds(HostName::Native);
}

#[test]
fn what_the_native_proxy_cannot_is_in_the_table() {
    support::the_limits_are_exact(HostName::Native);
}
