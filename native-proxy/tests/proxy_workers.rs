//! Several workers, many clients, and the books that must balance.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, get, ok, policy, value, wait_for};
use std::sync::mpsc;

#[test]
fn every_admitted_call_is_settled_exactly_once() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap();
            match path.trim_start_matches('/').parse::<u32>().unwrap() % 7 {
                0 => return peer.reset(),
                1 => peer.send("HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\nno"),
                2 => peer.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                ),
                3 => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
                    return;
                }
                _ => peer.send(&ok("fine")),
            }
        }
    });
    let rest = "policies: [{name: p, breaker: {trip: {consecutive_failures: 1000000}}}]";
    let text = file(upstream.address, rest).replace("workers: 1", "workers: 2");
    let proxy = Running::with(&text);
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let listen = proxy.listen;
            std::thread::spawn(move || {
                let mut client = Client::connect(listen);
                let mut answers = 0.0;
                for call in 0..140 {
                    client.peer.send(&get(&format!("/{call}")));
                    // A broken answer ends the connection; every tenth client leaves by itself.
                    let whole = call % 7 != 3 && call % 10 != 9 && client.answer().is_some();
                    if whole {
                        answers += 1.0;
                    } else {
                        client = Client::connect(listen);
                    }
                }
                answers
            })
        })
        .collect();
    let answers: f64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    // Of those who left at once, one may be heard after all others are settled: books that balance
    // are on one page.
    let admitted = wait_for("settled calls", || {
        let metrics = proxy.metrics();
        let outcomes: f64 = ["success", "failure", "slow", "neutral"]
            .iter()
            .map(|name| {
                metrics.sum("bimetal_outcomes_total", &[("policy", "p"), ("outcome", *name)])
            })
            .sum();
        let labels = [("policy", "p"), ("decision", "admitted")];
        let admitted = metrics.sum("bimetal_requests_total", &labels);
        let is_settled = metrics.line("bimetal_calls_outstanding") == Some(0.0);
        (is_settled && outcomes == admitted).then_some(admitted)
    });
    // Of those who left at once, some were never heard.
    assert!((answers..=8.0 * 140.0).contains(&admitted), "{admitted} of {answers}");
    assert_eq!(proxy.metric("bimetal_decision_errors_total"), Some(0.0));
    assert_eq!(proxy.metric("bimetal_panics_total"), Some(0.0));
    assert_eq!(proxy.metric("bimetal_workers"), Some(2.0));
}

#[test]
fn an_idle_worker_learns_of_a_trip() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let fails = head.starts_with("get /fail");
            peer.send(&if fails { ok("no").replace("200 OK", "500 No") } else { ok("fine") });
        }
    });
    let proxy =
        Running::with(&file(upstream.address, &policy("")).replace("workers: 1", "workers: 2"));
    let replicas = |state| {
        proxy.metrics().find("bimetal_breaker_replicas", &[("policy", "p"), ("state", state)])
    };
    // The kernel spreads connections.
    let mut clients = Vec::new();
    wait_for("a breaker at each worker", || {
        let mut client = proxy.client();
        assert_eq!(client.ask(&get("/")).status, 200);
        clients.push(client);
        (replicas("closed") == Some(2.0)).then_some(())
    });
    for _ in 0..3 {
        assert_eq!(clients[0].ask(&get("/fail")).status, 500);
    }
    // Nobody asks the other one anything.
    wait_for("both to have it open", || (replicas("open") == Some(2.0)).then_some(()));
}

#[test]
fn connections_beyond_the_limit_wait_their_turn() {
    let upstream = Upstream::answering(ok("fine"));
    let text = file(upstream.address, "")
        .replace("[{address: '127.0.0.1:0'}]", "[{address: '127.0.0.1:0', max_connections: 1}]");
    let proxy = Running::with(&text);
    let mut first = proxy.client();
    assert_eq!(first.ask(&get("/")).status, 200);
    let mut second = proxy.client();
    second.peer.send(&get("/"));
    assert_eq!(first.ask(&get("/")).status, 200);
    assert_eq!(proxy.metric("bimetal_connections"), Some(1.0));
    first.close();
    assert_eq!(second.answer().unwrap().status, 200);
}

#[test]
fn an_endpoint_may_be_a_name_and_a_dead_one_is_passed_over() {
    let upstream = Upstream::answering(ok("fine"));
    let dead = proxy_support::nowhere();
    let port = upstream.address.port();
    let text = file(upstream.address, &policy(""))
        .replace(&format!("['{}']", upstream.address), &format!("['{dead}', 'localhost:{port}']"));
    let proxy = Running::with(&text);
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/")).text(), "fine");
    }
    proxy.wait_for_outcomes("success", 3.0);
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.send(&ok(head.split(' ').nth(1).unwrap()));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&(get("/1") + &get("/2") + &get("/3")));
    for path in ["/1", "/2", "/3"] {
        assert_eq!(client.answer().unwrap().text(), path);
    }
}

#[test]
fn a_sender_that_waits_for_leave_gets_it() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(request) = peer.request() {
            seen.send(request).unwrap();
            peer.send(&ok("thanks"));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client
        .peer
        .send("POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n");
    let head = client.peer.head().unwrap();
    assert!(head.starts_with("http/1.1 100"), "{head}");
    client.peer.send("hi");
    assert_eq!(client.answer().unwrap().text(), "thanks");
    let (head, body) = requests.recv().unwrap();
    assert_eq!(value(&head, "content-length"), Some("2"));
    assert_eq!(body, b"hi");
}

#[test]
fn an_answer_before_the_end_of_the_request_arrives() {
    let upstream = Upstream::start(|mut peer| {
        peer.head().unwrap();
        peer.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
        peer.closed();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 1000\r\n\r\nbegin");
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    proxy.wait_for_outcomes("success", 1.0);
}
