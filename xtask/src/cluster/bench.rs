//! What stands in the cluster during a run: one namespace with the caller and the registry of the
//! filter, and one for each mode with the chart.

use super::access::{Access, until};
use super::answer::{Answer, Load, Pod};
use super::objects::{
    CALLER, Mode, RELEASE, TOOLS, TRAP, caller, merge, namespace, trap_image, values,
};
use super::registry;
use crate::images::{Image, Images};
use crate::say;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// How long old pods may take to end: the pause before the stop, and the drain.
const GONE_LIMIT: Duration = Duration::from_secs(90);

/// Calls a second during a change.
const RATE: &str = "50";

/// Between two answers of one curl.
const BETWEEN: &str = "\n--- next answer ---\n";

/// A call of the echo server by way of the proxy.
#[derive(Debug, Clone, Copy)]
pub(super) enum Call {
    /// One that the server answers well.
    Good,
    /// One that the server is asked to answer with this status.
    Failing(u16),
}

/// What stands in the cluster.
pub(super) struct Bench {
    access: Access,
    images: Images,
    /// The generator of loads.
    study: Image,
    /// Whether Istio is there.
    pub(super) mesh: bool,
}

impl Bench {
    /// A bench on a cluster, not set up yet.
    pub(super) fn new(access: Access, images: Images, study: Image) -> Self {
        let istio = "crd/wasmplugins.extensions.istio.io";
        let mesh = access.kubectl(&["get", istio], None).is_ok();
        Self { access, images, study, mesh }
    }

    /// Clears what an earlier run left, loads the images, fills the registry and installs the
    /// chart in each mode that the cluster can have.
    ///
    /// # Errors
    /// A step fails, or a pod is not ready in time.
    pub(super) fn set_up(&self) -> Result<()> {
        self.remove()?;
        self.access.load(&[&self.images.program.archive, &self.study.archive])?;
        say::begins("caller and registry", "a pod that calls, and holds the filter's image");
        self.access.apply(&namespace(TOOLS, self.mesh))?;
        self.access.apply(&registry::objects(TOOLS))?;
        self.access.apply(&caller())?;
        self.wait_ready(TOOLS)?;
        registry::push(&self.access, TOOLS, &self.images.filter)?;
        if self.mesh {
            registry::push_as(&self.access, TOOLS, TRAP, &trap_image()?)?;
        }
        for mode in self.modes() {
            say::begins(&format!("mode {}", mode.name()), "the chart is installed");
            self.access.apply(&namespace(&mode.namespace(), self.mesh))?;
            self.install(mode, &json!({}))?;
        }
        for mode in self.modes() {
            self.wait_ready(&mode.namespace())?;
        }
        Ok(())
    }

    /// The modes that this cluster can have.
    fn modes(&self) -> impl Iterator<Item = Mode> {
        let mesh = self.mesh;
        Mode::ALL.into_iter().filter(move |mode| mesh || !mode.needs_mesh())
    }

    /// Installs a mode, or changes its values by `more`.
    ///
    /// # Errors
    /// helm fails.
    pub(super) fn install(&self, mode: Mode, more: &Value) -> Result<()> {
        let mut values = values(mode, self.images.filter.digest.trim_start_matches("sha256:"));
        merge(&mut values, more);
        self.access.install(&mode.namespace(), RELEASE, &values)
    }

    /// Deletes all namespaces of the test and waits until they are gone.
    ///
    /// # Errors
    /// The cluster refuses, or takes too long.
    pub(super) fn remove(&self) -> Result<()> {
        say::begins("clean-up", "the test's namespaces are removed");
        let names = Mode::ALL.map(Mode::namespace);
        let mut arguments =
            vec!["delete", "namespace", "--ignore-not-found", "--timeout=180s", TOOLS];
        arguments.extend(names.iter().map(String::as_str));
        self.access.kubectl(&arguments, None).map(|_| ())
    }

