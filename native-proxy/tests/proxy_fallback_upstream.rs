//! Another upstream stands in for rejections and failures: which calls go there, and what is seen of it.

mod proxy_support;

use bimetal_proxy::config::{Syntax, parse};
use proxy_support::{Answer, Running, Upstream, file, get, nowhere, ok, value};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};

const BROKEN: &str = "HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nbroken";
/// In place of an answer.
const RESET: &str = "reset";

/// An upstream that answers alike, and tells what it heard.
struct Heard {
    address: SocketAddr,
    requests: Receiver<(String, Vec<u8>)>,
}

impl Heard {
    fn answering(answer: &str) -> Self {
        let (told, requests) = mpsc::channel();
        let (told, answer) = (Mutex::new(told), answer.to_owned());
        let upstream = Upstream::start(move |mut peer| {
            while let Some(request) = peer.request() {
                told.lock().unwrap().send(request).unwrap();
                if answer == RESET {
                    return peer.reset();
                }
                peer.send(&answer);
            }
        });
        Self { address: upstream.address, requests }
    }

    fn count(&self) -> usize {
        self.requests.try_iter().count()
    }
}

/// A file with `echo` behind every path, and with `spare`, which no route leads to.
fn two(echo: SocketAddr, spare: SocketAddr, rest: &str) -> String {
    let one = format!("endpoints: ['{echo}']}}");
    let both = format!("{one}, spare: {{endpoints: ['{spare}']}}");
    file(echo, rest).replace(&one, &both)
}

/// A policy `p` whose breaker opens after `failures`, with a fallback of these fields.
fn policy(failures: u32, fallback: &str, more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, timeout: {{request: 5s}}, \
         breaker: {{trip: {{consecutive_failures: {failures}}}, open: {{base: 60s, jitter: 0}}}}, \
         fallback: {{upstream: spare, {fallback}}}, {more}}}]"
    )
}

fn fallbacks(proxy: &Running, kind: &str) -> f64 {
    proxy.metrics().sum("bimetal_fallbacks_total", &[("policy", "p"), ("kind", kind)])
}

fn asked(method: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} /a?b HTTP/1.1\r\nhost: shop\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.text())
}

/// traefik/traefik 1008, higress-group/higress 4537: what stood in for a dead upstream got no body, or none was
/// left for it.
#[test]
fn a_failed_call_goes_there_and_counts_as_failed() {
    for broken in [BROKEN, RESET, ""] {
        let (echo, spare) = (Heard::answering(broken), Heard::answering(&ok("spare")));
        let echo = if broken.is_empty() { nowhere() } else { echo.address };
        let proxy = Running::with(&two(echo, spare.address, &policy(9, "when: [failed]", "")));
        let answer = proxy.ask(&asked("PUT", "hello"));
        assert_eq!(told(&answer), (200, "spare".to_owned()), "{broken}");
        let (head, body) = spare.requests.recv().unwrap();
        assert!(head.starts_with("put /a?b http/1.1\r\n"), "{head}");
        assert_eq!(value(&head, "host"), Some("shop"));
        assert_eq!(value(&head, "x-bimetal-attempt"), None);
        assert_eq!(body, b"hello");
        proxy.wait_for_outcomes("failure", 1.0);
        assert_eq!(proxy.outcomes("success"), 0.0, "the answer says nothing of the upstream");
        assert_eq!((fallbacks(&proxy, "upstream"), fallbacks(&proxy, "fixed")), (1.0, 0.0));
    }
}

