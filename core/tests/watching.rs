//! `anomaly` in a policy: what is watched of a scope's calls, in virtual time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::anomaly::{Anomaly, AnomalyPolicy, Judging, Seen, Signal, Watch};
use bimetal_core::engine::Policies;
use bimetal_core::event::EventKind;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Ticket, Verdict};
use policy::problems;
use serde_json::json;
use std::borrow::Cow;

struct To(&'static str);

impl Facts for To {
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }
}

/// An engine with one policy `echo`, and its clock in milliseconds.
struct World {
    engine: Engine,
    policies: Policies,
    now: u64,
}

impl World {
    fn new(policy: &str) -> Self {
        let mut engine = Engine::new(1);
        let policies = engine.load(&document(policy));
        Self { engine, policies, now: 0 }
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn ticket(&mut self, to: &'static str) -> Ticket {
        match self.engine.admit(self.now(), &self.policies, &To(to)) {
            Verdict::Admit(admission) => admission.ticket,
            other => panic!("{other:?}"),
        }
    }

    fn call(&mut self, to: &'static str, outcome: Outcome, latency: Option<u64>) {
        let ticket = self.ticket(to);
        let latency = latency.map(Duration::from_millis);
        let report = Report { latency, ..Report::from(outcome) };
        let _ = self.engine.settle(self.now(), ticket, report);
    }

    /// So many good calls at once, and a poll a second later.
    fn second(&mut self, calls: u64) -> Vec<Told> {
        self.second_with(calls, 0, None)
    }

    fn second_with(&mut self, good: u64, failures: u64, latency: Option<u64>) -> Vec<Told> {
        (0..good).for_each(|_| self.call("a", Outcome::Success, latency));
        (0..failures).for_each(|_| self.call("a", Outcome::Failure, None));
        self.passes(1_000)
    }

    fn passes(&mut self, millis: u64) -> Vec<Told> {
        self.now += millis;
        self.engine.poll(self.now());
        self.told()
    }

    fn told(&mut self) -> Vec<Told> {
        let events = std::iter::from_fn(|| self.engine.take_event());
        let told = events.filter_map(|event| match event.kind {
            EventKind::Anomaly(anomaly) => Some((event.scope.to_string(), anomaly)),
            _ => None,
        });
        told.collect()
    }

    fn counted(&self, scope: &str) -> [u64; Signal::COUNT] {
        let mut rows = self.engine.series();
        rows.find(|(_, label, _)| *label == scope).unwrap().2.anomalies
    }
}

type Told = (String, Anomaly);

fn document(policy: &str) -> Document {
    let text = format!(r#"{{"policies": [{{"name": "echo", {policy}}}]}}"#);
    Document::parse(text.as_bytes(), Host::Native).unwrap()
}

const RATE: &str = r#""anomaly": {"signals": ["rate"], "window": 10}"#;
const ERRORS: &str = r#""anomaly": {"signals": ["errors"], "window": 10}"#;
const LATENCY: &str = r#""anomaly": {"signals": ["latency"], "window": 10}"#;

#[test]
fn a_rate_unlike_those_before_is_told_with_its_evidence() {
    let mut world = World::new(RATE);
    for second in 0..9 {
        assert_eq!(world.second(10 + second % 2), []);
    }
    // 10, 11, 10, 11, 10, 11, 10, 11, 10 and 40: mean 13.4, deviation 9.36 (n − 1).
    let told = world.second(40);
    let [(scope, anomaly)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&**scope, anomaly.signal, anomaly.value), ("a", Signal::Rate, 40.0));
    assert!((anomaly.mean - 13.4).abs() < 1e-9, "{anomaly:?}");
    assert!((anomaly.deviation - 9.360_2).abs() < 1e-3, "{anomaly:?}");
    assert!((anomaly.score - 26.6 / anomaly.deviation).abs() < 1e-9, "{anomaly:?}");
    assert_eq!(world.counted("a"), [1, 0, 0]);
}

/// Detectors that take missing calls for missing samples tell the end of an outage (opensearch-project's
/// "AD imputation", opendistro-for-elasticsearch/anomaly-detection 317).
#[test]
fn silence_is_an_anomaly_of_rate_and_says_nothing_of_errors_and_latency() {
    let mut world = World::new(r#""anomaly": {"window": 10}"#);
    for second in 0..10 {
        assert_eq!(world.second_with(10 + second % 2, 1, Some(5)).len(), 0);
    }
    let told = world.second(0);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].1.signal, told[0].1.value), (Signal::Rate, 0.0));
    assert!(told[0].1.score < -2.0);
    for _ in 0..20 {
        assert!(world.second(0).iter().all(|(_, anomaly)| anomaly.signal == Signal::Rate));
    }
}

