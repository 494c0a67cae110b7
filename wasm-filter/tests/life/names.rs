//! Names that clients choose, and what is kept under them.

use crate::fake::Fake;
use crate::{END_OF_STREAM, answer, plugin};
use bimetal_filter::port::{Map, Property};
use bimetal_filter::root::Root;
use serde_json::json;
use std::collections::BTreeSet;

/// One call that is answered by `status`; whether it went upstream.
fn call(host: &Fake, root: &Root<Fake>, status: &str) -> bool {
    let mut call = root.call(1);
    if !call.request_headers(END_OF_STREAM) {
        return false;
    }
    answer(host, status, "via_upstream");
    call.response_headers(END_OF_STREAM);
    call.log();
    true
}

fn at_route(host: &Fake, virtual_host: &str, route: &str, cluster: &str) {
    host.property(Property::VirtualHost, virtual_host);
    host.property(Property::Route, route);
    host.property(Property::Cluster, cluster);
}

#[test]
fn a_route_is_one_of_its_virtual_host() {
    let (host, root) = plugin("routes", json!({"scope": "route"}));
    at_route(&host, "bad", "default", "one");
    assert!(call(&host, &root, "500"));
    assert!(!call(&host, &root, "200"));
    for (virtual_host, route, cluster) in [
        ("good", "default", "one"),
        ("bad", "other", "one"),
        ("bad", "", "one"),
        ("bad", "", "two"),
        ("", "default", "one"),
        ("", "", "one"),
        ("", "", ""),
    ] {
        at_route(&host, virtual_host, route, cluster);
        assert!(call(&host, &root, "500"), "{virtual_host} {route} {cluster}");
        assert!(!call(&host, &root, "200"), "{virtual_host} {route} {cluster}");
    }
    // The cluster says nothing where the route has a name.
    at_route(&host, "bad", "default", "two");
    assert!(!call(&host, &root, "200"));
}

#[test]
fn no_host_forges_labels_or_makes_two_series_equal() {
    let (host, mut root) = plugin("labels", json!({"scope": "authority"}));
    let names = [
        "echo",
        "echo.",
        "echo..",
        "echo;",
        "echo=",
        "from=.=half_open",
        "a;.;policy=.=other;.;b",
        "*",
        "unknown",
        "%2A",
        "echo%2E",
        "\u{e9}",
        "\"",
        " ",
        "",
    ];
    for name in names {
        host.header(Map::Request, ":authority", name);
        assert!(call(&host, &root, "200"), "{name}");
    }
    root.tick();
    let state = host.0.borrow();
    let mut seen = BTreeSet::new();
    for (_, name, value) in &state.metrics {
        // Envoy's rules: anything before `=.=` is a label, a value ends at `;.;` and has no dots
        // at its end.
        let mut parts: Vec<&str> = name.split(";.;").collect();
        let metric = parts.pop().unwrap();
        let labels: Vec<(&str, &str)> =
            parts.iter().map(|part| part.split_once("=.=").unwrap()).collect();
        let told: Vec<_> = labels.iter().map(|(label, _)| *label).collect();
        match metric {
            "bimetal_requests_total" => {
                assert_eq!(told, ["policy", "decision", "scope"], "{name}");
                assert_eq!((labels[0].1, *value), ("echo", 1), "{name}");
                assert!(seen.insert(labels[2].1.trim_end_matches('.')), "{name}");
            }
            "bimetal_breaker_replicas" => assert_eq!(told, ["policy", "state", "scope"], "{name}"),
            _ => {}
        }
    }
    assert_eq!(seen.len(), names.len());
}

#[test]
fn a_path_is_matched_in_its_normal_form_and_left_alone() {
    let (host, root) = plugin("paths", json!({"match": {"path_prefix": "/admin"}}));
    host.header(Map::Request, ":path", "/admin");
    assert!(call(&host, &root, "500"));
    for (path, passes) in [
        ("/x/%2e%2e//%61dmin?y", false),
        ("/./admin/z", false),
        ("/x//../admin", false),
        ("/admin/..", true),
        ("/x/..%2Fadmin", true),
        ("*", true),
    ] {
        host.header(Map::Request, ":path", path);
        assert_eq!(call(&host, &root, "200"), passes, "{path}");
        let kept = host.0.borrow().headers[&("request", ":path".to_owned())].clone();
        assert_eq!(kept, path.as_bytes());
    }
}
