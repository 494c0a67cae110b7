//! Each switch of the values: what it brings, that nothing of it is there without it, and how the parts find
//! each other.

use super::pods::EVERYTHING;
use super::{data, kind, proxy_file, render, render_with};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Kind and name of every object, without what changes with the values (the end of a Job's name).
fn names(objects: &[Value]) -> BTreeSet<String> {
    let named = |object: &Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        let name = name.strip_prefix("demo-bimetal-").unwrap_or(name);
        let name = ["k6-", "vegeta-"].iter().find(|job| name.starts_with(**job)).unwrap_or(&name);
        format!("{} {}", object["kind"].as_str().unwrap(), name.trim_end_matches('-'))
    };
    objects.iter().map(named).collect()
}

fn find<'a>(objects: &'a [Value], of: &str, name: &str) -> &'a Value {
    let name = format!("demo-bimetal-{name}");
    let found = kind(objects, of).into_iter().find(|one| one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {of} {name}"))
}

fn args(objects: &[Value], name: &str) -> Vec<String> {
    let container = &find(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0];
    let args = container["args"].as_array().unwrap();
    args.iter().map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_switch_brings_its_objects_and_no_others() {
    let redis = "redis.url=redis://store:6379";
    let collector = "logShipper.endpoint=http://collector:4318";
    let module = "wasm.url=oci://registry/filter:1";
    let switches: [(&[&str], &[&str]); 21] = [
        (&["model.enabled=true", "model.replicas=1"], &["Deployment model", "Service model"]),
        (
            &["model.enabled=true"],
            &["Deployment model", "Service model", "PodDisruptionBudget model"],
        ),
        (&["analytics.enabled=true"], &["Deployment analytics", "Service analytics"]),
        (
            &["board.enabled=true", redis],
            &["Deployment board", "Service board", "PodDisruptionBudget board"],
        ),
        (&["redis.enabled=true"], &["Deployment redis", "Service redis"]),
        (&[redis], &[]),
        (
            &["jaeger.enabled=true"],
            &["ConfigMap jaeger", "Deployment jaeger", "Service jaeger", "Service jaeger-ui"],
        ),
        (
            &["jaeger.enabled=true", "jaeger.nodePort=0"],
            &["ConfigMap jaeger", "Deployment jaeger", "Service jaeger"],
        ),
        (
            &["logShipper.enabled=true", collector],
            &["ConfigMap log-shipper", "DaemonSet log-shipper"],
        ),
        (&["k6.enabled=true"], &["ConfigMap k6", "Job k6"]),
        (&["vegeta.enabled=true"], &["ConfigMap vegeta", "Job vegeta"]),
        (&["networkPolicy.enabled=true"], &["NetworkPolicy proxy", "NetworkPolicy echo-server"]),
        (&["monitoring.serviceMonitor.enabled=true"], &["ServiceMonitor proxy"]),
        (
            &["monitoring.serviceMonitor.enabled=true", "mode=wasm", module],
            &["ServiceMonitor proxy", "PodMonitor sidecars", "WasmPlugin proxy"],
        ),
        (&["monitoring.rules.enabled=true"], &["PrometheusRule demo-bimetal"]),
        (&["ingress.enabled=true"], &["Ingress demo-bimetal"]),
        (
            &["gateway.enabled=true", "gateway.parentRefs[0].name=public"],
            &["HTTPRoute demo-bimetal"],
        ),
        (&["proxy.autoscaling.enabled=true"], &["HorizontalPodAutoscaler proxy"]),
        (&["mesh.tracing.provider=otel"], &["Telemetry demo-traces"]),
        (
            &["fault.delay.percentage.value=1", "fault.delay.fixedDelay=1s"],
            &["VirtualService echo-server"],
        ),
        (&["mode=both", module, "wasm.kind=TrafficExtension"], &["TrafficExtension proxy"]),
    ];
    let Some(without) = render(&[]) else { return };
    let without = names(&without);
    for (values, more) in switches {
        let with = names(&render(values).unwrap());
        let new: BTreeSet<_> = with.difference(&without).map(String::as_str).collect();
        assert_eq!(new, more.iter().copied().collect(), "{values:?}");
        assert!(with.is_superset(&without), "{values:?} takes something away");
    }
}

#[test]
fn what_is_on_can_be_switched_off() {
    let Some(all) = render(&[]) else { return };
    let all = names(&all);
    let gone = |values: &[&str]| {
        let left = names(&render(values).unwrap());
        all.difference(&left).cloned().collect::<Vec<_>>()
    };
    assert_eq!(gone(&["check.enabled=false"]), ["ConfigMap check", "Job check"]);
    let proxy = ["ConfigMap proxy", "Deployment proxy", "Service proxy"];
    assert_eq!(gone(&["proxy.enabled=false"]), proxy);
    assert_eq!(gone(&["server.enabled=false"]), ["Deployment echo-server", "Service echo-server"]);
    // Where nobody has policies there is nothing to check.
    assert_eq!(gone(&["mode=none"]), ["ConfigMap check", "Job check"]);
}

#[test]
fn the_proxy_leads_to_what_there_is() {
    let Some(objects) = render(&["model.enabled=true"]) else { return };
    let file = proxy_file(&objects);
    let host = |name: &str| format!("demo-bimetal-{name}.shop.svc.cluster.local");
    assert_eq!(file["upstreams"]["model"]["endpoints"], json!([format!("{}:8000", host("model"))]));
    let routes: Vec<_> = file["routes"].as_array().unwrap().iter().collect();
    assert_eq!(routes[0]["path_prefix"], "/echo");
    assert_eq!(
        (&routes[1]["path_prefix"], &routes[1]["upstream"]),
        (&json!("/predict"), &json!("model"))
    );
    // Another's server, and none at all.
    let other =
        proxy_file(&render(&["server.enabled=false", "server.service=echo.example"]).unwrap());
    assert_eq!(other["upstreams"]["echo"]["endpoints"], json!(["echo.example:5001"]));
    let none = proxy_file(&render(&["server.enabled=false"]).unwrap());
    assert_eq!((&none["upstreams"], &none["routes"]), (&Value::Null, &Value::Null));
}

#[test]
fn policies_are_read_by_the_hosts_that_get_them_before_anything_is_created() {
    let module = "wasm.url=oci://registry/filter:1";
    for (mode, hosts) in
        [("native", &["native"][..]), ("wasm", &["wasm"]), ("both", &["native", "wasm"])]
    {
        let Some(objects) = render(&[&format!("mode={mode}"), module]) else { return };
        let job = find(&objects, "Job", "check");
        assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
        let containers = job["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        let asked: Vec<_> = containers.iter().map(|one| one["args"][3].as_str().unwrap()).collect();
        assert_eq!(asked, hosts, "{mode}");
        let checked: Value = serde_saphyr::from_str(data(&objects, "policies.yaml")).unwrap();
        let used = if mode == "wasm" {
            kind(&objects, "WasmPlugin")[0]["spec"]["pluginConfig"].clone()
        } else {
            proxy_file(&objects)
        };
        assert_eq!(checked["policies"], used["policies"], "{mode}");
        // It comes before the Job that reads it.
        let weight = |of: &Value| of["metadata"]["annotations"]["helm.sh/hook-weight"].clone();
        assert_eq!(weight(find(&objects, "ConfigMap", "check")), "-2");
        assert_eq!(weight(job), "-1");
    }
}

#[test]
fn stores_and_collectors_are_found_by_name() {
    let Some(objects) = render(&EVERYTHING) else { return };
    let redis = "redis://demo-bimetal-redis.shop.svc.cluster.local:6379";
    assert!(args(&objects, "analytics").contains(&format!("--redis={redis}")));
    let board = ["board", "--listen=0.0.0.0:9400", "--prefix=bimetal", &format!("--redis={redis}")];
    assert_eq!(args(&objects, "board"), board);
    // A board alone keeps what it knows in memory.
    let one = render(&["board.enabled=true", "board.replicas=1"]).unwrap();
    assert_eq!(args(&one, "board"), board[..3]);
    let wanted = json!({"redis": redis, "prefix": "bimetal", "interval": "100ms"});
    assert_eq!(proxy_file(&objects)["board"], wanted);
    // Another's store wins.
    let set = [&EVERYTHING[..], &["redis.url=redis://store:6379"]].concat();
    assert!(
        args(&render(&set).unwrap(), "board").contains(&"--redis=redis://store:6379".to_owned())
    );
    // Without one analytics keeps its own, and the proxy's file has no word of it.
    let alone = render(&["analytics.enabled=true"]).unwrap();
    assert_eq!(args(&alone, "analytics"), ["analytics", "--listen=0.0.0.0:8080"]);
    assert_eq!(proxy_file(&alone)["board"], Value::Null);
    let jaeger = "http://demo-bimetal-jaeger.shop.svc.cluster.local";
    for (exporter, port) in [("otlp_http", 4318), ("otlp_grpc", 4317)] {
        let traced =
            render(&["jaeger.enabled=true", &format!("traces.exporter={exporter}")]).unwrap();
        let file = proxy_file(&traced);
        assert_eq!(file["telemetry"]["traces"]["endpoint"], format!("{jaeger}:{port}"));
    }
}

#[test]
fn jaegers_page_is_on_every_node_and_its_receivers_are_inside() {
    let Some(objects) = render(&["jaeger.enabled=true"]) else { return };
    let page = &find(&objects, "Service", "jaeger-ui")["spec"];
    assert_eq!(page["type"], "NodePort");
    assert_eq!(page["ports"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&page["ports"][0]["port"], &page["ports"][0]["nodePort"]),
        (&json!(16686), &json!(31687))
    );
    let inside = find(&objects, "Service", "jaeger");
    let ports: Vec<_> =
        inside["spec"]["ports"].as_array().unwrap().iter().map(|one| &one["port"]).collect();
    assert_eq!(ports, [16686, 4317, 4318]);
    let config: Value = serde_saphyr::from_str(data(&objects, "jaeger.yaml")).unwrap();
    assert_eq!(config["receivers"]["otlp"]["protocols"]["http"]["endpoint"], "0.0.0.0:4318");
    assert_eq!(config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"], "0.0.0.0:4317");
    let traces =
        &config["extensions"]["jaeger_storage"]["backends"]["memory"]["memory"]["max_traces"];
    assert_eq!(*traces, 50_000);
}

#[test]
fn lines_of_traces_are_joined_chosen_and_posted_one_by_one() {
    let Some(objects) = render(&["jaeger.enabled=true", "logShipper.enabled=true"]) else { return };
    let config: Value = serde_saphyr::from_str(data(&objects, "fluent-bit.yaml")).unwrap();
    let pipeline = &config["pipeline"];
    assert_eq!(pipeline["inputs"][0]["multiline.parser"], "cri");
    assert_eq!(pipeline["inputs"][0]["path"], "/var/log/containers/demo*_shop_*.log");
    let chosen = json!(["stream ^stdout$", r"log ^\{"]);
    assert_eq!(pipeline["filters"][0]["regex"], chosen);
    let output = &pipeline["outputs"][0];
    assert_eq!(output["host"], "demo-bimetal-jaeger.shop.svc.cluster.local");
    assert_eq!((&output["port"], &output["uri"]), (&json!(4318), &json!("/v1/traces")));
    assert_eq!((&output["body_key"], &output["headers_key"]), (&json!("$log"), &json!("$headers")));
    let shell =
        ["logShipper.enabled=true", "logShipper.kind=shell", "logShipper.endpoint=http://c:4318"];
    let objects = render(&shell).unwrap();
    let pod = &find(&objects, "DaemonSet", "log-shipper")["spec"]["template"]["spec"];
    assert_eq!(
        pod["containers"][0]["env"],
        json!([{"name": "ENDPOINT", "value": "http://c:4318"}])
    );
    assert!(data(&objects, "ship.sh").contains("/var/log/containers/demo*_shop_*.log"));
}

/// The script that stands in for Fluent Bit, run on what a runtime writes: parts are joined, spans alone go on, each by
/// itself.
#[test]
fn the_shells_shipper_joins_and_posts_lines_of_spans() {
    let set =
        ["logShipper.enabled=true", "logShipper.kind=shell", "logShipper.endpoint=http://c:4318"];
    let Some(objects) = render(&set) else { return };
    let folder = std::env::temp_dir().join(format!("bimetal-shipper-{}", std::process::id()));
    for part in ["logs", "state", "bin"] {
        std::fs::create_dir_all(folder.join(part)).unwrap();
    }
    let place = |part: &str| folder.join(part).display().to_string();
    let script = data(&objects, "ship.sh")
        .replace("/var/log/containers", &place("logs"))
        .replace("/state", &place("state"));
    // In place of curl: says what it is given, and where it should go.
    let program = folder.join("bin/curl");
    std::fs::write(&program, "#!/bin/sh\nfor last; do :; done\necho \"$(cat) $last\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).unwrap();
    let lines = "t stderr F info: not a span\nt stdout P {\"a\nt stdout P \": [1,\nt stdout F  2]}\n\
                 t stdout F no span\nt stdout F {\"b\": \"c d\"}\n";
    std::fs::write(folder.join("logs/demo-bimetal-proxy-1_shop_proxy-2.log"), lines).unwrap();
    std::fs::write(folder.join("logs/other_shop_proxy-2.log"), "t stdout F {\"other\": 1}\n")
        .unwrap();
    let path = format!("{}:{}", place("bin"), std::env::var("PATH").unwrap());
    // It ends with its group, or by itself where it says nothing.
    let mut shell = Command::new("timeout");
    shell.args(["120", "sh", "-c", &script]).env("PATH", path).env("ENDPOINT", "http://c:4318");
    let mut running = shell.stdout(Stdio::piped()).process_group(0).spawn().unwrap();
    let said = BufReader::new(running.stdout.take().unwrap());
    let told: Vec<_> = said.lines().take(2).map_while(Result::ok).collect();
    let group = format!("-{}", running.id());
    let ended = Command::new("kill").args(["-9", "--", &group]).status();
    running.wait().unwrap();
    assert!(ended.is_ok_and(|status| status.success()));
    let wanted =
        [r#"{"a": [1, 2]} http://c:4318/v1/traces"#, r#"{"b": "c d"} http://c:4318/v1/traces"#];
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(told, wanted);
}

#[test]
fn another_load_is_another_job() {
    let name = |values: &[&str]| {
        let objects = render(values)?;
        let jobs = kind(&objects, "Job");
        let found = jobs.iter().find(|job| job["metadata"]["name"] != "demo-bimetal-check");
        Some(found.unwrap()["metadata"]["name"].as_str().unwrap().to_owned())
    };
    for load in ["k6", "vegeta"] {
        let on = format!("{load}.enabled=true");
        let Some(first) = name(&[&on]) else { return };
        assert_eq!(name(&[&on]).unwrap(), first);
        // What stands in the pod: a Job cannot be changed (helm/helm 7082, temporalio/helm-charts 554).
        for other in
            [&format!("{load}.run=2"), "nodes.label=a/b", "mesh.clusterDomain=example.test"]
        {
            assert_ne!(name(&[&on, other]).unwrap(), first, "{load} {other}");
        }
        // What else changes does not run it again.
        assert_eq!(name(&[&on, "proxy.replicas=2"]).unwrap(), first);
    }
}

#[test]
fn loads_go_to_the_proxy_unless_told_otherwise() {
    let Some(objects) = render(&["vegeta.enabled=true"]) else { return };
    let proxy = "http://demo-bimetal-proxy.shop.svc.cluster.local:8001";
    let targets = data(&objects, "targets");
    assert_eq!(
        targets,
        format!("POST {proxy}/predict\nContent-Type: application/json\n@/etc/vegeta/body\n")
    );
    assert_eq!(data(&objects, "body").len(), 28);
    let other =
        render(&["vegeta.enabled=true", "vegeta.target=http://a:1/b", "vegeta.body="]).unwrap();
    assert_eq!(data(&other, "targets"), "POST http://a:1/b\nContent-Type: application/json\n");
    for (script, wanted) in [
        ("stages", proxy),
        ("breaker", proxy),
        ("analytics", "http://demo-bimetal-analytics.shop.svc.cluster.local:8080"),
    ] {
        let set = ["--set", "k6.enabled=true", "--set-string", "k6.env.VUS=25", "--set"];
        let script = format!("k6.script={script}");
        let objects = render_with(&[&set[..], &[&script]].concat()).unwrap();
        let job = kind(&objects, "Job")
            .into_iter()
            .find(|job| job["metadata"]["name"] != "demo-bimetal-check");
        let container = &job.unwrap()["spec"]["template"]["spec"]["containers"][0];
        let env = container["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "TARGET", "value": wanted})), "{script}: {env:?}");
        assert!(env.contains(&json!({"name": "VUS", "value": "25"})), "{script}");
        assert!(
            data(&objects, "load.js").contains("from \"k6/http\"")
                || data(&objects, "load.js").contains("from 'k6/http'")
        );
    }
}

#[test]
fn pods_are_scaled_to_four_by_their_cpu() {
    let Some(objects) = render(&EVERYTHING) else { return };
    for name in ["proxy", "analytics"] {
        let scaler = &find(&objects, "HorizontalPodAutoscaler", name)["spec"];
        assert_eq!(
            (&scaler["minReplicas"], &scaler["maxReplicas"]),
            (&json!(1), &json!(4)),
            "{name}"
        );
        assert_eq!(scaler["scaleTargetRef"]["name"], format!("demo-bimetal-{name}"));
        assert_eq!(scaler["metrics"][0]["resource"]["target"]["averageUtilization"], 70, "{name}");
        // Else each upgrade would take away what the scaler gave.
        assert_eq!(find(&objects, "Deployment", name)["spec"]["replicas"], Value::Null, "{name}");
    }
}

#[test]
fn the_way_from_outside_has_users_paths_and_no_profile() {
    let set = ["ingress.enabled=true", "gateway.enabled=true", "gateway.parentRefs[0].name=a"];
    let more = ["analytics.enabled=true", "model.enabled=true", "ingress.host=shop.example"];
    let Some(objects) = render(&[&set[..], &more].concat()) else { return };
    let rule = &kind(&objects, "Ingress")[0]["spec"]["rules"][0];
    assert_eq!(rule["host"], "shop.example");
    let ways: Vec<_> = rule["http"]["paths"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| {
            let service = &way["backend"]["service"];
            (
                way["path"].as_str().unwrap(),
                service["name"].as_str().unwrap(),
                service["port"]["number"].as_u64().unwrap(),
            )
        })
        .collect();
    let (proxy, analytics) = ("demo-bimetal-proxy", "demo-bimetal-analytics");
    let wanted = [
        ("/echo", proxy, 8001),
        ("/predict", proxy, 8001),
        ("/analyze", analytics, 8080),
        ("/ingest", analytics, 8080),
        ("/metrics", analytics, 8080),
    ];
    assert_eq!(ways, wanted);
    let rules = kind(&objects, "HTTPRoute")[0]["spec"]["rules"].as_array().unwrap();
    let routed: Vec<_> = rules
        .iter()
        .map(|rule| {
            let back = &rule["backendRefs"][0];
            let path = rule["matches"][0]["path"]["value"].as_str().unwrap();
            (path, back["name"].as_str().unwrap(), back["port"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(routed, wanted);
}

#[test]
fn a_store_is_reached_by_those_who_use_it_alone() {
    let peers = json!([{"namespaceSelector": {"matchLabels": {"team": "a"}}}]);
    let set: Vec<_> = EVERYTHING.iter().flat_map(|value| ["--set", value]).collect();
    let clients = format!("networkPolicy.clients={peers}");
    let Some(objects) = render_with(&[&set[..], &["--set-json", &clients]].concat()) else {
        return;
    };
    let role = |peer: &Value| {
        let labels = &peer["podSelector"]["matchLabels"];
        labels["app.kubernetes.io/component"].as_str().map(str::to_owned)
    };
    let redis = &find(&objects, "NetworkPolicy", "redis")["spec"];
    assert_eq!(redis["policyTypes"], json!(["Ingress", "Egress"]));
    let from: Vec<_> = redis["ingress"]
        .as_array()
        .unwrap()
        .iter()
        .map(|way| role(&way["from"][0]).unwrap())
        .collect();
    assert_eq!(from, ["proxy", "analytics", "board"]);
    // It calls nobody: names alone are left.
    assert_eq!(redis["egress"].as_array().unwrap().len(), 1);
    let proxy = &find(&objects, "NetworkPolicy", "proxy")["spec"]["ingress"];
    assert_eq!(proxy[0], json!({"ports": [{"protocol": "TCP", "port": 8001}], "from": peers}));
    for policy in kind(&objects, "NetworkPolicy") {
        let ways = policy["spec"]["egress"].as_array().unwrap();
        let goes_anywhere = ways.iter().filter(|way| way["to"].is_null());
        let ports: Vec<_> =
            goes_anywhere.flat_map(|way| way["ports"].as_array().unwrap()).collect();
        assert!(ports.iter().all(|port| port["port"] == 53), "{}", policy["metadata"]["name"]);
    }
}

#[test]
fn an_extension_of_istio_1_30_says_what_the_plugin_says() {
    let module = "wasm.url=oci://registry/filter:1";
    let Some(plugin) = render(&["mode=wasm", module]) else { return };
    let other = render(&["mode=wasm", module, "wasm.kind=TrafficExtension"]).unwrap();
    let (plugin, other) =
        (&kind(&plugin, "WasmPlugin")[0]["spec"], &kind(&other, "TrafficExtension")[0]["spec"]);
    for field in ["selector", "match"] {
        assert_eq!(plugin[field], other[field], "{field}");
    }
    let mut module = plugin.clone();
    let module = module.as_object_mut().unwrap();
    module.retain(|field, _| !["selector", "match"].contains(&field.as_str()));
    assert_eq!(json!(module), other["wasm"]);
}
