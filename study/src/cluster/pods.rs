//! The pods of one release, or the pod that calls them, while they are at work.

use super::calls::Calls;
use super::usage::Counted;
use crate::arms::{self, AtWork};
use crate::process::Used;
use crate::record::Flaw;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The container of the proxy.
pub(super) const PROXY: &str = "proxy";

/// The container of the server: what all arms have, and no part of one.
pub(super) const SERVER: &str = "echo-server";

/// One container.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Container {
    pod: String,
    name: String,
    counted: Option<Counted>,
}

/// Pods at work.
pub(super) struct Pods<'a> {
    pub(super) calls: &'a Calls,
    pub(super) namespace: String,
    pub(super) address: SocketAddr,
    /// Port and path of a page of metrics of the proxy's pod.
    pub(super) metrics: Option<String>,
    /// Where outputs go when it ends.
    pub(super) folder: PathBuf,
    /// Whether the release goes when it ends.
    pub(super) goes: bool,
    containers: Vec<Container>,
}

/// The file with a container's output.
pub(super) fn output(folder: &Path, namespace: &str, container: &str) -> PathBuf {
    folder.join(format!("{namespace}-{container}.log"))
}

/// What a cluster tells of its pods: those that are there to stay.
fn containers(list: &Value) -> Vec<Container> {
    let pods = list["items"].as_array().into_iter().flatten();
    let staying = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let all = staying.flat_map(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let lists = ["initContainerStatuses", "containerStatuses"];
        let statuses = lists.into_iter().filter_map(|list| pod["status"][list].as_array());
        // One that ended, as those which prepare a pod do, has no counters.
        let running = statuses.flatten().filter(|one| !one["state"]["running"].is_null());
        running.map(move |one| {
            let id = one["containerID"].as_str().unwrap_or_default();
            let id = id.rsplit('/').next().unwrap_or_default();
            Container {
                pod: name.clone(),
                name: one["name"].as_str().unwrap_or_default().to_owned(),
                counted: Some(id).filter(|id| !id.is_empty()).and_then(Counted::of),
            }
        })
    });
    all.collect()
}

impl<'a> Pods<'a> {
    /// The pods of a namespace, one of them by name where `only` is given.
    ///
    /// # Errors
    /// The cluster does not tell, or there is none.
    pub(super) fn of(
        calls: &'a Calls,
        namespace: &str,
        only: Option<&str>,
        address: SocketAddr,
    ) -> Result<Self> {
        let list = calls.object(&["-n", namespace, "get", "pod", "-o", "json"])?;
        let mut containers = containers(&list);
        containers.retain(|one| only.is_none_or(|pod| pod == one.pod));
        if containers.is_empty() {
            bail!("there is no pod at work in {namespace}");
        }
        Ok(Self {
            calls,
            namespace: namespace.to_owned(),
            address,
            metrics: None,
            folder: PathBuf::new(),
            goes: false,
            containers,
        })
    }

    /// CPU time of those of its containers that `which` names; none where nobody counts it.
    fn time_of(&self, which: impl Fn(&Container) -> bool) -> Result<Option<Duration>> {
        let own = self.containers.iter().filter(|one| which(one));
        let times = own.map(|one| one.counted.as_ref().map(Counted::time_used).transpose());
        let times: Vec<Option<Duration>> = times.collect::<Result<_>>()?;
        Ok(times.into_iter().sum::<Option<Duration>>().filter(|time| !time.is_zero()))
    }

    fn proxy(&self) -> Result<&Container> {
        let found = self.containers.iter().find(|one| one.name == PROXY);
        found.with_context(|| format!("there is no proxy in {}", self.namespace))
    }
}

impl AtWork for Pods<'_> {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn lives(&mut self) -> Result<()> {
        let list = self.calls.object(&["-n", &self.namespace, "get", "pod", "-o", "json"])?;
        let now = containers(&list);
        for one in &self.containers {
            // A container that began again has other counters.
            if !now.iter().any(|other| other == one) {
                bail!("the container {} of {} is another, or gone", one.name, one.pod);
            }
        }
        Ok(())
    }

    fn time_used(&self) -> Result<Option<Used>> {
        let own = self.time_of(|one| one.name != SERVER)?;
        Ok(own.map(|own| Used { own, apart: Duration::ZERO }))
    }

    fn server_time(&self) -> Duration {
        self.time_of(|one| one.name == SERVER).ok().flatten().unwrap_or_default()
    }

    fn resident_kib(&self) -> Result<Option<u64>> {
        let own = self.containers.iter().filter(|one| one.name != SERVER);
        let sizes = own.map(|one| one.counted.as_ref().map(Counted::resident_kib).transpose());
        let sizes: Vec<Option<u64>> = sizes.collect::<Result<_>>()?;
        Ok(sizes.into_iter().sum::<Option<u64>>().filter(|size| *size > 0))
    }

    fn unsettled(&self) -> Result<Option<Flaw>> {
        let Some(page) = &self.metrics else {
            return Ok(None);
        };
        let (port, path) = page.split_once('/').context("a page is a port and a path")?;
        let (namespace, pod) = (&self.namespace, &self.proxy()?.pod);
        let raw = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}");
        arms::unsettled(|| self.calls.told(&["get", "--raw", &raw]))
    }

    fn end(self: Box<Self>) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for one in self.containers.iter().filter(|one| one.name == PROXY || one.name == SERVER) {
            let arguments = ["-n", &self.namespace, "logs", &one.pod, "-c", &one.name];
            let file = output(&self.folder, &self.namespace, &one.name);
            std::fs::write(&file, self.calls.told(&arguments)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
            files.push(file);
        }
        Ok(files)
    }
}

impl Drop for Pods<'_> {
    fn drop(&mut self) {
        if self.goes {
            self.calls.stop(&self.namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_are_those_that_run_in_pods_that_stay() {
        let status = |name: &str, state: &str| json!({"name": name, "containerID": format!("containerd://{name}-id"), "state": {state: {}}});
        let list = json!({"items": [
            {"metadata": {"name": "a"}, "status": {
                "initContainerStatuses": [status("istio-init", "terminated"), status("istio-proxy", "running")],
                "containerStatuses": [status("proxy", "running")]}},
            {"metadata": {"name": "b", "deletionTimestamp": "now"}, "status": {
                "containerStatuses": [status("proxy", "running")]}},
        ]});
        let found = containers(&list);
        let names: Vec<(&str, &str)> =
            found.iter().map(|one| (one.pod.as_str(), one.name.as_str())).collect();
        assert_eq!(names, [("a", "istio-proxy"), ("a", "proxy")]);
        // Nobody counts here what no node of this machine runs.
        assert!(found.iter().all(|one| one.counted.is_none()));
        assert!(containers(&json!({})).is_empty());
    }
}
