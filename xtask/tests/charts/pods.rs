//! Rules that hold for every pod of the chart, with everything switched on.

use super::{kind, render, render_with, template};
use serde_json::{Value, json};

/// Everything that can be on at once, with a Redis and a collector.
pub(super) const EVERYTHING: [&str; 21] = [
    "mode=both",
    "wasm.url=oci://registry/filter:1",
    "model.enabled=true",
    "analytics.enabled=true",
    "board.enabled=true",
    "board.proxies=true",
    "redis.enabled=true",
    "jaeger.enabled=true",
    "logShipper.enabled=true",
    "k6.enabled=true",
    "vegeta.enabled=true",
    "networkPolicy.enabled=true",
    "monitoring.serviceMonitor.enabled=true",
    "monitoring.rules.enabled=true",
    "monitoring.dashboards.enabled=true",
    "ingress.enabled=true",
    "gateway.enabled=true",
    "gateway.parentRefs[0].name=public",
    "proxy.autoscaling.enabled=true",
    "analytics.autoscaling.enabled=true",
    "mesh.tracing.provider=otel",
];

const ROLE: &str = "app.kubernetes.io/component";

/// Every template of pods: its component, its metadata and its specification.
fn pods(objects: &[Value]) -> Vec<(String, &Value, &Value)> {
    let has_pods = ["Deployment", "DaemonSet", "Job"];
    let owners =
        objects.iter().filter(|object| has_pods.contains(&object["kind"].as_str().unwrap()));
    owners
        .map(|owner| {
            let template = &owner["spec"]["template"];
            let component = template["metadata"]["labels"][ROLE].as_str().unwrap();
            (component.to_owned(), &template["metadata"], &template["spec"])
        })
        .collect()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|list| pod[list].as_array()).flatten()
}

/// <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>
#[test]
fn every_pod_but_the_log_shippers_passes_the_restricted_standard() {
    let Some(objects) = render(&EVERYTHING) else { return };
    let pods = pods(&objects);
    assert_eq!(pods.len(), 11, "{:?}", pods.iter().map(|pod| &pod.0).collect::<Vec<_>>());
    for (component, _, pod) in &pods {
        assert_eq!(pod["automountServiceAccountToken"], false, "{component}");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[host].is_null(), "{component}: {host}");
        }
        let security = &pod["securityContext"];
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault", "{component}");
        for container in containers(pod) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{component}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{component}");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{component}");
            assert!(container["resources"]["requests"]["memory"].is_string(), "{component}");
            assert!(container["resources"]["limits"]["memory"].is_string(), "{component}");
            assert!(
                container["ports"]
                    .as_array()
                    .is_none_or(|ports| { ports.iter().all(|port| port["hostPort"].is_null()) })
            );
        }
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let on_host = volumes.filter(|volume| !volume["hostPath"].is_null()).count();
        if component == "log-shipper" {
            assert_eq!((on_host, security["runAsUser"].as_u64()), (1, Some(0)));
            continue;
        }
        assert_eq!(security["runAsNonRoot"], true, "{component}");
        assert_eq!(security["runAsUser"], 65532, "{component}");
        assert_eq!(on_host, 0, "{component}");
    }
}

/// Each pod that serves is asked three questions; none of them leads through the pod to another.
#[test]
fn pods_that_serve_are_probed() {
    let Some(objects) = render(&EVERYTHING) else { return };
    for deployment in kind(&objects, "Deployment") {
        let name = &deployment["metadata"]["name"];
        for container in containers(&deployment["spec"]["template"]["spec"]) {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let asks = container[probe].as_object();
                let by: Vec<_> = asks.into_iter().flat_map(|probe| probe.keys()).collect();
                assert!(
                    by.iter().any(|key| *key == "httpGet" || *key == "tcpSocket"),
                    "{name} {probe}"
                );
            }
            // A busy server may answer late. It is not started anew for that.
            let liveness = &container["livenessProbe"];
            let patient = liveness["failureThreshold"].as_u64().unwrap_or(3)
                * liveness["periodSeconds"].as_u64().unwrap_or(10);
            assert!(patient >= 30, "{name}: {patient} s");
        }
    }
}

#[test]
fn no_pod_goes_before_its_successor_is_ready() {
    let Some(objects) = render(&EVERYTHING) else { return };
    for deployment in kind(&objects, "Deployment") {
        let strategy = &deployment["spec"]["strategy"];
        let component = deployment["metadata"]["labels"][ROLE].as_str().unwrap();
        // What keeps something in its memory may not be there twice.
        let wanted = if ["redis", "jaeger"].contains(&component) {
            json!({"type": "Recreate"})
        } else {
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        };
        assert_eq!(*strategy, wanted, "{component}");
    }
}

