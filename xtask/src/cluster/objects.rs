//! What is put into the cluster: the modes, their namespaces and values, the caller's pod.

use super::registry;
use crate::images::{self, Image, TAG};
use crate::{place, process, tools};
use anyhow::Result;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// Namespace of caller and registry. No sidecars: sidecars fetch the module by plain HTTP, and an
/// answer reaches the caller as the proxy's pod sent it.
pub(super) const TOOLS: &str = "bimetal-test";

/// Helm release of each mode.
pub(super) const RELEASE: &str = "bimetal";

/// The pod in which loads are started.
pub(super) const CALLER: &str = "caller";

/// The module that traps, in the registry.
pub(super) const TRAP: &str = "trap";

/// A mode of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The proxy decides.
    Native,
    /// The filter in the sidecar decides.
    Wasm,
    /// Istio's outlier detection decides.
    Istio,
    /// Nobody decides.
    None,
}

impl Mode {
    /// All of them, in the order they are shown.
    pub(super) const ALL: [Self; 4] = [Self::None, Self::Native, Self::Wasm, Self::Istio];

    /// As the chart's values spell it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
            Self::Istio => "istio",
            Self::None => "none",
        }
    }

    /// Its namespace.
    pub(super) fn namespace(self) -> String {
        format!("{TOOLS}-{}", self.name())
    }

    /// Whether it needs Istio.
    pub(super) const fn needs_mesh(self) -> bool {
        matches!(self, Self::Wasm | Self::Istio)
    }
}

/// A namespace, with sidecars where there is a mesh and it is not the tools'.
pub(super) fn namespace(name: &str, mesh: bool) -> Value {
    let injection = if mesh && name != TOOLS { "enabled" } else { "disabled" };
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": name, "labels": { "istio-injection": injection } },
    })
}

/// The pod of the generator. It has no sidecar.
pub(super) fn caller() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": CALLER, "namespace": TOOLS, "labels": { "app": CALLER } },
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": CALLER,
                "image": format!("localhost/bimetal/study:{TAG}"),
                "imagePullPolicy": "IfNotPresent",
                "args": ["wait"],
                // Without a share of its own it would wait for whoever has one.
                "resources": { "requests": { "cpu": "200m", "memory": "64Mi" } },
            }],
        },
    })
}

/// The image of a module that traps at the first request.
///
/// # Errors
/// There is no wat2wasm, or it fails.
pub(super) fn trap_image() -> Result<Image> {
    let folder = place::made("cluster-test")?;
    let module = folder.join("trap.wasm");
    let mut command = Command::new(tools::named("wat2wasm")?.get()?);
    command.arg(place::root().join("xtask/src/cluster/trap.wat")).arg("-o").arg(&module);
    process::succeed("wat2wasm", &mut command, Duration::from_secs(60))?;
    images::of_module(TRAP, &module)
}

/// The chart's values of a mode: all times are short, so that recovery is seen soon.
pub(super) fn values(mode: Mode, module: &str) -> Value {
    let registry = registry::host(TOOLS);
    json!({
        "mode": mode.name(),
        "image": { "tag": TAG },
        // Else no wrong policy would come as far as a host, which is what some proofs are about.
        "check": { "enabled": false },
        "policies": [{
            "name": "echo",
            "match": { "path_prefix": "/echo" },
            "scope": "policy",
            "timeout": { "request": "3s" },
            "breaker": { "profile": "origin-study", "open": { "base": "5s" } },
        }],
        "mesh": { "proxyMetadata": { "WASM_INSECURE_REGISTRIES": registry } },
        "wasm": { "url": registry::url(TOOLS), "sha256": module },
        "istio": { "trafficPolicy": { "outlierDetection": { "interval": "1s", "baseEjectionTime": "5s" } } },
    })
}

/// Puts `more` into `values`, leaf by leaf.
pub(super) fn merge(values: &mut Value, more: &Value) {
    match (values, more) {
        (Value::Object(values), Value::Object(more)) => {
            for (key, value) in more {
                merge(values.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (values, more) => *values = more.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_merge_leaf_by_leaf() {
        let mut values = json!({ "a": { "b": 1, "c": 2 }, "d": [1] });
        merge(&mut values, &json!({ "a": { "c": 3 }, "d": [2], "e": {} }));
        assert_eq!(values, json!({ "a": { "b": 1, "c": 3 }, "d": [2], "e": {} }));
    }
}
