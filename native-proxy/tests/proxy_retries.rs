//! Failed tries are made again: which, how often, and what the upstream and the client see of it.

mod proxy_support;

use proxy_support::{Answer, Running, Upstream, get, nowhere, ok, value, wait_for};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const DEAD: &str = "HTTP/1.1 503 Dead\r\ncontent-length: 4\r\n\r\ndead";
/// In place of an answer.
const RESET: &str = "reset";
const CLOSE: &str = "close";
const HANG: &str = "hang";

/// An upstream that answers by a script, and then well.
struct Scripted {
    address: SocketAddr,
    heard: Receiver<(String, Vec<u8>)>,
}

impl Scripted {
    fn new(script: &[&'static str]) -> Self {
        let script = Mutex::new(script.iter().copied().collect::<VecDeque<_>>());
        let (told, heard) = mpsc::channel();
        let upstream = Upstream::start(move |mut peer| {
            while let Some(request) = peer.request() {
                let step = script.lock().unwrap().pop_front();
                told.send(request).unwrap();
                match step {
                    None => peer.send(&ok("fine")),
                    Some(RESET) => return peer.reset(),
                    Some(CLOSE) => return,
                    Some(HANG) => return peer.closed(),
                    Some(answer) => peer.send(answer),
                }
            }
        });
        Self { address: upstream.address, heard }
    }

    /// How many requests it heard until now.
    fn count(&self) -> usize {
        self.heard.try_iter().count()
    }
}

/// A policy `p` with retries by these fields, which wait for nothing worth a word.
fn retries(fields: &str, more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, retry: {{backoff: {{base: 1ms, max: 1s}}, {fields}}}, {more}}}]"
    )
}

fn asked(method: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} /a HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n{fields}\r\n{body}")
}

fn results(proxy: &Running, result: &str) -> f64 {
    proxy.metrics().sum("bimetal_retries_total", &[("policy", "p"), ("result", result)])
}

fn is_marked(answer: &Answer) -> bool {
    answer.header("x-bimetal-retries") == Some("exhausted")
}

#[test]
fn what_is_listed_is_tried_again() {
    for failure in [DEAD, RESET, CLOSE] {
        let upstream = Scripted::new(&[failure]);
        let proxy = Running::start(upstream.address, &retries("", ""));
        let answer = proxy.ask(&get("/a"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"), "{failure}");
        assert!(!is_marked(&answer));
        let attempts: Vec<_> = upstream
            .heard
            .try_iter()
            .map(|(head, _)| {
                assert!(head.starts_with("get /a http/1.1\r\n"), "{head}");
                value(&head, "x-bimetal-attempt").map(str::to_owned)
            })
            .collect();
        assert_eq!(attempts, [None, Some("2".to_owned())], "{failure}");
        proxy.wait_for_outcomes("success", 1.0);
        assert_eq!(proxy.outcomes("failure"), 0.0, "the call is one");
        assert_eq!((results(&proxy, "made"), results(&proxy, "helped")), (1.0, 1.0));
    }
}

#[test]
fn what_is_not_listed_is_passed_on() {
    let upstream = Scripted::new(&["HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"]);
    let proxy = Running::start(upstream.address, &retries("", ""));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, is_marked(&answer), upstream.count()), (500, false, 1));
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn who_gives_up_says_so_and_is_believed() {
    let upstream = Scripted::new(&[DEAD; 3]);
    let proxy = Running::start(upstream.address, &retries("tries: 3", ""));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, answer.text().as_str()), (503, "dead"));
    assert!(is_marked(&answer));
    assert_eq!(upstream.count(), 3);
    assert_eq!((results(&proxy, "made"), results(&proxy, "tries")), (2.0, 1.0));
    proxy.wait_for_outcomes("failure", 1.0);
    // A hop behind us has given up: nobody else tries, and all before us know.
    let marked = "HTTP/1.1 503 Dead\r\nx-bimetal-retries: exhausted\r\ncontent-length: 0\r\n\r\n";
    let upstream = Scripted::new(&[marked]);
    let proxy = Running::start(upstream.address, &retries("tries: 3", ""));
    assert!(is_marked(&proxy.ask(&get("/a"))));
    assert_eq!((upstream.count(), results(&proxy, "exhausted_behind")), (1, 1.0));
}

