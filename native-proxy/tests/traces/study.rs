//! `tree: origin-study`: every kind of end, as a tree.

use crate::lines::{Trace, tree};
use crate::proxy_support::{Client, Upstream, get, ok, wait_for};
use crate::traced::{EchoServer, Traced, nobody, on_stdout, post};

fn study(policies: &str) -> String {
    format!("{}\n{policies}", on_stdout("tree: origin-study"))
}

fn with_breaker(more: &str) -> String {
    policy("open: {base: 30s}", more)
}

fn policy(breaker: &str, more: &str) -> String {
    let breaker = format!("breaker: {{profile: origin-study, {breaker}}}");
    study(&format!("policies: [{{name: echo, scope: policy, {breaker}{more}}}]"))
}

#[test]
fn a_good_call_is_one_tree_of_twelve_spans_over_both_programs() {
    let echo = EchoServer::start(&["--traces", "otlp_stdout"]);
    let proxy = Traced::start("good", echo.listen, &with_breaker(""));
    assert_eq!(proxy.ask(&post("/echo", "")).status, 200);
    let (proxied, echoed) = (proxy.lines.next(), echo.lines.next());
    assert_eq!((proxied.service.as_str(), echoed.service.as_str()), ("echo-proxy", "echo-server"));
    assert_eq!(proxied.root().trace, echoed.root().trace);
    assert_eq!(
        tree(&[&proxied, &echoed]),
        "\
POST /echo (server)
  echo_proxy_client (internal)
    parse_request_client (internal)
    circuit_breaker_call (internal)
      redirect_to_server_client (internal)
        POST (client)
          POST /echo (server)
            echo_request_server (internal)
              parse_request_server (internal)
              process_message_server (internal)
              construct_response_server (internal)
    construct_response_client (internal)
"
    );
    let client = proxied.span("echo_proxy_client");
    assert_eq!(client.attribute("proxy_echo.status"), "ok");
    assert!(client.attribute("response_time").parse::<f64>().unwrap() > 0.0);
    let breaker = proxied.span("circuit_breaker_call");
    assert_eq!(facts(&proxied), ["CLOSED", "CLOSED", "", "0", "success"]);
    assert_eq!(breaker.events.len(), 0);
    // One after the other: what took the time can be read from them.
    let order =
        ["parse_request_client", "circuit_breaker_call", "redirect_to_server_client", "POST"];
    let begins = order.map(|name| proxied.span(name).from);
    assert!(begins.is_sorted(), "{begins:?}");
    let constructed = proxied.span("construct_response_client");
    assert!(constructed.from >= proxied.span("POST").from && constructed.to <= client.to);
    let root = proxied.root();
    assert_eq!((root.parent.as_str(), root.attribute("http.response.status_code")), ("", "200"));
    assert_eq!(proxy.end().len(), 0);
}

/// The study's facts of a breaker, in its order.
fn facts(trace: &Trace) -> [&str; 5] {
    let span = trace.span("circuit_breaker_call");
    [
        "cb.current_state",
        "cb.new_state",
        "cb.state_transition",
        "cb.failure_count",
        "cb.request_status",
    ]
    .map(|key| span.attribute(key))
}

#[test]
fn without_a_breaker_there_is_no_span_of_one() {
    let echo = EchoServer::start(&["--traces", "otlp_stdout"]);
    let proxy = Traced::start("bare", echo.listen, &study(""));
    assert_eq!(proxy.ask(&post("/echo", "")).status, 200);
    let both = [&proxy.lines.next(), &echo.lines.next()];
    assert_eq!(both.iter().map(|trace| trace.spans.len()).sum::<usize>(), 11);
    let redirect = both[0].span("redirect_to_server_client");
    assert_eq!(redirect.parent, both[0].span("echo_proxy_client").id);
    // The study counts every status from 400 on as an error of the forwarding.
    assert_eq!(proxy.ask(&post("/echo", "x-fault-status: 404\r\n")).status, 404);
    let failed = proxy.lines.next();
    let redirect = failed.span("redirect_to_server_client");
    assert_eq!(redirect.exception(), Some(("404", "upstream answered 404")));
    assert_eq!(failed.span("echo_proxy_client").attribute("proxy_echo.status"), "error");
}

