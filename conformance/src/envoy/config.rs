//! Envoy's configuration, written as JSON.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const MANAGER: &str = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER: &str = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const TEXT: &str = "type.googleapis.com/google.protobuf.StringValue";
const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// Labels of the filter's metrics, each taken out of a metric's name by one rule. Istio writes the
/// same rules from `extraStatTags`.
pub const METRIC_LABELS: [&str; 11] = [
    "policy", "decision", "outcome", "state", "from", "to", "cause", "result", "kind", "signal",
    "scope",
];

/// One Wasm filter in the chain.
#[derive(Clone, Debug)]
pub struct Filter {
    /// The compiled module.
    pub module: PathBuf,
    /// What the module is given: for ours the policy document as JSON.
    pub configuration: String,
    /// Name of the plugin: metrics and breakers belong to it.
    pub name: String,
    /// Fields added to the plugin's configuration or put in place of its own, as Envoy's own JSON
    /// (`{"capability_restriction_config": …}`).
    pub more: Value,
}

impl Filter {
    /// A filter named `bimetal`.
    pub fn new(module: impl Into<PathBuf>, configuration: impl Into<String>) -> Self {
        Self {
            module: module.into(),
            configuration: configuration.into(),
            name: "bimetal".to_owned(),
            more: json!({}),
        }
    }

    /// The filter as Envoy's own JSON, for a chain that is not the listener's.
    pub fn to_json(&self) -> Value {
        let mut plugin = json!({
            "name": self.name,
            "root_id": self.name,
            "failure_policy": "FAIL_OPEN",
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": self.module}},
            },
            "configuration": {"@type": TEXT, "value": self.configuration},
        });
        extend(&mut plugin, &self.more);
        json!({
            "name": format!("wasm-{}", self.name),
            "typed_config": {"@type": WASM, "config": plugin},
        })
    }
}

/// Protocol towards the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upstream {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge, as gRPC needs it.
    Http2,
}

/// What Envoy writes to its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Log {
    /// Warnings and errors.
    Quiet,
    /// Also the filter's events, one JSON line each.
    #[default]
    Events,
}

/// One Envoy: a listener, filters, one route to one cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of the listener on loopback; 0 takes a free one.
    pub listen_port: u16,
    /// Port of the admin interface on loopback; 0 takes a free one.
    pub admin_port: u16,
    /// Where the cluster `echo` is.
    pub upstream: SocketAddr,
    /// Protocol towards it.
    pub protocol: Upstream,
    /// Worker threads, at least 1.
    pub concurrency: u32,
    /// Wasm filters, in order; none = a bare Envoy.
    pub filters: Vec<Filter>,
    /// Filters before ours, as Envoy's own JSON.
    pub first_filters: Vec<Value>,
    /// Filters between ours and the router, as Envoy's own JSON (a fault filter, say).
    pub more_filters: Vec<Value>,
    /// Clusters beside `echo`, as Envoy's own JSON.
    pub more_clusters: Vec<Value>,
    /// Routes that come before the one to `echo`, as Envoy's own JSON.
    pub first_routes: Vec<Value>,
    /// Virtual hosts beside the one that takes every host, as Envoy's own JSON.
    pub more_virtual_hosts: Vec<Value>,
    /// Fields added to the route's action, as Envoy's own JSON (`{"retry_policy": …}`).
    pub route: Value,
    /// Fields added to the router's configuration, as Envoy's own JSON.
    pub router: Value,
    /// What the log holds.
    pub log: Log,
    /// More arguments for the program.
    pub arguments: Vec<String>,
}

impl Config {
    /// A bare Envoy with one worker in front of `upstream`: no route timeout, no retries.
    pub fn new(upstream: SocketAddr) -> Self {
        Self {
            listen_port: 0,
            admin_port: 0,
            upstream,
            protocol: Upstream::Http1,
            concurrency: 1,
            filters: Vec::new(),
            first_filters: Vec::new(),
            more_filters: Vec::new(),
            more_clusters: Vec::new(),
            first_routes: Vec::new(),
            more_virtual_hosts: Vec::new(),
            route: json!({}),
            router: json!({}),
            log: Log::default(),
            arguments: Vec::new(),
        }
    }

