//! Whatever is given as a scenario: refused with a reason, or such that it can be judged.

use crate::Behaviour;
use bimetal_conformance::core_host::{Shift, play};
use bimetal_conformance::report::judge;
use bimetal_conformance::scenario::read::{MOST_CALLS, TICKS_APART};
use bimetal_conformance::scenario::{Scenario, StepKind, read_text};
use std::mem::discriminant;

/// Words of the format.
pub(super) const WORDS: &[&str] = &[
    "title: ",
    "tick: ",
    "policies:\n",
    "steps:\n",
    "end: ",
    "log: |\n",
    "  - {step: 9, at: 9s, ",
    "step: ",
    "at: ",
    "times: ",
    "times: 1000",
    "times: 4294967295",
    "call: ",
    "POST /echo",
    "host: ",
    "headers: {",
    "upstream: ",
    "refuses",
    "hangs",
    "takes nothing",
    "resets before headers",
    "resets within the upload",
    "resets after headers",
    "injected: ",
    "denied: ",
    "upload: ",
    "early: true",
    "breaks: true",
    "takes_after: ",
    "informs_every: ",
    "media: ",
    "grpc",
    "grpc-web",
    "events",
    "status: ",
    "after: ",
    "body: ",
    "retry_after: ",
    "grpc_status: ",
    "abort: ",
    "load: []",
    "expect: ",
    "admitted",
    "passed",
    "rejected by echo/breaker",
    "client: ",
    "error",
    "broken",
    "gone",
    "waiting",
    "consecutive_failures",
    "failure_rate",
    "slow_rate",
    "slower_than",
    "window",
    "lease",
    "ramp",
    "max_probes",
    "multiplier",
    "mode: shadow",
    "share: none",
    "scope: authority",
    "1ms",
    "0s",
    "3600s",
    "1e3s",
    "-0s",
    "NaNs",
    "&a ",
    "*a",
    "}\n",
    "{",
    "[",
    "]",
    ", ",
    "\n",
];

/// More calls than this are not played: most inputs shall be fast.
const CALLS: u64 = 64;

/// Reads a scenario, and plays it on the core.
pub(super) fn read(bytes: &[u8]) -> Behaviour {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Behaviour::of("not UTF-8");
    };
    let scenario = match read_text("fuzzed", text) {
        Ok(scenario) => scenario,
        Err(error) => {
            let reason = error.to_string();
            assert!(reason.len() > "fuzzed: ".len(), "refused without a reason");
            // Its first words say what kind of reason, without the input's own.
            let words = reason.split(' ').take(5);
            let kind: Vec<_> =
                words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase())).collect();
            return Behaviour::of(kind);
        }
    };
    judgeable(&scenario);
    let calls: u64 = scenario.steps.iter().map(times).sum();
    let kinds: Vec<_> = scenario.steps.iter().map(kind).collect();
    if calls > CALLS {
        return Behaviour::of(kinds);
    }
    assert_eq!(scenario.expected_answers().len() as u64, calls);
    let recording = play(&scenario, &Shift::default(), None);
    assert!(recording.complaints.is_empty(), "{:?}", recording.complaints);
    assert_eq!(recording.calls.len() as u64, calls);
    let again = play(&scenario, &Shift::default(), None);
    assert_eq!(
        judge(&scenario, &recording),
        judge(&scenario, &again),
        "a play is the same each time"
    );
    Behaviour::of((kinds, recording.events.len()))
}

fn times(step: &bimetal_conformance::scenario::Step) -> u64 {
    match &step.kind {
        StepKind::Call(call) => u64::from(call.times),
        StepKind::Load(_) => 0,
    }
}

fn kind(step: &bimetal_conformance::scenario::Step) -> impl std::hash::Hash {
    match &step.kind {
        StepKind::Call(call) => Some((discriminant(&call.upstream), discriminant(&call.expect))),
        StepKind::Load(_) => None,
    }
}

/// What the reader promises of every scenario that it takes.
fn judgeable(scenario: &Scenario) {
    let gap = scenario.tick * TICKS_APART;
    assert!(!gap.is_zero() && !scenario.steps.is_empty());
    assert!(scenario.steps.iter().map(times).sum::<u64>() <= u64::from(MOST_CALLS));
    for (index, step) in scenario.steps.iter().enumerate() {
        let next = scenario.steps.get(index + 1).map_or(scenario.end, |next| next.at);
        assert!(next >= step.at + gap);
        let same = scenario.steps.iter().filter(|other| other.name == step.name);
        assert_eq!(same.count(), 1, "{}", step.name);
        assert!(!matches!(&step.kind, StepKind::Call(call) if call.times == 0));
    }
}