#[test]
fn failures_trip_and_a_blocked_call_has_no_child() {
    let echo = EchoServer::start(&[]);
    let proxy = Traced::start("trips", echo.listen, &with_breaker(""));
    for number in 1..=3 {
        assert_eq!(proxy.ask(&post("/echo", "x-fault-status: 500\r\n")).status, 500);
        let failed = proxy.lines.next();
        assert_eq!(
            tree(&[&failed]),
            "\
POST /echo (server) !
  echo_proxy_client (internal)
    parse_request_client (internal)
    circuit_breaker_call (internal) ! 500
      redirect_to_server_client (internal) ! 500
        POST (client) !
    construct_response_client (internal)
"
        );
        let count = number.to_string();
        let (to, change) = match number {
            3 => ("OPEN", "CLOSED → OPEN"),
            _ => ("CLOSED", ""),
        };
        assert_eq!(facts(&failed), ["CLOSED", to, change, &count, "failure"]);
        let exception = failed.span("circuit_breaker_call").exception();
        assert_eq!(exception, Some(("500", "upstream answered 500")));
        assert_eq!(failed.span("echo_proxy_client").attribute("proxy_echo.status"), "error");
    }
    assert_eq!(proxy.ask(&post("/echo", "")).status, 503);
    let blocked = proxy.lines.next();
    assert_eq!(
        tree(&[&blocked]),
        "\
POST /echo (server) !
  echo_proxy_client (internal)
    parse_request_client (internal)
    circuit_breaker_call (internal) ! rejected
    construct_response_client (internal)
"
    );
    assert_eq!(facts(&blocked), ["OPEN", "OPEN", "", "3", "blocked (OPEN)"]);
}

#[test]
fn a_probe_tells_of_both_changes() {
    let echo = EchoServer::start(&[]);
    let proxy = Traced::start("probes", echo.listen, &policy("open: {base: 50ms}", ""));
    for _ in 0..3 {
        proxy.ask(&post("/echo", "x-fault-status: 500\r\n"));
        proxy.lines.next();
    }
    let probed = loop {
        let answer = proxy.ask(&post("/echo", ""));
        let trace = proxy.lines.next();
        if answer.status == 200 {
            break trace;
        }
    };
    let change = "OPEN → HALF_OPEN → CLOSED";
    assert_eq!(facts(&probed), ["OPEN", "CLOSED", change, "0", "success"]);
}

#[test]
fn what_ends_before_a_route_is_the_servers_span_alone() {
    let upstream = Upstream::answering(ok("x"));
    let routes = on_stdout("tree: origin-study");
    let proxy = Traced::start("early", upstream.address, &routes);
    // The file's route takes every path, and `*` is none.
    let mut client = Client::connect(proxy.program.listen);
    assert_eq!(client.ask("CONNECT shop:80 HTTP/1.1\r\nhost: shop:80\r\n\r\n").status, 405);
    let trace = proxy.lines.next();
    assert_eq!(trace.spans.len(), 1);
    assert_eq!(trace.root().attribute("http.response.status_code"), "405");
    let mut client = Client::connect(proxy.program.listen);
    let refused = client.ask("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    assert_eq!(refused.status, 400);
    let trace = proxy.lines.next();
    assert_eq!(tree(&[&trace]), "HTTP (server)\n");
    let root = trace.root();
    assert_eq!(root.attribute("http.response.status_code"), "400");
    assert_eq!((root.attribute("error.type"), root.attribute("url.path")), ("malformed", ""));
}

#[test]
fn an_upstream_that_says_nothing_is_a_timeout() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.closed();
    });
    let proxy =
        Traced::start("silent", upstream.address, &with_breaker(", timeout: {request: 200ms}"));
    assert_eq!(proxy.ask(&post("/echo", "")).status, 504);
    let trace = proxy.lines.next();
    assert_eq!(
        tree(&[&trace]),
        "\
POST /echo (server) !
  echo_proxy_client (internal)
    parse_request_client (internal)
    circuit_breaker_call (internal) ! timeout
      redirect_to_server_client (internal) ! timeout
        POST (client) ! timeout
    construct_response_client (internal)
"
    );
    assert_eq!(facts(&trace), ["CLOSED", "CLOSED", "", "1", "failure"]);
    let client = trace.span("POST");
    assert!(client.to - client.from >= 150_000_000, "{client:?}");
}

