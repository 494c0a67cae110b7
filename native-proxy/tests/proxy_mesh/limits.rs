//! A rate limit of a whole mesh: three proxies over one store, and without it.

use crate::proxy_support::{Running, Upstream, ok, wait_for};
use crate::redis::Redis;
use crate::{board, errors, exchanges, load};
use bimetal_proxy::config::{Syntax, parse};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Calls in a second that all proxies together admit.
const RATE: f64 = 300.0;
const CAPACITY: f64 = 30.0;

fn file(redis: &Redis, when: &str) -> String {
    format!(
        "{}\npolicies: [{{name: p, scope: policy, rate_limits: [{{rate: {RATE}/s, capacity: {CAPACITY}, \
         key: [policy], share: mesh{when}}}]}}]",
        board(redis, "")
    )
}

/// What is admitted by all from now on until `span` is over, in a second.
fn admitted_in_a_second(good: &AtomicU64, span: Duration) -> f64 {
    let (begun, before) = (Instant::now(), good.load(Ordering::SeqCst));
    wait_for("the time to count in", || (begun.elapsed() >= span).then_some(()));
    let admitted = (good.load(Ordering::SeqCst) - before) as f64;
    admitted / begun.elapsed().as_secs_f64()
}

/// As many calls as three connections carry, which is more than twice the rate. What is admitted is measured by the
/// time that passed, however long that is.
#[test]
fn three_proxies_admit_the_rate_together_and_no_more_without_the_store() {
    let Some(mut redis) = Redis::start("limit") else { return };
    let upstream = Upstream::answering(ok("good"));
    let proxies = [(); 3].map(|()| Running::start(upstream.address, &file(&redis, "")));
    // They know of each other, and the store has known them for a lease.
    for proxy in &proxies {
        wait_for("exchanges", || (exchanges(proxy) >= 75.0).then_some(()));
    }
    let (ends, good) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for proxy in &proxies {
            let (listen, ends, good) = (proxy.listen, &ends, &good);
            scope.spawn(move || load(listen, ends, good));
        }
        // The buckets that are full at the start.
        admitted_in_a_second(&good, Duration::from_secs(2));
        let span = Duration::from_secs(10);
        let with_store = admitted_in_a_second(&good, span);
        redis.kill();
        for proxy in &proxies {
            wait_for("failed exchanges", || (errors(proxy, "store") >= 3.0).then_some(()));
        }
        // The last lease is over then.
        admitted_in_a_second(&good, Duration::from_secs(2));
        let without_store = admitted_in_a_second(&good, span);
        ends.store(true, Ordering::SeqCst);
        println!("{with_store} in a second with the store, {without_store} without");
        for admitted in [with_store, without_store] {
            let per_cent = admitted / RATE * 100.0;
            assert!((95.0..=105.0).contains(&per_cent), "{admitted} in a second");
        }
    });
}

#[test]
fn while_the_store_is_away_the_policy_decides() {
    for (when, passes) in [("allow", true), ("deny", false)] {
        let Some(mut redis) = Redis::start(when) else { return };
        let upstream = Upstream::answering(ok("good"));
        let file = file(&redis, &format!(", when_store_fails: {when}"));
        let proxy = Running::start(upstream.address, &file);
        wait_for("exchanges", || (exchanges(&proxy) >= 3.0).then_some(()));
        redis.kill();
        let mut client = proxy.client();
        let mut status = || client.ask(&crate::get("/")).status;
        // More than there are tokens for, all alike, a lease later.
        wait_for("the end of the lease", || {
            let answers: Vec<_> = (0..200).map(|_| status() == 200).collect();
            answers.iter().all(|passed| *passed == passes).then_some(())
        });
    }
}

#[test]
fn without_a_board_it_is_refused_by_name() {
    let file = "policies: [{name: p, rate_limits: [{rate: 1/s, share: mesh}]}]";
    let told = parse(file, Syntax::Yaml).unwrap_err().to_string();
    let wanted = "policies[0].rate_limits[0].share: \"mesh\" is not supported without a board by host native";
    assert!(told.contains(wanted), "{told}");
}
