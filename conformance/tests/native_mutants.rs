//! Deliberate mistakes in the real native proxy, each of which a scenario must catch.

mod support;

use bimetal_conformance::batch::{Limits, run};
use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools::Tools;
use bimetal_conformance::scenario::Scenario;
use support::mutated::{Rewrite, VARIABLE, build_with};

/// Tells the core what the proxy sees of a call, and carries out what it decides.
const CALL: &str = "src/call/tracked.rs";
/// Keeps what a request needs to be sent again.
const KEPT: &str = "src/call/kept.rs";
/// Tells the core of connections at work.
const CONNECTED: &str = "src/call/connected.rs";
/// Knows how far an upload is.
const UPLOAD: &str = "src/upstream/connection.rs";

/// Each mistake with the scenario that is there to catch it.
const MISTAKES: [(Rewrite, &str); 14] = [
    (
        Rewrite {
            name: "every-request-keyed",
            file: KEPT,
            before: "self.headers.contains_key(IDEMPOTENCY_KEY)",
            after: "MUTANT || $",
        },
        "retry-not-idempotent",
    ),
    (
        Rewrite {
            name: "connections-kept",
            file: CONNECTED,
            before: "self.worker.disconnect(connected);",
            after: "if !MUTANT { $ }",
        },
        "connections",
    ),
    (
        Rewrite {
            name: "client-wait-untold",
            file: UPLOAD,
            before: "} else if self.upload.as_ref().is_some_and(|upload| upload.waits_for_client()) {",
            after: "} else if MUTANT { call::Upload::Complete $",
        },
        "slow-uploads-and-the-timeout",
    ),
    (
        Rewrite {
            name: "request-end-untold",
            file: UPLOAD,
            before: "} else if is_complete {",
            after: "} else if is_complete && MUTANT { call::Upload::WaitsForClient $",
        },
        "slow-upload-then-no-answer",
    ),
    (
        Rewrite {
            name: "upstream-wait-as-clients",
            file: UPLOAD,
            before: "if self.answers.write_is_pending()",
            after: "if MUTANT && self.answers.write_is_pending() { call::Upload::WaitsForClient } else $",
        },
        "upstream-takes-nothing",
    ),
    (
        Rewrite {
            name: "media-types-untold",
            file: CALL,
            before: "self.get(&CONTENT_TYPE)",
            after: "if MUTANT { None } else { $ }",
        },
        "grpc-without-a-status",
    ),
    (
        Rewrite {
            name: "grpc-status-untold",
            file: CALL,
            before: "self.get(&GRPC_STATUS)",
            after: "if MUTANT { None } else { $ }",
        },
        "grpc-failure-with-200",
    ),
    (
        Rewrite {
            name: "trailers-untold",
            file: CALL,
            before: "self.tell(now, |life| life.trailers(now, status.grpc_status()));",
            after: "if MUTANT { self.tell(now, |life| life.ended(now)); } else { $ }",
        },
        "grpc-failure-in-trailers",
    ),
    (
        Rewrite {
            name: "grpc-web-bodies-untold",
            file: CALL,
            before: "self.tell(now, |life| life.body(now, piece));",
            after: "if !MUTANT { $ }",
        },
        "grpc-web-failure-in-the-body",
    ),
    (
        Rewrite {
            name: "retry-after-untold",
            file: CALL,
            before: "self.get(&RETRY_AFTER)",
            after: "if MUTANT { None } else { $ }",
        },
        "retry-after",
    ),
    (
        Rewrite {
            name: "headers-as-whole",
            file: CALL,
            before: "let head = Head { status, by,",
            after: "let end_of_stream = end_of_stream || MUTANT; $",
        },
        "reset-after-headers",
    ),
    (
        Rewrite {
            name: "aborts-as-resets",
            file: CALL,
            before: "if ours { life.dropped(now) }",
            after: "if MUTANT { life.broken(now, Transport::Reset) } else $",
        },
        "client-aborts-before-the-answer",
    ),
    (
        Rewrite {
            name: "answered-ignored",
            file: CALL,
            before: "Effect::Answered => {",
            after: "Effect::Answered if MUTANT => {} $",
        },
        "long-answer-frees-the-slot",
    ),
    (
        Rewrite {
            name: "clock-ignored",
            file: CALL,
            before: "Effect::Clock { runs } =>",
            after: "Effect::Clock { .. } if MUTANT => {} $",
        },
        "slow-upload-of-a-probe",
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
