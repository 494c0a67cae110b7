//! Values that are not the defaults arrive where they belong; and what the manifests of `istio/` say
//! on their own.

use super::{istio, kind, mode, proxy_file, render, render_with, sidecar};
use serde_json::{Value, json};

/// The Deployment of this component.
fn deployment<'a>(objects: &'a [Value], component: &str) -> &'a Value {
    let label = "app.kubernetes.io/component";
    let deployments = kind(objects, "Deployment");
    let found = deployments.into_iter().find(|one| one["metadata"]["labels"][label] == component);
    found.unwrap_or_else(|| panic!("no Deployment of {component}"))
}

fn pod<'a>(objects: &'a [Value], component: &str) -> &'a Value {
    &deployment(objects, component)["spec"]["template"]["spec"]
}

fn container<'a>(objects: &'a [Value], component: &str) -> &'a Value {
    &pod(objects, component)["containers"][0]
}

#[test]
fn the_proxys_values_arrive() {
    let values = ["proxy.workers=3", "proxy.log=debug", "proxy.replicas=4"];
    let Some(objects) = render(&values) else { return };
    assert_eq!(proxy_file(&objects)["workers"], 3);
    let args = json!(["proxy", "--config", "/etc/bimetal/proxy.yaml", "--log", "debug"]);
    assert_eq!(container(&objects, "proxy")["args"], args);
    assert_eq!(deployment(&objects, "proxy")["spec"]["replicas"], 4);
    // The server's are its own.
    assert_eq!(deployment(&objects, "echo-server")["spec"]["replicas"], 1);
}

#[test]
fn the_servers_values_arrive() {
    let values = ["server.replicas=3", "server.args={--fault-status=500,--traces=none}"];
    let Some(objects) = render(&values) else { return };
    assert_eq!(deployment(&objects, "echo-server")["spec"]["replicas"], 3);
    assert_eq!(deployment(&objects, "proxy")["spec"]["replicas"], 1);
    let args = json!(["echo", "--listen=0.0.0.0:5001", "--fault-status=500", "--traces=none"]);
    assert_eq!(container(&objects, "echo-server")["args"], args);
}

#[test]
fn traces_are_off_until_they_are_asked_for_and_then_of_both_programs() {
    let Some(objects) = render(&[]) else { return };
    assert_eq!(proxy_file(&objects)["telemetry"], Value::Null);
    assert!(kind(&objects, "Telemetry").is_empty());
    // Of a fraction --set makes a text (helm/helm 8205, cilium/cilium 39823).
    let objects = render(&[
        "traces.exporter=otlp_http",
        "traces.endpoint=http://collector:4318",
        "traces.sample=0.25",
        "traces.tree=semconv",
    ]);
    let objects = objects.unwrap();
    let wanted = json!({"service_name": "echo-proxy", "traces": {"exporter": "otlp_http",
        "endpoint": "http://collector:4318", "sample": 0.25, "tree": "semconv"}});
    assert_eq!(proxy_file(&objects)["telemetry"], wanted);
    let server = container(&objects, "echo-server");
    assert_eq!(server["args"], json!(["echo", "--listen=0.0.0.0:5001", "--traces=otlp_http"]));
    let variable = json!({"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"});
    assert_eq!(server["env"], json!([variable]));
    let lines = ["--set", "traces.exporter=otlp_stdout", "--set-json", "traces.sample=0.5"];
    let lines = render_with(&lines).unwrap();
    assert_eq!(proxy_file(&lines)["telemetry"]["traces"]["sample"], 0.5);
    assert_eq!(proxy_file(&lines)["telemetry"]["traces"]["endpoint"], Value::Null);
    assert_eq!(container(&lines, "echo-server")["env"], Value::Null);
}

#[test]
fn the_sidecars_traces_are_those_of_the_manifest() {
    let Some(objects) = render(&["mesh.tracing.provider=otel"]) else { return };
    let telemetry = kind(&objects, "Telemetry")[0];
    let manifest = istio("telemetry.yaml");
    assert_eq!(telemetry["spec"]["tracing"], manifest["spec"]["tracing"]);
    assert_eq!(telemetry["apiVersion"], manifest["apiVersion"]);
    // Each selects pods that there are.
    for labels in [
        &telemetry["spec"]["selector"]["matchLabels"],
        &manifest["spec"]["selector"]["matchLabels"],
    ] {
        for (label, value) in labels.as_object().unwrap() {
            for component in ["proxy", "echo-server"] {
                let template = &deployment(&objects, component)["spec"]["template"];
                assert_eq!(&template["metadata"]["labels"][label], value, "{component} {label}");
            }
        }
    }
    let some = render(&["mesh.tracing.provider=other", "mesh.tracing.sample=0.5"]).unwrap();
    let tracing = &kind(&some, "Telemetry")[0]["spec"]["tracing"][0];
    assert_eq!(
        *tracing,
        json!({"providers": [{"name": "other"}], "randomSamplingPercentage": 0.5})
    );
}

