//! Rate limits at work: keys, several at once, what a rejection takes and says, modes, updates.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
mod limits;

use bimetal_core::decision::{PassReason, Rule};
use bimetal_core::event::Decided;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host, Share};
use bimetal_core::{Engine, Verdict};
use limits::{Request, Worker, document, field, from};
use std::sync::Arc;

const PER_CLIENT: &str = r#""rate_limits": [{"rate": "10/s", "key": ["client"]}]"#;

fn tenant(tenant: &str) -> Request<'_> {
    Request { client: "10.0.0.1", tenant: Some(tenant) }
}

#[test]
fn the_worked_timeline() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "10/s",
            "burst": {"tokens": 42, "expires": "1s", "recovers_after": "10s"}}]"#,
    );
    assert_eq!(worker.at(0).offered(from("a"), 60), 52);
    assert_eq!(worker.at(500).offered(from("a"), 30), 5);
    for step in 0..88 {
        assert_eq!(worker.at(700 + step * 1_000 / 9).offered(from("a"), 1), 1);
    }
    let base = worker.at(10_500).offered(from("a"), 100) - 42;
    assert!((9..=10).contains(&base), "{base}");
}

#[test]
fn each_key_has_its_own() {
    let mut worker = Worker::new(PER_CLIENT);
    assert_eq!(worker.offered(from("10.0.0.1"), 20), 10);
    assert_eq!(worker.offered(from("10.0.0.2"), 20), 10);
    assert_eq!(worker.at(100).offered(from("10.0.0.1"), 5), 1);
    assert_eq!(worker.engine.totals().limit_keys, 2);
}

#[test]
fn a_key_of_the_policy_is_one_and_one_of_several_parts_is_exact() {
    let mut all = Worker::new(r#""rate_limits": [{"rate": "3/s", "key": ["policy"]}]"#);
    assert_eq!(all.offered(from("a"), 2) + all.offered(from("b"), 2), 3);
    let mut both =
        Worker::new(r#""rate_limits": [{"rate": "1/s", "key": ["client", "header:x-tenant"]}]"#);
    for (client, tenant) in [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc")] {
        let request = Request { client, tenant: Some(tenant) };
        assert_eq!(both.offered(request, 2), 1, "{client:?} {tenant:?}");
    }
}

#[test]
fn without_a_key_it_is_the_scope() {
    let text = br#"{"version": "v1", "policies": [
        {"name": "a", "scope": "client", "rate_limits": [{"rate": "1/s"}]}]}"#;
    let document = Document::parse(text, Host::Native).unwrap();
    let mut worker = Worker::new("\"mode\": \"enforce\"");
    worker.policies = worker.engine.load(&document);
    assert_eq!(worker.offered(from("a"), 2) + worker.offered(from("b"), 2), 2);
}

#[test]
fn nobody_escapes_by_leaving_a_header_out() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "2/s", "key": ["header:x-tenant"]}]"#);
    assert_eq!(worker.offered(from("a"), 3) + worker.offered(from("b"), 3), 2);
    assert_eq!(worker.offered(tenant("gold"), 3), 2);
}

#[test]
fn the_first_override_that_fits_holds() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "1/s", "key": ["client", "header:x-tenant"],
            "burst": {"tokens": 2}, "overrides": [
            {"values": ["10.0.0.9", "*"], "rate": "3/s", "burst": {"tokens": 1}},
            {"values": ["*", "gold"], "rate": "5/s", "capacity": 7},
            {"values": ["*", ""], "rate": "4/s"}]}]"#,
    );
    assert_eq!(worker.offered(tenant("gold"), 20), 9, "its own 7, and the limit's burst");
    assert_eq!(worker.offered(tenant("tin"), 20), 3);
    assert_eq!(worker.offered(from("10.0.0.1"), 20), 6, "no header is the empty value");
    let special = Request { client: "10.0.0.9", tenant: Some("gold") };
    assert_eq!(worker.offered(special, 20), 4);
}