#[test]
fn a_rejected_call_goes_there_and_counts_as_rejected() {
    let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&ok("spare")));
    let rest = policy(1, "when: [rejected]", "");
    let proxy = Running::with(&two(echo.address, spare.address, &rest));
    assert_eq!(told(&proxy.ask(&get("/"))), (500, "broken".to_owned()), "only what is rejected");
    let answer = proxy.ask(&asked("POST", "hello"));
    assert_eq!(told(&answer), (200, "spare".to_owned()), "nothing of it was sent before");
    assert_eq!(answer.header("x-bimetal-rule"), None);
    let (head, body) = spare.requests.recv().unwrap();
    assert_eq!((echo.count(), body), (1, b"hello".to_vec()));
    assert_eq!(value(&head, "x-forwarded-for"), Some("127.0.0.1"), "made ready like every other");
    let rejected = [("policy", "p"), ("decision", "breaker")];
    assert_eq!(proxy.metrics().sum("bimetal_requests_total", &rejected), 1.0);
    proxy.wait_for_outcomes("failure", 1.0);
    assert_eq!((proxy.outcomes("success"), fallbacks(&proxy, "upstream")), (0.0, 1.0));
}

/// Each of two policies falls back to the upstream of the other: one of them is asked, once.
#[test]
fn its_answer_is_never_replaced_again() {
    let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&BROKEN.replace("500", "501")));
    let rest = "policies: [\
        {name: a, match: {path_prefix: /a}, fallback: {when: [failed, rejected], upstream: spare}}, \
        {name: b, fallback: {when: [failed, rejected], upstream: echo}}]";
    let routes = "routes: [{path_prefix: /a, upstream: echo}, {upstream: spare}]";
    let file = two(echo.address, spare.address, rest).replace("routes: [{upstream: echo}]", routes);
    let proxy = Running::with(&file);
    for (path, status) in [("/a", 501), ("/b", 500)] {
        assert_eq!(proxy.ask(&get(path)).status, status, "{path}");
        assert_eq!((echo.count(), spare.count()), (1, 1), "{path}");
    }
    let failures = |policy| [("policy", policy), ("outcome", "failure")];
    for policy in ["a", "b"] {
        assert_eq!(proxy.metrics().sum("bimetal_outcomes_total", &failures(policy)), 1.0);
    }
}

/// openresty/openresty 351, apache/apisix 13565: where nobody else answered, the upstream's own error was lost.
#[test]
fn without_an_answer_of_its_own_nothing_changes() {
    let echo = Heard::answering(BROKEN);
    let rest = policy(1, "when: [failed, rejected]", "");
    let proxy = Running::with(&two(echo.address, nowhere(), &rest));
    assert_eq!(told(&proxy.ask(&get("/"))), (500, "broken".to_owned()));
    let rejected = proxy.ask(&get("/"));
    assert_eq!((rejected.status, rejected.header("x-bimetal-rule")), (503, Some("p/breaker")));
    assert_eq!((fallbacks(&proxy, "upstream"), fallbacks(&proxy, "fixed")), (0.0, 0.0));
    let unreachable = [("upstream", "spare"), ("reason", "connect")];
    assert_eq!(proxy.metrics().sum("bimetal_upstream_failures_total", &unreachable), 2.0);
    // Where a fixed answer is given too, that is the next.
    let rest = policy(1, "when: [failed, rejected], status: 418, body: later", "");
    let proxy = Running::with(&two(echo.address, nowhere(), &rest));
    assert_eq!(told(&proxy.ask(&get("/"))), (418, "later".to_owned()));
    assert_eq!(told(&proxy.ask(&get("/"))), (418, "later".to_owned()));
    assert_eq!((fallbacks(&proxy, "upstream"), fallbacks(&proxy, "fixed")), (0.0, 2.0));
}

/// openresty/openresty 190, apache/knox 742: a POST that one server had failed was carried out by the next.
#[test]
fn what_may_have_been_carried_out_goes_nowhere_else() {
    for (fallback, method, goes) in [
        ("", "POST", false),
        ("", "PATCH", false),
        ("", "DELETE", true),
        ("methods: all", "POST", true),
        ("methods: [POST]", "PATCH", false),
    ] {
        let (echo, spare) = (Heard::answering(RESET), Heard::answering(&ok("spare")));
        let rest = policy(9, &format!("when: [failed], {fallback}"), "");
        let proxy = Running::with(&two(echo.address, spare.address, &rest));
        let status = if goes { 200 } else { 503 };
        assert_eq!(proxy.ask(&asked(method, "x")).status, status, "{method} {fallback}");
        assert_eq!(spare.count(), usize::from(goes), "{method} {fallback}");
    }
    let spare = Heard::answering(&ok("spare"));
    let rest = policy(9, "when: [failed]", "");
    let proxy = Running::with(&two(nowhere(), spare.address, &rest));
    assert_eq!(proxy.ask(&asked("POST", "x")).status, 200, "nothing of it had left");
}