/// A Job with a sidecar never ends where sidecars are ordinary containers; a store needs none.
#[test]
fn what_ends_or_stores_has_no_sidecar() {
    let inject = ["--set-string", "mesh.inject=true"];
    let set: Vec<_> = EVERYTHING.iter().flat_map(|value| ["--set", value]).chain(inject).collect();
    let Some(objects) = render_with(&set) else { return };
    for (component, metadata, _) in pods(&objects) {
        let serves = ["proxy", "echo-server", "model", "analytics", "board"];
        let wanted = if serves.contains(&component.as_str()) { "true" } else { "false" };
        assert_eq!(metadata["labels"]["sidecar.istio.io/inject"], wanted, "{component}");
    }
}

#[test]
fn pods_prefer_or_need_nodes_by_their_role() {
    let Some(objects) = render(&EVERYTHING) else { return };
    assert!(pods(&objects).iter().all(|(_, _, pod)| pod["affinity"].is_null()));
    let with = |more: &[&str]| {
        let set = [&EVERYTHING[..], &["nodes.label=example/role", "nodes.load=far"], more].concat();
        render(&set).unwrap()
    };
    for (more, required) in [(&[][..], false), (&["nodes.required=true"][..], true)] {
        let objects = with(more);
        for (component, _, pod) in pods(&objects) {
            let role = match component.as_str() {
                "echo-server" | "model" => "server",
                "k6" | "vegeta" => "far",
                "proxy" | "analytics" | "board" | "redis" | "jaeger" => "worker",
                // One on every node; and one that is gone in a moment.
                "log-shipper" | "check" => continue,
                other => panic!("{other} has no role"),
            };
            let affinity = &pod["affinity"]["nodeAffinity"];
            let expressions = if required {
                &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
            } else {
                &affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["preference"]
            };
            let wanted = json!([{"key": "example/role", "operator": "In", "values": [role]}]);
            assert_eq!(expressions["matchExpressions"], wanted, "{component}");
        }
    }
}

#[test]
fn one_pod_may_be_disrupted_at_a_time_where_there_are_several() {
    let Some(one) = render(&[]) else { return };
    assert!(kind(&one, "PodDisruptionBudget").is_empty());
    let two = render(&["proxy.replicas=2"]).unwrap();
    assert_eq!(kind(&two, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"], 1);
    let scaled = ["proxy.autoscaling.enabled=true", "proxy.autoscaling.minReplicas=2"];
    assert_eq!(kind(&render(&scaled).unwrap(), "PodDisruptionBudget").len(), 1);
}

/// Of what the cluster has to know, the one kind that it does not know is named.
#[test]
fn what_the_cluster_does_not_know_is_said_in_a_sentence() {
    let wanted = [
        ("mode=wasm", "extensions.istio.io/v1alpha1/WasmPlugin", "install Istio first"),
        ("mode=istio", "networking.istio.io/v1/DestinationRule", "install Istio first"),
        ("gateway.enabled=true", "gateway.networking.k8s.io/v1/HTTPRoute", "Gateway API"),
        (
            "monitoring.serviceMonitor.enabled=true",
            "monitoring.coreos.com/v1/ServiceMonitor",
            "Prometheus operator",
        ),
        ("monitoring.rules.enabled=true", "monitoring.coreos.com/v1/PrometheusRule", "operator"),
        ("fault.abort.percentage.value=1", "networking.istio.io/v1/VirtualService", "fault"),
        ("mesh.tracing.provider=otel", "telemetry.istio.io/v1/Telemetry", "mesh.tracing"),
    ];
    for (value, api, told) in wanted {
        let set = ["wasm.url=oci://a/b:1", "gateway.parentRefs[0].name=a", value];
        // That it knows this one says that there is a cluster.
        let known = ["--api-versions", "apps/v1/Deployment"];
        let set: Vec<_> = set.iter().flat_map(|value| ["--set", value]).chain(known).collect();
        let Some(output) = template(&set) else { return };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{value} is accepted");
        assert!(complaint.contains(api) && complaint.contains(told), "{value}: {complaint}");
        let with = [&set[..], &["--api-versions", api]].concat();
        assert!(template(&with).unwrap().status.success(), "{value}");
    }
}
