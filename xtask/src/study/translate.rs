//! `cargo xtask study translate`: what a real istiod makes of the DestinationRules in `istio/`.
//!
//! istiod runs alone, without a cluster: it reads the rule and a ServiceEntry from a folder, and an
//! Envoy asks it for clusters as a sidecar does. What Envoy took is kept beside the study's arms.

use crate::demo::scene;
use crate::process::Running;
use crate::traces::wait;
use crate::{place, process, say, tools};
use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rules, by the names of their files in `istio/`.
const RULES: [&str; 2] = ["destination-rule", "destination-rule-sane-pool"];

/// Where the service is, in Istio's words.
const NAMESPACE: &str = "study";

/// Fields that tell where the service is and by which name and certificate it is reached. The
/// study's server has an address of its own and no TLS; all other fields are how it is called.
const WHERE: [&str; 7] = [
    "@type",
    "name",
    "type",
    "eds_cluster_config",
    "metadata",
    "alt_stat_name",
    "transport_socket_matches",
];

/// What is done with a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is kept from now on.
    Keep,
    /// It must be the one that is kept.
    Check,
}

/// Translates every rule.
///
/// # Errors
/// istiod or Envoy is missing or does not do its part; or, to check, what is kept is another.
pub fn translate(purpose: Purpose) -> Result<()> {
    let istiod = tools::named("pilot-discovery")?.get()?;
    let envoy = tools::named("envoy")?.get()?;
    for rule in RULES {
        let (path, text) = (kept(rule), translated(rule, &istiod, &envoy)?);
        match purpose {
            Purpose::Keep => {
                let written = std::fs::write(&path, text);
                written.with_context(|| format!("cannot write {}", path.display()))?;
                say::line(format!("kept: {}", path.display()));
            }
            Purpose::Check => {
                let now = std::fs::read_to_string(&path).unwrap_or_default();
                if now != text {
                    bail!(
                        "{} is not what istiod makes of the rule: cargo xtask study translate",
                        path.display()
                    );
                }
            }
        }
    }
    Ok(())
}

/// The file in which the translation of a rule is kept.
fn kept(rule: &str) -> PathBuf {
    place::root().join("study/arms/shared").join(format!("{rule}.json"))
}

/// The rule as JSON, in the study's namespace.
fn rule_of(rule: &str) -> Result<Value> {
    let path = place::root().join("istio").join(format!("{rule}.yaml"));
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut read: Value = serde_saphyr::from_str(&text)
        .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
    read["metadata"]["namespace"] = NAMESPACE.into();
    Ok(read)
}

/// The text to be kept.
fn translated(name: &str, istiod: &Path, envoy: &Path) -> Result<String> {
    let rule = rule_of(name)?;
    let host = rule["spec"]["host"].as_str().context("the rule has no host")?.to_owned();
    let folder = place::made(&format!("xtask/translate/{name}"))?;
    let files = place::made(&format!("xtask/translate/{name}/config"))?;
    let service = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": host, "namespace": NAMESPACE},
        "spec": {
            "hosts": [format!("{host}.{NAMESPACE}.svc.cluster.local")],
            "location": "MESH_INTERNAL",
            "ports": [{"number": 5001, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1"}],
        },
    });
    // JSON is YAML, which is what istiod reads.
    write(&files.join("rule.yaml"), &rule)?;
    let late = files.join("service.yaml");
    let _ = std::fs::remove_file(&late);
    let [grpc, http, monitoring, control, admin] = scene::free_ports()?;
    let _istiod = start_istiod(istiod, &folder, [grpc, http, monitoring, control])?;
    let knows = |page: &str, what: &str| {
        wait(&format!("{what} in istiod"), || {
            Ok(scene::get(http, page).ok().filter(|text| text.contains(what)))
        })
    };
    // A service that is there when istiod starts is sometimes missed, for good: its registry may
    // begin to listen after the folder was read. One that comes later is a change.
    knows("/debug/configz", "DestinationRule")?;
    knows("/debug/registryz", "[")?;
    write(&late, &service)?;
    knows("/debug/registryz", &host)?;
    write(&folder.join("envoy.yaml"), &bootstrap(grpc, admin))?;
    let mut command = Command::new(envoy);
    command.args(["--disable-hot-restart", "--log-level", "warning", "--config-path"]);
    command.arg(folder.join("envoy.yaml"));
    let running = Running::start("Envoy", &mut command, &folder.join("envoy.log"))?;
    let cluster = asked(admin, &format!("outbound|5001||{host}."))
        .with_context(|| format!("istiod gave no cluster: {}", running.last_words()))?;
    let version =
        process::answer(istiod, &["version", "--short"]).context("istiod has no version")?;
    let version = version.rsplit(' ').next().unwrap_or_default();
    let (place, called): (Map<String, Value>, Map<String, Value>) =
        cluster.into_iter().partition(|(field, _)| WHERE.contains(&field.as_str()));
    let kept = json!({
        "about": "What istiod makes of the rule, as Envoy took it. `cluster` is what the study's arms use.",
        "command": "cargo xtask study translate",
        "istiod": version,
        "rule": format!("istio/{name}.yaml"),
        "traffic_policy": rule["spec"]["trafficPolicy"],
        "cluster": called,
        "where": place,
    });
    Ok(format!("{kept:#}\n"))
}

