//! Configurations of the programs that are measured beside ours. All alike: one worker, connections
//! kept open on both sides, no access log, nothing rewritten that need not be.

use serde_json::{Value, json};
use std::net::SocketAddr;

/// What a browser would call a small answer.
pub const BODY: &str = "hello world\n";

/// nginx as the server behind every proxy: answers by itself, from memory.
pub fn backend(listen: SocketAddr) -> String {
    nginx(&format!(
        "  server {{ listen {listen} reuseport backlog=4096;\n    \
         location / {{ default_type text/plain; return 200 \"hello world\\n\"; }} }}\n"
    ))
}

/// nginx as a proxy.
pub fn nginx_proxy(listen: SocketAddr, upstream: SocketAddr) -> String {
    nginx(&format!(
        "  upstream up {{ server {upstream}; keepalive 64; keepalive_requests 1000000000; }}\n  \
         server {{ listen {listen} backlog=4096;\n    \
         location / {{ proxy_pass http://up; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }}\n"
    ))
}

/// One process and nothing in the system's folders: paths are relative to the prefix it is given.
fn nginx(servers: &str) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("  {kind}_temp_path {kind};\n"))
        .collect();
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 4096; }}\nhttp {{\n  access_log off;\n  \
         keepalive_requests 1000000000;\n{temporary}{servers}}}\n"
    )
}

/// How HAProxy relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relay {
    /// HTTP: it reads every request.
    Http,
    /// TCP: it copies bytes. The floor for a proxy on epoll.
    Tcp,
}

/// HAProxy as a proxy.
pub fn haproxy(listen: SocketAddr, upstream: SocketAddr, relay: Relay) -> String {
    let mode = match relay {
        Relay::Http => "  mode http\n  option http-keep-alive\n  http-reuse always\n",
        Relay::Tcp => "  mode tcp\n",
    };
    format!(
        "global\n  nbthread 1\n  maxconn 8192\ndefaults\n{mode}  timeout connect 1s\n  \
         timeout client 60s\n  timeout server 60s\nlisten main\n  bind {listen}\n  \
         server up {upstream}\n"
    )
}

/// The policy of every arm with a policy: the study's breaker and a timeout, for all paths.
pub fn policy() -> Value {
    json!({"version": "v1", "policies": [{
        "name": "echo",
        "match": {"path_prefix": "/echo"},
        "scope": "policy",
        "breaker": {"profile": "origin-study"},
        "timeout": {"request": "3s"},
    }]})
}

/// Our proxy's file with the addresses of listener, admin and health. `policies` is a list, empty
/// for a mere pass-through.
pub fn native(addresses: [SocketAddr; 3], upstream: SocketAddr, policies: &Value) -> Value {
    let [listen, admin, health] = addresses;
    json!({
        "version": "v1",
        "workers": 1,
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        "upstreams": {"echo": {"endpoints": [upstream.to_string()]}},
        "routes": [{"host": "*", "path_prefix": "/", "upstream": "echo"}],
        "policies": policies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::policy::{Document, Host};

    #[test]
    fn the_policy_is_good_on_both_hosts() {
        for host in [Host::Native, Host::Wasm] {
            let document = Document::parse(policy().to_string().as_bytes(), host).unwrap();
            assert!(document.policies[0].breaker.is_some());
            assert!(document.skipped.is_empty());
        }
    }
}
