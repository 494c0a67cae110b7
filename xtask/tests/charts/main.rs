//! What the chart renders, judged without a cluster; and that `istio/` says the same.
//!
//! Needs helm: `HELM`, else `PATH`, else `tools/bin` of the target folder. Without it each test is skipped.

mod files;
mod kinds;
mod manifests;
mod parts;
mod pods;
mod readme;
mod values;

use bimetal_core::policy::{Document, Host};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What every mode renders.
const ALWAYS: [&str; 6] =
    ["ConfigMap", "Deployment", "Deployment", "Service", "Service", "ServiceAccount"];

/// What is rendered besides where policies are in force: what reads them before.
const CHECK: [&str; 2] = ["ConfigMap", "Job"];

/// Values of `mode`.
const MODES: [&str; 5] = ["native", "wasm", "both", "istio", "none"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// helm with arguments; `None` and one line where there is no helm.
fn helm(arguments: &[&str]) -> Option<Output> {
    // A helm that was built from its module takes every cluster for an old one.
    let version = ["--kube-version", "1.33.4"];
    let more = if arguments[0] == "template" { &version[..] } else { &[] };
    tool("HELM", "helm", &[arguments, more].concat())
}

/// A tool with arguments; `None` and one line where it is not here.
fn tool(variable: &str, name: &str, arguments: &[&str]) -> Option<Output> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let own = target.unwrap_or_else(|| root().join("target")).join("tools/bin").join(name);
    let given = std::env::var_os(variable).map(PathBuf::from);
    let mut candidates = given.into_iter().chain([PathBuf::from(name), own]);
    let found = candidates
        .find_map(|tool| Command::new(tool).args(arguments).current_dir(root()).output().ok());
    if found.is_none() {
        println!("skipped: {name} is not here (cargo xtask tools {name})");
    }
    found
}

/// The objects that the chart renders with `--set` values.
fn render(values: &[&str]) -> Option<Vec<Value>> {
    let set: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    render_with(&set)
}

/// The objects that the chart renders with these arguments of helm.
fn render_with(set: &[&str]) -> Option<Vec<Value>> {
    let output = template(set)?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{set:?}: {complaint}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(documents(&text))
}

/// helm's `template` of the chart, with more arguments.
fn template(set: &[&str]) -> Option<Output> {
    helm(&[&["template", "demo", "charts/bimetal", "--namespace", "shop"], set].concat())
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// A file of `istio/`.
fn istio(file: &str) -> Value {
    let path = root().join("istio").join(file);
    documents(&std::fs::read_to_string(path).unwrap()).remove(0)
}

fn kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn mode(name: &str) -> Option<Vec<Value>> {
    render(&[&format!("mode={name}"), "wasm.url=oci://registry/filter:1"])
}

/// The proxy's own file in a rendered ConfigMap.
fn proxy_file(objects: &[Value]) -> Value {
    serde_saphyr::from_str(data(objects, "proxy.yaml")).unwrap()
}

/// A file in one of the rendered ConfigMaps.
fn data<'a>(objects: &'a [Value], file: &str) -> &'a str {
    let maps = kind(objects, "ConfigMap");
    let found = maps.iter().find_map(|map| map["data"][file].as_str());
    found.unwrap_or_else(|| panic!("no ConfigMap has {file}"))
}

