//! What dashboards are told: edges, events, history.

mod proxy_support;

use proxy_support::events::{Events, rows};
use proxy_support::{Client, Running, Upstream, get, ok, policy, wait_for};
use serde_json::{Value, json};

fn failing() -> Upstream {
    Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n")
}

fn page(proxy: &Running, path: &str) -> Value {
    serde_json::from_str(&Client::connect(proxy.admin).ask(&get(path)).text()).unwrap()
}

#[test]
fn edges_are_those_that_were_seen() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 3s}, warnings: {}"));
    let with = |headers: &str| format!("GET /a HTTP/1.1\r\nhost: test\r\n{headers}\r\n");
    assert_eq!(proxy.ask(&get("/a")).status, 200);
    assert_eq!(proxy.ask(&with("x-request-deadline-ms: 30000\r\n")).status, 200);
    assert_eq!(
        proxy.ask(&with("x-request-deadline-ms: 500\r\nx-db-transaction: open\r\n")).status,
        200
    );
    let edges = wait_for("three calls", || {
        let edges = page(&proxy, "/analyze")["edges"].clone();
        (edges[0]["calls"] == 3).then_some(edges)
    });
    assert_eq!(edges.as_array().unwrap().len(), 1);
    let edge = &edges[0];
    assert_eq!(
        (&edge["caller"], &edge["route"], &edge["upstream"], &edge["policy"]),
        (&json!("127.0.0.1"), &json!("*/"), &json!("echo"), &json!("p"))
    );
    assert_eq!(
        (&edge["timeout_ms"], &edge["caller_timeout_ms"]),
        (&json!(3000.0), &json!({"min": 500.0, "max": 30000.0}))
    );
    assert_eq!([&edge["failed"], &edge["rejected"], &edge["retries"]], [0, 0, 0]);
    assert_eq!(
        edge["warnings"],
        json!({"calls_per_trace": 0, "after_deadline": 0, "db_transaction": 1})
    );
    assert!(edge["latency_ms"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_is_configured_is_told_too() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 3s}"));
    let page = page(&proxy, "/topology");
    assert_eq!(page["routes"], json!([{"route": "*/", "upstream": "echo"}]));
    assert_eq!(page["upstreams"][0]["endpoints"], json!([upstream.address.to_string()]));
    assert_eq!(
        (&page["policies"][0]["policy"], &page["policies"][0]["timeout_ms"]),
        (&json!("p"), &json!(3000.0))
    );
}

#[test]
fn who_watches_gets_the_picture_and_then_what_changes() {
    let upstream = failing();
    let proxy = Running::start(upstream.address, &policy("concurrency: {max: 8}"));
    assert_eq!(proxy.ask(&get("/")).status, 500);
    let mut events = Events::open(proxy.admin, "/events");
    let first = events.snapshot.clone();
    assert_eq!(
        (&first["proxy"]["workers"], &first["proxy"]["can_be_controlled"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(first["topology"]["routes"][0]["upstream"], "echo");
    let breaker = &rows(&first, "breakers")[0];
    assert_eq!((&breaker["policy"], &breaker["state"]), (&json!("p"), &json!("closed")));
    assert_eq!(rows(&first, "limits")[0]["limit"], 8);
    assert_eq!(rows(&first, "endpoints")[0]["state"], "in");
    assert_eq!(first["history"], json!([]));
    for _ in 0..3 {
        proxy.ask(&get("/"));
    }
    let (row, history) = events.wait("open breaker", |change| {
        let row = rows(change, "breakers").iter().find(|row| row["state"] == "open")?;
        Some((row.clone(), change["history"].clone()))
    });
    assert_eq!((&row["id"], &row["why"]), (&breaker["id"], &json!("3 consecutive failures")));
    assert!(row["next_probe_ms"].as_f64() > row["since_ms"].as_f64());
    let entry = &history[0];
    assert_eq!(
        [&entry["from"], &entry["to"], &entry["cause"], &entry["scope"]],
        ["closed", "open", "consecutive_failures", "policy"]
    );
    assert_eq!(entry["open_for_ms"], 60_000.0);
    // Whoever comes later is told of it as well.
    let later = Events::open(proxy.admin, "/events");
    assert_eq!(later.snapshot["history"], history);
    let traffic = |message: &Value| {
        let row = rows(message, "traffic").iter().find(|row| row["policy"] == "p")?.clone();
        (row["per_s"]["breaker"].as_f64()? > 0.0).then_some(())
    };
    proxy.ask(&get("/"));
    events.wait("rate", traffic);
    let file = proxy_support::file(upstream.address, "");
    proxy.reload(&file);
    let (mut is_new_file, mut is_gone) = (false, false);
    while !(is_new_file && is_gone) {
        let (_, change) = events.next();
        is_new_file |= change["topology"]["policies"] == json!([]);
        let gone = change["tables"]["breakers"]["gone"].as_array();
        is_gone |= gone.is_some_and(|gone| gone.contains(&breaker["id"]));
    }
}

#[test]
fn a_hundred_watch_and_one_too_many_is_told_so() {
    let upstream = failing();
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 3s}"));
    proxy.ask(&get("/"));
    let mut all: Vec<_> = (0..128).map(|_| Events::open(proxy.admin, "/events")).collect();
    let (head, _) = Events::ask(proxy.admin, "/events");
    assert!(head.starts_with("http/1.0 503") && head.contains("retry-after: 5"), "{head}");
    proxy.ask(&get("/"));
    proxy.ask(&get("/"));
    for events in &mut all {
        events.wait("open breaker", |change| {
            rows(change, "breakers").iter().any(|row| row["state"] == "open").then_some(())
        });
    }
    all.truncate(100);
    // Those that left made room.
    wait_for("room", || Events::ask(proxy.admin, "/events").0.contains(" 200 ").then_some(()));
}

#[test]
fn who_does_not_read_is_let_go() {
    let upstream = Upstream::answering(ok("fine"));
    let rest = "policies: [{name: p, scope: 'header:x-tenant', breaker: {trip: {consecutive_failures: 3}}}]";
    let proxy = Running::start(upstream.address, rest);
    let mut client = proxy.client();
    let mut ask = |number: usize| {
        let tenant = format!("{number:0>120}");
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nx-tenant: {tenant}\r\n\r\n");
        assert_eq!(client.ask(&request).status, 200);
    };
    // A picture that no buffer of the kernel holds.
    (0..2_000).for_each(&mut ask);
    let mut reads = Events::open(proxy.admin, "/events");
    let (head, mut does_not) = Events::ask(proxy.admin, "/events");
    assert!(head.contains(" 200 "), "{head}");
    reads.wait("the other", |change| (change["watching"] == 2).then_some(()));
    let mut number = 0;
    loop {
        // Something changes in every turn.
        ask(number);
        number += 1;
        let (_, change) = reads.next();
        if change["watching"] == 1 {
            break;
        }
        assert!(number < 200, "it is still there");
    }
    // What was sent before is all that there is to read.
    does_not.closed();
}
