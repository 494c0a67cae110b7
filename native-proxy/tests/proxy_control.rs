//! Breakers that operators control, and who is none.

mod proxy_support;

use proxy_support::{Answer, Client, Running, Upstream, get, ok, wait_for};
use serde_json::{Value, json};
use std::path::PathBuf;

const TOKEN: &str = "only-operators-know";

/// A file with the token, for one test.
struct TokenFile(PathBuf);

impl TokenFile {
    fn new(test: &str) -> Self {
        let name = format!("bimetal-control-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
        Self(path)
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

fn start(upstream: &Upstream, token: Option<&TokenFile>, scope: &str) -> Running {
    let token = token.map_or(String::new(), |file| format!(", token_file: '{}'", file.0.display()));
    let rest = format!(
        "policies: [{{name: p, scope: '{scope}', breaker: {{trip: {{consecutive_failures: 3}}, \
         open: {{base: 60s, jitter: 0}}}}}}]"
    );
    let file = proxy_support::file(upstream.address, &rest);
    let admin = "admin: {address: '127.0.0.1:0'";
    Running::with(
        &file.replace(admin, &format!("{admin}{token}")).replace("workers: 1", "workers: 2"),
    )
}

fn post(proxy: &Running, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    Client::connect(proxy.admin).ask(&format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-length: {length}\r\n{headers}\r\n{body}",
        proxy.admin
    ))
}

fn order(proxy: &Running, path: &str, action: &str) -> Answer {
    let headers = format!("authorization: Bearer {TOKEN}\r\ncontent-type: application/json\r\n");
    post(proxy, path, &headers, &json!({"action": action}).to_string())
}

fn breakers(proxy: &Running) -> Vec<Value> {
    let page = Client::connect(proxy.admin).ask(&get("/breakers")).text();
    serde_json::from_str(&page).unwrap()
}

/// Asks until both workers have answered: the kernel chooses which of them does.
fn of_all_workers(proxy: &Running, wanted: u16) {
    for _ in 0..64 {
        let answer = proxy.ask(&get("/"));
        assert_eq!(answer.status, wanted, "{}", answer.text());
    }
}

#[test]
fn a_breaker_is_forced_open_disabled_and_reset_on_every_worker() {
    let upstream = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let token = TokenFile::new("orders");
    let proxy = start(&upstream, Some(&token), "policy");
    assert_eq!(proxy.ask(&get("/")).status, 500);
    let answer = order(&proxy, "/breakers/p/policy", "force_open");
    let told: Value = serde_json::from_str(&answer.text()).unwrap();
    let wanted = json!({"policy": "p", "scope": "policy", "action": "force_open", "workers": 2});
    assert_eq!((answer.status, told), (200, wanted));
    of_all_workers(&proxy, 503);
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.header("x-bimetal-reason"), Some("held open by an operator"));
    assert_eq!(answer.header("retry-after"), None, "nobody knows when");
    for row in breakers(&proxy) {
        assert_eq!(
            (&row["state"], &row["held"], &row["cause"]),
            (&json!("open"), &json!("force_open"), &json!("forced"))
        );
        assert_eq!(row["path"], "/breakers/p/policy");
    }
    assert_eq!(order(&proxy, "/breakers/p/policy", "disable").status, 200);
    // Nothing opens it now.
    of_all_workers(&proxy, 500);
    assert_eq!(order(&proxy, "/breakers/p/policy", "reset").status, 200);
    for row in breakers(&proxy) {
        assert_eq!((&row["state"], &row["held"]), (&json!("closed"), &Value::Null));
    }
    assert_eq!([(); 4].map(|()| proxy.ask(&get("/")).status), [500, 500, 500, 503]);
    assert_eq!(order(&proxy, "/breakers/p/policy", "reset").status, 200);
    assert_eq!(proxy.ask(&get("/")).status, 500);
    let moved = "bimetal_breaker_transitions_total";
    let count = |cause: &str| proxy.metrics().sum(moved, &[("policy", "p"), ("cause", cause)]);
    assert_eq!([count("forced"), count("reset")], [1.0, 2.0]);
}

#[test]
fn only_who_knows_the_token_controls_and_no_page_of_another_site_does() {
    let upstream = Upstream::answering(ok("fine"));
    let token = TokenFile::new("token");
    let proxy = start(&upstream, Some(&token), "policy");
    assert_eq!(proxy.ask(&get("/")).status, 200);
    let (path, body) = ("/breakers/p/policy", r#"{"action": "force_open"}"#);
    let json = "content-type: application/json\r\n";
    let bearer = format!("authorization: Bearer {TOKEN}\r\n{json}");
    let status = |headers: &str, body: &str| post(&proxy, path, headers, body).status;
    let answer = post(&proxy, path, json, body);
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some("bearer realm=\"bimetal\""))
    );
    assert_eq!(status(&format!("authorization: Bearer wrong\r\n{json}"), body), 401);
    assert_eq!(status(&format!("{bearer}origin: http://evil.example\r\n"), body), 403);
    assert_eq!(status(&format!("{bearer}origin: null\r\n"), body), 403);
    assert_eq!(status(&format!("{bearer}sec-fetch-site: cross-site\r\n"), body), 403);
    assert_eq!(status(&bearer.replace("application/json", "text/plain"), body), 415);
    assert_eq!(status(&bearer, "{}"), 400);
    assert_eq!(status(&bearer, r#"{"action": "open"}"#), 400);
    assert_eq!(status(&bearer, r#"{"action": "reset", "force": true}"#), 400);
    assert_eq!(status(&bearer, &format!("{{\"action\": \"{}\"}}", "x".repeat(10_000))), 413);
    assert_eq!(order(&proxy, "/breakers/p/other", "reset").status, 404);
    assert_eq!(order(&proxy, "/breakers/q/policy", "force_open").status, 404);
    assert_eq!(order(&proxy, "/breakers/p", "reset").status, 404);
    assert_eq!(order(&proxy, "/breakers", "reset").status, 405);
    let asked = Client::connect(proxy.admin).ask(&get(path));
    assert_eq!((asked.status, asked.header("allow")), (405, Some("post")));
    // A browser asks first whether it may send a token to another site. It may not.
    let preflight = Client::connect(proxy.admin).ask(&format!(
        "OPTIONS {path} HTTP/1.1\r\nhost: {}\r\norigin: http://evil.example\r\naccess-control-request-method: POST\r\n\r\n",
        proxy.admin
    ));
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (405, None));
    assert_eq!(proxy.ask(&get("/")).status, 200, "nothing was ordered");
    assert_eq!(
        status(
            &format!("{bearer}origin: http://{}\r\nsec-fetch-site: same-origin\r\n", proxy.admin),
            body
        ),
        200
    );
    assert_eq!(proxy.ask(&get("/")).status, 503);
    let closed = start(&upstream, None, "policy");
    assert_eq!(closed.ask(&get("/")).status, 200);
    assert_eq!(order(&closed, path, "force_open").status, 403, "it has no token");
}

#[test]
fn a_scope_with_a_hostile_name_is_controlled_by_its_path() {
    let upstream = Upstream::answering(ok("fine"));
    let token = TokenFile::new("hostile");
    let proxy = start(&upstream, Some(&token), "header:x-tenant");
    let hostile = "<img src=x onerror=alert(1)>/../%2e\"'";
    let of = |tenant: &str| format!("GET / HTTP/1.1\r\nhost: test\r\nx-tenant: {tenant}\r\n\r\n");
    assert_eq!(proxy.ask(&of(hostile)).status, 200);
    assert_eq!(proxy.ask(&of("plain")).status, 200);
    let row = wait_for("row", || breakers(&proxy).into_iter().find(|row| row["scope"] == hostile));
    let path = row["path"].as_str().unwrap();
    assert_eq!(order(&proxy, path, "force_open").status, 200);
    for _ in 0..16 {
        assert_eq!(proxy.ask(&of(hostile)).status, 503);
        assert_eq!(proxy.ask(&of("plain")).status, 200);
    }
}

#[test]
fn a_name_that_is_a_strangers_is_not_answered() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = start(&upstream, None, "policy");
    let status = |host: &str, path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Client::connect(proxy.admin).ask(&request).status
    };
    for path in ["/breakers", "/events", "/analyze", "/policies", "/"] {
        assert_eq!(status("evil.example:9000", path), 421, "{path}");
    }
    assert_eq!(status("localhost:9000", "/breakers"), 200);
    assert_eq!(status("proxy.demo.svc.cluster.local:9000", "/metrics"), 200, "who scrapes");
    let answer = Client::connect(proxy.admin).ask(&get("/breakers"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("x-frame-options"), Some("deny"));
}
