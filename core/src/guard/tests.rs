//! A guard with one mechanism more, and a host that waits.

extern crate std;

use super::{Answer, Guard, Patience, Place, Rules};
use crate::breaker::State;
use crate::decision::Rejection;
use crate::outcome::{Outcome, Report};
use crate::policy::{Document, Host};
use crate::time::{Duration, Instant};

/// A mechanism that is asked after the breaker: it is shut until some moment and lets so many calls
/// through then. It has whoever comes before that wait, or turns them away.
#[derive(Debug)]
pub(super) struct Gate {
    opens: Instant,
    waits: bool,
    left: u32,
}

impl Guard {
    /// Asks the breaker and the gate, then takes from the gate.
    pub(super) fn ask_gate(&mut self, now: Instant) -> Result<(), Answer> {
        let Some(gate) = &mut self.gate else {
            return Ok(());
        };
        if let Some(Err(denied)) = self.breaker.as_mut().map(|breaker| breaker.peek(now)) {
            return Err(Answer::Reject(Rejection::Breaker(denied)));
        }
        if now < gate.opens && gate.waits {
            return Err(Answer::Wait(gate.opens));
        }
        if now < gate.opens || gate.left == 0 {
            return Err(Answer::Reject(Rejection::ForcedOpen));
        }
        gate.left -= 1;
        Ok(())
    }
}

fn guard(gate: Gate) -> Guard {
    let text = br#"{"version": "v1", "policies": [{"name": "a", "scope": "policy",
        "breaker": {"trip": {"consecutive_failures": 1}, "open": {"base": "1s", "jitter": 0}}}]}"#;
    let document = Document::parse(text, Host::Native).unwrap();
    let rules = Rules::of(&document.policies[0]);
    Guard { gate: Some(gate), ..Guard::new(&rules, 1, Place::default()) }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A host as simple as can be: where a call has to wait it looks at its clock until it is time, and
/// asks again. When the call was decided, and how.
fn patient(guard: &mut Guard, mut now: Instant) -> (Instant, Answer) {
    loop {
        match guard.admit(now) {
            Answer::Wait(until) => {
                assert!(until > now, "it would ask for ever");
                now = until;
            }
            answer => return (now, answer),
        }
    }
}

fn trip(guard: &mut Guard) {
    let gate = guard.gate.take();
    let Answer::Admit(permit) = guard.admit(at(0)) else { panic!("not admitted") };
    guard.settle(at(0), permit, Report::from(Outcome::Failure));
    assert_eq!(guard.state(), State::Open);
    guard.gate = gate;
}

#[test]
fn a_call_that_waits_starts_over() {
    let mut guard = guard(Gate { opens: at(70), waits: true, left: 1 });
    let (when, answer) = patient(&mut guard, at(20));
    let Answer::Admit(permit) = answer else { panic!("{answer:?}") };
    assert_eq!((when, guard.outstanding), (at(70), 1));
    assert!(matches!(guard.admit(at(80)), Answer::Reject(Rejection::ForcedOpen)));
    assert!(!guard.settle(at(90), permit, Report::from(Outcome::Success)));
    assert!(guard.is_idle());
}

#[test]
fn who_waits_or_is_rejected_takes_no_probe() {
    for waits in [true, false] {
        let mut guard = guard(Gate { opens: at(3_000), waits, left: 1 });
        trip(&mut guard);
        // The open time is over: a call that goes upstream would half-open the breaker.
        for _ in 0..3 {
            let answer = guard.admit(at(2_000));
            assert!(matches!(answer, Answer::Wait(_)) == waits, "{answer:?}");
            assert_eq!((guard.state(), guard.outstanding), (State::Open, 0));
        }
        let answer = guard.admit(at(3_000));
        assert!(matches!(&answer, Answer::Admit(permit) if permit.is_probe()), "{answer:?}");
    }
}

#[test]
fn what_the_breaker_rejects_takes_nothing_of_what_comes_after_it() {
    let mut guard = guard(Gate { opens: at(0), waits: true, left: 1 });
    trip(&mut guard);
    let answer = guard.admit(at(500));
    assert!(
        matches!(&answer, Answer::Reject(Rejection::Breaker(denied))
        if denied.left() == Some(Duration::from_millis(500))),
        "{answer:?}"
    );
    assert_eq!(guard.gate.as_ref().unwrap().left, 1);
}

/// The limit of calls under way is asked between the breaker's answer and its change.
#[test]
fn a_full_limit_takes_no_probe_and_an_open_breaker_no_slot() {
    let text = br#"{"version": "v1", "policies": [{"name": "a", "scope": "policy",
        "concurrency": {"max": 1, "share": "none"}, "breaker": {
            "trip": {"consecutive_failures": 1}, "open": {"base": "1s", "jitter": 0}}}]}"#;
    let document = Document::parse(text, Host::Native).unwrap();
    let policy = &document.policies[0];
    let (limit, hashes) = (policy.concurrency.as_ref().unwrap(), &policy.hashes);
    let mut guard = Guard::new(&Rules::of(policy), 1, Place::default());
    let ask = |guard: &mut Guard, now| guard.admit_within(now, limit, hashes, Place::default());
    let Answer::Admit(bad) = ask(&mut guard, at(0)) else { panic!("not admitted") };
    guard.settle(at(0), bad, Report::from(Outcome::Failure));
    let slots = |guard: &Guard| guard.limit().map(|(limit, _)| limit.taken);
    assert!(matches!(ask(&mut guard, at(500)), Answer::Reject(Rejection::Breaker(_))));
    assert_eq!((slots(&guard), guard.outstanding), (Some(0), 0));
    // Somebody has the slot while the open time ends.
    guard.limit.as_mut().unwrap().ask(at(600), Patience::default()).unwrap();
    assert!(matches!(ask(&mut guard, at(2_000)), Answer::Reject(Rejection::Concurrency { .. })));
    assert_eq!((guard.state(), guard.outstanding), (State::Open, 0));
    guard.limit.as_mut().unwrap().give_back(at(2_000));
    let answer = ask(&mut guard, at(2_000));
    assert!(matches!(&answer, Answer::Admit(permit) if permit.is_probe()), "{answer:?}");
    assert_eq!((slots(&guard), guard.outstanding), (Some(1), 1));
}
