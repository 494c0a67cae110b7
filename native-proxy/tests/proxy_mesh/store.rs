//! A store that is gone, refuses, hangs, or holds what is not ours.

use crate::proxy_support::{Running, wait_for};
use crate::redis::Redis;
use crate::{
    board, errors, exchanges, fails, is_open, load, policy, proxy, status, switched,
    wait_for_exchanges, wait_until_open,
};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn a_store_that_is_killed_under_load_fails_no_call_and_takes_no_decision_away() {
    let Some(mut redis) = Redis::start("killed") else { return };
    let (upstream, broken) = switched();
    let [one, other] = [(); 2].map(|()| proxy(upstream.address, &redis, ", quorum: 1"));
    let (ends, good) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let clients = [&one, &other, &one, &other].map(|proxy| {
            let (listen, ends, good) = (proxy.listen, &ends, &good);
            scope.spawn(move || load(listen, ends, good))
        });
        let served = |more: u64| {
            let wanted = good.load(Ordering::SeqCst) + more;
            wait_for("calls", || (good.load(Ordering::SeqCst) >= wanted).then_some(()));
        };
        served(200);
        redis.kill();
        for proxy in [&one, &other] {
            wait_for("a failed exchange", || (errors(proxy, "store") >= 3.0).then_some(()));
        }
        served(200);
        ends.store(true, Ordering::SeqCst);
        let failed: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
        assert_eq!(failed, 0);
    });
    // Each decides by what it sees.
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&one]);
    assert!(!is_open(&other));
    redis.restart();
    // The first exchange of one tells, the next of the other hears.
    let before = exchanges(&one);
    wait_for("an exchange", || (exchanges(&one) > before).then_some(()));
    wait_for_exchanges(&[&other]);
    assert!(is_open(&other));
}

#[test]
fn a_store_that_refuses_to_write_is_waited_for() {
    let Some(redis) = Redis::start("refuses") else { return };
    let (upstream, broken) = switched();
    let [one, other] = [(); 2].map(|()| proxy(upstream.address, &redis, ", quorum: 1"));
    assert_eq!((status(&one), status(&other)), (200, 200));
    for (spoil, mend) in [
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    ] {
        let before = errors(&one, "store");
        assert!(redis.ask(spoil).starts_with("+OK"), "{spoil}");
        wait_for("a failed exchange", || (errors(&one, "store") > before).then_some(()));
        assert_eq!((status(&one), status(&other)), (200, 200), "{spoil}");
        redis.ask(mend);
        wait_for_exchanges(&[&one, &other]);
    }
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&other]);
}

#[test]
fn what_is_not_ours_is_counted_and_not_believed() {
    let Some(redis) = Redis::start("foreign") else { return };
    let (upstream, broken) = switched();
    let [one, other] = [(); 2].map(|()| proxy(upstream.address, &redis, ", quorum: 1"));
    assert_eq!((status(&one), status(&other)), (200, 200));
    wait_for_exchanges(&[&one, &other]);
    let name = |number: u32| format!("{number:020x}:key");
    let key = |number: u32| format!("bimetal:mesh:of:{}", name(number));
    // Somebody else's, in each of the ways in which they can lie where records are.
    for (number, reason, value) in [
        (1, "foreign", r#""garbage""#),
        (2, "foreign", r#""9:9:garbage""#),
        (3, "foreign", r#""9:9:\xb1\x01d""#),
        (4, "version", r#""9:9:\xb1\x02d and whatever follows there""#),
    ] {
        let before = errors(&one, reason);
        assert!(redis.ask(&format!("SET {} {value}", key(number))).starts_with("+OK"));
        redis.ask(&format!("ZADD bimetal:mesh:changes 1000000 {}", name(number)));
        // It is found once a change is looked for that is later than the last.
        redis.ask("HSET bimetal:mesh:store changes 2000000");
        wait_for(reason, || (errors(&one, reason) > before).then_some(()));
        redis.ask(&format!("ZREM bimetal:mesh:changes {}", name(number)));
        redis.ask("DEL bimetal:mesh:store");
        wait_for_exchanges(&[&one, &other]);
    }
    redis.ask(&format!("LPUSH {} a list", key(5)));
    redis.ask(&format!("ZADD bimetal:mesh:changes 1000000 {}", name(5)));
    let before = errors(&one, "foreign");
    wait_for("a list", || (errors(&one, "foreign") > before).then_some(()));
    assert!(!is_open(&one) && !is_open(&other));
    // Where another kind of key stands in for the list of changes nothing can be exchanged.
    redis.ask("DEL bimetal:mesh:changes bimetal:mesh:store");
    redis.ask("SET bimetal:mesh:store something");
    let before = errors(&one, "store");
    wait_for("a failed exchange", || (errors(&one, "store") > before).then_some(()));
    assert_eq!((status(&one), status(&other)), (200, 200));
    redis.ask("DEL bimetal:mesh:store");
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&other]);
}

#[test]
fn a_store_that_hangs_holds_no_call_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (upstream, broken) = switched();
    let board =
        format!("board: {{redis: 'redis://{}', interval: 20ms}}", silent.local_addr().unwrap());
    let one = Running::start(upstream.address, &format!("{board}\n{}", policy("")));
    for _ in 0..100 {
        assert_eq!(status(&one), 200);
    }
    wait_for("an exchange that took too long", || (errors(&one, "store") >= 1.0).then_some(()));
    broken.store(true, Ordering::SeqCst);
    fails(&one, 3);
    wait_until_open(&[&one]);
    drop(silent);
}

#[test]
fn two_with_one_name_are_found() {
    let Some(redis) = Redis::start("names") else { return };
    let (upstream, _) = switched();
    let file = format!("{}\n{}", board(&redis, ", replica: same"), policy(""));
    let [one, other] = [(); 2].map(|()| Running::start(upstream.address, &file));
    let found = || errors(&one, "replica") + errors(&other, "replica");
    wait_for("a record of another", || {
        assert_eq!((status(&one), status(&other)), (200, 200));
        (found() > 0.0).then_some(())
    });
}

/// A client that stays silent for ever is what others had here.
#[test]
fn a_wrong_password_is_said() {
    let Some(redis) = Redis::start("password") else { return };
    let (upstream, _) = switched();
    let wrong = format!("board: {{redis: '{}?pass=wrong', interval: 20ms}}", redis.url());
    let one = Running::start(upstream.address, &format!("{wrong}\n{}", policy("")));
    wait_for("a failed exchange", || (errors(&one, "store") >= 1.0).then_some(()));
    assert_eq!(status(&one), 200);
}

#[test]
fn what_was_seen_while_the_store_was_away_is_told_when_it_is_back() {
    let Some(mut redis) = Redis::start("later") else { return };
    let (upstream, broken) = switched();
    let proxies = [(); 3].map(|()| proxy(upstream.address, &redis, ", quorum: 3"));
    for proxy in &proxies {
        assert_eq!(status(proxy), 200);
    }
    wait_for_exchanges(&proxies.each_ref());
    redis.kill();
    broken.store(true, Ordering::SeqCst);
    for proxy in &proxies {
        fails(proxy, 1);
        let lost = errors(proxy, "store") + 3.0;
        wait_for("an exchange that failed with it", || {
            (errors(proxy, "store") >= lost).then_some(())
        });
    }
    redis.restart();
    // Nobody calls any more: what they saw is a streak of three.
    for proxy in &proxies {
        wait_for("an open breaker", || is_open(proxy).then_some(()));
    }
}
