//! Upstreams with several endpoints: which one gets a call, and what becomes of those that come and go.

mod proxy_support;

use bimetal_proxy::config::{self, Syntax};
use proxy_support::{
    Running, TEST_DEADLINE, Upstream, file_of, get, nowhere, ok, policy, wait_for,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};

fn addresses(upstreams: &[Upstream]) -> Vec<SocketAddr> {
    upstreams.iter().map(|upstream| upstream.address).collect()
}

fn named(name: &'static str) -> Upstream {
    Upstream::answering(ok(name))
}

/// Answers by its name, and `/held` when it is let.
fn holding(name: &'static str) -> (Upstream, Sender<()>) {
    let (go, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /held") && wait.lock().unwrap().recv().is_err() {
                return;
            }
            peer.send(&ok(name));
        }
    });
    (upstream, go)
}

#[test]
fn a_call_goes_to_the_endpoint_with_fewer_calls_under_way_on_any_worker() {
    let ((one, go_one), (other, go_other)) = (holding("one"), holding("other"));
    let text = file_of(&[one.address, other.address], "", "").replace("workers: 1", "workers: 2");
    let proxy = Running::with(&text);
    let mut held = proxy.client();
    held.peer.send(&get("/held"));
    let sent = || one.connections() + other.connections();
    wait_for("a call that is held", || (sent() == 1).then_some(()));
    let free = if one.connections() == 0 { "one" } else { "other" };
    // Connections fall to either worker.
    for _ in 0..24 {
        assert_eq!(proxy.ask(&get("/")).text(), free);
    }
    let go = if free == "one" { go_other } else { go_one };
    go.send(()).unwrap();
    assert_ne!(held.answer().unwrap().text(), free);
    // Nothing is under way any more: both get calls again.
    let mut seen = std::collections::BTreeSet::new();
    wait_for("both", || {
        seen.insert(proxy.ask(&get("/")).text());
        (seen.len() == 2).then_some(())
    });
}

#[test]
fn one_that_is_dead_costs_no_call_whatever_the_balance() {
    let live = [named("one"), named("other")];
    let endpoints = [nowhere(), live[0].address, live[1].address];
    for balance in ["least_request", "round_robin", "random"] {
        let text = file_of(&endpoints, &format!("balance: {balance}"), &policy(""));
        let proxy = Running::with(&text);
        for _ in 0..12 {
            assert_eq!(proxy.ask(&get("/")).status, 200, "{balance}");
        }
        proxy.wait_for_outcomes("success", 12.0);
    }
}

#[test]
fn all_down_is_one_failure_a_call_that_names_them() {
    let endpoints = [nowhere(), nowhere(), nowhere()];
    let proxy = Running::with(&file_of(&endpoints, "", &policy("")));
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(endpoints.iter().all(|one| text.contains(&one.to_string())), "{text}");
    proxy.wait_for_outcomes("failure", 1.0);
}

/// A name in the file of hosts: `localhost`, whose addresses may be of both versions. One that nobody listens
/// at is stood in for.
#[test]
fn each_address_of_a_name_is_an_endpoint() {
    let upstream = named("fine");
    let file = file_of(&[upstream.address], "", &policy(""));
    let endpoints = format!("endpoints: ['{}']", upstream.address);
    let named = file.replace(&endpoints, &format!("dns: 'localhost:{}'", upstream.address.port()));
    let proxy = Running::with(&named);
    for _ in 0..3 {
        // The first call comes before the first answer, perhaps.
        assert_eq!(proxy.ask(&get("/")).text(), "fine");
    }
    let nothing = file.replace(&endpoints, "dns: 'no-such-name.invalid:80'");
    let nothing = nothing.replace("breaker:", "timeout: {request: 10s}, breaker:");
    let proxy = Running::with(&nothing);
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.status, 503);
    let text = answer.text();
    let is_told = text.contains("cannot resolve no-such-name.invalid: ")
        || text.contains("no-such-name.invalid: no address yet");
    assert!(is_told, "{text}");
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn endpoints_that_come_and_go_under_load_lose_no_call() {
    let upstreams = [named("one"), named("two"), named("three")];
    let all = addresses(&upstreams);
    let sets = [vec![all[0], all[1]], vec![all[1], all[2]], vec![all[2]], vec![all[0], all[2]]];
    let file = |set: &[SocketAddr]| {
        file_of(set, "pool: {max_connections: 4}", "").replace("workers: 1", "workers: 2")
    };
    let proxy = Running::with(&file(&all));
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let work = || {
            let mut client = proxy.client();
            while !over.load(Ordering::SeqCst) {
                assert_eq!(client.ask(&get("/")).status, 200);
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let clients: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        for round in 0..24 {
            let before = calls.load(Ordering::SeqCst);
            proxy.reload(&file(&sets[round % sets.len()]));
            let end = std::time::Instant::now() + TEST_DEADLINE;
            while calls.load(Ordering::SeqCst) < before + 20 && std::time::Instant::now() < end {
                if clients.iter().any(|client| client.is_finished()) {
                    break;
                }
                std::thread::yield_now();
            }
        }
        over.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert!(calls.load(Ordering::SeqCst) >= 24 * 20);
    assert_eq!(
        proxy.metric("bimetal_upstream_failures_total{upstream=\"echo\",reason=\"closed\"}"),
        Some(0.0)
    );
}

#[test]
fn what_is_no_endpoint_is_refused_by_its_path() {
    let told = |upstream: &str| {
        let text = format!("upstreams: {{echo: {{{upstream}}}}}");
        config::parse(&text, Syntax::Yaml).unwrap_err().to_string()
    };
    for (upstream, wanted) in [
        ("balance: random", "upstreams.echo: exactly one of endpoints, dns is needed"),
        ("endpoints: ['a:1'], dns: 'a:1'", "upstreams.echo.dns: "),
        ("dns: '127.0.0.1:80'", "upstreams.echo.dns: \"127.0.0.1:80\" is not a name with a port"),
        ("dns: 'echo'", "upstreams.echo.dns: \"echo\" is not a name with a port"),
        ("endpoints: []", "upstreams.echo.endpoints: "),
        ("endpoints: ['a:1'], balance: least_conn", "upstreams.echo.balance: \"least_conn\""),
    ] {
        let told = told(upstream);
        assert!(told.contains(wanted), "{upstream}: {told}");
    }
}
