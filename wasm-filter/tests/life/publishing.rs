//! What is published, what is taken back, and how failures are told.

use crate::fake::Fake;
use crate::{END_OF_STREAM, answer, configure, pass, plugin};
use bimetal_core::board::{Board, Words};
use bimetal_core::policy::Policy;
use bimetal_filter::board::WorkerBoard;
use bimetal_filter::port::Level;
use bimetal_filter::root::Root;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A board without a place for anybody, whose calls failed so often.
#[derive(Debug, Default)]
struct Paper {
    errors: AtomicU64,
    unshared: AtomicU64,
}

impl Board for Paper {
    fn open(&self, _key: &[u8], _count: usize) -> Option<Arc<dyn Words>> {
        None
    }
}

impl WorkerBoard for Paper {
    fn expect(&self, _policy: &Policy) {}

    fn tick(&self, poll: &mut dyn FnMut()) {
        poll();
    }

    fn take_errors(&self) -> u64 {
        self.errors.swap(0, Ordering::Relaxed)
    }

    fn unshared(&self) -> u64 {
        self.unshared.load(Ordering::Relaxed)
    }
}

fn warnings(host: &Fake) -> Vec<String> {
    let state = host.0.borrow();
    let warnings = state.lines.iter().filter(|(level, _)| *level == Level::Warn);
    warnings.map(|(_, line)| line.clone()).collect()
}

#[test]
fn a_worker_that_ends_takes_its_calls_out_of_the_gauge() {
    let (host, mut root) = plugin("outstanding", json!({}));
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    root.tick();
    assert_eq!(host.metric(&["calls_outstanding"]), 1);
    // Settled, and no tick to say so.
    drop(call);
    drop(root);
    assert_eq!(host.metric(&["calls_outstanding"]), 0);
    assert_eq!(host.metric(&["bimetal_scopes"]), 0);
}

#[test]
fn a_root_that_goes_while_another_stays_takes_nothing_back() {
    let (host, mut root) = plugin("two roots", json!({}));
    drop(root.call(1));
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    let mut next = Root::new(host.clone());
    assert!(next.configure());
    root.tick();
    let gauges = || {
        ["calls_outstanding", "bimetal_scopes", "breaker_replicas"].map(|name| host.metric(&[name]))
    };
    assert_eq!(gauges(), [1, 1, 1]);
    // The call was of the root that goes.
    call.log();
    drop(call);
    drop(root);
    assert_eq!(gauges(), [1, 1, 1], "before the next tick");
    next.tick();
    assert_eq!(gauges(), [0, 1, 1]);
}

#[test]
fn an_update_without_skips_resets_their_gauge() {
    let skipping = json!({"fallback": {"when": ["failed"], "status": 503}});
    let (host, mut root) = plugin("skips", json!({}));
    configure(&host, skipping);
    host.set(|state| {
        let mut document: serde_json::Value = serde_json::from_slice(&state.configuration).unwrap();
        document["unsupported"] = json!("skip");
        state.configuration = document.to_string().into_bytes();
    });
    for (skipped, document) in [(1, None), (0, Some(json!({})))] {
        if let Some(more) = document {
            configure(&host, more);
        }
        assert!(root.configure(), "{:?}", warnings(&host));
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        drop(call);
        root.tick();
        assert_eq!(host.metric(&["unsupported_skipped"]), skipped);
    }
}

#[test]
fn an_increment_that_was_refused_comes_later() {
    let (host, mut root) = plugin("refused increments", json!({}));
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    answer(&host, "200", "via_upstream");
    call.response_headers(END_OF_STREAM);
    drop(call);
    host.set(|state| state.failing.insert("add_to_metric"));
    root.tick();
    root.tick();
    assert_eq!(host.metric(&["decision=.=admitted", "requests_total"]), 0);
    host.set(|state| state.failing.clear());
    root.tick();
    root.tick();
    assert_eq!(host.metric(&["decision=.=admitted", "requests_total"]), 1);
    assert_eq!(host.metric(&["outcome=.=success", "outcomes_total"]), 1);
    assert_eq!(host.metric(&["state=.=closed", "breaker_replicas"]), 1);
    assert!(host.metric(&["decision_errors_total"]) >= 2);
}

