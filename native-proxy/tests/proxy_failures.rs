//! What the proxy makes of upstreams and clients that fail.

mod proxy_support;

use proxy_support::{Answer, Running, Upstream, file, get, nowhere, ok, policy, wait_for};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn error(answer: &Answer) -> String {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    body["error"].as_str().unwrap().to_owned()
}

#[test]
fn each_failure_has_its_status_and_counts_once() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            match head.split(' ').nth(1).unwrap() {
                "/reset" => return peer.reset(),
                "/close" => return,
                "/garbage" => peer.send("what do you want?\r\n\r\n"),
                "/hang" => return peer.closed(),
                _ => peer.send("HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops"),
            }
        }
    });
    let more = "breaker: {trip: {consecutive_failures: 100}}, timeout: {request: 200ms}";
    let rest = format!("policies: [{{name: p, scope: policy, {more}}}]");
    let proxy = Running::start(upstream.address, &rest);
    for (count, (path, status, text)) in [
        ("/reset", 503, "upstream connection was reset"),
        ("/close", 503, "upstream connection was reset"),
        ("/garbage", 502, "upstream sent no valid HTTP"),
        ("/hang", 504, "upstream request timed out"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = proxy.ask(&get(path));
        assert_eq!((answer.status, error(&answer).as_str()), (status, text), "{path}");
        proxy.wait_for_outcomes("failure", count as f64 + 1.0);
    }
    let answer = proxy.ask(&get("/500"));
    assert_eq!((answer.status, answer.text().as_str()), (500, "oops"));
    proxy.wait_for_outcomes("failure", 5.0);
    assert_eq!(proxy.outcomes("success") + proxy.outcomes("neutral"), 0.0);
}

#[test]
fn a_refused_connection_is_503_and_trips() {
    let proxy = Running::start(nowhere(), &policy(""));
    for _ in 0..3 {
        let answer = proxy.ask(&get("/"));
        assert_eq!(answer.status, 503);
        assert!(error(&answer).starts_with("upstream connection failed: 127.0.0.1:"));
        assert_eq!(answer.header("x-bimetal-rule"), None);
    }
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-bimetal-rule"), Some("p/breaker"));
    let reason = answer.header("x-bimetal-reason").unwrap();
    assert!(reason.ends_with("after 3 consecutive failures"), "{reason}");
    assert!(error(&answer).starts_with("circuit breaker: open for another"));
    let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((59..=60).contains(&after), "{after}");
    assert_eq!(proxy.outcomes("failure"), 3.0);
    let labels = [("policy", "p"), ("decision", "breaker")];
    assert_eq!(proxy.metrics().sum("bimetal_requests_total", &labels), 1.0);
}

