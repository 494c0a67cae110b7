//! What must hold in Envoy, one function a promise.

use crate::rig::{Checked, Rig, Tools, policy, same};
use bimetal_conformance::envoy::Update;
use serde_json::json;

type Case = fn(&Tools) -> Checked;

/// Every case by its name.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("trips_rejects_and_recovers", trips_rejects_and_recovers),
];

fn trips_rejects_and_recovers(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("1s", json!({"debug_headers": true})), |_| {})?;
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.status, 503)?;
    }
    let rejected = rig.get("/flaky")?;
    same(rejected.status, 503)?;
    println!("{rejected:?}");
    println!("{}", rig.envoy.events()?.join("\n"));
    rig.finish()
}
