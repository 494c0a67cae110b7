//! A pod with a registry that holds the filter's image, and a shell, curl and crane beside it.

use super::access::{Access, until};
use crate::images::{Image, TAG};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// How long pods may take to be ready, sidecars included.
const READY_LIMIT: Duration = Duration::from_secs(300);

/// The filter in the registry, without the tag.
const FILTER: &str = "filter";

/// The registry of a namespace, as sidecars name it.
pub(crate) fn host(namespace: &str) -> String {
    format!("registry.{namespace}:5000")
}

/// The filter's image in it, as a WasmPlugin names it.
pub(crate) fn url(namespace: &str) -> String {
    url_of(namespace, FILTER)
}

/// The image of another module in it.
pub(crate) fn url_of(namespace: &str, module: &str) -> String {
    format!("oci://{}/bimetal/{module}:{TAG}", host(namespace))
}

/// The pod `tools` and its Service.
pub(crate) fn objects(namespace: &str) -> Value {
    let image = std::env::var("BIMETAL_TOOLS_IMAGE");
    let image = image.unwrap_or_else(|_| "localhost/bimetal/tools:1".to_owned());
    let labels = json!({ "app": "tools" });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "tools", "namespace": namespace, "labels": labels },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "registry",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["crane", "registry", "serve", "--address", ":5000"],
                "readinessProbe": { "httpGet": { "path": "/v2/", "port": 5000 }, "periodSeconds": 1 },
            }],
        },
    });
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "registry", "namespace": namespace },
        "spec": { "selector": labels, "ports": [{ "name": "http", "port": 5000 }] },
    });
    json!({ "apiVersion": "v1", "kind": "List", "items": [pod, service] })
}

/// Puts the filter's image into the registry, byte for byte, and checks its digest there.
///
/// # Errors
/// The pod is not there, or the registry holds something else afterwards.
pub(crate) fn push(access: &Access, namespace: &str, filter: &Image) -> Result<()> {
    push_as(access, namespace, FILTER, filter)
}

/// The same of another module.
///
/// # Errors
/// As [`push`].
pub(crate) fn push_as(access: &Access, namespace: &str, module: &str, image: &Image) -> Result<()> {
    let script = format!(
        "rm -rf /tmp/image && mkdir /tmp/image && tar -xf - -C /tmp/image && \
         crane push --insecure /tmp/image localhost:5000/bimetal/{module}:{TAG} >&2 && \
         crane digest --insecure localhost:5000/bimetal/{module}:{TAG}"
    );
    let arguments = ["-n", namespace, "exec", "-i", "tools", "--", "sh", "-c", &script];
    let digest = access.kubectl(&arguments, Some(&image.archive))?;
    if digest.trim() != image.digest {
        bail!("the registry holds {} instead of {}", digest.trim(), image.digest);
    }
    Ok(())
}

/// Waits until every pod of a namespace is ready.
///
/// # Errors
/// One is not in time; the message has what the cluster says of it.
pub(crate) fn wait_ready(access: &Access, namespace: &str) -> Result<()> {
    let arguments =
        ["-n", namespace, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=1s"];
    let waited =
        until(&format!("pods of {namespace}"), READY_LIMIT, || access.kubectl(&arguments, None));
    waited.map(|_| ()).map_err(|error| {
        let pods = access.kubectl(&["-n", namespace, "describe", "pods"], None);
        let tail: Vec<_> = pods.iter().flat_map(|text| text.lines().rev().take(30)).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        error.context(format!("pods of {namespace} are not ready:\n{tail}"))
    })
}