#[test]
fn errors_are_a_share_of_the_evidence() {
    let mut world = World::new(ERRORS);
    for _ in 0..9 {
        assert_eq!(world.second_with(9, 1, None), []);
    }
    (0..100).for_each(|_| world.call("a", Outcome::Neutral, None));
    (0..6).for_each(|_| world.call("a", Outcome::Slow, None));
    let told = world.second_with(0, 6, None);
    assert_eq!((told[0].1.signal, told[0].1.value), (Signal::Errors, 0.5));
    assert!((told[0].1.mean - 0.14).abs() < 1e-9, "{told:?}");
    assert_eq!(world.counted("a"), [0, 0, 1]);
}

#[test]
fn latency_is_a_mean_in_seconds_of_what_was_reported() {
    let mut world = World::new(LATENCY);
    let failure = &world.policies.iter().next().unwrap().failure;
    assert!(failure.wants_latency, "else no host reports one");
    for second in 0..9 {
        assert_eq!(world.second_with(4, 1, Some(10 + second % 2)), []);
    }
    world.call("a", Outcome::Success, Some(50));
    let told = world.second_with(1, 0, Some(150));
    assert_eq!((told[0].1.signal, told[0].1.value), (Signal::Latency, 0.1));
}

/// netdata/netdata 1175: false alarms with every start.
#[test]
fn nothing_is_told_before_the_window_is_full() {
    let mut world = World::new(ERRORS);
    (0..6).for_each(|_| assert_eq!(world.second(1), []));
    assert_eq!(world.second_with(0, 1, None), [], "one of seven is 2.3 deviations away");
    // Then that one has left the window.
    (0..9).for_each(|_| assert_eq!(world.second(1), []));
    assert_eq!(world.second_with(0, 1, None).len(), 1);
}

/// apple/servicetalk 3551, envoyproxy/envoy 18752: one failure of one call is no failure rate of 100 %.
#[test]
fn an_interval_with_too_few_calls_says_nothing_of_errors() {
    let anomaly = r#""anomaly": {"signals": ["errors"], "window": 10, "minimum_calls": 5}"#;
    let mut world = World::new(anomaly);
    (0..20).for_each(|_| assert_eq!(world.second(10), []));
    assert_eq!(world.second_with(0, 4, None), []);
    assert_eq!(world.second_with(0, 5, None).len(), 1);
}

/// A tick comes when it can.
#[test]
fn a_rate_is_over_the_time_that_passed() {
    let mut world = World::new(RATE);
    for late in [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 500, 0, 0, 250] {
        // A hundred calls in a second, however long the interval was.
        (0..(1_000 + late) / 10).for_each(|_| world.call("a", Outcome::Success, None));
        assert_eq!(world.passes(1_000 + late), [], "{late}");
    }
    // A flat series has no deviation; one more call in ten seconds is the first.
    assert_eq!(world.counted("a"), [0; 3]);
}

/// PostHog/posthog 52846: an interval that is not over is no sample; nothing is judged before.
#[test]
fn being_late_does_not_add_up() {
    let mut world = World::new(RATE);
    world.call("a", Outcome::Success, None);
    assert_eq!(world.engine.next_wakeup(), Some(Instant::from_millis(1_000)));
    world.passes(1_300);
    assert_eq!(world.engine.next_wakeup(), Some(Instant::from_millis(2_000)));
    world.passes(5_000);
    assert_eq!(world.engine.next_wakeup(), Some(Instant::from_millis(7_000)));
}