    /// Adds a Wasm filter.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    pub(super) fn bootstrap(&self, listeners: &Path) -> Value {
        let tags: Vec<Value> = METRIC_LABELS
            .iter()
            .map(|name| json!({"tag_name": name, "regex": format!(r"({name}=\.=(.*?);\.;)")}))
            .collect();
        let version = match self.protocol {
            Upstream::Http1 => json!({"http_protocol_options": {"enable_trailers": true}}),
            Upstream::Http2 => json!({"http2_protocol_options": {}}),
        };
        let mut clusters = vec![json!({
            "name": "echo",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": version,
                },
            },
            // Envoy's own limits must not be what a run measures.
            "circuit_breakers": {"thresholds": [{
                "max_connections": 100_000, "max_pending_requests": 100_000,
                "max_requests": 100_000, "max_retries": 100_000,
            }]},
            "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [{
                "endpoint": {"address":
                    address(&self.upstream.ip().to_string(), self.upstream.port())},
            }]}]},
        })];
        clusters.extend(self.more_clusters.iter().cloned());
        json!({
            "node": {"id": "bimetal", "cluster": "bimetal"},
            "admin": {"address": address("127.0.0.1", self.admin_port)},
            "stats_config": {"stats_tags": tags},
            "dynamic_resources": {"lds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": listeners},
            }},
            "static_resources": {"clusters": clusters},
        })
    }

    pub(super) fn listeners(&self, access_log: &Path) -> Value {
        let mut action = json!({"cluster": "echo", "timeout": "0s"});
        extend(&mut action, &self.route);
        let mut routes = self.first_routes.clone();
        routes.push(json!({"name": "default", "match": {"prefix": "/"}, "route": action}));
        let mut hosts = vec![json!({"name": "all", "domains": ["*"], "routes": routes})];
        hosts.extend(self.more_virtual_hosts.iter().cloned());
        let mut filters = self.first_filters.clone();
        filters.extend(self.filters.iter().map(Filter::to_json));
        filters.extend(self.more_filters.iter().cloned());
        let mut router = json!({"@type": ROUTER});
        extend(&mut router, &self.router);
        filters.push(json!({"name": "router", "typed_config": router}));
        let access = match self.log {
            Log::Quiet => json!([]),
            Log::Events => json!([{"name": "file", "typed_config": {
                "@type": FILE_LOG,
                "path": access_log,
                "log_format": {"json_format": {
                    "status": "%RESPONSE_CODE%",
                    "flags": "%RESPONSE_FLAGS%",
                    "details": "%RESPONSE_CODE_DETAILS%",
                    "step": "%REQ(x-step)%",
                }},
            }}]),
        };
        json!({"resources": [{
            "@type": LISTENER,
            "name": "main",
            "address": address("127.0.0.1", self.listen_port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": {
                "@type": MANAGER,
                "stat_prefix": "main",
                "access_log": access,
                "route_config": {"virtual_hosts": hosts},
                "http_filters": filters,
            }}]}],
        }]})
    }
}

/// Adds the fields of `more`.
fn extend(object: &mut Value, more: &Value) {
    if let (Some(object), Some(more)) = (object.as_object_mut(), more.as_object()) {
        object.extend(more.clone());
    }
}

fn address(host: &str, port: u16) -> Value {
    json!({"socket_address": {"address": host, "port_value": port}})
}

#[cfg(test)]
mod tests {
    use super::METRIC_LABELS;
    use bimetal_core::metric::{ALL, Host};
    use std::collections::BTreeSet;

    /// What has no rule stays in a metric's name, and nobody finds it.
    #[test]
    fn there_is_a_rule_for_each_label_of_the_filter() {
        let ours = ALL.iter().filter(|metric| metric.hosts.contains(&Host::Wasm));
        let labels: BTreeSet<_> = ours.flat_map(|metric| metric.labels).copied().collect();
        assert_eq!(labels, BTreeSet::from(METRIC_LABELS));
        let files =
            ["../docs/filter.md", "../istio/sidecar-patch.yaml", "../charts/bimetal/values.yaml"];
        for file in files {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            let listed =
                text.lines().filter(|line| line.contains("outcome, state, from, to, cause"));
            let listed: Vec<_> = listed.collect();
            assert_eq!(listed.len(), 1, "{file}");
            for label in &labels {
                assert!(listed[0].contains(label), "{label} in {file}");
            }
        }
    }
}
