//! Every leaf of the proxy's file is read: a file in which that leaf alone is another gives other
//! settings. The board is the core's: core/tests/policy_leaves.rs. And a route is read as a policy's `match` is.

#[path = "../../core/tests/leaves/mod.rs"]
mod leaves;

use bimetal_core::doc::{Host, Kind, Node};
use bimetal_core::policy::table::POLICY;
use bimetal_proxy::bimetal_core;
use bimetal_proxy::config::{FILE, Settings, settings};
use leaves::Walk;
use serde_json::{Value, json};

/// Listeners of one proxy need an address each, and a route an upstream that is there.
const CHOSEN: &[(&str, &[&str])] = &[
    ("listeners.0.address", &[r#""127.0.0.1:1""#, r#""127.0.0.1:2""#]),
    ("admin.address", &[r#""127.0.0.1:3""#, r#""127.0.0.1:4""#]),
    ("admin.watch.0.proxy", &[r#""127.0.0.1:7""#, r#""127.0.0.1:8""#]),
    ("admin.watch.0.envoy", &[r#""127.0.0.1:7""#, r#""127.0.0.1:8""#]),
    ("health.address", &[r#""127.0.0.1:5""#, r#""127.0.0.1:6""#]),
    // 0 is as many as there are cores.
    ("workers", &["3", "4"]),
    ("upstreams.a.dns", &[r#""a:1""#, r#""b:1""#]),
    // Each of these has a default that the first value of its kind may be.
    ("upstreams.a.health.path", &[r#""/a""#, r#""/b""#]),
    ("routes.0.upstream", &[r#""a""#, r#""b""#]),
    ("telemetry.traces.endpoint", &[r#""http://a:1""#, r#""http://b:2""#]),
];

fn read(file: &Value) -> Settings {
    let node = Node::from_json(file.to_string().as_bytes()).unwrap();
    settings(&node).unwrap_or_else(|problems| panic!("{file}\n{problems}"))
}

#[test]
fn each_leaf_changes_the_settings() {
    let walk = Walk {
        host: Host::Native,
        chosen: CHOSEN,
        elsewhere: &["policies", "unsupported", "board"],
    };
    let mut only_one = Vec::new();
    let mut count = 0;
    for leaf in walk.leaves(&FILE) {
        let values = walk.values(&leaf);
        if values.len() < 2 {
            only_one.push(leaf.name());
            continue;
        }
        count += 1;
        let read = |value| {
            let mut settings = read(&walk.document(&FILE, &leaf, value));
            // What a route is called is not what it takes.
            settings.routes.iter_mut().for_each(|route| route.name = "".into());
            format!("{settings:?}")
        };
        let settings: Vec<_> = values.into_iter().map(read).collect();
        for (index, one) in settings.iter().enumerate() {
            assert!(!settings[..index].contains(one), "{} is not read", leaf.name());
        }
    }
    let alone = ["version", "upstreams.a.protocol", "routes.0.direction"];
    assert_eq!(only_one, alone);
    assert_eq!(count, 53);
}

#[test]
fn a_route_has_every_field_of_a_match_and_reads_it_alike() {
    let kind = |fields: &'static [bimetal_core::doc::Field], name: &str| {
        fields.iter().find(|field| field.name == name).unwrap().kind
    };
    let (Kind::Object(matching), Kind::List { of: Kind::Object(route), .. }) =
        (kind(POLICY.fields, "match"), kind(FILE.fields, "routes"))
    else {
        panic!("match and routes are other kinds");
    };
    for field in matching.fields {
        let of_route = route.field(field.name).unwrap_or_else(|| panic!("no {}", field.name));
        assert_eq!(format!("{field:?}"), format!("{of_route:?}"));
    }
    let fields = json!({
        "hosts": ["A.example", "*.b.example"], "path_prefix": "/a/./b/", "methods": ["GET", "PUT"],
        "headers": {"X-Tenant": "gold", "x-any": "*"},
    });
    let mut route = fields.clone();
    route["upstream"] = json!("u");
    let settings = read(&json!({
        "upstreams": {"u": {"endpoints": ["127.0.0.1:1"]}},
        "routes": [route],
        "policies": [{"name": "p", "match": fields}],
    }));
    assert_eq!(settings.routes[0].matcher, settings.document.policies[0].matcher);
    assert_eq!(&*settings.routes[0].name, "A.example+1/a/./b/");
}
