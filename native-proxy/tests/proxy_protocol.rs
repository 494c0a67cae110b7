//! A listener behind a balancer that speaks the PROXY protocol: whose connection it is.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, get, ok, value, wait_for};
use std::sync::mpsc::channel;

const PER_CLIENT: &str =
    "policies: [{name: p, scope: policy, rate_limits: [{rate: 2/h, key: [client]}]}]";

/// A proxy whose listener has these fields, in front of an upstream that answers with the
/// `x-forwarded-for` that it got.
fn with(fields: &str) -> (Upstream, Running) {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.send(&ok(value(&head, "x-forwarded-for").unwrap_or("none")));
        }
    });
    let with = format!("'127.0.0.1:0', {fields}}}]");
    let text = file(upstream.address, PER_CLIENT).replacen("'127.0.0.1:0'}]", &with, 1);
    (upstream, Running::with(&text))
}

fn refused(proxy: &Running) -> f64 {
    proxy.metrics().sum("bimetal_refused_total", &[("reason", "proxy_header")])
}

/// A connection that a balancer passes on for `client`.
fn passed_on(proxy: &Running, client: &str) -> Client {
    let mut connection = proxy.client();
    connection.peer.send(&format!("PROXY TCP4 {client} 10.0.0.1 4711 80\r\n"));
    connection
}

#[test]
fn the_client_is_who_the_balancer_says() {
    let (_upstream, proxy) = with("proxy_protocol: true");
    let ask = |client: &str| passed_on(&proxy, client).ask(&get("/"));
    assert_eq!(ask("192.0.2.7").text(), "192.0.2.7");
    let statuses = [ask("192.0.2.7"), ask("192.0.2.7"), ask("192.0.2.8")].map(|got| got.status);
    assert_eq!(statuses, [200, 429, 200]);
    // Once for a connection, and a request of it may follow in the same breath.
    let mut connection = passed_on(&proxy, "192.0.2.9");
    assert_eq!([(), ()].map(|()| connection.ask(&get("/")).status), [200, 200]);
    assert_eq!(refused(&proxy), 0.0);
}

#[test]
fn who_trusts_hops_as_well_counts_them_from_the_header_on() {
    let (_upstream, proxy) = with("proxy_protocol: true, trusted_hops: 1");
    let mut connection = passed_on(&proxy, "192.0.2.7");
    let request = "GET / HTTP/1.1\r\nhost: t\r\nx-forwarded-for: 198.51.100.1\r\n\r\n";
    assert_eq!(connection.ask(request).text(), "198.51.100.1, 192.0.2.7");
}

#[test]
fn a_balancer_that_speaks_for_itself_is_the_client() {
    let (_upstream, proxy) = with("proxy_protocol: true");
    let mut connection = proxy.client();
    connection.peer.send("PROXY UNKNOWN\r\n");
    assert_eq!(connection.ask(&get("/")).text(), "127.0.0.1");
    let mut local = proxy.client();
    local.peer.send_bytes(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    assert_eq!(local.ask(&get("/")).text(), "127.0.0.1");
}

#[test]
fn whoever_comes_without_a_header_is_not_let_in() {
    let (upstream, proxy) = with("proxy_protocol: true");
    for bytes in [
        get("/"),
        "PROXY TCP4 192.0.2.7\r\nGET / HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(),
        "PROXY TCP4 999.0.2.7 10.0.0.1 1 2\r\n".to_owned(),
    ] {
        let mut connection = proxy.client();
        connection.peer.send(&bytes);
        assert!(connection.answer().is_none(), "{bytes}");
    }
    wait_for("the counts", || (refused(&proxy) == 3.0).then_some(()));
    assert_eq!(upstream.connections(), 0);
    // Not every look at the port is a mistake: balancers ask so whether anybody listens.
    proxy.client().close();
    passed_on(&proxy, "192.0.2.7").close();
    assert_eq!(passed_on(&proxy, "192.0.2.7").ask(&get("/")).status, 200);
    assert_eq!(refused(&proxy), 3.0);
}

#[test]
fn half_a_header_has_the_time_of_a_head() {
    let (_upstream, proxy) = with("proxy_protocol: true, header_timeout: 300ms");
    let mut connection = proxy.client();
    connection.peer.send("PROXY TCP4 192.0.2.7");
    assert!(connection.answer().is_none());
    wait_for("the count", || (refused(&proxy) == 1.0).then_some(()));
}

#[test]
fn a_drain_does_not_wait_for_a_header() {
    let (_upstream, proxy) = with("proxy_protocol: true");
    let mut waiting = proxy.client();
    waiting.peer.send("PROXY TCP4");
    assert_eq!(passed_on(&proxy, "192.0.2.7").ask(&get("/")).status, 200);
    let (tell, ended) = channel();
    let drains = std::thread::spawn(move || {
        drop(proxy);
        let _ = tell.send(());
    });
    assert!(waiting.answer().is_none());
    ended.recv().unwrap();
    drains.join().unwrap();
}

#[test]
fn elsewhere_a_header_is_a_malformed_request() {
    let (upstream, proxy) = with("proxy_protocol: false");
    let mut connection = passed_on(&proxy, "192.0.2.7");
    assert_eq!(connection.ask(&get("/")).status, 400);
    let mut connection = proxy.client();
    connection
        .peer
        .send_bytes(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\0\x01\0\x50");
    assert_eq!(connection.ask(&get("/")).status, 400);
    assert_eq!(upstream.connections(), 0);
}
