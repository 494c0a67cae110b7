//! How many connections of one client may be at work, over real sockets.

mod proxy_support;

use proxy_support::{Client, Running, TEST_DEADLINE, Upstream, file, get, wait_for};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

fn limit(fields: &str) -> String {
    format!("policies: [{{name: p, scope: policy, connections: {{{fields}}}}}]")
}

/// An upstream that tells of each request, and ends its answer when it is let.
fn held() -> (Upstream, Sender<()>, Receiver<String>) {
    let (go, wait) = mpsc::channel();
    let (told, heads) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head.split(' ').nth(1).unwrap().to_owned()).unwrap();
            if head.starts_with("get /chat") {
                peer.send("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n");
                return peer.closed();
            }
            // Its head at once: a connection is at work until the last byte.
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfi");
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
            peer.send("ne");
        }
    });
    (upstream, go, heads)
}

/// A client whose call is under way.
fn begun(proxy: &Running, heads: &Receiver<String>, request: &str) -> Client {
    let mut client = proxy.client();
    client.peer.send(request);
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    client
}

fn refused(proxy: &Running) -> f64 {
    let labels = [("policy", "p"), ("decision", "connections")];
    proxy.metrics().sum("bimetal_requests_total", &labels)
}

/// Waits until the client may have another connection at work; that call is answered.
fn has_room(proxy: &Running, go: &Sender<()>, heads: &Receiver<String>) {
    wait_for("room for a connection", || {
        let mut client = proxy.client();
        client.peer.send(&get("/"));
        if client.peer.head()?.contains(" 429 ") {
            return None;
        }
        heads.recv_timeout(TEST_DEADLINE).unwrap();
        go.send(()).unwrap();
        Some(())
    });
}

#[test]
fn one_more_is_refused_and_closed_until_one_is_done() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &limit("per_client: 2"));
    let mut first = begun(&proxy, &heads, &get("/1"));
    let second = begun(&proxy, &heads, &get("/2"));
    let mut third = proxy.client();
    let answer = third.ask(&get("/3"));
    assert_eq!((answer.status, answer.header("x-bimetal-rule")), (429, Some("p/connections")));
    let reason = "2 connections of this client at work, and no more may be";
    assert_eq!(answer.header("x-bimetal-reason"), Some(reason));
    assert_eq!(answer.header("connection"), Some("close"));
    third.peer.closed();
    assert_eq!(refused(&proxy), 1.0);
    assert!(heads.try_recv().is_err());
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().text(), "fine");
    // An idle connection does not count: these two are connected still.
    has_room(&proxy, &go, &heads);
    drop((first, second));
}

/// monkeyWie/proxyee#135: a count that was never lowered again.
#[test]
fn a_client_that_leaves_makes_room() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &limit("per_client: 1"));
    begun(&proxy, &heads, &get("/1")).close();
    has_room(&proxy, &go, &heads);
}

#[test]
fn a_connection_that_switched_protocols_counts_until_it_ends() {
    let (upstream, go, heads) = held();
    let text = file(upstream.address, &limit("per_client: 1"));
    let text = text.replace("{upstream: echo}", "{upstream: echo, upgrades: [chat]}");
    let proxy = Running::with(&text);
    let upgrade = "GET /chat HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    let mut chat = begun(&proxy, &heads, upgrade);
    assert!(chat.peer.head().unwrap().contains(" 101 "));
    assert_eq!(proxy.ask(&get("/")).status, 429);
    chat.close();
    has_room(&proxy, &go, &heads);
}

#[test]
fn a_call_that_waits_for_a_slot_holds_its_connection() {
    let (upstream, go, heads) = held();
    let rest = "per_client: 2}, concurrency: {max: 1, queue: {max: 5, max_wait: 1h}";
    let proxy = Running::start(upstream.address, &limit(rest));
    let mut first = begun(&proxy, &heads, &get("/1"));
    let mut second = proxy.client();
    second.peer.send(&get("/2"));
    wait_for("a call that waits", || {
        let length = r#"bimetal_queue_length{policy="p",scope="policy"}"#;
        (proxy.metric(length)? == 1.0).then_some(())
    });
    assert_eq!(proxy.ask(&get("/3")).header("x-bimetal-rule"), Some("p/connections"));
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/2");
    go.send(()).unwrap();
    assert_eq!(second.answer().unwrap().status, 200);
    has_room(&proxy, &go, &heads);
}