#[test]
fn a_connection_that_was_dead_already_is_a_try_of_its_own() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send(&ok("x"));
        // Closed behind the answer: the next request finds that out.
    });
    let proxy = Traced::start("stale", upstream.address, &study(""));
    assert_eq!(proxy.ask(&get("/")).status, 200);
    assert_eq!(proxy.lines.next().spans.len(), 6);
    let mut seen = 0;
    // Whether the end is noticed when the request is written or before is the system's to say.
    while seen < 20 {
        assert_eq!(proxy.ask(&get("/")).status, 200);
        let trace = proxy.lines.next();
        let tries: Vec<_> = trace.spans.iter().filter(|span| span.kind == 3).collect();
        match tries[..] {
            [_] => seen += 1,
            [first, second] => {
                assert_eq!(first.attribute("error.type"), "closed", "{first:?}");
                assert_eq!(second.attribute("http.request.resend_count"), "1");
                return;
            }
            _ => panic!("{trace:?}"),
        }
    }
}

#[test]
fn a_client_that_leaves_ends_its_trace() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx");
        peer.closed();
    });
    let proxy = Traced::start("leaves", upstream.address, &with_breaker(""));
    let mut client = Client::connect(proxy.program.listen);
    client.peer.send(&post("/echo", ""));
    assert!(client.peer.head().unwrap().starts_with("http/1.1 200"));
    client.close();
    let trace = proxy.lines.next();
    assert_eq!(trace.root().attribute("error.type"), "client_gone");
    assert_eq!(facts(&trace)[4], "neutral");
}

#[test]
fn an_answer_that_breaks_off_is_an_exception() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx");
    });
    let proxy = Traced::start("breaks", upstream.address, &with_breaker(""));
    let mut client = Client::connect(proxy.program.listen);
    client.peer.send(&post("/echo", ""));
    client.peer.closed();
    let trace = proxy.lines.next();
    assert_eq!(trace.root().attribute("error.type"), "broke_off");
    assert_eq!(facts(&trace)[4], "failure");
    let kind = |name: &str| trace.span(name).exception().map(|(kind, _)| kind.to_owned());
    assert_eq!(kind("circuit_breaker_call").as_deref(), Some("broke_off"));
    assert_eq!(kind("POST").as_deref(), Some("broke_off"));
}

#[test]
fn spans_last_until_the_end_of_a_streamed_answer() {
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na");
        gone.lock().unwrap().recv().unwrap();
        peer.send("b");
    });
    let proxy = Traced::start("streams", upstream.address, &with_breaker(""));
    let mut client = Client::connect(proxy.program.listen);
    client.peer.send(&post("/echo", ""));
    client.peer.head().unwrap();
    assert_eq!(client.peer.take(1), b"a");
    go.send(()).unwrap();
    assert_eq!(client.peer.take(1), b"b");
    let trace = proxy.lines.next();
    let until = trace.root().to;
    for name in ["echo_proxy_client", "circuit_breaker_call", "redirect_to_server_client", "POST"] {
        assert_eq!(trace.span(name).to, until, "{name}");
    }
    assert!(trace.span("construct_response_client").to < until);
}

#[test]
fn a_connection_that_nobody_takes_has_its_span() {
    let (_socket, nobody) = nobody();
    let proxy = Traced::start("nobody-there", nobody, &with_breaker(""));
    assert_eq!(proxy.ask(&post("/echo", "")).status, 503);
    let trace = proxy.lines.next();
    let (kind, text) = trace.span("POST").exception().unwrap();
    assert!(kind == "connect" && text.starts_with("upstream connection failed: "), "{text}");
    assert_eq!(facts(&trace), ["CLOSED", "CLOSED", "", "1", "failure"]);
}

#[test]
fn another_rule_than_the_breaker_says_its_name() {
    let (go, gone) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        gone.lock().unwrap().recv().unwrap();
        peer.send(&ok("x"));
    });
    let rest = study("policies: [{name: p, scope: policy, concurrency: {max: 1}}]");
    let proxy = Traced::start("busy", upstream.address, &rest);
    let mut first = Client::connect(proxy.program.listen);
    first.peer.send(&post("/echo", ""));
    wait_for("the first call", || (upstream.connections() == 1).then_some(()));
    assert_eq!(proxy.ask(&post("/echo", "")).status, 503);
    let blocked = proxy.lines.next();
    // There is no breaker, so there is no span of one.
    assert_eq!(
        tree(&[&blocked]),
        "\
POST /echo (server) !
  echo_proxy_client (internal) ! rejected
    parse_request_client (internal)
    construct_response_client (internal)
"
    );
    let (_, text) = blocked.span("echo_proxy_client").exception().unwrap();
    assert!(text.starts_with("concurrency limit: "), "{text}");
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(proxy.lines.next().spans.len(), 6);
}
