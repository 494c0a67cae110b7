//! The comparison misses nothing: whatever is taken from a recording, or added to it, shows.

mod support;

use bimetal_conformance::core_host::{Shift, play};
use bimetal_conformance::log::Recording;
use bimetal_conformance::report::{Verdict, judge};
use bimetal_conformance::scenario::{Answer, Scenario};

/// Each scenario with its right recording, changed in one way after the other.
fn each_change(mut check: impl FnMut(&Scenario, &Recording) -> Vec<Recording>) {
    let mut changes = 0;
    for scenario in support::scenarios() {
        let right = play(&scenario, &Shift::default(), None);
        assert_eq!(judge(&scenario, &right), Verdict::Equal);
        for (nth, changed) in check(&scenario, &right).iter().enumerate() {
            changes += 1;
            let verdict = judge(&scenario, changed);
            let name = &scenario.name;
            assert!(matches!(verdict, Verdict::Different(_)), "{name}: change {nth} is not seen");
        }
    }
    assert!(changes >= support::scenarios().len(), "{changes} changes say little");
}

#[test]
fn a_lost_event_is_seen() {
    each_change(|_, right| {
        let without = |index| {
            let mut changed = right.clone();
            changed.events.remove(index);
            changed
        };
        (0..right.events.len()).map(without).collect()
    });
}

#[test]
fn an_event_too_many_is_seen() {
    each_change(|_, right| {
        let twice = |index: usize| {
            let mut changed = right.clone();
            changed.events.insert(index, changed.events[index].clone());
            changed
        };
        (0..right.events.len()).map(twice).collect()
    });
}

#[test]
fn an_event_that_cannot_be_read_is_seen() {
    each_change(|_, right| {
        let mut changed = right.clone();
        changed.events.push((std::time::Duration::ZERO, r#"{"event":"half a li"#.to_owned()));
        vec![changed]
    });
}

#[test]
fn other_bytes_at_the_client_are_seen() {
    each_change(|_, right| {
        let with_another_answer = |index: usize| {
            let mut changed = right.clone();
            let call = &mut changed.calls[index];
            call.answer = match &call.answer {
                Answer::Status(status) => Answer::Rejected { status: *status, rule: "x/y".into() },
                Answer::Rejected { status, .. } => Answer::Status(*status),
                _ => Answer::Status(200),
            };
            changed
        };
        (0..right.calls.len()).map(with_another_answer).collect()
    });
}

#[test]
fn a_call_that_reaches_the_upstream_once_more_is_seen() {
    each_change(|_, right| {
        let received_once_more = |index: usize| {
            let mut changed = right.clone();
            changed.calls[index].received += 1;
            changed
        };
        (0..right.calls.len()).map(received_once_more).collect()
    });
}