/// The annotation that tells Istio about the sidecar of a Deployment.
fn sidecar(deployment: &Value) -> Value {
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    let text = annotations["proxy.istio.io/config"].as_str().unwrap();
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn every_mode_passes_helms_own_check() {
    for mode in MODES {
        let set = format!("mode={mode},wasm.url=oci://registry/filter:1");
        let Some(output) = helm(&["lint", "--strict", "charts/bimetal", "--set", &set]) else {
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn each_mode_renders_what_protects_it_and_nothing_else() {
    for name in MODES {
        let Some(objects) = mode(name) else { return };
        let extra = match name {
            "wasm" | "both" => Some("WasmPlugin"),
            "istio" => Some("DestinationRule"),
            _ => None,
        };
        let has_policies = ["native", "wasm", "both"].contains(&name);
        let check = CHECK.into_iter().filter(|_| has_policies);
        let mut kinds: Vec<_> =
            objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        kinds.sort_unstable();
        let mut wanted: Vec<_> = ALWAYS.into_iter().chain(extra).chain(check).collect();
        wanted.sort_unstable();
        assert_eq!(kinds, wanted, "mode {name}");
        let policies = proxy_file(&objects)["policies"].as_array().unwrap().len();
        let in_proxy = ["native", "both"].contains(&name);
        assert_eq!(policies, usize::from(in_proxy), "mode {name}");
        // Another mode means other pods.
        for deployment in kind(&objects, "Deployment") {
            let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
            assert_eq!(annotations["bimetal/mode"], name);
        }
    }
}

#[test]
fn both_hosts_accept_the_policies_and_they_are_the_same() {
    let (Some(native), Some(wasm), Some(both)) = (mode("native"), mode("wasm"), mode("both"))
    else {
        return;
    };
    let plugin = &kind(&wasm, "WasmPlugin")[0]["spec"]["pluginConfig"];
    let file = proxy_file(&native);
    assert_eq!(plugin["policies"], file["policies"]);
    assert_eq!(kind(&both, "WasmPlugin")[0]["spec"]["pluginConfig"], *plugin);
    assert_eq!(proxy_file(&both)["policies"], file["policies"]);
    for host in [Host::Wasm, Host::Native] {
        let document = Document::parse(plugin.to_string().as_bytes(), host);
        assert_eq!(document.unwrap().policies.len(), 1, "{host:?}");
    }
}

#[test]
fn parts_that_a_host_cannot_do_are_skipped_when_the_values_say_so() {
    let skip = ["mode=wasm", "wasm.url=oci://registry/filter:1", "unsupported=skip"];
    let Some(wasm) = render(&skip) else { return };
    assert_eq!(kind(&wasm, "WasmPlugin")[0]["spec"]["pluginConfig"]["unsupported"], "skip");
    let native = render(&["unsupported=skip"]).unwrap();
    assert_eq!(proxy_file(&native)["unsupported"], "skip");
}

#[test]
fn the_proxy_accepts_its_file() {
    let Some(bimetal) = std::env::var_os("BIMETAL") else {
        println!("skipped: BIMETAL does not name the program");
        return;
    };
    let traced = ["traces.exporter=otlp_grpc", "traces.endpoint=http://collector:4317"];
    let all = render(&pods::EVERYTHING);
    for (name, objects) in [
        ("native", mode("native")),
        ("none", mode("none")),
        ("traced", render(&traced)),
        ("all", all),
    ] {
        let Some(objects) = objects else { return };
        let file =
            std::env::temp_dir().join(format!("bimetal-chart-{}-{name}.yaml", std::process::id()));
        std::fs::write(&file, data(&objects, "proxy.yaml")).unwrap();
        let output = Command::new(&bimetal).arg("check").arg(&file).output().unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_proxy_calls_the_server_that_the_values_name() {
    let Some(objects) = render(&["server.service=echo"]) else {
        return;
    };
    let endpoint = "echo.shop.svc.cluster.local:5001";
    assert_eq!(proxy_file(&objects)["upstreams"]["echo"]["endpoints"][0], endpoint);
    let services = kind(&objects, "Service");
    assert!(services.iter().any(|service| service["metadata"]["name"] == "echo"));
    let deployments = kind(&objects, "Deployment");
    let named = deployments.iter().flat_map(|deployment| {
        deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array()
    });
    let variable = serde_json::json!({ "name": "SERVER_SERVICE", "value": "echo" });
    assert_eq!(named.flatten().collect::<Vec<_>>(), [&variable]);
}

#[test]
fn wrong_values_are_refused_by_name() {
    let wrong = [
        ("mode=wams", "mode"),
        ("mode=wasm", "url"),
        ("modus=native", "modus"),
        ("proxy.replica=2", "replica"),
        ("wasm.failStrategy=OPEN", "failStrategy"),
        ("policies=null", "policies"),
        ("traces.exporter=stdout", "exporter"),
        ("mesh.tracing.sample=200", "sample"),
        ("traces.sample=1.5", "sample"),
        ("server.service=Echo", "service"),
        ("server.service=echo.example", "whole host name"),
        ("redis.url=http://redis", "url"),
        ("board.enabled=true", "needs a Redis"),
        ("board.proxies=true", "needs a Redis"),
        ("redis.url=redis+unix:///a", "url"),
        ("logShipper.enabled=true", "needs a collector"),
        ("k6.script=run", "script"),
        ("vegeta.duration=10", "duration"),
        ("gateway.enabled=true", "parentRefs"),
        ("jaeger.nodePort=99999", "nodePort"),
        ("proxy.autoscaling.cpu=0", "cpu"),
    ];
    for (value, name) in wrong {
        let Some(output) = helm(&["template", "demo", "charts/bimetal", "--set", value]) else {
            return;
        };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{value} is accepted");
        assert!(complaint.contains(name), "{value}: {complaint}");
    }
}

/// What a policy may hold is checked by `helm install` already: a sidecar that starts with a policy
/// it refuses has no filter at all.
#[test]
fn wrong_policies_are_refused_with_their_path() {
    let wrong = [
        ("policies[0].breaker.trip.failure_rate.threshold=1.5", "threshold"),
        ("policies[0].breaker.open.base=30", "base"),
        ("policies[0].braker.profile=origin-study", "braker"),
    ];
    for (value, name) in wrong {
        let values = ["template", "demo", "charts/bimetal", "--set", "policies[0].name=a", "--set"];
        let Some(output) = helm(&[&values[..], &[value]].concat()) else {
            return;
        };
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{value} is accepted");
        assert!(complaint.contains("policies") && complaint.contains(name), "{value}: {complaint}");
    }
}

/// `BIMETAL_UPDATE=1` takes the policy language's schema over into the chart's.
#[test]
fn the_charts_schema_has_the_policy_languages() {
    let path = root().join("charts/bimetal/values.schema.json");
    let mut schema: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let language = bimetal_core::policy::schema()["properties"]["policies"].clone();
    if std::env::var_os("BIMETAL_UPDATE").is_some() {
        schema["properties"]["policies"] = language.clone();
        std::fs::write(&path, format!("{schema:#}\n")).unwrap();
    }
    let told =
        "the policy language has changed: BIMETAL_UPDATE=1 cargo test -p xtask --test charts";
    assert!(schema["properties"]["policies"] == language, "{told}");
}

#[test]
fn the_manifests_of_istio_say_what_the_chart_says() {
    let (Some(wasm), Some(mesh)) = (mode("wasm"), mode("istio")) else {
        return;
    };
    let plugin = istio("wasm-plugin.yaml");
    let rendered = kind(&wasm, "WasmPlugin")[0];
    for field in ["match", "failStrategy", "imagePullPolicy", "pluginConfig"] {
        assert_eq!(plugin["spec"][field], rendered["spec"][field], "{field}");
    }
    let chosen = plugin["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let labels = rendered["spec"]["selector"]["matchLabels"].as_object().unwrap();
    // An empty selector would choose every pod of the namespace.
    assert!(!chosen.is_empty());
    assert!(chosen.iter().all(|(key, value)| labels.get(key) == Some(value)));
    let rule = kind(&mesh, "DestinationRule")[0];
    assert_eq!(
        istio("destination-rule.yaml")["spec"]["trafficPolicy"],
        rule["spec"]["trafficPolicy"]
    );
    let sane = istio("destination-rule-sane-pool.yaml");
    let outlier = &sane["spec"]["trafficPolicy"]["outlierDetection"];
    assert_eq!(*outlier, rule["spec"]["trafficPolicy"]["outlierDetection"]);
    let proxy = kind(&wasm, "Deployment");
    let proxy = proxy.iter().find(|one| one["metadata"]["name"] == "demo-bimetal-proxy").unwrap();
    assert_eq!(sidecar(&istio("sidecar-patch.yaml")), sidecar(proxy));
}

#[test]
fn faults_become_a_virtual_service() {
    let fault = istio("fault-delay.yaml");
    let wanted = &fault["spec"]["http"][0]["fault"];
    let values = ["fault.delay.percentage.value=20", "fault.delay.fixedDelay=2s"];
    let Some(objects) = render(&values) else {
        return;
    };
    let service = kind(&objects, "VirtualService")[0];
    assert_eq!(service["spec"]["http"][0]["fault"], *wanted);
}

#[test]
fn the_version_is_the_repositorys() {
    let text = std::fs::read_to_string(root().join("charts/bimetal/Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}
