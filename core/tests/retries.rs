//! Retries in the engine: the budget of a scope, the breaker between two tries, and what is counted.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::decision::{Admission, Ticket};
use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report, Transport};
use bimetal_core::policy::{Document, Host, Policy};
use bimetal_core::retry::{
    FailedTry, NoRetry, RetryAsk, RetryCase, RetryResult, Tries, TryFailure,
};
use bimetal_core::series::Counts;
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::sync::Arc;

/// A request of one tenant.
struct Request(&'static str);

impl Facts for Request {
    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }
}

struct Bench {
    engine: Engine,
    policies: Policies,
    now: Instant,
}

/// A call under way.
struct Call {
    policy: Arc<Policy>,
    ticket: Ticket,
    tries: Tries,
}

const FAILURE: Report = Report { outcome: Outcome::Failure, retry_after: None, latency: None };

impl Bench {
    fn new(fields: &str) -> Self {
        let text = format!(r#"{{"policies": [{{"name": "a", "scope": "header:x", {fields}}}]}}"#);
        let document = Document::parse(text.as_bytes(), Host::Native);
        let document = document.unwrap_or_else(|wrong| panic!("{wrong}"));
        let mut engine = Engine::new(1);
        let policies = engine.load(&document);
        Self { engine, policies, now: Instant::ZERO }
    }

    fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::from_millis(millis);
        self
    }

    fn call_of(&mut self, tenant: &'static str) -> Call {
        match self.engine.admit(self.now, &self.policies, &Request(tenant)) {
            Verdict::Admit(Admission { policy, ticket, .. }) => {
                Call { policy: policy.clone(), ticket, tries: Tries::default() }
            }
            other => panic!("{other:?}"),
        }
    }

    fn call(&mut self) -> Call {
        self.call_of("one")
    }

    /// A try of `call` was answered by 503.
    fn failed(&mut self, call: &mut Call) -> Result<Duration, NoRetry> {
        self.failed_how(call, TryFailure::Answer { status: 503, grpc: None })
    }

    fn failed_how(&mut self, call: &mut Call, how: TryFailure) -> Result<Duration, NoRetry> {
        let ask = RetryAsk { method: "GET", has_key: false, can_be_sent_again: true };
        let failed = FailedTry { how, retry_after: None, is_exhausted: false };
        let case = RetryCase { now: self.now, ask, failed, left: None };
        let Call { policy, ticket, tries } = call;
        self.engine.plan_retry(self.now, policy, ticket, tries, (&case, FAILURE))
    }

    fn again(&mut self, call: &mut Call) -> Result<(), NoRetry> {
        self.engine.try_again(self.now, &mut call.ticket, &mut call.tries)
    }

    fn settle(&mut self, call: Call, outcome: Outcome) {
        let _ = self.engine.settle(self.now, call.ticket, outcome.into());
    }

    fn counts(&mut self) -> Counts {
        self.engine.measure(self.now);
        *self.engine.series().next().unwrap().2
    }

    fn retried(&mut self, result: RetryResult) -> u64 {
        self.counts().retries[result.place().unwrap()]
    }
}

const FIVE: &str = r#""retry": {"tries": 5, "on": ["503"], "budget": {"share": 0.5}}"#;

#[test]
fn a_budget_is_the_scopes_own() {
    let mut bench = Bench::new(FIVE);
    let mut calls: Vec<_> = (0..4).map(|_| bench.call()).collect();
    let mut other = bench.call_of("other");
    assert_eq!(bench.counts().retry_budget, 2, "of both scopes, whole ones");
    let told: Vec<_> = calls.iter_mut().map(|call| bench.failed(call)).collect();
    assert!(told[0].is_ok() && told[1].is_ok());
    assert_eq!(told[2..], [Err(NoRetry::Budget), Err(NoRetry::Budget)]);
    assert_eq!(bench.failed(&mut other), Err(NoRetry::Budget), "half a retry is none");
    assert_eq!(bench.counts().retry_budget, 0);
    for call in &mut calls[..2] {
        assert_eq!(bench.again(call), Ok(()));
        assert_eq!(call.tries.number(), 2);
    }
    assert_eq!(bench.retried(RetryResult::Made), 2);
    assert_eq!(bench.retried(RetryResult::NotMade(NoRetry::Budget)), 3);
    // What was earned and spent is forgotten after ten seconds.
    bench.at(10_000);
    let mut calls: Vec<_> = (0..2).map(|_| bench.call()).collect();
    assert!(bench.failed(&mut calls[0]).is_ok());
    assert_eq!(bench.failed(&mut calls[1]), Err(NoRetry::Budget));
}