#[test]
fn answers_of_our_own_are_marked_too() {
    let proxy = Running::start(nowhere(), &retries("tries: 3", ""));
    let answer = proxy.ask(&asked("POST", "", "x"));
    assert_eq!((answer.status, is_marked(&answer)), (503, true));
    assert_eq!(results(&proxy, "made"), 2.0, "what never left is tried again, whatever its method");
    let more = "fallback: {when: [failed], status: 418}";
    let proxy = Running::start(nowhere(), &retries("", more));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, is_marked(&answer)), (418, true));
}

#[test]
fn what_could_do_harm_twice_is_sent_once() {
    const KEYED: &str = "methods: [idempotent, idempotency_key]";
    for (fields, request, tries) in [
        ("", asked("POST", "", "x"), 1),
        ("", asked("PUT", "", "x"), 2),
        ("", asked("POST", "idempotency-key: 7\r\n", "x"), 1),
        (KEYED, asked("POST", "idempotency-key: 7\r\n", "x"), 2),
        (KEYED, asked("POST", "", "x"), 1),
        ("methods: [POST]", asked("POST", "", "x"), 2),
        ("on: [error, non_idempotent]", asked("PATCH", "", "x"), 2),
    ] {
        let upstream = Scripted::new(&[RESET]);
        let proxy = Running::start(upstream.address, &retries(fields, ""));
        let answer = proxy.ask(&request);
        assert_eq!(upstream.count(), tries, "{fields} {request}");
        let status = if tries == 2 { 200 } else { 503 };
        assert_eq!((answer.status, is_marked(&answer)), (status, false));
        let unsafe_ones = if tries == 2 { 0.0 } else { 1.0 };
        assert_eq!(results(&proxy, "not_idempotent"), unsafe_ones);
    }
}

#[test]
fn a_body_is_sent_again_as_it_was() {
    let upstream = Scripted::new(&[DEAD, CLOSE]);
    let proxy = Running::start(upstream.address, &retries("tries: 3", ""));
    let body = "0123456789".repeat(1_000);
    assert_eq!(proxy.ask(&asked("PUT", "", &body)).status, 200);
    let bodies: Vec<_> = upstream.heard.try_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [body.as_bytes(); 3]);
    // In chunks, of unknown length.
    let upstream = Scripted::new(&[DEAD]);
    let proxy = Running::start(upstream.address, &retries("", ""));
    let chunked = "PUT /a HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(proxy.ask(chunked).status, 200);
    let bodies: Vec<_> = upstream.heard.try_iter().map(|(_, body)| body).collect();
    assert_eq!(bodies, [b"abcdefg"; 2]);
}

#[test]
fn a_body_longer_than_what_is_kept_is_sent_once() {
    let long = "x".repeat(1_025);
    let chunked = format!(
        "PUT /a HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n\
         200\r\n{}\r\n201\r\n{}\r\n0\r\n\r\n",
        "x".repeat(512),
        "x".repeat(513),
    );
    for request in [asked("PUT", "", &long), chunked] {
        let upstream = Scripted::new(&[DEAD]);
        let proxy = Running::start(upstream.address, &retries("buffer: 1KiB", ""));
        let answer = proxy.ask(&request);
        assert_eq!((answer.status, is_marked(&answer)), (503, false));
        let bodies: Vec<_> = upstream.heard.try_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [long.as_bytes()]);
        assert_eq!(results(&proxy, "body_gone"), 1.0);
    }
    let upstream = Scripted::new(&[DEAD]);
    let proxy = Running::start(upstream.address, &retries("buffer: 1KiB", ""));
    assert_eq!(proxy.ask(&asked("PUT", "", &long[1..])).status, 200, "it fits exactly");
}

/// The upstream answers before it has the whole body: the next try gets what was kept, and the rest from
/// the client.
#[test]
fn an_upload_goes_on_in_the_next_try() {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let head = peer.head().unwrap();
        let body = if peer.number == 0 { peer.take(5) } else { peer.body_of(&head) };
        told.send(body).unwrap();
        peer.send(if peer.number == 0 { DEAD } else { "HTTP/1.1 204 Fine\r\n\r\n" });
        peer.closed();
    });
    let proxy = Running::start(upstream.address, &retries("", ""));
    let mut client = proxy.client();
    client.peer.send("PUT /a HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhello");
    assert_eq!(heard.recv().unwrap(), b"hello");
    wait_for("the next try", || (upstream.connections() == 2).then_some(()));
    client.peer.send("world");
    assert_eq!(client.answer().unwrap().status, 204);
    assert_eq!(heard.recv().unwrap(), b"helloworld");
}