#[test]
fn what_the_board_counts_is_published_once() {
    let board = Arc::new(Paper::default());
    let host = Fake::default();
    host.set(|state| state.board = Some(board.clone()));
    let (host, mut root) = crate::plugin_on(host, "board", json!({}));
    root.tick();
    assert_eq!(host.metric(&["decision_errors_total"]), 0);
    assert_eq!(host.find_metric(&["unshared_total"]), None, "what never happened");
    board.errors.store(1, Ordering::Relaxed);
    board.unshared.store(2, Ordering::Relaxed);
    for _ in 0..3 {
        root.tick();
        assert_eq!(host.metric(&["decision_errors_total"]), 1);
        assert_eq!(host.metric(&["unshared_total"]), 2);
    }
}

#[test]
fn one_failure_is_one_warning() {
    let (host, mut root) = plugin("warnings", json!({}));
    host.set(|state| state.failing.insert("now"));
    assert!(root.call(1).request_headers(END_OF_STREAM));
    host.set(|state| state.failing.clear());
    assert_eq!(warnings(&host), [""; 0], "not at the request");
    (0..3).for_each(|_| root.tick());
    assert_eq!(warnings(&host), ["host call now failed with status 10; 1 failures so far"]);
}

#[test]
fn an_anomaly_is_counted_and_told_though_nothing_else_is() {
    let watched = json!({"anomaly": {"signals": ["errors", "latency"], "window": 10}});
    let (host, mut root) = plugin("anomaly", watched);
    host.set(|state| state.is_quiet = true);
    root.tick();
    let mut second = |status| {
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        answer(&host, status, "via_upstream");
        call.response_headers(END_OF_STREAM);
        call.log();
        drop(call);
        pass(&host, 1_000);
        root.tick();
    };
    (0..12).for_each(|_| second("200"));
    let told = || {
        let lines = host.0.borrow().lines.clone();
        lines.into_iter().filter(|(_, line)| line.starts_with("{\"event\"")).collect::<Vec<_>>()
    };
    assert_eq!((host.find_metric(&["anomalies_total"]), told().len()), (None, 0));
    second("500");
    assert_eq!(host.metric(&["policy=.=echo", "signal=.=errors", "bimetal_anomalies_total"]), 1);
    let (level, line) = told().remove(0);
    assert_eq!(level, Level::Info);
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&event["signal"], &event["value"]), (&json!("errors"), &json!(1)));
    assert!((event["score"].as_f64().unwrap() - 2.846_049).abs() < 1e-5, "{line}");
    assert_eq!(told().len(), 1);
}

/// Answers of the policy's own are counted by their kind; those of a policy without one are not.
#[test]
fn answers_of_the_policys_own_are_counted() {
    let limited =
        json!({"concurrency": {"max": 1}, "breaker": {"trip": {"consecutive_failures": 100}}});
    for (name, fallback, counted) in [
        ("own answer", json!({"fallback": {"status": 200, "body": "later"}}), Some(2)),
        ("no answer of its own", json!({}), None),
    ] {
        let mut policy = limited.clone();
        policy.as_object_mut().unwrap().extend(fallback.as_object().unwrap().clone());
        let (host, mut root) = plugin(name, policy);
        let mut calls = [1, 2, 3].map(|context| root.call(context));
        let goes = calls.each_mut().map(|call| call.request_headers(END_OF_STREAM));
        assert_eq!(goes, [true, false, false]);
        root.tick();
        let parts = ["policy=.=echo", "kind=.=fixed", "bimetal_fallbacks_total"];
        assert_eq!(host.find_metric(&parts), counted, "{name}");
    }
}