#[test]
fn clients_of_allowed_networks_are_not_limited_and_take_nothing() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "2/s", "key": ["policy"],
            "allow": ["10.1.0.0/16", "192.0.2.7", "2001:db8::/33"]}]"#,
    );
    for client in ["10.1.255.255", "192.0.2.7", "2001:db8:7fff::1", "::ffff:10.1.2.3"] {
        assert_eq!(worker.offered(from(client), 50), 50, "{client}");
    }
    for client in ["10.2.0.0", "192.0.2.8", "2001:db8:8000::1", "10.1.0.0.1", "10.1.0.1, x", ""] {
        worker.now += bimetal_core::Duration::from_secs(1);
        assert_eq!(worker.offered(from(client), 50), 2, "{client}");
    }
}

#[test]
fn all_limits_must_admit_and_a_rejection_takes_of_none() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "5/s", "key": ["policy"]}, {"rate": "2/s", "key": ["client"]},
            {"rate": "2/s", "key": ["client"]}]"#,
    );
    assert_eq!(worker.offered(from("a"), 100), 2);
    assert_eq!(worker.offered(from("b"), 100), 2, "those that a was refused took nothing");
    assert_eq!(worker.offered(from("c"), 100), 1);
    assert_eq!(worker.offered(from("d"), 100), 0);
}

/// Fixed order: rate limits, breaker, concurrency. Who says no first keeps the others from giving.
#[test]
fn what_another_rule_rejects_takes_no_token() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "3/h"}], "concurrency": {"max": 1}, "breaker":
            {"trip": {"consecutive_failures": 1}, "open": {"base": "1s", "jitter": 0}}"#,
    );
    let held = worker.ask(from("a")).unwrap();
    for _ in 0..10 {
        assert_eq!(worker.ask(from("a")).unwrap_err(), Rule::Concurrency);
    }
    worker.engine.settle(worker.now, held, Report::from(Outcome::Failure));
    for _ in 0..10 {
        assert_eq!(worker.ask(from("a")).unwrap_err(), Rule::Breaker);
    }
    let probe = worker.at(2_000).ask(from("a")).unwrap();
    assert!(probe.is_probe());
    worker.engine.settle(worker.now, probe, Report::from(Outcome::Failure));
    // The third and last token. The limit is asked first, and takes no probe.
    let last = worker.at(10_000).ask(from("a")).unwrap();
    assert!(last.is_probe());
    worker.engine.settle(worker.now, last, Report::from(Outcome::Failure));
    let states = worker.engine.series().next().unwrap().2.states;
    assert_eq!(worker.at(60_000).ask(from("a")).unwrap_err(), Rule::RateLimit);
    assert_eq!(worker.engine.series().next().unwrap().2.states, states);
}

#[test]
fn an_exceeded_limit_keeps_its_burst_away_also_where_another_says_no() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "1/s", "burst": {"tokens": 1, "recovers_after": "10s"}},
            {"rate": "1/m", "capacity": 3}]"#,
    );
    assert_eq!(worker.at(0).offered(from("a"), 5), 2);
    assert_eq!(worker.at(5_000).offered(from("a"), 5), 1, "the burst is not back");
    // At 5 s the call that the second limit turned away exceeded the first as well.
    assert_eq!(worker.at(14_000).offered(from("a"), 5), 0);
    assert_eq!(worker.at(60_000).offered(from("a"), 5), 1);
}

