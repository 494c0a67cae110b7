//! What a proxy says and heeds of the way of a request: names that look like others, `Via`,
//! `Max-Forwards`, `TE`, the options of a server.

mod proxy_support;

use proxy_support::{Running, Upstream, file, get, ok, policy, value};
use std::net::TcpListener;
use std::sync::mpsc::{self, Receiver};

/// An upstream that tells every head it gets.
fn teller() -> (Upstream, Receiver<String>) {
    let (told, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head).unwrap();
            peer.send(&ok("fine"));
        }
    });
    (upstream, heads)
}

fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: t\r\n{lines}\r\n")
}

const ODD: &str = "x_forwarded_for: 6.6.6.6\r\nX-Forwarded_Host: evil\r\nx.forwarded.proto: https\r\n\
    _: 1\r\nx-plain: 2\r\nx_tenant: gold\r\n";

#[test]
fn names_that_look_like_others_are_dropped() {
    let (upstream, heads) = teller();
    let proxy = Running::start(upstream.address, "");
    // Whichever request of a connection it is.
    let mut client = proxy.client();
    client.peer.send(&format!("{}{}{}", get("/"), with(ODD), with("x-late: 1\r\n")));
    for number in 0..3 {
        assert_eq!(client.answer().unwrap().status, 200);
        let head = heads.recv().unwrap();
        assert!(
            !head.contains("x_f") && !head.contains("d_host") && !head.contains("x.f"),
            "{head}"
        );
        assert!(!head.contains("\r\n_:") && !head.contains("x_tenant"), "{head}");
        assert_eq!(value(&head, "x-plain").is_some(), number == 1, "{head}");
        assert_eq!(value(&head, "x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(value(&head, "x-forwarded-host"), None);
    }
}

#[test]
fn a_listener_may_let_them_pass() {
    let (upstream, heads) = teller();
    let text = file(upstream.address, "")
        .replace("{address: '127.0.0.1:0'}]", "{address: '127.0.0.1:0', underscores: allow}]");
    let proxy = Running::with(&text);
    assert_eq!(proxy.ask(&with(ODD)).status, 200);
    let head = heads.recv().unwrap();
    assert_eq!(value(&head, "x_tenant"), Some("gold"));
    assert_eq!(value(&head, "x.forwarded.proto"), Some("https"));
}

#[test]
fn no_policy_sees_what_is_dropped() {
    let (upstream, _heads) = teller();
    let rules = policy("mode: forced_open, match: {headers: {x_tenant: gold}}");
    let proxy = Running::start(upstream.address, &rules);
    assert_eq!(proxy.ask(&with(ODD)).status, 200);
}

#[test]
fn trailers_claim_nothing_either() {
    let (told, bodies) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(head) = peer.head() {
            let mut body = String::new();
            while !body.ends_with("\r\n\r\n") {
                body.push_str(&peer.line());
            }
            told.send(format!("{head}{body}").to_lowercase()).unwrap();
            peer.send(&ok("fine"));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let request = "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\
        trailer: x_forwarded_for, x-forwarded-for, connection, x-sum\r\n\r\n\
        2\r\nok\r\n0\r\nx_forwarded_for: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n\
        connection: x\r\nx-sum: 9\r\n\r\n";
    assert_eq!(proxy.ask(request).status, 200);
    let got = bodies.recv().unwrap();
    assert!(got.ends_with("0\r\nx-sum: 9\r\n\r\n"), "{got}");
}

#[test]
fn via_names_the_proxy_behind_others() {
    let (upstream, heads) = teller();
    let proxy = Running::start(upstream.address, "");
    proxy.ask(&get("/"));
    let own = value(&heads.recv().unwrap(), "via").unwrap().to_owned();
    assert!(own.starts_with("1.1 bimetal-"), "{own}");
    proxy.ask("GET / HTTP/1.0\r\nvia: 1.1 other\r\n\r\n");
    let head = heads.recv().unwrap();
    let old = own.replace("1.1 ", "1.0 ");
    let others = head.find("via: 1.1 other\r\n").expect("the other proxy");
    assert!(head.find(&format!("via: {old}\r\n")).is_some_and(|at| at > others), "{head}");
    // The client cannot take it away.
    proxy.ask(&with("connection: via\r\n"));
    assert_eq!(value(&heads.recv().unwrap(), "via"), Some(&*own));
}

#[test]
fn a_loop_is_cut_at_its_first_round() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let text = file(address, &policy("")).replacen("'127.0.0.1:0'", &format!("'{address}'"), 1);
    let proxy = Running::with(&text);
    for lines in ["", "connection: upgrade\r\nupgrade: websocket\r\n"] {
        let answer = proxy.ask(&with(lines));
        assert_eq!(answer.status, 508);
        assert!(answer.text().contains("been here before"), "{}", answer.text());
    }
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"loop\"}"), Some(2.0));
    assert_eq!(proxy.metric("bimetal_requests_ended_total{end=\"refused\"}"), Some(2.0));
}

