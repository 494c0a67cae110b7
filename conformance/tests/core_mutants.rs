//! Each deliberate mistake of a host must turn a scenario red: else no scenario is worth its name.

use bimetal_conformance::core_host::mutant::Mutant;
use bimetal_conformance::core_host::{Shift, play};
use bimetal_conformance::report::{Verdict, judge};
use bimetal_conformance::scenario::{Scenario, read_all};
use std::path::Path;

fn red(scenarios: &[Scenario], mutant: Mutant) -> Vec<&str> {
    let is_red = |scenario: &&Scenario| {
        let recording = play(scenario, &Shift::default(), Some(mutant));
        matches!(judge(scenario, &recording), Verdict::Different(_))
    };
    scenarios.iter().filter(is_red).map(|scenario| scenario.name.as_str()).collect()
}

/// Each mistake, and the scenario that is there to catch it.
const CAUGHT_BY: [(Mutant, &str); 39] = [
    (Mutant::HandOverUntold, "timeout"),
    (Mutant::ClientWaitUntold, "slow-uploads-and-the-timeout"),
    (Mutant::RequestEndUntold, "slow-upload-then-no-answer"),
    (Mutant::UpstreamWaitAsClients, "upstream-takes-nothing"),
    (Mutant::OthersAsUpstream, "another-filters-answers"),
    (Mutant::InjectedAsUpstream, "injected-faults"),
    (Mutant::InjectedAsOthers, "injected-faults"),
    (Mutant::RejectionsAsAnswers, "own-rejections"),
    (Mutant::InformationalAsAnswers, "informational-heads-buy-no-time"),
    (Mutant::MediaTypesUntold, "grpc-without-a-status"),
    (Mutant::GrpcStatusUntold, "grpc-failure-with-200"),
    (Mutant::TrailersUntold, "grpc-failure-in-trailers"),
    (Mutant::GrpcWebBodiesUntold, "grpc-web-failure-in-the-body"),
    (Mutant::RetryAfterUntold, "retry-after"),
    (Mutant::HeadersAsWhole, "client-aborts-during-the-answer"),
    (Mutant::HeadersAtTheEnd, "slow-rate"),
    (Mutant::LatencyFromTheCall, "slow-uploads-are-not-slow-answers"),
    (Mutant::TimeoutsAsDrops, "timeout"),
    (Mutant::RefusalsAsDrops, "connection-refused"),
    (Mutant::ResetsAsRefusals, "reset-within-the-upload"),
    (Mutant::LateResetsAsEnds, "reset-after-headers"),
    (Mutant::AbortsAsResets, "client-aborts-before-the-answer"),
    (Mutant::AbortsAsDrops, "client-aborts-a-slow-call"),
    (Mutant::AbortsUntold, "aborted-probe"),
    (Mutant::SettledTwice, "success-ends-the-streak"),
    (Mutant::StaleTicket, "late-success"),
    (Mutant::FailuresAtTheEnd, "failure-counts-at-its-headers"),
    (Mutant::AnsweredIgnored, "long-answer-frees-the-slot"),
    (Mutant::AnsweredAtOnce, "lost-probe"),
    (Mutant::ClockIgnored, "slow-upload-of-a-probe"),
    (Mutant::OrdinaryTimeouts, "slow-uploads-and-the-timeout"),
    (Mutant::RefusedRetriesMade, "retry-budget"),
    (Mutant::WokenInVain, "queue"),
    (Mutant::LeaversKept, "queue-forgets-who-leaves"),
    (Mutant::ConnectionsKept, "connections"),
    (Mutant::CallersTimeAsTimeout, "deadline-gives-up"),
    (Mutant::NobodyPolls, "lost-probe-without-traffic"),
    (Mutant::BadUpdateWipes, "bad-update-changes-nothing"),
    (Mutant::UpdateForgets, "good-update-keeps-the-breaker"),
];

#[test]
fn each_mutant_of_a_host_turns_a_scenario_red() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let scenarios = read_all(&folder).unwrap_or_else(|error| panic!("{error}"));
    let mut unseen = Vec::new();
    for (mutant, scenario) in CAUGHT_BY {
        let caught_by = red(&scenarios, mutant);
        println!("{mutant:?}: {}", caught_by.join(", "));
        if !caught_by.contains(&scenario) {
            unseen.push(format!("{scenario} does not notice {mutant:?}"));
        }
    }
    assert!(unseen.is_empty(), "{}", unseen.join("\n"));
}

#[test]
fn every_mutant_is_in_the_table() {
    let listed = CAUGHT_BY.map(|(mutant, _)| mutant);
    assert_eq!(listed, Mutant::ALL);
}