#[test]
fn a_rejection_says_which_limit_and_when() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "10/s", "key": ["client"]},
            {"rate": "12/m", "status": 503, "key": ["client"], "overrides": [
                {"values": ["b"], "rate": "5/500ms"}]}]"#,
    );
    worker.offered(from("a"), 20);
    let reply = worker.at(0).refusal(from("a"));
    assert_eq!(reply.status, 429);
    assert_eq!(field(&reply, "x-bimetal-rule"), Some("a/rate_limit"));
    let reason = "rate_limits[0] exceeded, room for another call in 100ms";
    assert_eq!(field(&reply, "x-bimetal-reason"), Some(reason));
    assert_eq!(reply.body, format!(r#"{{"error":"rate limit: {reason}"}}"#));
    assert_eq!(field(&reply, "retry-after"), Some("1"), "never 0");
    assert_eq!(field(&reply, "ratelimit-policy"), Some(r#""a.0";q=10;w=1"#));
    assert_eq!(field(&reply, "ratelimit"), Some(r#""a.0";r=0;t=1"#));
    // Both are exceeded: the longer wait is told.
    worker.at(100).offered(from("a"), 1);
    worker.at(200).offered(from("a"), 1);
    let reply = worker.at(200).refusal(from("a"));
    assert_eq!((reply.status, field(&reply, "retry-after")), (503, Some("5")));
    assert_eq!(field(&reply, "ratelimit-policy"), Some(r#""a.1";q=12;w=60"#));
    assert_eq!(field(&reply, "ratelimit"), Some(r#""a.1";r=0;t=5"#));
    // A window below a second, of an override.
    worker.offered(from("b"), 20);
    let reply = worker.refusal(from("b"));
    assert_eq!(field(&reply, "ratelimit-policy"), Some(r#""a.1";q=10;w=1"#));
}

#[test]
fn a_share_is_enforced_and_the_rest_is_counted() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "10/s", "enforced": 0.25}]"#);
    assert_eq!(worker.offered(from("a"), 110), 10 + 75);
    let (_, _, counts) = worker.engine.series().next().unwrap();
    let place = Decided::Rejected(Rule::RateLimit).place();
    assert_eq!((counts.decisions[place], counts.shadow[place]), (25, 75));
    assert_eq!(counts.decisions[Decided::Admitted.place()], 85);
    let mut none = Worker::new(r#""rate_limits": [{"rate": "1/s", "enforced": 0}]"#);
    assert_eq!(none.offered(from("a"), 100), 100);
}

#[test]
fn shadow_counts_and_rejects_nobody() {
    let mut worker = Worker::new(&format!(r#""mode": "shadow", {PER_CLIENT}"#));
    let mut would = 0;
    for _ in 0..30 {
        match worker.engine.admit(worker.now, &worker.policies, &from("a")) {
            Verdict::Pass(pass) => {
                assert!(matches!(pass.why, PassReason::Shadow(no) if no.rule() == Rule::RateLimit));
                would += 1;
            }
            verdict => assert!(matches!(verdict, Verdict::Admit(_)), "{verdict:?}"),
        }
    }
    assert_eq!(would, 20);
    let (_, _, counts) = worker.engine.series().next().unwrap();
    let place = Decided::Rejected(Rule::RateLimit).place();
    assert_eq!((counts.decisions[place], counts.shadow[place]), (0, 20));
}

#[test]
fn a_disabled_policy_and_one_that_is_forced_open_take_nothing() {
    for mode in ["disabled", "forced_open"] {
        let mut worker = Worker::new(PER_CLIENT);
        let enforced = std::mem::take(&mut worker.policies);
        worker.policies =
            worker.engine.load(&document(&format!(r#""mode": "{mode}", {PER_CLIENT}"#)));
        for _ in 0..20 {
            let verdict = worker.engine.admit(worker.now, &worker.policies, &from("a"));
            assert!(!matches!(verdict, Verdict::Admit(_)), "{mode}");
        }
        worker.policies = enforced;
        assert_eq!(worker.offered(from("a"), 20), 10, "{mode}");
    }
}

#[test]
fn workers_of_a_process_share_it_or_not() {
    for (share, all) in [("process", 10), ("none", 20)] {
        let board = Arc::new(board::TestBoard::default());
        let fields = format!(
            r#""rate_limits": [{{"rate": "10/s", "key": ["client"], "share": "{share}"}}]"#
        );
        let mut workers =
            [1, 2].map(|seed| Worker::with(Engine::with_board(seed, board.clone()), &fields));
        let admitted: u32 =
            (0..40).map(|call: usize| workers[call % 2].offered(from("a"), 1)).sum();
        assert_eq!(admitted, all, "{share}");
        assert_eq!(workers[0].offered(from("b"), 5), 5);
    }
}

#[test]
fn workers_share_a_limit_in_both_hosts_where_nothing_is_said() {
    let text = br#"{"policies": [{"name": "a", "rate_limits": [{"rate": "1/s"}]}]}"#;
    for host in [Host::Wasm, Host::Native] {
        let document = Document::parse(text, host).unwrap();
        assert_eq!(document.policies[0].rate_limits[0].share, Share::Process);
    }
}

#[test]
fn an_update_keeps_a_limit_that_means_the_same_and_the_breaker_of_one_that_does_not() {
    let trip = r#""breaker": {"trip": {"consecutive_failures": 1}}"#;
    let with = |limits: &str| format!(r#"{trip}, "rate_limits": [{limits}]"#);
    let mut worker = Worker::new(&with(r#"{"rate": "60/m", "capacity": 10}"#));
    assert_eq!(worker.offered(from("a"), 20), 10);
    let update = |worker: &mut Worker, limits: &str| {
        worker.policies = worker.engine.load(&document(&with(limits)));
        worker.engine.poll(worker.now);
    };
    // Written differently, judged differently, in another place: it is the same limit.
    for same in [
        r#"{"rate": "60/60s", "capacity": 10, "enforced": 1, "status": 503, "allow": ["::1"]}"#,
        r#"{"rate": "9/s", "enforced": 0}, {"rate": "60/m", "capacity": 10, "key": ["policy"]}"#,
    ] {
        update(&mut worker, same);
        assert_eq!(worker.offered(from("a"), 20), 0, "{same}");
    }
    let failed = worker.at(1_000).ask(from("a")).unwrap();
    update(&mut worker, r#"{"rate": "61/m", "capacity": 10}"#);
    assert!(!worker.engine.settle(worker.now, failed, Report::from(Outcome::Failure)).late);
    assert_eq!(worker.ask(from("a")).unwrap_err(), Rule::Breaker, "the breaker is the same");
    assert_eq!(worker.engine.totals().limit_keys, 1, "the old limits are gone");
}

#[test]
fn a_header_in_another_case_is_the_same_key() {
    let limit = |name: &str| {
        let text = format!(r#""rate_limits": [{{"rate": "2/h", "key": ["header:{name}"]}}]"#);
        document(&text)
    };
    let mut worker = Worker::new(PER_CLIENT);
    worker.policies = worker.engine.load(&limit("X-Tenant"));
    assert_eq!(worker.offered(tenant("gold"), 5), 2);
    worker.policies = worker.engine.load(&limit("x-tenant"));
    assert_eq!(worker.offered(tenant("gold"), 5), 0, "an update that says the same resets nobody");
}

#[test]
fn flooding_the_keys_resets_nobody() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "10/s", "key": ["client"], "max_keys": 100,
            "overrides": [{"values": ["victim"], "rate": "10/h"}]}]"#,
    );
    assert_eq!(worker.offered(from("victim"), 20), 10);
    let names: Vec<_> = (0..10_000).map(|number| format!("flood-{number}")).collect();
    // One that is full again after 100 ms can go; at first none is, and further keys share one limit.
    let crowded: u32 = names.iter().take(1_000).map(|name| worker.offered(from(name), 1)).sum();
    assert_eq!(crowded, 99 + 10);
    for (index, name) in names.iter().enumerate() {
        worker.at(1_000 + index as u64 * 10).offered(from(name), 1);
        assert_eq!(worker.engine.totals().limit_keys, 100);
    }
    assert_eq!(worker.offered(from("victim"), 10), 0, "nothing is back before 360 s");
    assert_eq!(worker.at(365_000).offered(from("victim"), 10), 1);
}
