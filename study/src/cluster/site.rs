//! What whoever set a cluster up says of it.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A cluster as it stands ready for a study: a file of JSON that `cargo xtask study --cluster` writes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The chart's folder.
    pub chart: PathBuf,
    /// Values of the chart for every release.
    pub values: Value,
    /// Names of the releases' namespaces begin so.
    pub prefix: String,
    /// The namespace of the pod in which the generator runs.
    pub namespace: String,
    /// That pod.
    pub caller: String,
    /// The generator's program in it.
    pub generator: String,
    /// The path of Jaeger's query API behind the API server; none where there is no Jaeger.
    pub jaeger: Option<String>,
    /// What the record says of the cluster.
    pub seen: InCluster,
}

impl Site {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or says something else.
    pub fn read(file: &Path) -> Result<Self> {
        let told = || format!("cannot read {}", file.display());
        let text = std::fs::read_to_string(file).with_context(told)?;
        serde_json::from_str(&text).with_context(told)
    }
}

/// What a study ran in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InCluster {
    /// Kubernetes' version.
    pub kubernetes: String,
    /// Istio's, and that of its sidecars' Envoy.
    pub istio: String,
    /// The nodes, each with its system.
    pub nodes: Vec<String>,
    /// Where traces went.
    pub traces: String,
}
