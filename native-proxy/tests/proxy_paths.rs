//! Paths in every spelling: what is judged is what the upstream ends at.

mod proxy_support;

use proxy_support::{Running, Upstream, get, ok};
use std::sync::mpsc::{self, Receiver};

/// An upstream that answers 200 and tells each request's target.
fn telling() -> (Upstream, Receiver<String>) {
    let (seen, targets) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head.split(' ').nth(1).unwrap().to_owned()).unwrap();
            peer.send(&ok("there"));
        }
    });
    (upstream, targets)
}

#[test]
fn a_path_goes_on_without_dot_segments_and_needless_escapes() {
    let (upstream, targets) = telling();
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (came, goes) in [
        ("/", "/"),
        ("/echo?a=/../%61", "/echo?a=/../%61"),
        ("/a/../b?a=/../%61", "/b?a=/../%61"),
        ("/x/%2e%2e/%61dmin", "/admin"),
        ("/../../a", "/a"),
        ("/a/b/..", "/a/"),
        ("/.?x", "/?x"),
        // Doubled slashes mean something to some upstreams (traefik/traefik#12666).
        ("//a//b/", "//a//b/"),
        ("/path/https://www.google.com", "/path/https://www.google.com"),
        ("/a//?b=c/", "/a//?b=c/"),
        ("/a//../b", "/a/b"),
        // So do encoded ones: RabbitMQ, GitLab, npm (rabbitmq/rabbitmq-management#602,
        // getsentry/sentry-plugins#122, caddyserver/caddy#1582).
        ("/api/exchanges/%2f?page=1", "/api/exchanges/%2f?page=1"),
        ("/test/%2f/foo", "/test/%2f/foo"),
        ("/api/v4/projects/group%2fname", "/api/v4/projects/group%2fname"),
        ("/@scope%2fname", "/@scope%2fname"),
        ("/%252e%252e%252fadmin", "/%252e%252e%252fadmin"),
        ("/a;v=1/b;c", "/a;v=1/b;c"),
        ("/%", "/%"),
        ("/%zz%00%20", "/%zz%00%20"),
        ("http://host/x/../a?b", "/a?b"),
        ("http://host/%7ea", "/~a"),
    ] {
        assert_eq!(client.ask(&get(came)).status, 200, "{came}");
        assert_eq!(targets.recv().unwrap(), goes, "{came}");
    }
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").status, 200);
    assert_eq!(targets.recv().unwrap(), "*");
}

#[test]
fn a_dot_segment_that_only_some_upstreams_see_is_refused() {
    let (upstream, targets) = telling();
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    let hidden = [
        "/public/..%2Fadmin",
        "/public/%2e%2e%2fadmin",
        "/public/..%5cadmin",
        "/public/x%2F..%2F..%2Fadmin",
        "/a%2f.",
        "/public\\..\\admin",
        // Tomcat and Jetty take the parameter away first (istio/istio#27409,
        // jetty/jetty.project#4275).
        "/v1/..;/internal/path1/path5",
        "/ws/v1/..;/..;/foo",
        "/.;x=y/admin",
        "http://host/public/..%2Fadmin",
    ];
    for path in hidden {
        let answer = client.ask(&get(path));
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("hides a dot segment"), "{}", answer.text());
    }
    // The connection goes on, and nothing went upstream.
    assert_eq!(client.ask(&get("/last")).status, 200);
    assert_eq!(targets.recv().unwrap(), "/last");
    let refused = proxy.metric("bimetal_refused_total{reason=\"malformed\"}");
    assert_eq!(refused, Some(hidden.len() as f64));
    let ended = proxy.metric("bimetal_requests_ended_total{end=\"refused\"}");
    assert_eq!(ended, refused);
}

#[test]
fn a_route_takes_its_path_in_every_spelling_and_no_other() {
    let (upstream, targets) = telling();
    let proxy = Running::with(
        &proxy_support::file(upstream.address, "")
            .replace("routes: [{", "routes: [{path_prefix: /public, "),
    );
    for (path, status) in [
        ("/public", 200),
        ("//public/x", 200),
        ("/%70ublic", 200),
        ("/admin/../public", 200),
        ("/public/./x", 200),
        ("/admin", 404),
        ("/public/../admin", 404),
        ("/public/%2e%2e/admin", 404),
        ("/public/x/../../admin", 404),
        ("/public/..", 404),
        ("/public//../../admin", 404),
        ("/publicity", 404),
        // caddyserver/caddy#1859, expressjs/express#3373, chimurai/http-proxy-middleware#1168.
        ("/public/../../..//admin", 404),
        ("/public/.%2E/%61dmin", 404),
    ] {
        assert_eq!(proxy.ask(&get(path)).status, status, "{path}");
        assert_eq!(targets.try_recv().is_ok(), status == 200, "{path}");
    }
}

#[test]
fn a_policy_judges_its_path_in_every_spelling() {
    let upstream = Upstream::answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    let proxy = Running::start(
        upstream.address,
        "policies: [{name: p, scope: policy, match: {path_prefix: /admin}, \
         breaker: {trip: {consecutive_failures: 3}, open: {base: 60s, jitter: 0}}}]",
    );
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/admin")).header("x-bimetal-rule"), None);
    }
    for path in [
        "/admin",
        "//admin",
        "/./admin",
        "/%61dmin",
        "/x/../admin",
        "/x/%2e%2e/admin/y",
        "/admin/.",
        "http://other/admin",
        "http://other//x/..//admin",
        "/admin?x",
        "/../admin",
    ] {
        let answer = proxy.ask(&get(path));
        assert_eq!(answer.header("x-bimetal-rule"), Some("p/breaker"), "{path}");
    }
    for path in ["/administrator", "/admin%2Fx", "/x/admin", "/admin/..", "/a"] {
        assert_eq!(proxy.ask(&get(path)).header("x-bimetal-rule"), None, "{path}");
    }
}

#[test]
fn a_very_long_path_costs_no_more_than_its_length() {
    let (upstream, targets) = telling();
    let proxy = Running::start(upstream.address, "");
    let path = format!("/{}", "a/../%62/".repeat(400));
    assert_eq!(proxy.ask(&get(&path)).status, 200);
    assert_eq!(targets.recv().unwrap(), format!("/{}", "b/".repeat(400)));
}

/// Routes of equal hosts and paths are not one scope.
#[test]
fn routes_that_are_written_alike_have_breakers_of_their_own() {
    let bad = Upstream::answering("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n");
    let good = Upstream::answering(ok("fine"));
    let file = proxy_support::file(
        good.address,
        "policies: [{name: p, scope: route, \
         breaker: {trip: {consecutive_failures: 3}, open: {base: 60s, jitter: 0}}}]",
    );
    let file = file
        .replace("upstreams: {", &format!("upstreams: {{bad: {{endpoints: ['{}']}}, ", bad.address))
        .replace(
            "routes: [",
            "routes: [{path: /a, upstream: bad}, {path_prefix: /a, upstream: echo}, ",
        );
    let proxy = Running::with(&file);
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/a")).header("x-bimetal-rule"), None);
    }
    assert_eq!(proxy.ask(&get("/a")).header("x-bimetal-rule"), Some("p/breaker"));
    assert_eq!(proxy.ask(&get("/a/b")).status, 200);
}
