//! A dashboard that shows others beside its own proxy.

mod proxy_support;

use proxy_support::events::Events;
use proxy_support::{Running, Upstream, file, get, nowhere, ok, policy};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// What an Envoy with the filter says of it.
const STATS: &str = "# TYPE envoy_bimetal_breaker_replicas gauge\n\
    envoy_bimetal_breaker_replicas{policy=\"q\",scope=\"a\",state=\"open\"} 2\n";

fn watching(watch: &str) -> Running {
    let upstream = Upstream::answering(ok("fine"));
    let text = file(upstream.address, "");
    let admin = "admin: {address: '127.0.0.1:0'";
    Running::with(&text.replace(admin, &format!("{admin}, watch: [{watch}]")))
}

/// What is looked for.
type Look<'l> = &'l dyn Fn(&Value) -> bool;

/// Reads on until each of these sources has said what is looked for.
fn wait_for_all(events: &mut Events, looks: &[(&str, Look<'_>)]) {
    let mut open: Vec<_> = looks.iter().collect();
    while !open.is_empty() {
        let (_, data) = events.next();
        let from = data["source"].as_str().unwrap_or_default();
        open.retain(|(source, look)| !(from == *source && look(&data)));
    }
}

fn breaker_is(policy: &'static str, state: &'static str) -> impl Fn(&Value) -> bool {
    move |data| {
        let rows = data["tables"]["breakers"]["set"].as_array();
        rows.is_some_and(|rows| {
            rows.iter().any(|row| row["policy"] == policy && row["state"] == state)
        })
    }
}

#[test]
fn other_proxies_and_envoys_are_told_of_by_their_names() {
    let failing = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let other = Running::start(failing.address, &policy("timeout: {request: 3s}"));
    other.ask(&get("/"));
    // As Envoy does when it is asked to, it closes behind its answer.
    let envoy = Upstream::start(|mut peer| {
        drop(peer.request());
        peer.send(&ok(STATS));
    });
    let dead: SocketAddr = nowhere();
    let proxy = watching(&format!(
        "{{name: pod-b, proxy: '{}'}}, {{name: sidecar, envoy: '{}'}}, {{name: dead, proxy: '{dead}'}}",
        other.admin, envoy.address
    ));
    let mut events = Events::listen(proxy.admin, "/events");
    let sidecar =
        json!({"name": "sidecar", "metal": "envoy", "address": envoy.address.to_string()});
    wait_for_all(
        &mut events,
        &[
            ("", &|data| data["proxy"]["watch"][1] == sidecar),
            ("pod-b", &breaker_is("p", "closed")),
            ("sidecar", &breaker_is("q", "open")),
            ("dead", &|data| data["down"].as_str().is_some_and(|why| why.contains("refused"))),
        ],
    );
    (0..2).for_each(|_| drop(other.ask(&get("/"))));
    wait_for_all(&mut events, &[("pod-b", &breaker_is("p", "open"))]);
}

#[test]
fn only_those_that_are_asked_for_are_told_of_and_nobody_by_address() {
    let other = Running::start(nowhere(), "");
    let proxy = watching(&format!(
        "{{name: a, proxy: '{}'}}, {{name: b, proxy: '{}'}}",
        other.admin, other.admin
    ));
    let mut events = Events::listen(proxy.admin, &format!("/events?watch=b,{}", other.admin));
    wait_for_all(&mut events, &[("b", &|data| data["proxy"]["workers"] == 1)]);
    // The other knows of one who watches.
    wait_for_all(&mut events, &[("b", &|data| data["watching"] == 1)]);
    for _ in 0..4 {
        let (_, data) = events.next();
        assert!(data["source"].is_null() || data["source"] == "b", "{}", data["source"]);
    }
}