#[test]
fn what_no_policy_lists_is_not_counted_and_costs_nothing() {
    let mut bench = Bench::new(FIVE);
    let (mut one, mut other) = (bench.call(), bench.call());
    for how in [
        TryFailure::Answer { status: 200, grpc: None },
        TryFailure::Answer { status: 500, grpc: None },
        TryFailure::Broken(Transport::Reset),
    ] {
        assert_eq!(bench.failed_how(&mut one, how), Err(NoRetry::NotListed));
    }
    assert_eq!(bench.counts().retries, [0; RetryResult::COUNT]);
    assert!(bench.failed(&mut other).is_ok());
    bench.again(&mut other).unwrap();
    bench.engine.retry_helped(&other.ticket);
    assert_eq!(bench.retried(RetryResult::Helped), 1);
}

const TRIPS_AT_TWO: &str = r#"
    "breaker": {"trip": {"consecutive_failures": 2}, "open": {"base": "10s", "jitter": 0}},
    "retry": {"tries": 5, "on": ["503"]}"#;

#[test]
fn the_breaker_is_asked_before_each_try() {
    let mut bench = Bench::new(TRIPS_AT_TWO);
    let (mut early, mut late) = (bench.call(), bench.call());
    assert!(bench.failed(&mut early).is_ok(), "closed");
    for _ in 0..2 {
        let call = bench.call();
        bench.settle(call, Outcome::Failure);
    }
    // It opened while one waited, and before the other failed.
    assert_eq!(bench.again(&mut early), Err(NoRetry::Breaker));
    assert_eq!(bench.failed(&mut late), Err(NoRetry::Breaker));
    assert_eq!(bench.retried(RetryResult::NotMade(NoRetry::Breaker)), 2);
    // Open times end by a first try alone: a retry is no probe, and a probe has one try.
    bench.at(10_000);
    assert_eq!(bench.failed(&mut late), Err(NoRetry::Breaker));
    let mut probe = bench.call();
    assert!(probe.ticket.is_probe());
    assert_eq!(bench.failed(&mut probe), Err(NoRetry::Breaker));
    bench.settle(probe, Outcome::Success);
    assert!(bench.failed(&mut late).is_ok(), "closed again");
}

#[test]
fn a_retry_that_the_breaker_stops_is_paid_back() {
    let mut bench = Bench::new(
        r#""breaker": {"trip": {"consecutive_failures": 2}},
           "retry": {"tries": 2, "on": ["503"], "budget": {"share": 0.5}}"#,
    );
    let mut waiting = bench.call();
    let others = [bench.call(), bench.call(), bench.call()];
    assert!(bench.failed(&mut waiting).is_ok());
    assert_eq!(bench.counts().retry_budget, 1);
    for call in others {
        bench.settle(call, Outcome::Failure);
    }
    assert_eq!(bench.again(&mut waiting), Err(NoRetry::Breaker));
    assert_eq!(bench.counts().retry_budget, 2);
    assert_eq!(bench.retried(RetryResult::Made), 0);
}

#[test]
fn calls_are_evidence_or_tries_are() {
    for (evidence, states, outcomes) in [
        // Both calls fail twice each; the breaker opens at three failures.
        ("calls", [1, 0, 0], [0, 2, 0, 0]),
        ("tries", [0, 0, 1], [0, 3, 0, 0]),
    ] {
        let mut bench = Bench::new(&format!(
            r#""evidence": "{evidence}", "retry": {{"tries": 2, "on": ["503"]}},
               "breaker": {{"trip": {{"consecutive_failures": 3}}}}"#
        ));
        let mut call = bench.call();
        assert!(bench.failed(&mut call).is_ok());
        assert_eq!(bench.again(&mut call), Ok(()));
        assert_eq!(bench.failed(&mut call), Err(NoRetry::Tries));
        bench.settle(call, Outcome::Failure);
        let mut call = bench.call();
        // The third failure opens it: by tries the call ends here, and its result is known already.
        let told = bench.failed(&mut call);
        assert_eq!(told.is_ok(), evidence == "calls", "{told:?}");
        if told.is_ok() {
            assert_eq!(bench.again(&mut call), Ok(()));
            assert_eq!(bench.failed(&mut call), Err(NoRetry::Tries));
        }
        bench.settle(call, Outcome::Failure);
        let counts = bench.counts();
        assert_eq!((counts.states, counts.outcomes), (states, outcomes), "{evidence}");
        assert_eq!(bench.engine.totals().issued, bench.engine.totals().settled);
    }
}

