//! Every arm of the repository, started for real where its tools are here.

use bimetal_study::arms::{self, Place};
use bimetal_study::load::{self, Load};
use bimetal_study::process::Cores;
use bimetal_study::{spans, tools};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

#[test]
fn every_arm_that_can_run_here_serves_and_its_counts_meet() {
    if let Err(error) = tools::find("bimetal") {
        println!("skipped: {error}");
        return;
    }
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("arms");
    let folder = tempfile::tempdir().unwrap();
    let place = Place {
        folder: folder.path().to_path_buf(),
        cores: Cores::take().unwrap(),
        policy: arms::policy(&files).unwrap(),
    };
    let server = arms::start_echo(&place).unwrap();
    for arm in arms::all(&files).unwrap().values() {
        if let Some(missing) = arm.tools().into_iter().find_map(|tool| tools::find(tool).err()) {
            println!("skipped: the arm {}: {missing}", arm.name);
            continue;
        }
        let mut started = arms::start(arm, &place, server.address).unwrap();
        // Two sizes: a small message, and one that no buffer holds at once.
        for load in ["50", "20x1000KB"].map(|load| load.parse::<Load>().unwrap()) {
            let options = load::Options {
                address: started.address,
                load,
                warm_up: Duration::ZERO,
                measured: Duration::from_millis(400),
                connections: 4,
            };
            let seen = load::run(&options, || {}, || {}).unwrap();
            assert_eq!((seen.good, seen.bad.len()), (seen.due, 0), "{} {seen:?}", arm.name);
        }
        if let Some(rule) = arm.clusters.get("limits") {
            // Envoy runs with what istiod made of the rule, field by field.
            let own = place.folder.join(&arm.name).join("0/envoy.yaml");
            let own: Value =
                serde_saphyr::from_str(&std::fs::read_to_string(own).unwrap()).unwrap();
            let kept = std::fs::read_to_string(files.join(rule)).unwrap();
            let kept: Value = serde_json::from_str(&kept).unwrap();
            for (field, value) in kept["cluster"].as_object().unwrap() {
                let set = &own["static_resources"]["clusters"][0][field];
                assert_eq!(set, value, "{} {field}", arm.name);
            }
        }
        started.lives().unwrap();
        let used = started.time_used().unwrap();
        assert_eq!(used.is_some(), arm.name != "direct");
        // Threads to be told apart are there: a name that no thread has would hide nothing.
        let apart = used.is_some_and(|used| !used.apart.is_zero());
        assert_eq!(apart, !arm.apart.is_empty(), "{}", arm.name);
        assert_eq!(started.unsettled().unwrap(), None, "{}", arm.name);
        let name = arm.name.as_str();
        let counts = arm.name.contains("filter")
            || arm.name.starts_with("native-policy")
            || name == "traced-policy";
        assert_eq!(started.counts_calls(), counts, "{name}");
        if arm.traced {
            // Every call is one whole tree: the origin's, with the breaker where it is in the proxy.
            let spans = spans::read(&started.end(), &(0..u128::MAX)).unwrap();
            let wanted = if name == "traced-policy" { 12 } else { 11 };
            assert_eq!(spans.len(), wanted, "{name} {spans:?}");
            for (span, seen) in &spans {
                // 20 and 8, and the one that asked whether it serves; the server was asked before,
                // and once more through what is between.
                let is_server = span.ends_with("_server") || span.contains("echo-server");
                let asked = if is_server { 2 + u64::from(arm.next.is_some()) } else { 1 };
                assert_eq!(seen.count, 28 + asked, "{name} {span}");
            }
        }
    }
}