#[test]
fn an_upstreams_wish_is_waited_for_or_passed_on() {
    const LATER: &str = "HTTP/1.1 503 Later\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
    let upstream = Scripted::new(&[LATER]);
    let proxy = Running::start(upstream.address, &retries("", ""));
    let begun = Instant::now();
    assert_eq!(proxy.ask(&get("/a")).status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    for wish in ["2", "99999999999999999999"] {
        let late = format!("HTTP/1.1 503 Late\r\nretry-after: {wish}\r\ncontent-length: 0\r\n\r\n");
        let upstream = Scripted::new(&[late.leak()]);
        let proxy = Running::start(upstream.address, &retries("", ""));
        let answer = proxy.ask(&get("/a"));
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some(wish)));
        assert_eq!((upstream.count(), results(&proxy, "retry_after")), (1, 1.0));
    }
    let upstream = Scripted::new(&[LATER]);
    let proxy = Running::start(upstream.address, &retries("respect_retry_after: false", ""));
    assert_eq!(proxy.ask(&get("/a")).status, 200);
}

#[test]
fn a_budget_bounds_what_is_tried_again() {
    let upstream = Scripted::new(&[DEAD; 100]);
    let fields = "tries: 9, budget: {share: 0.25}";
    let proxy = Running::start(upstream.address, &retries(fields, ""));
    let mut client = proxy.client();
    let marked = (0..8).filter(|_| is_marked(&client.ask(&get("/a")))).count();
    assert_eq!((marked, upstream.count()), (8, 10));
    assert_eq!((results(&proxy, "made"), results(&proxy, "budget")), (2.0, 8.0));
    assert_eq!(proxy.metrics().sum("bimetal_retry_budget", &[("policy", "p")]), 0.0);
    let proxy = Running::start(upstream.address, &retries("budget: {share: 0, floor: 1/s}", ""));
    let mut client = proxy.client();
    (0..12).for_each(|_| drop(client.ask(&get("/a"))));
    assert_eq!(results(&proxy, "made"), 10.0, "a floor of one in each of ten seconds");
}

const TRIPS: &str = "breaker: {trip: {consecutive_failures: 1}, open: {base: 60s, jitter: 0}}";

#[test]
fn the_breaker_stops_tries_where_each_is_evidence() {
    let upstream = Scripted::new(&[DEAD]);
    let proxy =
        Running::start(upstream.address, &retries("", &format!("evidence: tries, {TRIPS}")));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, answer.text().as_str()), (503, "dead"));
    assert_eq!(answer.header("x-bimetal-rule"), None, "the upstream's answer");
    assert_eq!((upstream.count(), results(&proxy, "breaker")), (1, 1.0));
    proxy.wait_for_outcomes("failure", 1.0);
    // Where calls are evidence the try that failed is forgiven.
    let upstream = Scripted::new(&[DEAD]);
    let proxy = Running::start(upstream.address, &retries("", TRIPS));
    assert_eq!(proxy.ask(&get("/a")).status, 200);
    proxy.wait_for_outcomes("success", 1.0);
}

/// While one call waits for its next try, another one opens the breaker.
#[test]
fn the_breaker_is_asked_again_before_the_next_try() {
    let upstream = Scripted::new(&[DEAD, "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"]);
    let late = "policies: [{name: p, scope: policy, \
                retry: {backoff: {base: 2s, jitter: none}, on: [503]}, BREAKER}]";
    let proxy = Running::start(upstream.address, &late.replace("BREAKER", TRIPS));
    let (mut waiting, mut other) = (proxy.client(), proxy.client());
    waiting.peer.send(&get("/a"));
    upstream.heard.recv().unwrap();
    assert_eq!(other.ask(&get("/b")).status, 500);
    let answer = waiting.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (503, "dead"), "held until then");
    upstream.heard.recv().unwrap();
    assert_eq!(
        (upstream.count(), results(&proxy, "made"), results(&proxy, "breaker")),
        (0, 0.0, 1.0)
    );
    // Its connection was not spoilt by that.
    assert_eq!(waiting.ask(&get("/a")).header("x-bimetal-rule"), Some("p/breaker"));
}

