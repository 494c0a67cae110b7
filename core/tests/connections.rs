//! Connections of clients, as the engine counts them.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::decision::Rule;
use bimetal_core::engine::{Policies, Tracing};
use bimetal_core::event::{Decided, EventKind};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Engine, Facts, Instant, PassReason, Verdict};
use policy::of_policy;
use std::borrow::Cow;
use std::net::IpAddr;

struct Call(&'static str, Option<IpAddr>);

impl Facts for Call {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"echo"))
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.1
    }
}

fn call(client: &str) -> Call {
    Call("/echo", Some(client.parse().unwrap()))
}

fn load(engine: &mut Engine, fields: &str) -> Policies {
    let json = format!(
        r#"{{"policies": [{{"name": "echo", "match": {{"path_prefix": "/echo"}}, {fields}}}]}}"#
    );
    engine.load(&Document::parse(json.as_bytes(), Host::Native).unwrap())
}

const ONE: &str = r#""connections": {"per_client": 1}"#;

#[test]
fn one_more_is_rejected_and_counted_under_its_scope() {
    let mut engine = Engine::new(1);
    engine.set_tracing(Tracing::All);
    let policies = load(&mut engine, ONE);
    assert!(policies.limit_connections());
    let first = engine.connect(Instant::ZERO, &policies, &call("192.0.2.1")).unwrap().unwrap();
    let Err(Verdict::Reject(rejected)) =
        engine.connect(Instant::ZERO, &policies, &call("192.0.2.1"))
    else {
        panic!("let in");
    };
    let reply = rejected.reply();
    let field =
        |name: &str| reply.fields.iter().find(|(known, _)| known == name).map(|(_, v)| &**v);
    assert_eq!((reply.status, field("x-bimetal-rule")), (429, Some("echo/connections")));
    // Nobody knows when one ends.
    assert_eq!(field("retry-after"), None);
    let event = engine.take_event().unwrap();
    let decided = Decided::Rejected(Rule::Connections);
    assert!(matches!(event.kind, EventKind::Decision { decided: seen, .. } if seen == decided));
    let (policy, scope, counts) = engine.series().next().unwrap();
    assert_eq!((policy, scope, counts.decisions[decided.place()]), ("echo", "echo", 1));
    engine.disconnect(first);
    assert!(engine.connect(Instant::ZERO, &policies, &call("192.0.2.1")).is_ok());
}

#[test]
fn nobody_counts_where_nothing_is_limited() {
    let mut engine = Engine::new(1);
    let counts = |engine: &mut Engine, policies: &Policies, call: &Call| {
        engine.connect(Instant::ZERO, policies, call).unwrap().is_some()
    };
    let policies = load(&mut engine, ONE);
    let client = call("192.0.2.1");
    assert!(!counts(&mut engine, &policies, &Call("/else", client.1)));
    assert!(!counts(&mut engine, &policies, &Call("/echo", None)));
    assert!(counts(&mut engine, &policies, &client));
    for fields in [
        r#""connections": {"per_client": 1}, "mode": "disabled""#,
        r#""connections": {"per_client": 1}, "mode": "forced_open""#,
        r#""connections": {"per_client": 1, "allow": ["192.0.2.0/24"]}"#,
        r#""timeout": {"request": "1s"}"#,
    ] {
        let policies = load(&mut engine, fields);
        assert!(!counts(&mut engine, &policies, &client), "{fields}");
    }
}

#[test]
fn a_shadow_passes_and_counts() {
    let mut engine = Engine::new(1);
    let policies = load(&mut engine, &format!(r#"{ONE}, "mode": "shadow""#));
    let _first = engine.connect(Instant::ZERO, &policies, &call("192.0.2.1")).unwrap().unwrap();
    let Err(Verdict::Pass(pass)) = engine.connect(Instant::ZERO, &policies, &call("192.0.2.1"))
    else {
        panic!("no pass");
    };
    let PassReason::Shadow(rejection) = pass.why else { panic!("{:?}", pass.why) };
    assert_eq!(rejection.rule(), Rule::Connections);
    let (_, _, counts) = engine.series().next().unwrap();
    assert_eq!(counts.shadow[Decided::Rejected(Rule::Connections).place()], 1);
}

#[test]
fn a_changed_limit_keeps_what_is_counted() {
    let mut engine = Engine::new(1);
    let before = load(&mut engine, ONE);
    let first = engine.connect(Instant::ZERO, &before, &call("192.0.2.1")).unwrap().unwrap();
    let after = load(&mut engine, r#""connections": {"per_client": 2}"#);
    let _second = engine.connect(Instant::ZERO, &after, &call("192.0.2.1")).unwrap().unwrap();
    assert!(engine.connect(Instant::ZERO, &after, &call("192.0.2.1")).is_err());
    engine.disconnect(first);
    assert!(engine.connect(Instant::ZERO, &after, &call("192.0.2.1")).is_ok());
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    let wrong = |fields: &str| {
        let connections: serde_json::Value = serde_json::from_str(fields).unwrap();
        of_policy(serde_json::json!({"connections": connections}))
    };
    for (fields, path) in [
        ("{}", "policies[0].connections.per_client:"),
        (r#"{"per_client": 0}"#, "policies[0].connections.per_client:"),
        (r#"{"per_client": 1, "status": 200}"#, "policies[0].connections.status:"),
        (r#"{"per_client": 1, "allow": ["10.0.0.1/8"]}"#, "policies[0].connections.allow[0]:"),
        (r#"{"perclient": 1}"#, "policies[0].connections.perclient:"),
    ] {
        let told = wrong(fields);
        assert!(told.iter().any(|line| line.starts_with(path)), "{fields}: {told:?}");
    }
}