fn start_istiod(program: &Path, folder: &Path, ports: [SocketAddr; 4]) -> Result<Running> {
    let [grpc, http, monitoring, control] = ports.map(|port| port.to_string());
    let control = control.rsplit(':').next().unwrap_or_default().to_owned();
    std::fs::write(folder.join("mesh.yaml"), "{}\n")?;
    let mut command = Command::new(program);
    command.current_dir(folder).arg("discovery");
    // No registry: it would ask a cluster for services. The folder has the only one.
    command.args(["--registries", "", "--configDir", "config", "--meshConfig", "mesh.yaml"]);
    command.args(["--networksConfig", "/dev/null", "--httpsAddr", "", "--secureGRPCAddr", ""]);
    command.args(["--grpcAddr", &grpc, "--httpAddr", &http, "--monitoringAddr", &monitoring]);
    command.args(["--ctrlz_port", &control]);
    // Filters that only Istio's own build of Envoy has.
    command.env("PILOT_ENABLE_METADATA_EXCHANGE", "false").env("PILOT_ENABLE_ALPN_FILTER", "false");
    Running::start("istiod", &mut command, &folder.join("istiod.log"))
}

/// An Envoy that asks istiod for clusters, as the sidecar of an application in the namespace.
fn bootstrap(istiod: SocketAddr, admin: SocketAddr) -> Value {
    let address = |at: SocketAddr| json!({"socket_address": {"address": at.ip().to_string(), "port_value": at.port()}});
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    json!({
        "node": {
            "id": format!("sidecar~10.0.0.1~app.{NAMESPACE}~{NAMESPACE}.svc.cluster.local"),
            "cluster": format!("app.{NAMESPACE}"),
            "metadata": {"NAMESPACE": NAMESPACE, "CLUSTER_ID": "Kubernetes", "PROXY_CONFIG": {}},
        },
        "admin": {"address": address(admin)},
        "dynamic_resources": {
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "istiod"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "istiod",
            "type": "STATIC",
            "typed_extension_protocol_options":
                {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
            "load_assignment": {
                "cluster_name": "istiod",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(istiod)}}]}],
            },
        }]},
    })
}

/// The cluster whose name begins so, as soon as Envoy has it.
fn asked(admin: SocketAddr, name: &str) -> Result<Map<String, Value>> {
    wait(name, || {
        let page = scene::get(admin, "/config_dump").unwrap_or_default();
        Ok(serde_json::from_str(&page).ok().and_then(|dump| found(&dump, name)))
    })
}

/// The cluster in what Envoy tells of its configuration. It may still wait for certificates, which
/// nobody gives it here.
fn found(dump: &Value, name: &str) -> Option<Map<String, Value>> {
    let parts = dump["configs"].as_array()?.iter();
    let lists = parts.flat_map(|part| {
        ["dynamic_active_clusters", "dynamic_warming_clusters"].map(|list| part[list].as_array())
    });
    let mut clusters = lists.flatten().flatten().map(|one| &one["cluster"]);
    let found = clusters.find(|one| one["name"].as_str().is_some_and(|own| own.starts_with(name)));
    found?.as_object().cloned()
}

fn write(path: &Path, value: &Value) -> Result<()> {
    std::fs::write(path, format!("{value:#}\n"))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_was_made_of_the_rules_as_they_are() {
        for name in RULES {
            let text = std::fs::read_to_string(kept(name)).unwrap();
            let kept: Value = serde_json::from_str(&text).unwrap();
            let policy = &rule_of(name).unwrap()["spec"]["trafficPolicy"];
            assert_eq!(
                &kept["traffic_policy"], policy,
                "istio/{name}.yaml is another than when it was translated: cargo xtask study translate"
            );
            let fields: Vec<&String> = kept["cluster"].as_object().unwrap().keys().collect();
            assert!(fields.iter().all(|field| !WHERE.contains(&field.as_str())), "{fields:?}");
            assert!(kept["istiod"].as_str().unwrap().starts_with("1."), "{}", kept["istiod"]);
        }
    }

    #[test]
    fn a_cluster_is_found_also_where_it_waits_for_certificates() {
        let of =
            |list: &str| json!({"configs": [{}, {list: [{"cluster": {"name": "a|b.c", "x": 1}}]}]});
        for list in ["dynamic_active_clusters", "dynamic_warming_clusters"] {
            assert_eq!(found(&of(list), "a|b.").unwrap()["x"], 1);
        }
        assert_eq!(found(&of("static_clusters"), "a|b."), None);
        assert_eq!(found(&of("dynamic_active_clusters"), "a|c."), None);
    }
}
