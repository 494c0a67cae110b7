//! Answers of before stand in for rejections and failures.

mod proxy_support;

use proxy_support::{Running, Upstream, file, get, ok, value, wait_for};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

const BROKEN: &str = "HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nbroken";

/// An upstream that answers by a script, and then by 500.
fn scripted(script: &[&str]) -> SocketAddr {
    let mut script: Vec<_> = script.iter().map(|answer| (*answer).to_owned()).collect();
    script.reverse();
    let script = Mutex::new(script);
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            let next = script.lock().unwrap().pop();
            peer.send(next.as_deref().unwrap_or(BROKEN));
        }
    });
    upstream.address
}

/// A policy `p` whose breaker opens after `failures`, and that keeps answers.
fn policy(failures: u32, stale: &str, more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, timeout: {{request: 5s}}, \
         breaker: {{trip: {{consecutive_failures: {failures}}}, open: {{base: 60s, jitter: 0}}}}, \
         fallback: {{when: [rejected, failed], stale: {{max_age: 60s, {stale}}}, {more}}}}}]"
    )
}

fn fallbacks(proxy: &Running, kind: &str) -> f64 {
    proxy.metrics().sum("bimetal_fallbacks_total", &[("policy", "p"), ("kind", kind)])
}

fn with(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_failure_and_a_rejection_are_answered_by_what_was_good_before() {
    for answer in [
        with("x-a: 1\r\nx-a: 2\r\nage: 7\r\n", "good"),
        "HTTP/1.1 200 OK\r\nx-a: 1\r\nx-a: 2\r\nage: 7\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\ngo\r\n2\r\nod\r\n0\r\n\r\n"
            .to_owned(),
    ] {
        let proxy = Running::start(scripted(&[&answer]), &policy(1, "", ""));
        assert_eq!(proxy.ask(&get("/a?b")).text(), "good");
        for (way, rule) in [("failed", None), ("rejected", None)] {
            let given = proxy.ask(&get("/a?b"));
            assert_eq!((given.status, given.text().as_str()), (200, "good"), "{way}");
            assert_eq!(given.header("x-bimetal-rule"), rule);
            let age: u64 = given.header("age").unwrap().parse().unwrap();
            assert!(age >= 7, "{age}");
            let lines = given.head.to_lowercase().matches("x-a: ").count();
            assert_eq!(lines, 2, "no line of a head is lost");
        }
        let other = proxy.ask(&get("/a?c"));
        assert_eq!((other.status, other.header("x-bimetal-rule")), (503, Some("p/breaker")));
        let mut client = proxy.client();
        client.peer.send("HEAD /a?b HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        let head = client.peer.head().unwrap();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        assert_eq!(value(&head, "content-length"), Some("4"));
        client.peer.closed();
        let post = "POST /a?b HTTP/1.1\r\nhost: test\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(proxy.ask(post).status, 503, "safe methods only");
        proxy.wait_for_outcomes("failure", 1.0);
        assert_eq!((fallbacks(&proxy, "stale"), fallbacks(&proxy, "fixed")), (3.0, 0.0));
    }
}

#[test]
fn what_is_not_for_others_is_not_given_to_them() {
    let private = with("cache-control: private\r\n", "mine");
    let proxy = Running::start(scripted(&[&private]), &policy(9, "", ""));
    assert_eq!(proxy.ask(&get("/")).text(), "mine");
    assert_eq!(proxy.ask(&get("/")).text(), "broken");
    let vary = with("vary: accept-language\r\n", "tag");
    let proxy = Running::start(scripted(&[&vary]), &policy(9, "", ""));
    let german = "GET / HTTP/1.1\r\nhost: test\r\naccept-language: de\r\n\r\n";
    assert_eq!(proxy.ask(german).text(), "tag");
    assert_eq!(proxy.ask(&get("/")).text(), "broken");
    assert_eq!(proxy.ask(german).text(), "tag");
    let other = "GET / HTTP/1.1\r\nhost: other\r\naccept-language: de\r\n\r\n";
    assert_eq!(proxy.ask(other).text(), "broken", "another host");
}

#[test]
fn what_is_too_long_or_broke_off_is_not_kept() {
    let proxy = Running::start(scripted(&[&ok("12345")]), &policy(9, "max_bytes: 4B", ""));
    assert_eq!(proxy.ask(&get("/")).text(), "12345");
    assert_eq!(proxy.ask(&get("/")).text(), "broken");
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        if peer.number == 0 {
            return peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        }
        peer.send(BROKEN);
    });
    let proxy = Running::start(upstream.address, &policy(9, "", ""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    client.peer.closed();
    assert_eq!(proxy.ask(&get("/")).text(), "broken");
}

#[test]
fn a_client_that_leaves_within_the_answer_leaves_nothing_behind() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        if peer.number == 0 {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
            return peer.closed();
        }
        peer.send(BROKEN);
    });
    let proxy = Running::start(upstream.address, &policy(9, "", ""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    assert!(client.peer.head().unwrap().contains("200"));
    drop(client);
    wait_for("its end", || {
        let gone = proxy.metrics().find("bimetal_requests_ended_total", &[("end", "client_gone")]);
        (gone == Some(1.0)).then_some(())
    });
    assert_eq!(proxy.ask(&get("/")).text(), "broken");
}

#[test]
fn a_change_ends_what_was_kept() {
    let made = "HTTP/1.1 204 Made\r\n\r\n";
    let refused = "HTTP/1.1 409 No\r\ncontent-length: 0\r\n\r\n";
    for (change, text) in [(made, "broken"), (refused, "good")] {
        let proxy = Running::start(scripted(&[&ok("good"), change]), &policy(9, "", ""));
        assert_eq!(proxy.ask(&get("/a")).text(), "good");
        proxy.ask("PUT /a HTTP/1.1\r\nhost: test\r\ncontent-length: 1\r\n\r\nx");
        assert_eq!(proxy.ask(&get("/a")).text(), text);
    }
}

#[test]
fn an_error_is_not_kept_and_the_newest_answer_is() {
    let found = [&ok("one")[..], "HTTP/1.1 404 No\r\ncontent-length: 4\r\n\r\nnone"];
    let proxy = Running::start(scripted(&found), &policy(9, "", ""));
    assert_eq!([(); 3].map(|()| proxy.ask(&get("/")).text()), ["one", "none", "none"]);
    // What the policy calls a failure is none either.
    let failure = "consecutive_failures: 9}, failure: {statuses: [404]";
    let rest = policy(9, "", "").replace("consecutive_failures: 9", failure);
    let proxy = Running::start(scripted(&[&ok("one"), found[1], BROKEN]), &rest);
    assert_eq!([(); 2].map(|()| proxy.ask(&get("/")).text()), ["one", "one"]);
    assert_eq!(proxy.ask(&get("/")).text(), "broken", "that is none to this policy");
    let other = "fallback: {when: [rejected]";
    let proxy = Running::start(
        scripted(&[&ok("one"), found[1]]),
        &rest
            .replace("fallback: {when: [rejected, failed]", other)
            .replace("_failures: 9", "_failures: 1"),
    );
    assert_eq!([(); 3].map(|()| proxy.ask(&get("/")).text()), ["one", "none", "one"]);
    let proxy = Running::start(scripted(&[&ok("one"), BROKEN, &ok("two")]), &policy(9, "", ""));
    let told = [(); 4].map(|()| proxy.ask(&get("/")).text());
    assert_eq!(told, ["one", "one", "two", "two"]);
}

#[test]
fn a_reload_keeps_what_the_same_policy_kept() {
    let upstream = scripted(&[&ok("good")]);
    let rest = policy(9, "", "");
    let proxy = Running::start(upstream, &rest);
    assert_eq!(proxy.ask(&get("/")).text(), "good");
    let reloaded = |count: f64| {
        wait_for("the reload", || {
            let done = proxy.metrics().find("bimetal_reloads_total", &[("result", "applied")]);
            (done == Some(count)).then_some(())
        });
    };
    proxy.reload(&file(upstream, &rest));
    reloaded(1.0);
    assert_eq!(proxy.ask(&get("/")).text(), "good");
    proxy.reload(&file(upstream, &policy(8, "", "")));
    reloaded(2.0);
    wait_for("another policy", || (proxy.ask(&get("/")).text() == "broken").then_some(()));
}

#[test]
fn it_comes_after_another_upstream_and_before_the_fixed_answer() {
    let dead = proxy_support::nowhere();
    let spare = format!("upstreams: {{spare: {{endpoints: ['{dead}']}}, ");
    let rest = policy(9, "", "status: 418, upstream: spare");
    let file = file(scripted(&[&ok("good")]), &rest).replace("upstreams: {", &spare);
    let proxy = Running::with(&file);
    assert_eq!(proxy.ask(&get("/")).text(), "good");
    assert_eq!(proxy.ask(&get("/")).text(), "good");
    assert_eq!(proxy.ask(&get("/b")).status, 418);
    assert_eq!((fallbacks(&proxy, "stale"), fallbacks(&proxy, "fixed")), (1.0, 1.0));
    assert_eq!(fallbacks(&proxy, "upstream"), 0.0);
    proxy.drain(Duration::from_secs(5));
}
