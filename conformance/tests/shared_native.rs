//! The proxy with four workers: they decide as one.

#[path = "support/workers.rs"]
mod workers;

use bimetal_conformance::shared::NativeFleet;

#[test]
fn the_workers_of_the_proxy_decide_as_one() {
    workers::decide_as_one::<NativeFleet>("native");
}

#[test]
fn the_workers_of_the_proxy_do_not_share_unless_told() {
    workers::do_not_share_unless_told::<NativeFleet>("native");
}
