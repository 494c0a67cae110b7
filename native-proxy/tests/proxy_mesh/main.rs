//! Proxies that decide as one by way of a real Redis (`share: mesh`).

mod limits;
#[path = "../proxy_support/mod.rs"]
mod proxy_support;
#[path = "../redis_support/mod.rs"]
mod redis;
mod store;

use bimetal_proxy::config::{Syntax, parse};
use proxy_support::{Running, Upstream, file, get, ok, wait_for};
use redis::Redis;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// An upstream that answers 200, or 500 where it fails.
fn switched() -> (Upstream, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let told = fails.clone();
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            if told.load(Ordering::SeqCst) {
                peer.send("HTTP/1.1 500 Failed\r\ncontent-length: 0\r\n\r\n");
            } else {
                peer.send(&ok("good"));
            }
        }
    });
    (upstream, fails)
}

/// A policy of a mesh that trips after three failures and then stays open.
fn policy(more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, breaker: {{trip: {{consecutive_failures: 3}}, \
         open: {{base: 60s, jitter: 0}}, share: mesh{more}}}}}]"
    )
}

fn board(redis: &Redis, more: &str) -> String {
    format!("board: {{redis: '{}', interval: 20ms{more}}}", redis.url())
}

/// One replica of several.
fn proxy(upstream: SocketAddr, redis: &Redis, more: &str) -> Running {
    Running::start(upstream, &format!("{}\n{}", board(redis, ""), policy(more)))
}

fn status(proxy: &Running) -> u16 {
    proxy.ask(&get("/")).status
}

fn fails(proxy: &Running, times: usize) {
    for _ in 0..times {
        assert_eq!(status(proxy), 500);
    }
}

fn is_open(proxy: &Running) -> bool {
    let labels = [("policy", "p"), ("state", "open")];
    proxy.metrics().find("bimetal_breaker_replicas", &labels) == Some(1.0)
}

fn wait_until_open(proxies: &[&Running]) {
    for proxy in proxies {
        wait_for("an open breaker", || is_open(proxy).then_some(()));
        let answer = proxy.ask(&get("/"));
        assert_eq!((answer.status, answer.header("x-bimetal-rule")), (503, Some("p/breaker")));
    }
}

/// Exchanges that went well.
fn exchanges(proxy: &Running) -> f64 {
    proxy.metrics().sum("bimetal_board_exchange_seconds_count", &[])
}

fn errors(proxy: &Running, reason: &str) -> f64 {
    proxy.metrics().sum("bimetal_board_errors_total", &[("reason", reason)])
}

/// Waits until a proxy has heard all that others had written by now.
fn wait_for_exchanges(proxies: &[&Running]) {
    for proxy in proxies {
        // One may be under way; the metrics are told by the worker, after what it was told before.
        let wanted = exchanges(proxy) + 3.0;
        wait_for("more exchanges", || (exchanges(proxy) >= wanted).then_some(()));
    }
}

#[test]
fn one_that_trips_opens_all_where_one_is_enough() {
    let Some(redis) = Redis::start("one") else { return };
    let (upstream, broken) = switched();
    let [one, second, third] = [(); 3].map(|()| proxy(upstream.address, &redis, ", quorum: 1"));
    for proxy in [&one, &second, &third] {
        assert_eq!(status(proxy), 200);
    }
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&one, &second, &third]);
}

#[test]
fn a_replica_alone_opens_nobody_else_and_two_open_the_third() {
    let Some(redis) = Redis::start("quorum") else { return };
    let (upstream, broken) = switched();
    let [one, second, third] = [(); 3].map(|()| proxy(upstream.address, &redis, ""));
    for proxy in [&one, &second, &third] {
        assert_eq!(status(proxy), 200);
    }
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&one]);
    wait_for_exchanges(&[&one, &second, &third]);
    assert!(!is_open(&second) && !is_open(&third));
    // The others' last results are good: what one saw alone is no evidence of all.
    broken.store(false, Ordering::SeqCst);
    assert_eq!((status(&second), status(&third)), (200, 200));
    broken.store(true, Ordering::SeqCst);
    fails(&second, 3);
    wait_until_open(&[&second, &third]);
}

