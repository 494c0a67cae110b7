//! `cargo xtask study --cluster`: makes a cluster ready for the study's program, lets it run, and
//! clears the cluster again.

use super::site::{CALLER, NAMESPACE, jaeger_path, node_for, objects, selector};
use crate::cluster::access::Access;
use crate::cluster::registry;
use crate::images::{self, Image, Images, TAG};
use crate::{place, say, tools};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What to do where there is no cluster.
const NO_CLUSTER: &str = "there is no cluster to study on. Name one that runs, \
    `KUBECONFIG=/path/to/kubeconfig cargo xtask study --cluster`, or a folder whose program `up` \
    starts one, `BIMETAL_CLUSTER=/path/to/folder cargo xtask study --cluster`";

/// Runs the study's program with `options` in a cluster.
///
/// # Errors
/// There is no cluster, it has no Istio, something does not come up, or the study fails.
pub(super) fn study(options: &[String]) -> Result<()> {
    let access = Access::find()?.context(NO_CLUSTER)?;
    let version = access.kubectl(&["version", "-o", "json"], None).with_context(|| {
        format!("the cluster does not answer. Is it running? Otherwise: {NO_CLUSTER}")
    })?;
    let istio = access.kubectl(&["get", "crd/wasmplugins.extensions.istio.io"], None);
    istio.context("half of the arms are a mesh, and the cluster has no Istio: install it first")?;
    let built = images::images("release")?;
    let (study, program) = images::study("release")?;
    let jaeger = jaeger();
    clear(&access)?;
    let done = set_up(&access, &built, &study, jaeger.as_ref(), &version)
        .and_then(|site| run(&access, &program, &site, options));
    // Nothing is left behind, whatever happened.
    clear(&access)?;
    done
}

/// Jaeger in an image; none, with a line why, where it cannot be had.
fn jaeger() -> Option<Image> {
    let found = tools::named("jaeger").and_then(tools::Tool::get);
    match found.and_then(|program| images::of_program("jaeger", &program)) {
        Ok(image) => Some(image),
        Err(error) => {
            say::line(format!("    no Jaeger, so no trace is shipped: {error:#}"));
            None
        }
    }
}

/// Deletes every namespace of a study and waits until it is gone.
fn clear(access: &Access) -> Result<()> {
    let all = access.kubectl(&["get", "namespace", "-o", "name"], None)?;
    let own = all.lines().filter_map(|line| line.strip_prefix("namespace/"));
    let is_ours = |name: &&str| *name == NAMESPACE || name.starts_with(&format!("{NAMESPACE}-"));
    let own: Vec<&str> = own.filter(is_ours).collect();
    if own.is_empty() {
        return Ok(());
    }
    say::begins("clean-up", "the study's namespaces are removed");
    let first = ["delete", "namespace", "--ignore-not-found", "--timeout=180s"];
    access.kubectl(&[&first[..], &own].concat(), None).map(|_| ())
}

/// Loads the images, starts what stands beside the arms, and gives the file that tells of it.
fn set_up(
    access: &Access,
    built: &Images,
    study: &Image,
    jaeger: Option<&Image>,
    version: &str,
) -> Result<PathBuf> {
    let archives = [Some(&built.program), Some(study), jaeger];
    let archives: Vec<_> =
        archives.into_iter().flatten().map(|one| one.archive.as_path()).collect();
    access.load(&archives)?;
    let nodes: Value =
        serde_json::from_str(&access.kubectl(&["get", "nodes", "-o", "json"], None)?)?;
    say::begins("beside the arms", "the generator's pod, the registry, Jaeger and its shippers");
    access.apply(&json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE },
    }))?;
    access.apply(&registry::objects(NAMESPACE))?;
    let load = node_for("load", &nodes);
    access.apply(&objects(load.as_deref(), jaeger.is_some()))?;
    registry::wait_ready(access, NAMESPACE)?;
    registry::push(access, NAMESPACE, &built.filter)?;
    let digest = built.filter.digest.trim_start_matches("sha256:");
    let site = json!({
        "chart": place::root().join("charts/bimetal"),
        "values": values(&nodes, digest),
        "prefix": NAMESPACE,
        "namespace": NAMESPACE,
        "caller": CALLER,
        "generator": "/study",
        "jaeger": jaeger.map(|_| jaeger_path()),
        "seen": seen(access, &nodes, version, jaeger.is_some())?,
    });
    let file = place::made("study")?.join("site.json");
    std::fs::write(&file, site.to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Values of every release: the nodes of the origin, the filter's image, a trace of every call.
fn values(nodes: &Value, digest: &str) -> Value {
    let on = |role: &str| selector(node_for(role, nodes).as_deref());
    json!({
        "image": { "tag": TAG },
        // The policy is the study's own, and each release is installed as often as its values change.
        "check": { "enabled": false },
        "proxy": { "nodeSelector": on("worker") },
        "server": { "nodeSelector": on("server"), "args": ["--remember=1"] },
        "mesh": { "proxyMetadata": { "WASM_INSECURE_REGISTRIES": registry::host(NAMESPACE) } },
        "wasm": { "url": registry::url(NAMESPACE), "sha256": digest },
        "traces": { "exporter": "otlp_stdout", "sample": 1, "tree": "origin-study" },
    })
}

/// What the record says of the cluster.
fn seen(access: &Access, nodes: &Value, version: &str, with_jaeger: bool) -> Result<Value> {
    let version: Value = serde_json::from_str(version).context("kubectl tells no version")?;
    let istiod = ["-n", "istio-system", "get", "deployment", "istiod", "-o"];
    let image = "jsonpath={.spec.template.spec.containers[0].image}";
    let image = access.kubectl(&[&istiod[..], &[image]].concat(), None)?;
    let istio = image.rsplit(':').next().unwrap_or_default().to_owned();
    let node = |node: &Value| {
        let info = &node["status"]["nodeInfo"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (system, runtime) = (text(&info["osImage"]), text(&info["containerRuntimeVersion"]));
        format!("{} ({system}, {runtime})", text(&node["metadata"]["name"]))
    };
    let all: Vec<String> = nodes["items"].as_array().into_iter().flatten().map(node).collect();
    Ok(json!({
        "kubernetes": version["serverVersion"]["gitVersion"].as_str().unwrap_or("unknown"),
        "istio": istio,
        "nodes": all,
        "traces": if with_jaeger {
            "every call's, by a tail on each node into a Jaeger on the node load"
        } else {
            "every call's, left where the programs write them: there was no Jaeger"
        },
    }))
}

fn run(access: &Access, program: &Path, site: &Path, options: &[String]) -> Result<()> {
    let mut command = super::command(program)?;
    command.arg("run").arg("--cluster").arg(site).args(options).envs(access.environment());
    super::complete(&mut command, options, "study/clusters")?;
    let status = command.status().context("the study's program cannot be started")?;
    ensure!(status.success(), "the study ended ({status})");
    if crate::process::stopping() {
        bail!("stopped");
    }
    Ok(())
}