    /// The answers to calls made one after another by one client.
    ///
    /// # Errors
    /// A call got no answer.
    pub(super) fn calls(&self, mode: Mode, calls: &[Call]) -> Result<Vec<Answer>> {
        let url =
            format!("http://{RELEASE}-proxy.{}.svc.cluster.local:8001/echo", mode.namespace());
        let mut curl = vec!["curl".to_owned()];
        for (number, call) in calls.iter().enumerate() {
            if number > 0 {
                curl.push("--next".to_owned());
            }
            curl.extend(["-sS", "-i", "--max-time", "10", "-w", BETWEEN].map(str::to_owned));
            curl.extend(["-H", "content-type: application/json"].map(str::to_owned));
            curl.extend(["-d", r#"{"message":"hello"}"#].map(str::to_owned));
            if let Call::Failing(status) = call {
                curl.extend(["-H".to_owned(), format!("x-fault-status: {status}")]);
            }
            curl.push(url.clone());
        }
        let output = self.in_tools(&curl.iter().map(String::as_str).collect::<Vec<_>>())?;
        let answers: Result<Vec<_>> =
            output.split(BETWEEN).filter(|part| !part.is_empty()).map(Answer::read).collect();
        let answers = answers?;
        if answers.len() != calls.len() {
            bail!("{} calls but {} answers", calls.len(), answers.len());
        }
        Ok(answers)
    }

    /// The answer to one call.
    ///
    /// # Errors
    /// As [`Self::calls`].
    pub(super) fn call(&self, mode: Mode, call: Call) -> Result<Answer> {
        self.calls(mode, &[call])?.pop().context("no answer")
    }

    /// Status and `x-envoy-overloaded` of `count` calls made at the same time, which the server
    /// is asked to answer a second late.
    ///
    /// # Errors
    /// curl cannot be run.
    pub(super) fn slow_calls_at_once(&self, mode: Mode, count: usize) -> Result<Vec<String>> {
        let url =
            format!("http://{RELEASE}-proxy.{}.svc.cluster.local:8001/echo", mode.namespace());
        let mut curl = vec!["curl", "-sS", "-Z", "--parallel-immediate", "--max-time", "30"];
        curl.extend(["-H", "x-fault-delay-ms: 1000", "-d", r#"{"message":"hello"}"#]);
        curl.extend(["-w", "%{http_code} %header{x-envoy-overloaded}\n"]);
        for _ in 0..count {
            curl.extend(["-o", "/dev/null", &url]);
        }
        let output = self.in_tools(&curl)?;
        Ok(output.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// How many calls reached the echo server so far.
    ///
    /// # Errors
    /// The server does not tell.
    pub(super) fn received(&self, mode: Mode) -> Result<usize> {
        let page = self.page(mode, "echo-server", ":5001/received")?;
        let page: Value = serde_json::from_str(&page).context("what the server received")?;
        let requests = page["requests"].as_array().context("the server has no list")?;
        Ok(requests.iter().filter(|request| request["path"] == "/echo").count())
    }

    /// What `http://POD<path>` answers, where `path` begins with the port.
    ///
    /// # Errors
    /// There is no such pod, or it does not answer well.
    pub(super) fn page(&self, mode: Mode, component: &str, path: &str) -> Result<String> {
        let label = format!("app.kubernetes.io/component={component}");
        let pods = ["-n", &mode.namespace(), "get", "pod", "-l", &label, "-o", "json"];
        let pods: Value = serde_json::from_str(&self.access.kubectl(&pods, None)?)?;
        let pod = &pods["items"][0]["status"]["podIP"];
        let address = pod.as_str().with_context(|| format!("no pod {component} has an address"))?;
        self.in_tools(&["curl", "-sSf", "--max-time", "10", &format!("http://{address}{path}")])
    }

    /// What Envoy's admin interface in the proxy's sidecar answers.
    ///
    /// # Errors
    /// There is no sidecar, or it does not answer.
    pub(super) fn sidecar(&self, mode: Mode, path: &str) -> Result<String> {
        let deployment = format!("deploy/{RELEASE}-proxy");
        let namespace = mode.namespace();
        let agent = ["pilot-agent", "request", "GET", path];
        let mut arguments = vec!["-n", &namespace, "exec", &deployment, "-c", "istio-proxy", "--"];
        arguments.extend(agent);
        self.access.kubectl(&arguments, None)
    }

    /// What the proxy's sidecar logged.
    ///
    /// # Errors
    /// There is no sidecar.
    pub(super) fn sidecar_log(&self, mode: Mode) -> Result<String> {
        let deployment = format!("deploy/{RELEASE}-proxy");
        self.access
            .kubectl(&["-n", &mode.namespace(), "logs", &deployment, "-c", "istio-proxy"], None)
    }

    /// Changes the WasmPlugin's `pluginConfig` past the chart, which checks it.
    ///
    /// # Errors
    /// There is no WasmPlugin.
    pub(super) fn change_plugin(&self, config: &Value) -> Result<()> {
        self.patch_plugin(&json!({ "spec": { "pluginConfig": config } }))
    }

    fn patch_plugin(&self, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let plugin = format!("wasmplugin/{RELEASE}-proxy");
        let namespace = Mode::Wasm.namespace();
        let arguments = ["-n", &namespace, "patch", &plugin, "--type=merge", "-p", &patch];
        self.access.kubectl(&arguments, None).map(|_| ())
    }

    /// Where the proxy of a mode is called from inside the cluster: an address, for a program that
    /// asks no name server.
    fn address(&self, mode: Mode) -> Result<String> {
        let service = format!("service/{RELEASE}-proxy");
        let namespace = mode.namespace();
        let address = ["-n", &namespace, "get", &service, "-o", "jsonpath={.spec.clusterIP}"];
        Ok(format!("{}:8001", self.access.kubectl(&address, None)?))
    }

    /// Calls at a constant rate for `seconds` while `change` is made; what became of them.
    ///
    /// # Errors
    /// The generator does not run, the change fails, or it lasts longer than the calls.
    pub(super) fn calls_during(
        &self,
        mode: Mode,
        seconds: u32,
        change: impl FnOnce() -> Result<()>,
    ) -> Result<Load> {
        let (address, seconds) = (self.address(mode)?, seconds.to_string());
        let program = ["-n", TOOLS, "exec", CALLER, "--", "/study", "load", "--address", &address];
        let load = ["--load", RATE, "--warm-up", "0", "--seconds", &seconds];
        let mut running = self.access.spawn(&[&program[..], &load].concat())?;
        let changed = change();
        let lasted = running.try_wait()?.is_none();
        let output = running.wait_with_output()?;
        changed?;
        ensure!(lasted, "the change lasted longer than the calls");
        Load::read(&String::from_utf8_lossy(&output.stdout))
    }

    /// Starts pods of a mode's proxy anew, and waits until they have taken over.
    ///
    /// # Errors
    /// They do not.
    pub(super) fn restart(&self, mode: Mode) -> Result<()> {
        let deployment = format!("deployment/{RELEASE}-proxy");
        let arguments = ["-n", &mode.namespace(), "rollout", "restart", &deployment];
        self.access.kubectl(&arguments, None)?;
        self.rolled_out(mode)
    }

    /// Waits until all pods of a mode's proxy are those that it shall have.
    ///
    /// # Errors
    /// They are not in time.
    pub(super) fn rolled_out(&self, mode: Mode) -> Result<()> {
        let deployment = format!("deployment/{RELEASE}-proxy");
        let namespace = mode.namespace();
        let arguments = ["-n", &namespace, "rollout", "status", &deployment, "--timeout=180s"];
        self.access.kubectl(&arguments, None)?;
        let old = || self.pods(mode).map(|pods| pods.iter().filter(|pod| pod.goes).count());
        until("the end of the old pods", GONE_LIMIT, || {
            let old = old()?;
            ensure!(old == 0, "{old} are still there");
            Ok(())
        })
    }

    /// The proxy's pods of a mode.
    ///
    /// # Errors
    /// The cluster does not tell.
    pub(super) fn pods(&self, mode: Mode) -> Result<Vec<Pod>> {
        let label = "app.kubernetes.io/component=proxy";
        let pods = ["-n", &mode.namespace(), "get", "pod", "-l", label, "-o", "json"];
        let pods: Value = serde_json::from_str(&self.access.kubectl(&pods, None)?)?;
        Ok(pods["items"].as_array().into_iter().flatten().map(Pod::of).collect())
    }

    /// Takes a mode's release back to its revision before the last.
    ///
    /// # Errors
    /// helm fails.
    pub(super) fn roll_back(&self, mode: Mode) -> Result<()> {
        self.access.roll_back(&mode.namespace(), RELEASE)
    }

    /// What a container of the proxy's Deployment logged; a pod's where one is named.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn log(&self, mode: Mode, container: &str, pod: Option<&str>) -> Result<String> {
        let deployment = format!("deploy/{RELEASE}-proxy");
        let of = pod.unwrap_or(&deployment);
        self.access.kubectl(&["-n", &mode.namespace(), "logs", of, "-c", container], None)
    }

    /// kubectl as it is.
    ///
    /// # Errors
    /// As [`Access::kubectl`].
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.access.kubectl(arguments, None)
    }

    /// Takes back what was changed in the WasmPlugin past the chart: helm compares its own two
    /// manifests of such an object, and not what is there.
    ///
    /// # Errors
    /// There is no WasmPlugin.
    pub(super) fn restore_plugin(&self) -> Result<()> {
        let values = values(Mode::Wasm, self.images.filter.digest.trim_start_matches("sha256:"));
        let config = json!({ "version": "v1", "policies": values["policies"] });
        let (url, sha256) = (&values["wasm"]["url"], &values["wasm"]["sha256"]);
        self.patch_plugin(&json!({
            "spec": { "url": url, "sha256": sha256, "pluginConfig": config },
        }))
    }

    /// Changes the WasmPlugin's module past the chart.
    ///
    /// # Errors
    /// There is no WasmPlugin.
    pub(super) fn change_module(&self, url: &str) -> Result<()> {
        self.patch_plugin(&json!({ "spec": { "url": url, "sha256": null } }))
    }

    /// Runs a program in the caller's pod.
    fn in_tools(&self, program: &[&str]) -> Result<String> {
        let mut arguments = vec!["-n", TOOLS, "exec", "tools", "--"];
        arguments.extend(program);
        self.access.kubectl(&arguments, None)
    }

    fn wait_ready(&self, namespace: &str) -> Result<()> {
        registry::wait_ready(&self.access, namespace)
    }
}