#[test]
fn failures_at_three_replicas_are_a_streak() {
    let Some(redis) = Redis::start("streak") else { return };
    let (upstream, broken) = switched();
    let proxies = [(); 3].map(|()| proxy(upstream.address, &redis, ", quorum: 3"));
    for proxy in &proxies {
        assert_eq!(status(proxy), 200);
    }
    wait_for_exchanges(&proxies.each_ref());
    broken.store(true, Ordering::SeqCst);
    for proxy in &proxies {
        fails(proxy, 1);
    }
    wait_until_open(&proxies.each_ref());
}

#[test]
fn a_change_of_state_is_told_at_once() {
    let Some(redis) = Redis::start("at-once") else { return };
    let (upstream, broken) = switched();
    let slow = format!("board: {{redis: '{}', interval: 60s}}", redis.url());
    let one = Running::start(upstream.address, &format!("{slow}\n{}", policy(", quorum: 1")));
    broken.store(true, Ordering::SeqCst);
    // Without calls the first exchange has nothing to tell.
    wait_for("an exchange", || (exchanges(&one) >= 1.0).then_some(()));
    assert_eq!(redis.ask("ZCARD bimetal:mesh:changes").trim_start_matches(':').trim(), "0\r\n+OK");
    fails(&one, 3);
    wait_for("a record", || {
        redis.ask("ZCARD bimetal:mesh:changes").starts_with(":1").then_some(())
    });
    let keys = redis.ask("DBSIZE");
    assert!(keys.starts_with(":3\r\n"), "the changes, the store's name and one record: {keys}");
    let left = redis.ask("PTTL bimetal:mesh:changes");
    assert!(!left.starts_with(":-"), "it expires: {left}");
}

#[test]
fn what_stands_against_each_other_is_refused_with_what_to_do() {
    let told = |file: &str| parse(file, Syntax::Yaml).unwrap_err().to_string();
    let without = told(&policy(""));
    assert!(
        without.contains(
            "policies[0].breaker.share: \"mesh\" is not supported without a board by host native; name one \
             beside the policies: board: {redis: \"redis://…\"}"
        ),
        "{without}"
    );
    let skipped = parse(&format!("unsupported: skip\n{}", policy("")), Syntax::Yaml).unwrap();
    assert_eq!(skipped.skipped.len(), 1);
    let wrong = told("board: {redis: 'http://u:secret@h'}");
    assert!(wrong.contains("board.redis: ") && !wrong.contains("secret"), "{wrong}");
    let nothing = told("board: {}");
    assert!(nothing.contains("board: at least one of redis is needed"), "{nothing}");
    let interval = told("board: {redis: 'redis://h', interval: 1ms}");
    assert!(interval.contains("board.interval: "), "{interval}");
}

#[test]
fn a_board_changes_with_the_next_start_only() {
    let Some(redis) = Redis::start("reload") else { return };
    let (upstream, broken) = switched();
    let [one, other] = [(); 2].map(|()| proxy(upstream.address, &redis, ", quorum: 1"));
    let elsewhere = format!("{}\n{}", board(&redis, ", prefix: else"), policy(", quorum: 1"));
    one.reload(&file(upstream.address, &elsewhere));
    assert_eq!((status(&one), status(&other)), (200, 200));
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&other]);
}

/// Calls without end on a connection of its own; how many were answered 200, and how many otherwise.
fn load(listen: SocketAddr, ends: &AtomicBool, good: &AtomicU64) -> u64 {
    let mut client = proxy_support::Client::connect(listen);
    let mut other = 0;
    while !ends.load(Ordering::SeqCst) {
        if client.ask(&get("/")).status == 200 {
            good.fetch_add(1, Ordering::SeqCst);
        } else {
            other += 1;
        }
    }
    other
}
