//! What the proxy runs by without a file: the study's proxy.

use super::{Route, Settings, Target};
use bimetal_core::doc::Node;
use bimetal_core::doc::Problems;
use bimetal_core::policy::{Match, PathMatch};
use std::sync::Arc;

/// The settings without a file. `server` is the name or address of the echo server.
///
/// # Errors
/// `server` is neither a name nor an address.
pub fn builtin(server: &str) -> Result<Settings, Problems> {
    let mut file = Node::from_json(FILE.as_bytes())?;
    let endpoint = Node::Text(format!("{server}:5001"));
    let upstream = Node::Map(vec![
        ("endpoints".into(), Node::List(vec![endpoint])),
        ("host".into(), Node::Text("endpoint".into())),
    ]);
    file.set("upstreams", Node::Map(vec![("echo".into(), upstream)]));
    let mut settings = super::read::settings(&file)?;
    settings.routes.insert(
        0,
        Route {
            name: Arc::from("/test-failure"),
            path: Arc::from("/test-failure"),
            matcher: Match {
                path: PathMatch::Exact(b"/test-failure"[..].into()),
                methods: vec![b"POST"[..].into()],
                ..Match::default()
            },
            target: Target::TestFailure(0),
            upgrades: Arc::default(),
        },
    );
    Ok(settings)
}

const FILE: &str = r#"{
    "version": "v1",
    "routes": [{"host": "*", "path_prefix": "/echo", "upstream": "echo"}],
    "policies": [{
        "name": "echo",
        "scope": "policy",
        "breaker": {"profile": "origin-study"},
        "timeout": {"request": "3s"},
        "fallback": {"when": ["rejected", "failed"]}
    }],
    "telemetry": {"traces": {"tree": "origin-study"}, "service_name": "echo-proxy"}
}"#;