/// The kernel spreads the connections over the workers.
#[test]
fn workers_count_together_and_exactly() {
    let (upstream, _go, heads) = held();
    let text = file(upstream.address, &limit("per_client: 16")).replace("workers: 1", "workers: 4");
    let proxy = Running::with(&text);
    let mut clients: Vec<_> = (0..48).map(|_| proxy.client()).collect();
    clients.iter_mut().for_each(|client| client.peer.send(&get("/")));
    // All are decided before any ends.
    let statuses = clients.iter_mut().map(|client| client.peer.head().unwrap());
    let admitted = statuses.filter(|head| head.contains(" 200 ")).count();
    assert_eq!((admitted, refused(&proxy)), (16, 32.0));
    assert_eq!((0..16).filter(|_| heads.recv_timeout(TEST_DEADLINE).is_ok()).count(), 16);
}

/// The same client behind a balancer is the one that the balancer names, and a reload forgets nobody
/// (nginx/kubernetes-ingress#793). Addresses of one network are one client (hessu/aprsc#9), who a balancer speaks
/// for are several (junkurihara/rust-rpxy#573), and those who are there count under a changed limit
/// (redpanda-data/docs#1357).
#[test]
fn clients_are_told_apart_and_a_reload_forgets_nobody() {
    let (upstream, _go, heads) = held();
    let allow = "per_client: 1, allow: [198.51.100.0/24]";
    let text = |rest: &str| {
        let listener = "'127.0.0.1:0', proxy_protocol: true}]";
        file(upstream.address, rest).replacen("'127.0.0.1:0'}]", listener, 1)
    };
    let proxy = Running::with(&text(&limit(allow)));
    let ask = |family: &str, client: &str| {
        let mut connection = proxy.client();
        let to = if family == "TCP4" { "10.0.0.1" } else { "2001:db8::ff" };
        let request = get("/");
        connection.peer.send(&format!("PROXY {family} {client} {to} 4711 80\r\n{request}"));
        let head = connection.peer.head().unwrap();
        (head.split(' ').nth(1).unwrap().to_owned(), connection)
    };
    let mut kept = Vec::new();
    let mut is_let_in = |family, client| {
        let (status, connection) = ask(family, client);
        kept.push(connection);
        status == "200"
    };
    assert!(is_let_in("TCP4", "192.0.2.1") && !is_let_in("TCP4", "192.0.2.1"));
    assert!(is_let_in("TCP4", "192.0.2.2"));
    // A subscriber has a whole network.
    assert!(is_let_in("TCP6", "2001:db8::1") && !is_let_in("TCP6", "2001:db8::2"));
    assert!(is_let_in("TCP6", "2001:db8:0:1::2"));
    assert!(is_let_in("TCP4", "198.51.100.9") && is_let_in("TCP4", "198.51.100.9"));
    proxy.reload(&text(&limit("per_client: 2, status: 503")));
    // One is there since before.
    let _second = wait_for("the new limit", || {
        let (status, connection) = ask("TCP4", "192.0.2.1");
        (status == "200").then_some(connection)
    });
    assert_eq!(ask("TCP4", "192.0.2.1").0, "503");
    drop(heads);
}

#[test]
fn in_shadow_it_counts_and_refuses_nobody() {
    let (upstream, go, heads) = held();
    let proxy =
        Running::start(upstream.address, &limit("per_client: 1}, mode: shadow, fallback: {"));
    let mut first = begun(&proxy, &heads, &get("/1"));
    let mut second = begun(&proxy, &heads, &get("/2"));
    let labels = [("policy", "p"), ("decision", "connections")];
    assert_eq!(proxy.metrics().sum("bimetal_shadow_total", &labels), 1.0);
    assert_eq!(refused(&proxy), 0.0);
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!([&mut first, &mut second].map(|one| one.answer().unwrap().status), [200, 200]);
}

/// It takes no token of a limit, and no slot.
#[test]
fn what_is_refused_takes_nothing() {
    let (upstream, go, heads) = held();
    let rest = "per_client: 1}, rate_limits: [{rate: 2/h}], fallback: {";
    let proxy = Running::start(upstream.address, &limit(rest));
    let mut first = begun(&proxy, &heads, &get("/1"));
    for _ in 0..5 {
        assert_eq!(proxy.ask(&get("/")).header("x-bimetal-rule"), Some("p/connections"));
    }
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    has_room(&proxy, &go, &heads);
    wait_for("the end of the tokens", || {
        let rule = proxy.ask(&get("/")).header("x-bimetal-rule").map(str::to_owned);
        (rule.as_deref() == Some("p/rate_limit")).then_some(())
    });
    let labels = [("policy", "p"), ("decision", "admitted")];
    assert_eq!(proxy.metrics().sum("bimetal_requests_total", &labels), 2.0);
}