#[test]
fn hops_are_counted_down_for_options_and_trace() {
    let (upstream, heads) = teller();
    let proxy = Running::start(upstream.address, "");
    let ask = |method: &str, lines: &str| proxy.ask(&with(lines).replace("GET", method));
    for method in ["OPTIONS", "TRACE"] {
        assert_eq!(ask(method, "max-forwards: 3\r\n").status, 200);
        assert_eq!(value(&heads.recv().unwrap(), "max-forwards"), Some("2"));
        assert_eq!(ask(method, "max-forwards: x\r\n").status, 400);
        assert_eq!(ask(method, "max-forwards: 1\r\nmax-forwards: 1\r\n").status, 400);
    }
    let last = ask("OPTIONS", "max-forwards: 0\r\n");
    assert_eq!((last.status, last.header("content-length")), (200, Some("0")));
    assert!(last.header("allow").is_some_and(|allowed| allowed.contains("options")));
    assert_eq!(ask("TRACE", "max-forwards: 0\r\ncookie: secret\r\n").status, 405);
    // It means nothing for others.
    assert_eq!(ask("GET", "max-forwards: 0\r\n").status, 200);
    assert_eq!(value(&heads.recv().unwrap(), "max-forwards"), Some("0"));
}

#[test]
fn te_goes_on_under_connection_only() {
    let (upstream, heads) = teller();
    let proxy = Running::start(upstream.address, "");
    for (lines, te, connection) in [
        ("te: trailers\r\nconnection: te\r\n", Some("trailers"), Some("te")),
        ("te: gzip, trailers\r\n", Some("trailers"), Some("te")),
        ("te: gzip\r\nconnection: te\r\n", None, None),
    ] {
        proxy.ask(&with(lines));
        let head = heads.recv().unwrap();
        assert_eq!((value(&head, "te"), value(&head, "connection")), (te, connection), "{lines}");
    }
}

#[test]
fn options_of_a_server_in_absolute_form_are_an_asterisk() {
    let (upstream, heads) = teller();
    let proxy = Running::start(upstream.address, "");
    let options = |target: &str| format!("OPTIONS {target} HTTP/1.1\r\nhost: t\r\n\r\n");
    for (target, line, host) in [
        ("http://a.example:81", "options * http/1.1", "a.example:81"),
        ("http://a.example/", "options / http/1.1", "a.example"),
        ("http://a.example?q", "options /?q http/1.1", "a.example"),
        ("*", "options * http/1.1", "t"),
    ] {
        // Pipelined, so that each is told from the others.
        let mut client = proxy.client();
        client.peer.send(&format!("{}{}", options(target), get("/")));
        assert_eq!(client.answer().unwrap().status, 200);
        assert_eq!(client.answer().unwrap().status, 200);
        let head = heads.recv().unwrap();
        assert_eq!((head.lines().next(), value(&head, "host")), (Some(line), Some(host)));
        assert!(heads.recv().unwrap().starts_with("get / http/1.1\r\n"));
    }
}

#[test]
fn nothing_says_a_length_where_there_is_no_body() {
    let upstream = Upstream::answering(
        "HTTP/1.1 103 Early Hints\r\ncontent-length: 0\r\nlink: </a>\r\n\r\n\
         HTTP/1.1 204 No Content\r\ncontent-length: 0\r\nx-a: b\r\n\r\n",
    );
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    let interim = client.peer.head().unwrap();
    assert!(interim.starts_with("http/1.1 103 "), "{interim}");
    assert_eq!(value(&interim, "content-length"), None);
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("x-a")), (204, Some("b")));
    assert_eq!((answer.header("content-length"), answer.header("transfer-encoding")), (None, None));
    // Nor the proxy itself.
    assert_eq!(proxy.metrics().sum("bimetal_refused_total", &[]), 0.0);
}