#[test]
fn it_closes_again_once_a_probe_succeeds() {
    let (mood, moods) = mpsc::channel::<&str>();
    let moods = std::sync::Mutex::new((moods, "500 Bad"));
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            let mut moods = moods.lock().unwrap();
            while let Ok(next) = moods.0.try_recv() {
                moods.1 = next;
            }
            peer.send(&format!("HTTP/1.1 {}\r\ncontent-length: 0\r\n\r\n", moods.1));
        }
    });
    let rest = "policies: [{name: p, scope: policy, debug_headers: true, breaker: \
                {trip: {consecutive_failures: 3}, open: {base: 300ms, jitter: 0}}}]";
    let proxy = Running::start(upstream.address, rest);
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/")).status, 500);
    }
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-bimetal-state"), Some("open"));
    assert_eq!(answer.header("x-bimetal-policy"), Some("p"));
    mood.send("200 Good").unwrap();
    let answer = wait_for("a probe", || {
        let answer = proxy.ask(&get("/"));
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(answer.header("x-bimetal-state"), Some("half_open"));
    assert_eq!(proxy.ask(&get("/")).header("x-bimetal-state"), Some("closed"));
    proxy.wait_for_outcomes("success", 2.0);
}

#[test]
fn a_break_within_the_body_is_a_failure_and_reaches_the_client() {
    let upstream = Upstream::start(|mut peer| {
        let (head, _) = peer.request().unwrap();
        if head.starts_with("get /chunked") {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        } else {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        }
        peer.reset();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    for (count, path) in ["/known", "/chunked"].into_iter().enumerate() {
        let mut client = proxy.client();
        client.peer.send(&get(path));
        // The break may overtake the head; what must not be is an answer that seems whole.
        if let Some(head) = client.peer.head() {
            assert!(head.starts_with("http/1.1 200"), "{head}");
            client.peer.closed();
        }
        proxy.wait_for_outcomes("failure", count as f64 + 1.0);
    }
    assert_eq!(proxy.outcomes("success"), 0.0);
}

#[test]
fn a_client_that_leaves_takes_its_upstream_call_with_it() {
    let (arrived, arrivals) = mpsc::channel();
    let (left, departures) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let (head, _) = peer.request().unwrap();
        if head.starts_with("get /within") {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        }
        arrived.send(()).unwrap();
        peer.closed();
        left.send(()).unwrap();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    for (count, path) in ["/before", "/within"].into_iter().enumerate() {
        let mut client = proxy.client();
        client.peer.send(&get(path));
        arrivals.recv_timeout(proxy_support::TEST_DEADLINE).unwrap();
        if path == "/within" {
            client.peer.head().unwrap();
        }
        client.close();
        departures.recv_timeout(proxy_support::TEST_DEADLINE).expect("the upstream was told");
        proxy.wait_for_outcomes("neutral", count as f64 + 1.0);
    }
    assert_eq!(proxy.outcomes("failure") + proxy.outcomes("success"), 0.0);
}

#[test]
fn grpc_says_in_its_own_words_how_it_went() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let begin = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n";
            peer.send(&match head.split(' ').nth(1).unwrap() {
                "/only" => format!("{begin}grpc-status: 14\r\ncontent-length: 0\r\n\r\n"),
                "/trailers" => format!(
                    "{begin}transfer-encoding: chunked\r\ntrailer: grpc-status\r\n\r\n\
                     1\r\nx\r\n0\r\ngrpc-status: 14\r\n\r\n"
                ),
                _ => format!(
                    "{begin}transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\ngrpc-status: 0\r\n\r\n"
                ),
            });
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.ask(&get("/only"));
    proxy.wait_for_outcomes("failure", 1.0);
    client.ask(&get("/good"));
    proxy.wait_for_outcomes("success", 1.0);
    client.ask(&get("/trailers"));
    proxy.wait_for_outcomes("failure", 2.0);
}

#[test]
fn a_stream_of_events_succeeds_at_its_headers() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n");
        peer.closed();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    client.peer.head().unwrap();
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn a_fallback_stands_in_for_failures_and_rejections() {
    let upstream =
        Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 6\r\nx-secret: 1\r\n\r\nsecret");
    let more = "fallback: {when: [rejected, failed], status: 200, \
                headers: {content-type: text/plain, x-from: fallback}, body: sorry}";
    let proxy = Running::start(upstream.address, &policy(more));
    let mut client = proxy.client();
    for call in 0..4 {
        let answer = client.ask(&get("/"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "sorry"));
        assert_eq!(answer.header("x-from"), Some("fallback"));
        assert_eq!(answer.header("content-type"), Some("text/plain"));
        assert_eq!(answer.header("x-secret"), None);
        let rule = (call == 3).then_some("p/breaker");
        assert_eq!(answer.header("x-bimetal-rule"), rule);
    }
    // The answers that nobody wanted were read, so their connection stayed of use.
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_rejected_sender_gets_its_answer_and_keeps_its_connection() {
    let proxy = Running::start(nowhere(), "policies: [{name: p, mode: forced_open}]");
    let mut client = proxy.client();
    let body = "x".repeat(1 << 20);
    for _ in 0..3 {
        let head = format!("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n", body.len());
        let answer = client.ask(&(head + &body));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("x-bimetal-reason"), Some("forced open by the policy"));
    }
}

#[test]
fn modes_that_do_not_act_let_calls_pass() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    for mode in ["shadow", "disabled"] {
        let more = format!("mode: {mode}, fallback: {{when: [rejected, failed], status: 200}}");
        let proxy = Running::start(upstream.address, &policy(&more));
        for _ in 0..6 {
            assert_eq!(proxy.ask(&get("/")).status, 500, "{mode}");
        }
    }
}

#[test]
fn an_unrouted_path_is_404_and_no_evidence() {
    let upstream = Upstream::answering(ok(""));
    let file = file(upstream.address, &policy(""))
        .replace("{upstream: echo}", "{path: /a, upstream: echo}");
    let proxy = Running::with(&file);
    let answer = proxy.ask(&get("/b"));
    assert_eq!((answer.status, error(&answer).as_str()), (404, "endpoint not found"));
    assert_eq!(proxy.ask(&get("/a?b")).status, 200);
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn a_full_pool_makes_calls_wait_and_then_turns_them_away() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            wait.lock().unwrap().recv().unwrap();
            peer.send(&ok("done"));
        }
    });
    let pool = format!("['{}'], pool: {{max_connections: 1, max_pending: 2}}", upstream.address);
    let file = file(upstream.address, &policy(""));
    let proxy = Running::with(&file.replace(&format!("['{}']", upstream.address), &pool));
    let mut clients = [proxy.client(), proxy.client(), proxy.client()];
    for (waiting, client) in clients.iter_mut().enumerate() {
        client.peer.send(&get("/"));
        // The first has the connection, the others wait for it.
        wait_for("a place in the queue", || {
            (proxy.metric("bimetal_calls_outstanding")? == waiting as f64 + 1.0).then_some(())
        });
    }
    let fourth = proxy.ask(&get("/"));
    assert_eq!(fourth.status, 503);
    assert_eq!(error(&fourth), "all connections to the upstream are in use");
    for client in &mut clients {
        go.send(()).unwrap();
        assert_eq!(client.answer().unwrap().text(), "done");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn malformed_requests_are_refused_and_the_proxy_stays_up() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, "");
    for wrong in [
        "what?\r\n\r\n",
        "GET / HTTP/1.1\r\nbad header\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\n\r\n",
    ] {
        assert_eq!(proxy.ask(wrong).status, 400, "{wrong}");
    }
    let version = proxy.ask("GET / HTTP/9.9\r\nhost: t\r\n\r\n").status;
    assert_eq!(version, 505);
    assert_eq!(proxy.ask("CONNECT t:80 HTTP/1.1\r\nhost: t\r\n\r\n").status, 405);
    assert_eq!(proxy.ask(&get("/")).text(), "fine");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_connection_that_sends_no_head_is_closed() {
    let upstream = Upstream::answering(ok("fine"));
    let file = file(upstream.address, "")
        .replace("[{address: '127.0.0.1:0'}]", "[{address: '127.0.0.1:0', header_timeout: 300ms}]");
    let proxy = Running::with(&file);
    let begun = Instant::now();
    let mut client = proxy.client();
    client.peer.send("GET / HTTP/1.1\r\nhost: t\r\n");
    client.peer.closed();
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(proxy.ask(&get("/")).text(), "fine");
}
