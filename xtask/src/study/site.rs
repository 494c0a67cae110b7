//! What stands in a cluster beside the arms: the pod of the generator, the shipper of traces on each
//! node, Jaeger; and on which node what runs.

use crate::images::TAG;
use serde_json::{Value, json};

/// The namespace of all of it.
pub(super) const NAMESPACE: &str = "bimetal-study";

/// The pod in which the generator is started.
pub(super) const CALLER: &str = "caller";

/// The node for a role: one that is labelled with it (`ROLE`, or `.../ROLE`), or has its name. Nothing
/// where there is none: then the cluster places the pod.
pub(super) fn node_for(role: &str, nodes: &Value) -> Option<String> {
    let all = || nodes["items"].as_array().into_iter().flatten();
    let name = |node: &Value| node["metadata"]["name"].as_str().map(str::to_owned);
    let is_labelled = |node: &&Value| {
        let labels = node["metadata"]["labels"].as_object();
        let mut labels = labels.into_iter().flatten();
        labels.any(|(label, _)| label == role || label.ends_with(&format!("/{role}")))
    };
    let named = || all().find(|node| node["metadata"]["name"] == role);
    all().find(is_labelled).or_else(named).and_then(name)
}

/// What a pod's `nodeSelector` is.
pub(super) fn selector(node: Option<&str>) -> Value {
    node.map_or_else(|| json!({}), |node| json!({ "kubernetes.io/hostname": node }))
}

/// Generator, shipper and, where its image is there, Jaeger.
pub(super) fn objects(load: Option<&str>, with_jaeger: bool) -> Value {
    let mut items = vec![caller(load)];
    if with_jaeger {
        items.extend([jaeger_config(), jaeger(load), jaeger_service(), shipper()]);
    }
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// The path of Jaeger's query API behind the API server.
pub(super) fn jaeger_path() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services/jaeger:16686/proxy")
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE, "labels": { "app": name } })
}

fn image(name: &str) -> String {
    format!("localhost/bimetal/{name}:{TAG}")
}

fn caller(load: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(CALLER),
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": selector(load),
            "containers": [{
                "name": CALLER,
                "image": image("study"),
                "imagePullPolicy": "IfNotPresent",
                "args": ["wait"],
                // Without a share of its own it would wait for whoever has one, and fall behind.
                "resources": { "requests": { "cpu": "500m", "memory": "64Mi" } },
            }],
        },
    })
}

/// One pod on each node that reads what the runtime keeps of containers' outputs.
fn shipper() -> Value {
    let to = format!("http://jaeger.{NAMESPACE}:4318/v1/traces");
    let only = format!("{NAMESPACE}-");
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata("shipper"),
        "spec": {
            "selector": { "matchLabels": { "app": "shipper" } },
            "template": {
                "metadata": { "labels": { "app": "shipper" } },
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "tolerations": [{ "operator": "Exists" }],
                    "containers": [{
                        "name": "shipper",
                        "image": image("study"),
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["ship", "--only", only, "--to", to],
                        // The files are root's.
                        "securityContext": { "runAsUser": 0, "readOnlyRootFilesystem": true },
                        "volumeMounts": [{ "name": "logs", "mountPath": "/var/log/pods", "readOnly": true }],
                    }],
                    "volumes": [{ "name": "logs", "hostPath": { "path": "/var/log/pods" } }],
                },
            },
        },
    })
}

fn jaeger_config() -> Value {
    // JSON is YAML, which is what it reads.
    let config = json!({
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {
                "traces": { "receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"] },
            },
            "telemetry": { "metrics": { "level": "none" }, "logs": { "level": "warn" } },
        },
        "extensions": {
            "jaeger_query": {
                "storage": { "traces": "memory" },
                "http": { "endpoint": "0.0.0.0:16686" },
                "grpc": { "endpoint": "0.0.0.0:16685" },
            },
            "jaeger_storage": { "backends": { "memory": { "memory": { "max_traces": 20_000 } } } },
        },
        "receivers": { "otlp": { "protocols": { "http": { "endpoint": "0.0.0.0:4318" } } } },
        "exporters": { "jaeger_storage_exporter": { "trace_storage": "memory" } },
    });
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata("jaeger"),
        "data": { "jaeger.yaml": config.to_string() },
    })
}

fn jaeger(node: Option<&str>) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata("jaeger"),
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "jaeger" } },
            "template": {
                "metadata": { "labels": { "app": "jaeger" } },
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "nodeSelector": selector(node),
                    "containers": [{
                        "name": "jaeger",
                        "image": image("jaeger"),
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["--config", "/etc/jaeger/jaeger.yaml"],
                        // Else it looks for a collector of its own traces.
                        "env": [{ "name": "OTEL_TRACES_SAMPLER", "value": "always_off" }],
                        "readinessProbe": {
                            "httpGet": { "path": "/api/services", "port": 16686 },
                            "periodSeconds": 1,
                        },
                        "volumeMounts": [{ "name": "config", "mountPath": "/etc/jaeger", "readOnly": true }],
                    }],
                    "volumes": [{ "name": "config", "configMap": { "name": "jaeger" } }],
                },
            },
        },
    })
}

fn jaeger_service() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata("jaeger"),
        "spec": {
            "selector": { "app": "jaeger" },
            "ports": [
                { "name": "http-query", "port": 16686 },
                { "name": "http-otlp", "port": 4318 },
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_label_or_a_name() {
        let node = |name: &str, label: &str| json!({ "metadata": { "name": name, "labels": { label: "true" } } });
        let nodes = json!({ "items": [node("a", "worker"), node("load", "x"), node("c", "node-role.kubernetes.io/load")] });
        assert_eq!(node_for("worker", &nodes).as_deref(), Some("a"));
        assert_eq!(node_for("load", &nodes).as_deref(), Some("c"));
        assert_eq!(node_for("x", &nodes).as_deref(), Some("load"));
        assert_eq!(node_for("server", &nodes), None);
        assert_eq!(selector(None), json!({}));
        assert_eq!(selector(Some("a"))["kubernetes.io/hostname"], "a");
    }

    #[test]
    fn the_shipper_reads_what_the_releases_write_and_sends_it_to_jaeger() {
        let all = objects(Some("load"), true);
        let of = |kind: &str| {
            let mut items = all["items"].as_array().unwrap().iter();
            items.find(|one| one["kind"] == kind).unwrap().clone()
        };
        let shipper = of("DaemonSet");
        let arguments = &shipper["spec"]["template"]["spec"]["containers"][0]["args"];
        assert_eq!(arguments[2], "bimetal-study-");
        assert_eq!(arguments[4], "http://jaeger.bimetal-study:4318/v1/traces");
        assert_eq!(of("Service")["metadata"]["name"], "jaeger");
        // Without a Jaeger there is nobody to ship to.
        assert_eq!(objects(None, false)["items"].as_array().unwrap().len(), 1);
    }
}