#[test]
fn each_scope_is_watched_by_itself() {
    let mut world = World::new(ERRORS);
    for _ in 0..12 {
        world.call("a", Outcome::Success, None);
        world.call("b", Outcome::Failure, None);
        assert_eq!(world.passes(1_000), []);
    }
    world.call("a", Outcome::Failure, None);
    world.call("b", Outcome::Failure, None);
    let told = world.passes(1_000);
    assert_eq!((told.len(), &*told[0].0), (1, "a"));
}

#[test]
fn it_decides_nothing() {
    let breaker = r#""breaker": {"trip": {"consecutive_failures": 1000}}"#;
    let mut world = World::new(&format!("{breaker}, {ERRORS}"));
    (0..12).for_each(|_| assert_eq!(world.second(3), []));
    assert_eq!(world.second_with(0, 3, None).len(), 1);
    let view = world.engine.breakers(world.now()).next().unwrap().view;
    assert_eq!(view.state.name(), "closed");
    let _ = world.ticket("a");
}

/// re-data/re-data 328: anomalies that are in the window hide the next.
#[test]
fn a_robust_judge_finds_peaks_that_hide_each_other() {
    let told = |detector: &str| {
        let anomaly = format!(r#""anomaly": {{"signals": ["rate"], {detector}}}"#);
        let mut world = World::new(&anomaly);
        let count = |second: u64| 100 + second * 7 % 10 + if second % 8 == 7 { 100 } else { 0 };
        (0..160).map(|second| world.second(count(second)).len()).sum::<usize>()
    };
    // Twenty peaks, two of them while it learns.
    assert_eq!(told(r#""detector": "robust""#), 18);
    assert!(told(r#""threshold": 3"#) < 3);
}

#[test]
fn a_reload_that_means_the_same_goes_on() {
    let mut world = World::new(ERRORS);
    (0..9).for_each(|_| assert_eq!(world.second(3), []));
    // The policy before is gone; nobody calls before the interval is over.
    let other = format!(r#""timeout": {{"request": "7s"}}, {ERRORS}"#);
    world.policies = world.engine.load(&document(&other));
    assert_eq!(world.passes(1_000), []);
    assert_eq!(world.second_with(0, 3, None).len(), 1);
}

#[test]
fn a_changed_watch_begins_anew_and_one_that_is_left_out_ends() {
    let mut world = World::new(ERRORS);
    (0..12).for_each(|_| assert_eq!(world.second(3), []));
    world.policies = world.engine.load(&document(&ERRORS.replace("10", "11")));
    assert_eq!(world.second_with(0, 3, None), [], "it learns");
    (0..12).for_each(|_| {
        world.second(3);
    });
    world.policies = world.engine.load(&document(r#""mode": "enforce""#));
    assert_eq!(world.second_with(0, 3, None), []);
    assert_eq!(world.engine.next_wakeup(), None, "nothing is looked after");
}

#[test]
fn a_document_that_is_only_read_watches_nothing() {
    let mut world = World::new(ERRORS);
    let _read = world.engine.load(&document(RATE));
    assert_eq!(world.engine.next_wakeup(), None);
    world.passes(10_000);
    assert_eq!(world.engine.series().count(), 0);
}

#[test]
fn a_clock_that_comes_back_from_ahead_stops_nothing() {
    let mut world = World::new(ERRORS);
    world.now = 1_000_000_000;
    (0..12).for_each(|_| assert_eq!(world.second(3), []));
    world.now = 5_000;
    world.engine.poll(world.now());
    assert_eq!(world.second(3), []);
    assert_eq!(world.second_with(0, 3, None).len(), 1);
}

#[test]
fn the_end_of_time_ends() {
    let mut world = World::new(ERRORS);
    world.call("a", Outcome::Success, None);
    world.engine.poll(Instant::FAR_FUTURE);
    world.engine.poll(Instant::FAR_FUTURE);
    assert_eq!(world.told(), []);
}

/// Labels are bounded, so watches are: what comes later is watched together.
#[test]
fn there_are_no_more_watches_than_labels() {
    struct Tenant(String);
    impl Facts for Tenant {
        fn destination(&self) -> Option<Cow<'_, [u8]>> {
            Some(Cow::Borrowed(self.0.as_bytes()))
        }
    }
    let mut world = World::new(&format!(r#""scopes": {{"max": 100000}}, {ERRORS}"#));
    let most = bimetal_core::series::MAX_SERIES + 1;
    for tenant in 0..2 * most {
        let facts = Tenant(tenant.to_string());
        let Verdict::Admit(call) = world.engine.admit(world.now(), &world.policies, &facts) else {
            panic!()
        };
        let _ = world.engine.settle(world.now(), call.ticket, Outcome::Success.into());
    }
    assert_eq!(world.engine.series().count(), most);
    assert_eq!(world.engine.watches(), most);
}

#[test]
fn a_host_without_memory_watches_less() {
    let mut world = World::new(ERRORS);
    world.engine.set_room(|_| false);
    world.call("a", Outcome::Success, None);
    assert_eq!(world.engine.watches(), 0);
    world.engine.set_room(|_| true);
    world.call("a", Outcome::Success, None);
    assert_eq!(world.engine.watches(), 1);
}

/// tombii/better-ccflare 410: with the judged sample in its window no score is above (n − 1)/√n.
#[test]
fn what_can_never_be_told_is_refused() {
    let wrong = |anomaly: serde_json::Value| {
        let document = json!({"policies": [{"name": "a", "anomaly": anomaly}]});
        problems(&document, Host::Wasm)
    };
    let never = "never exceeded in a window of";
    assert_eq!(
        wrong(json!({"window": 5})),
        [format!("policies[0].anomaly.threshold: 2 is {never} 5: no score is above 1.788854")]
    );
    assert_eq!(
        wrong(json!({"threshold": 7})),
        [format!("policies[0].anomaly.threshold: 7 is {never} 50: no score is above 6.929646")]
    );
    assert_eq!(
        wrong(json!({"detector": "robust", "window": 60})),
        ["policies[0].anomaly.window: 60 is not 50, the window of robust"]
    );
    assert_eq!(wrong(json!({"detector": "robust", "threshold": 7})), [""; 0]);
    assert_eq!(wrong(json!({"window": 5, "threshold": 1.5})), [""; 0]);
    assert_eq!(
        wrong(json!({"signals": []})),
        ["policies[0].anomaly.signals: 0 items are outside 1–1000"]
    );
}

#[test]
fn its_defaults_are_the_origins_rule() {
    let policy = |text: &str| document(text).policies[0].anomaly.clone();
    assert_eq!(policy(r#""mode": "enforce""#), None);
    let usual = AnomalyPolicy {
        signals: Signal::ALL.to_vec(),
        detector: Judging::ZScore,
        window: 50,
        threshold: 2.0,
        interval: Duration::from_secs(1),
        minimum_calls: 1,
    };
    assert_eq!(policy(r#""anomaly": {}"#), Some(usual.clone()));
    let robust = AnomalyPolicy { detector: Judging::Robust, threshold: 5.0, ..usual };
    assert_eq!(policy(r#""anomaly": {"detector": "robust"}"#), Some(robust));
    // How they are listed means nothing.
    let listed = r#""anomaly": {"signals": ["errors", "rate", "errors"]}"#;
    assert_eq!(policy(listed).unwrap().signals, [Signal::Rate, Signal::Errors]);
}

/// Usable alone: sums in, anomalies out.
#[test]
fn a_watch_needs_no_engine() {
    let policy = document(ERRORS).policies[0].anomaly.clone().unwrap();
    let mut watch = Watch::new(&policy, Instant::ZERO, Seen::default());
    let (mut seen, mut told) = (Seen::default(), Vec::new());
    for second in 1..=10_u64 {
        seen.settled += 10;
        seen.failures += if second == 10 { 10 } else { 1 };
        watch.poll(&policy, Instant::from_millis(second * 1_000), seen, &mut |one| told.push(one));
    }
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].value, 1.0);
}