#[test]
fn a_policy_that_does_not_act_does_not_try_again() {
    let mut bench = Bench::new(&format!(r#""mode": "shadow", {FIVE}"#));
    let mut calls: Vec<_> = (0..4).map(|_| bench.call()).collect();
    assert_eq!(bench.failed(&mut calls[0]), Err(NoRetry::NotListed));
    assert_eq!(bench.counts().retry_budget, 2, "what it would pay is counted");
}

#[test]
fn nobody_pays_for_calls_of_policies_that_are_gone() {
    let mut bench = Bench::new(FIVE);
    let mut calls: Vec<_> = (0..4).map(|_| bench.call()).collect();
    assert!(bench.failed(&mut calls[0]).is_ok());
    bench.policies = Policies::default();
    bench.engine.poll(bench.now);
    assert_eq!(bench.failed(&mut calls[1]), Err(NoRetry::Budget));
    assert_eq!(bench.again(&mut calls[0]), Err(NoRetry::Budget));
}

#[test]
fn a_scope_in_the_place_of_another_has_not_its_budget() {
    let mut bench = Bench::new(&format!(r#""scopes": {{"max": 1}}, {FIVE}"#));
    for _ in 0..4 {
        let call = bench.call();
        bench.settle(call, Outcome::Success);
    }
    let mut other = bench.call_of("other");
    assert_eq!(bench.failed(&mut other), Err(NoRetry::Budget));
}

/// Calls and retries of a scope that is known allocate nothing.
#[test]
fn retries_allocate_nothing() {
    let mut bench = Bench::new(
        r#""breaker": {"trip": {"consecutive_failures": 1000}},
           "retry": {"tries": 3, "on": ["503"], "budget": {"share": 1}}"#,
    );
    let run = |bench: &mut Bench| {
        let mut call = bench.call();
        assert!(bench.failed(&mut call).is_ok());
        assert_eq!(bench.again(&mut call), Ok(()));
        bench.settle(call, Outcome::Success);
    };
    run(&mut bench);
    let count = allocation_counter::measure(|| {
        for millis in 0..20_000 {
            run(bench.at(millis));
        }
    });
    assert_eq!(count.count_total, 0);
}

/// In shadow mode nothing is tried again. A call whose first try the policy would have made again is counted,
/// as far as the budget would have paid.
#[test]
fn what_would_be_tried_again_is_counted_in_shadow() {
    let fields = r#""mode": "shadow", "retry": {"tries": 3, "on": ["503"],
        "budget": {"share": 0.5}}"#;
    let mut bench = Bench::new(fields);
    let would = |bench: &mut Bench, how| {
        let call = bench.call();
        let ask = RetryAsk { method: "GET", has_key: false, can_be_sent_again: true };
        let failed = FailedTry { how, retry_after: None, is_exhausted: false };
        let case = RetryCase { now: bench.now, ask, failed, left: None };
        bench.engine.would_retry(&call.policy, &call.ticket, &case);
        bench.settle(call, Outcome::Failure);
        bench.counts().shadow_retries
    };
    let dead = TryFailure::Answer { status: 503, grpc: None };
    // Half a retry is none; what is not listed is nobody's.
    assert_eq!(would(&mut bench, dead), 0);
    assert_eq!(would(&mut bench, TryFailure::Answer { status: 502, grpc: None }), 0);
    assert_eq!([would(&mut bench, dead), would(&mut bench, dead)], [1, 2]);
    // Five calls have paid for two.
    assert_eq!(would(&mut bench, dead), 2);
    assert_eq!(bench.counts().retries, [0; RetryResult::COUNT]);
    let mut enforced = Bench::new(&fields.replace("shadow", "enforce"));
    assert_eq!([would(&mut enforced, dead), would(&mut enforced, dead)], [0, 0]);
}

/// The same where somebody else makes the tries, who is told of none.
#[test]
fn what_would_be_reserved_is_counted_in_shadow() {
    let fields = r#""mode": "shadow", "retry": {"tries": 3, "on": ["503", "connect"],
        "budget": {"share": 1}}"#;
    let mut bench = Bench::new(fields);
    let dead = TryFailure::Answer { status: 503, grpc: None };
    let good = TryFailure::Answer { status: 200, grpc: None };
    let unsent = TryFailure::NotSent(Transport::Connect);
    for (method, last, counted) in
        [("GET", good, 0), ("GET", dead, 1), ("POST", dead, 1), ("POST", unsent, 2)]
    {
        let call = bench.call();
        let ask = RetryAsk { method, has_key: false, can_be_sent_again: true };
        let Call { policy, ticket, .. } = &call;
        let reserved = bench.engine.reserve_retries(bench.now, policy, ticket, ask, None).unwrap();
        let gave_up = bench.engine.retried(bench.now, policy, ticket, &reserved, (0, Some(last)));
        assert!(!gave_up);
        assert_eq!(bench.counts().shadow_retries, counted, "{method} {last:?}");
        bench.settle(call, Outcome::Failure);
    }
    assert_eq!(bench.counts().retries, [0; RetryResult::COUNT]);
}