/// gravitee-io/gravitee-api-management 16129: the body that failover sent was not the client's whole one.
#[test]
fn a_body_goes_whole_or_not_at_all() {
    let body = "x".repeat(3000);
    for (more, goes) in [("", true), ("retry: {buffer: 2KiB, tries: 1}", false)] {
        let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&ok("spare")));
        let rest = policy(9, "when: [failed]", more);
        let proxy = Running::with(&two(echo.address, spare.address, &rest));
        let status = if goes { 200 } else { 500 };
        assert_eq!(proxy.ask(&asked("PUT", &body)).status, status, "{more}");
        let bodies: Vec<_> = spare.requests.try_iter().map(|(_, body)| body.len()).collect();
        assert_eq!(bodies, if goes { vec![3000] } else { vec![] }, "{more}");
    }
}

#[test]
fn all_tries_come_before_it() {
    let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&ok("spare")));
    let more = "retry: {tries: 3, on: ['500'], backoff: {base: 1ms, max: 1s}}";
    let rest = policy(9, "when: [failed]", more);
    let proxy = Running::with(&two(echo.address, spare.address, &rest));
    assert_eq!(proxy.ask(&get("/")).status, 200);
    assert_eq!((echo.count(), spare.count()), (3, 1));
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn an_upstream_does_not_stand_in_for_itself() {
    let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&ok("spare")));
    let rest = policy(1, "when: [failed, rejected]", "");
    let file =
        two(echo.address, spare.address, &rest).replace("upstream: spare,", "upstream: echo,");
    let proxy = Running::with(&file);
    assert_eq!(proxy.ask(&get("/")).status, 500);
    assert_eq!(proxy.ask(&get("/")).status, 503);
    assert_eq!((echo.count(), spare.count()), (1, 0));
}

#[test]
fn a_caller_without_time_is_not_sent_on() {
    let (echo, spare) = (Heard::answering(&ok("echo")), Heard::answering(&ok("spare")));
    let rest = policy(1, "when: [failed, rejected]", "deadline: {margin: 5ms}");
    let proxy = Running::with(&two(echo.address, spare.address, &rest));
    let late = "GET / HTTP/1.1\r\nhost: t\r\nx-request-deadline-ms: 1\r\n\r\n";
    assert_eq!(proxy.ask(late).status, 504);
    assert_eq!((echo.count(), spare.count()), (0, 0));
}

#[test]
fn in_shadow_mode_it_is_not_asked() {
    let (echo, spare) = (Heard::answering(BROKEN), Heard::answering(&ok("spare")));
    let rest = policy(1, "when: [failed, rejected]", "mode: shadow");
    let proxy = Running::with(&two(echo.address, spare.address, &rest));
    assert_eq!([(); 3].map(|()| proxy.ask(&get("/")).status), [500; 3]);
    assert_eq!((echo.count(), spare.count()), (3, 0));
}

#[test]
fn a_name_that_is_no_upstream_is_refused_with_its_path() {
    let nowhere = nowhere();
    let file = file(nowhere, &policy(1, "when: [failed]", ""));
    let wrong = parse(&file, Syntax::Yaml).unwrap_err().to_string();
    let told = "policies[0].fallback.upstream: \"spare\" is no upstream; known are \"echo\"";
    assert!(wrong.contains(told), "{wrong}");
    let vain = file.replace("upstream: spare", "upstream: echo");
    let told = "policies[0].fallback.upstream (p): all routes lead to \"echo\" already: it never stands in for itself";
    assert_eq!(parse(&vain, Syntax::Yaml).unwrap().warnings, [told]);
}
