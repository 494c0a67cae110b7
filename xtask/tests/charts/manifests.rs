//! What the manifests of `istio/` say on their own: sides, numbers, and policies that the filter accepts.

use super::{istio, root};
use bimetal_core::policy::{Document, Host};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What a WasmPlugin says of its module, wherever a kind has it.
fn module(resource: &Value) -> &Value {
    if resource["kind"] == "TrafficExtension" {
        &resource["spec"]["wasm"]
    } else {
        &resource["spec"]
    }
}

#[test]
fn each_side_has_a_manifest_and_the_filter_accepts_its_policies() {
    for (file, mode, policies) in [
        ("wasm-plugin.yaml", "CLIENT", 1),
        ("wasm-plugin-inbound.yaml", "SERVER", 1),
        ("wasm-plugin-gateway.yaml", "CLIENT", 1),
        ("traffic-extension.yaml", "CLIENT", 1),
        ("traffic-extension-gateway.yaml", "CLIENT", 1),
    ] {
        let resource = istio(file);
        assert_eq!(resource["spec"]["match"], json!([{"mode": mode}]), "{file}");
        let module = module(&resource);
        // Where the module cannot be had, calls pass: a breaker must not be the outage.
        assert_eq!(module["failStrategy"], "FAIL_OPEN", "{file}");
        assert_eq!(module["imagePullPolicy"], "IfNotPresent", "{file}");
        // The image that `cargo xtask images` writes has the repository's version.
        let tag = module["url"].as_str().unwrap().rsplit_once(':').unwrap().1;
        assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{file}");
        let document = Document::parse(module["pluginConfig"].to_string().as_bytes(), Host::Wasm);
        assert_eq!(document.unwrap().policies.len(), policies, "{file}");
    }
    // Each plugin chooses pods; an empty selector is every pod of the namespace.
    for file in ["wasm-plugin.yaml", "wasm-plugin-inbound.yaml", "wasm-plugin-gateway.yaml"] {
        let chosen = istio(file)["spec"]["selector"]["matchLabels"].as_object().unwrap().len();
        assert!(chosen > 0, "{file}");
    }
    let inbound = istio("wasm-plugin-inbound.yaml");
    assert_eq!(inbound["spec"]["pluginConfig"]["policies"][0]["match"]["direction"], "inbound");
}

#[test]
fn an_extension_says_what_its_plugin_says() {
    let pairs = [
        ("wasm-plugin.yaml", "traffic-extension.yaml"),
        ("wasm-plugin-gateway.yaml", "traffic-extension-gateway.yaml"),
    ];
    for (plugin, extension) in pairs {
        let (plugin, extension) = (istio(plugin), istio(extension));
        assert_eq!(plugin["metadata"], extension["metadata"]);
        for field in ["url", "imagePullPolicy", "failStrategy", "pluginConfig"] {
            assert_eq!(module(&plugin)[field], module(&extension)[field], "{field}");
        }
    }
    assert_eq!(
        istio("wasm-plugin.yaml")["spec"]["selector"],
        istio("traffic-extension.yaml")["spec"]["selector"]
    );
}

#[test]
fn the_patient_rule_and_the_retries_have_their_own_numbers() {
    let wanted = json!({
        "connectionPool": {
            "tcp": {"maxConnections": 100, "connectTimeout": "100ms"},
            "http": {"http2MaxRequests": 200, "maxRequestsPerConnection": 5},
        },
        "outlierDetection": {"consecutive5xxErrors": 7, "interval": "10s", "baseEjectionTime": "3m",
            "maxEjectionPercent": 100, "minHealthPercent": 50},
    });
    assert_eq!(istio("destination-rule-patient.yaml")["spec"]["trafficPolicy"], wanted);
    let route = &istio("retries.yaml")["spec"]["http"][0];
    assert_eq!(route["timeout"], "5s");
    assert_eq!(route["retries"], json!({"attempts": 3, "perTryTimeout": "2s"}));
    let intake = &istio("wasm-plugin-inbound.yaml")["spec"]["pluginConfig"]["policies"][0];
    assert_eq!(
        intake["rate_limits"],
        json!([{"rate": "10/120s", "capacity": 50, "key": ["policy"]}])
    );
    let edge = &istio("wasm-plugin-gateway.yaml")["spec"]["pluginConfig"]["policies"][0];
    let limits = json!([{"rate": "10/s", "capacity": 20, "key": ["client"]}, {"rate": "200/m", "key": ["client"]}]);
    assert_eq!(edge["rate_limits"], limits);
}

#[test]
fn the_page_lists_every_manifest() {
    let page = std::fs::read_to_string(root().join("istio/README.md")).unwrap();
    let named = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let named: BTreeSet<_> = named.map(str::to_owned).collect();
    let there = std::fs::read_dir(root().join("istio")).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<_> = there.filter(|name| name.ends_with(".yaml")).collect();
    assert_eq!(named, there);
}