#[test]
fn both_pods_get_the_image_and_what_is_theirs() {
    let values = [
        "image.repository=registry/bimetal",
        "image.tag=v7",
        "image.pullPolicy=Always",
        "imagePullSecrets[0].name=key",
        "proxy.resources.limits.memory=1Gi",
        "server.resources.limits.memory=2Gi",
        "proxy.nodeSelector.disk=fast",
        "server.nodeSelector.disk=slow",
        "proxy.podLabels.team=a",
        "server.podLabels.team=b",
        "proxy.podAnnotations.note=c",
        "server.podAnnotations.note=d",
    ];
    let Some(objects) = render(&values) else { return };
    for (component, memory, disk, team, note) in
        [("proxy", "1Gi", "fast", "a", "c"), ("echo-server", "2Gi", "slow", "b", "d")]
    {
        let container = container(&objects, component);
        assert_eq!(container["image"], "registry/bimetal:v7", "{component}");
        assert_eq!(container["imagePullPolicy"], "Always", "{component}");
        assert_eq!(container["resources"]["limits"]["memory"], memory, "{component}");
        let pod = pod(&objects, component);
        assert_eq!(pod["imagePullSecrets"], json!([{"name": "key"}]), "{component}");
        assert_eq!(pod["nodeSelector"], json!({"disk": disk}), "{component}");
        let metadata = &deployment(&objects, component)["spec"]["template"]["metadata"];
        assert_eq!(metadata["labels"]["team"], team, "{component}");
        assert_eq!(metadata["annotations"]["note"], note, "{component}");
    }
    let Some(objects) = render(&[]) else { return };
    let image = format!("localhost/bimetal/bimetal:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container(&objects, "proxy")["image"], image);
}

#[test]
fn where_the_module_is_from_arrives() {
    let sha256 = "a".repeat(64);
    let sum = format!("wasm.sha256={sha256}");
    let values = [
        "mode=wasm",
        "wasm.url=oci://registry/filter:9",
        &sum,
        "wasm.pullPolicy=Always",
        "wasm.pullSecret=key",
        "wasm.failStrategy=FAIL_CLOSE",
    ];
    let Some(objects) = render(&values) else { return };
    let mut spec = kind(&objects, "WasmPlugin")[0]["spec"].clone();
    let spec = spec.as_object_mut().unwrap();
    for ours in ["selector", "match", "pluginConfig"] {
        assert!(spec.remove(ours).is_some(), "{ours}");
    }
    let wanted = json!({
        "url": "oci://registry/filter:9",
        "sha256": sha256,
        "imagePullPolicy": "Always",
        "imagePullSecret": "key",
        "failStrategy": "FAIL_CLOSE",
    });
    assert_eq!(json!(spec), wanted);
    // Istio takes an empty one for one that does not match, or for a secret without a name.
    let Some(objects) = mode("wasm") else { return };
    let spec = &kind(&objects, "WasmPlugin")[0]["spec"];
    for absent in ["sha256", "imagePullSecret"] {
        assert!(spec.get(absent).is_none(), "{absent}");
    }
    assert_eq!(spec["imagePullPolicy"], "IfNotPresent");
    assert_eq!(spec["failStrategy"], "FAIL_OPEN");
}

#[test]
fn the_sidecars_values_arrive() {
    let set = [
        ["--set", "mode=wasm"],
        ["--set", "wasm.url=oci://registry/filter:1"],
        // A label is a text.
        ["--set-string", "mesh.inject=true"],
        ["--set", "mesh.concurrency=4"],
        ["--set", "mesh.statTags={policy,scope}"],
        ["--set", "mesh.proxyMetadata.WASM_INSECURE_REGISTRIES=registry"],
    ];
    let Some(objects) = render_with(&set.concat()) else { return };
    let metadata = json!({"WASM_INSECURE_REGISTRIES": "registry"});
    let proxy = deployment(&objects, "proxy");
    let wanted = json!({"concurrency": 4, "extraStatTags": ["policy", "scope"],
        "proxyMetadata": metadata});
    assert_eq!(sidecar(proxy), wanted);
    let server = deployment(&objects, "echo-server");
    assert_eq!(sidecar(server), json!({"concurrency": 4, "proxyMetadata": metadata}));
    for one in [proxy, server] {
        let labels = &one["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["sidecar.istio.io/inject"], "true");
    }
}

#[test]
fn the_clusters_domain_is_in_every_name() {
    let name = "demo-bimetal-echo-server.shop.svc.example.test";
    let values = [
        "mode=istio",
        "mesh.clusterDomain=example.test",
        "fault.abort.percentage.value=20",
        "fault.abort.httpStatus=500",
    ];
    let Some(objects) = render(&values) else { return };
    let endpoint = &proxy_file(&objects)["upstreams"]["echo"]["endpoints"][0];
    assert_eq!(*endpoint, format!("{name}:5001"));
    assert_eq!(kind(&objects, "DestinationRule")[0]["spec"]["host"], name);
    let service = &kind(&objects, "VirtualService")[0]["spec"];
    assert_eq!(service["hosts"], json!([name]));
    assert_eq!(service["http"][0]["route"], json!([{"destination": {"host": name}}]));
}

#[test]
fn another_traffic_policy_takes_the_place_of_the_studys() {
    let values = [
        "mode=istio",
        "istio.trafficPolicy.connectionPool.tcp.maxConnections=7",
        "istio.trafficPolicy.outlierDetection.interval=3s",
    ];
    let Some(objects) = render(&values) else { return };
    let policy = &kind(&objects, "DestinationRule")[0]["spec"]["trafficPolicy"];
    assert_eq!(policy["connectionPool"]["tcp"]["maxConnections"], 7);
    assert_eq!(policy["outlierDetection"]["interval"], "3s");
}

/// A proxy whose breaker is open, or that drains, is not to be started anew: liveness asks what
/// readiness does not.
#[test]
fn probes_ask_the_health_port_each_its_own_question() {
    let Some(objects) = mode("native") else { return };
    let proxy = container(&objects, "proxy");
    for (probe, path) in
        [("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        let wanted = json!({"path": path, "port": "http-health"});
        assert_eq!(proxy[probe]["httpGet"], wanted, "{probe}");
    }
    let ports = json!([{"name": "http", "containerPort": 8001},
        {"name": "http-health", "containerPort": 9001}]);
    assert_eq!(proxy["ports"], ports);
    let file = proxy_file(&objects);
    assert_eq!(file["health"]["address"], "0.0.0.0:9001");
    assert_eq!(file["listeners"], json!([{"address": "0.0.0.0:8001"}]));
    let services = kind(&objects, "Service");
    let of_proxy = services.iter().find(|one| one["metadata"]["name"] == "demo-bimetal-proxy");
    let health = json!({"name": "http-health", "port": 9001, "targetPort": "http-health",
        "appProtocol": "http"});
    assert_eq!(of_proxy.unwrap()["spec"]["ports"][1], health);
    // A fault plan may refuse whatever is asked of the server by HTTP.
    let server = container(&objects, "echo-server");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(server[probe]["tcpSocket"], json!({"port": "http"}), "{probe}");
    }
}

/// The kubelet counts the pause before the stop too; the proxy drains for 30 s (`docs/proxy.md`).
#[test]
fn pods_may_take_the_time_that_their_end_takes() {
    let Some(objects) = mode("native") else { return };
    for (component, drain) in [("proxy", 30), ("echo-server", 0)] {
        let pause = &container(&objects, component)["lifecycle"]["preStop"]["sleep"]["seconds"];
        let grace = pod(&objects, component)["terminationGracePeriodSeconds"].as_u64().unwrap();
        let pause = pause.as_u64().unwrap();
        // Long enough to be heard of by every node, and a little left over at the end.
        assert!(pause >= 5, "{component}: {pause}");
        let needed = pause + drain;
        assert!((needed + 5..=needed + 15).contains(&grace), "{component}: {grace}");
    }
}

#[test]
fn the_manifests_of_istio_have_their_own_numbers() {
    let abort = &istio("fault-abort.yaml")["spec"]["http"][0]["fault"];
    assert_eq!(*abort, json!({"abort": {"percentage": {"value": 20}, "httpStatus": 500}}));
    let pool = &istio("destination-rule-sane-pool.yaml")["spec"]["trafficPolicy"];
    let wanted = json!({"tcp": {"maxConnections": 100},
        "http": {"http1MaxPendingRequests": 100, "maxRequestsPerConnection": 0}});
    assert_eq!(pool["connectionPool"], wanted);
    // The image that `cargo xtask images` writes has the repository's version.
    let url = istio("wasm-plugin.yaml")["spec"]["url"].as_str().unwrap().to_owned();
    let (_, tag) = url.rsplit_once(':').unwrap();
    assert_eq!(tag, env!("CARGO_PKG_VERSION"), "{url}");
}

/// Both faults go to where the chart's go, and both replace each other.
#[test]
fn the_faults_of_istio_are_for_the_echo_server() {
    for file in ["fault-abort.yaml", "fault-delay.yaml"] {
        let service = istio(file);
        assert_eq!(service["metadata"]["name"], "echo-server", "{file}");
        assert_eq!(service["spec"]["hosts"], json!(["echo-server"]), "{file}");
        let route = json!([{"destination": {"host": "echo-server"}}]);
        assert_eq!(service["spec"]["http"][0]["route"], route, "{file}");
    }
}