#[test]
fn a_deadline_without_room_is_the_end() {
    let late = "policies: [{name: p, scope: policy, deadline: {}, \
                retry: {backoff: {base: 10m, max: 10m, jitter: none}}, timeout: {request: LIMIT}}]";
    for (limit, fields) in [("1h", "x-request-deadline-ms: 300000\r\n"), ("5m", "")] {
        let upstream = Scripted::new(&[DEAD]);
        let proxy = Running::start(upstream.address, &late.replace("LIMIT", limit));
        let answer = proxy.ask(&asked("GET", fields, ""));
        assert_eq!((answer.status, is_marked(&answer)), (503, false));
        assert_eq!((upstream.count(), results(&proxy, "deadline")), (1, 1.0));
    }
}

#[test]
fn each_try_has_its_own_time() {
    let upstream = Scripted::new(&[HANG]);
    let more = "timeout: {request: 1h, per_try: 1s}";
    let proxy = Running::start(upstream.address, &retries("on: [timeout]", more));
    assert_eq!(proxy.ask(&get("/a")).status, 200);
    assert_eq!(upstream.count(), 2);
    proxy.wait_for_outcomes("success", 1.0);
    let upstream = Scripted::new(&[HANG]);
    let proxy = Running::start(upstream.address, &retries("on: [connect]", more));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, upstream.count()), (504, 1));
}

/// Its client leaves while the call waits for its next try: what the one before it was is known.
#[test]
fn a_client_that_leaves_between_tries() {
    let upstream = Scripted::new(&[DEAD]);
    let late = "policies: [{name: p, scope: policy, \
                retry: {backoff: {base: 10m, max: 10m, jitter: none}, budget: {share: 1}}}]";
    let proxy = Running::start(upstream.address, late);
    let mut client = proxy.client();
    client.peer.send(&get("/a"));
    upstream.heard.recv().unwrap();
    // The retry is paid for once the call waits for it.
    let left = || proxy.metrics().sum("bimetal_retry_budget", &[("policy", "p")]);
    wait_for("the wait", || (left() == 0.0).then_some(()));
    client.close();
    let labels = [("policy", "p"), ("outcome", "failure")];
    wait_for("the end", || {
        (proxy.metrics().find("bimetal_outcomes_total", &labels) == Some(1.0)).then_some(())
    });
    assert_eq!((upstream.count(), results(&proxy, "made")), (0, 0.0));
}

#[test]
fn nothing_is_tried_again_in_shadow() {
    let upstream = Scripted::new(&[DEAD]);
    let proxy = Running::start(upstream.address, &retries("", "mode: shadow"));
    let answer = proxy.ask(&get("/a"));
    assert_eq!((answer.status, is_marked(&answer), upstream.count()), (503, false, 1));
}

/// Of two endpoints one answers badly: each call's next try goes to the other.
#[test]
fn a_further_try_goes_to_another_endpoint() {
    let (bad, good) = (Upstream::answering(DEAD), Upstream::answering(ok("fine")));
    let file = proxy_support::file(bad.address, &retries("", ""));
    let both = format!("balance: random, endpoints: ['{}', '{}']", bad.address, good.address);
    let proxy = Running::with(&file.replace(&format!("endpoints: ['{}']", bad.address), &both));
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.ask(&get("/a")).status, 200);
    }
    // Half of them come to the bad one first.
    assert!(results(&proxy, "made") > 5.0);
}

/// In shadow mode the failed answer goes to the client, and what would have been tried again is counted.
#[test]
fn a_policy_in_shadow_counts_what_it_would_try_again() {
    let upstream = Scripted::new(&[DEAD, DEAD, RESET]);
    let proxy = Running::start(upstream.address, &retries("tries: 3, on: ['503']", "mode: shadow"));
    let statuses = [(); 4].map(|()| proxy.ask(&get("/")).status);
    assert_eq!(statuses, [503, 503, 503, 200]);
    assert_eq!(upstream.count(), 4);
    let labels = [("decision", "retry")];
    wait_for("the count", || {
        (proxy.metrics().sum("bimetal_shadow_total", &labels) == 2.0).then_some(())
    });
    assert_eq!(proxy.metrics().sum("bimetal_retries_total", &[]), 0.0);
}
