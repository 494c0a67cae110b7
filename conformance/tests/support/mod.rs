//! What the tests of real hosts share.

// Each test program uses its own part.
#![allow(dead_code)]

pub(crate) mod mutated;

use bimetal_conformance::batch::{Limits, PlayResult, run};
use bimetal_conformance::limits::{HostName, LIMITS};
use bimetal_conformance::real::tools::Tools;
use bimetal_conformance::report::Verdict;
use bimetal_conformance::scenario::{Scenario, read_all};
use bimetal_core::policy::{Document, Host};
use std::path::{Path, PathBuf};

/// Every scenario of this room.
pub(crate) fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let scenarios = read_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    assert!(!scenarios.is_empty(), "no scenario in {}", folder.display());
    scenarios
}

/// Where the processes of a test put their files.
pub(crate) fn folder(test: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance").join(test)
}

/// Each difference with its scenario; empty when all is equal. A host that fails is no difference:
/// it stops the test.
pub(crate) fn differences(results: &[PlayResult<'_>]) -> String {
    let different = results.iter().filter_map(|outcome| match &outcome.verdict {
        Verdict::Different(diff) => {
            let Scenario { name, title, .. } = outcome.scenario;
            Some(format!("{name}: {title}\n{diff}"))
        }
        Verdict::Failed(why) => panic!("{}: {why}", outcome.scenario.name),
        Verdict::Equal | Verdict::Unseen(_) => None,
    });
    different.collect()
}

/// Every scenario on `host`: its log must be the written one.
pub(crate) fn every_scenario_holds(host: HostName) {
    let (scenarios, tools) = (scenarios(), Tools::find().unwrap());
    let folder = folder(&format!("{host}-all"));
    let results = run(host, &tools, &scenarios, Limits::Respected, &folder);
    let red = differences(&results);
    assert!(red.is_empty(), "- expected, + seen\n{red}");
    assert_eq!(results.len(), scenarios.len(), "not every scenario was played");
    // What a host cannot play is not equal either: in Envoy retries.
    let equal = results.iter().filter(|result| result.verdict == Verdict::Equal).count();
    assert!(equal * 4 >= scenarios.len() * 3, "{equal} of {} were compared", scenarios.len());
}

/// Each entry of `host` in the table of limits: the scenarios that need it must fail without it.
pub(crate) fn the_limits_are_exact(host: HostName) {
    let tools = Tools::find().unwrap();
    let limits: Vec<_> = LIMITS.iter().filter(|limit| limit.host == host).collect();
    assert!(!limits.is_empty(), "{host} has no limits");
    for limit in limits {
        let all = scenarios().into_iter();
        let affected: Vec<Scenario> = all.filter(|scenario| limit.need.is_of(scenario)).collect();
        assert!(!affected.is_empty(), "no scenario needs {limit:?}");
        for scenario in affected.iter().filter(|scenario| !is_refused(scenario, host)) {
            let folder = folder(&format!("{host}-limits"));
            let alone = std::slice::from_ref(scenario);
            let results = run(host, &tools, alone, Limits::Ignored, &folder);
            let red = differences(&results);
            assert!(!red.is_empty(), "{} holds on {host} as well: {limit:?}", scenario.name);
        }
    }
}

/// Whether the host's half of the core refuses the document, so that the host cannot even start.
fn is_refused(scenario: &Scenario, host: HostName) -> bool {
    let host = match host {
        HostName::Envoy => Host::Wasm,
        HostName::Core | HostName::Native => Host::Native,
    };
    Document::parse(scenario.document.to_string().as_bytes(), host).is_err()
}
