//! A cluster as the ground on which arms stand.

use super::calls::Calls;
use super::pods::Pods;
use super::site::Site;
use crate::arms::{Arm, AtWork, Ground, Policy, merge};
use crate::load::{self, Load};
use crate::record::Seen;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The release in each namespace, by which its objects are named.
const RELEASE: &str = "bimetal";

/// How long pods may take to be ready, and an arm to answer.
const WAIT: &str = "180s";
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two questions whether an arm serves.
const GLANCE: Duration = Duration::from_millis(200);

/// A cluster that stands ready.
#[derive(Debug)]
pub struct Cluster {
    pub(super) calls: Calls,
    pub(super) site: Site,
    /// The list of policies of every arm with a policy.
    policies: Value,
    /// For files of values and outputs.
    pub(super) folder: PathBuf,
    /// Releases that are installed, and the values they have.
    installed: RefCell<BTreeMap<String, Value>>,
}

impl Cluster {
    /// A cluster, for arms with this policy; `folder` is made for its files.
    ///
    /// # Errors
    /// kubectl or helm is missing, the policy is none, or the folder cannot be made.
    pub fn new(site: Site, policy: &Policy, folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self {
            calls: Calls::find()?,
            site,
            policies: serde_json::from_str(&policy.list).context("the policy is no JSON")?,
            folder,
            installed: RefCell::default(),
        })
    }

    /// What the record says of it.
    pub fn seen(&self) -> &super::InCluster {
        &self.site.seen
    }

    /// The policies of every arm with a policy.
    pub(crate) fn policies(&self) -> &Value {
        &self.policies
    }

    /// The namespace of an arm's release.
    pub(super) fn namespace(&self, arm: &str) -> String {
        format!("{}-{arm}", self.site.prefix)
    }

    /// Starts an arm with `more` values than its own; where it `answers` as the server does, that is
    /// waited for.
    ///
    /// # Errors
    /// helm, or the arm's pods do not come up, or it answers something else than the server.
    pub(crate) fn start_with(
        &self,
        arm: &Arm,
        more: &Value,
        answers: bool,
    ) -> Result<Box<dyn AtWork + '_>> {
        ensure!(arm.release.is_object(), "the arm {} is no release of the chart", arm.name);
        let namespace = self.namespace(&arm.name);
        self.install(arm, &namespace, more)?;
        let proxy = format!("deployment/{RELEASE}-proxy");
        let server = format!("deployment/{RELEASE}-echo-server");
        // Whoever goes past the proxy has none: an idle one would still be counted.
        let needed: &[&str] = if arm.straight { &[&server] } else { &[&server, &proxy] };
        for deployment in needed {
            self.calls.told(&["-n", &namespace, "scale", deployment, "--replicas=1"])?;
        }
        // From here on the pods go again, whatever happens.
        let address = self.address(arm, &namespace);
        let started = needed
            .iter()
            .try_for_each(|deployment| {
                let arguments = ["rollout", "status", deployment, &format!("--timeout={WAIT}")];
                self.calls.told(&[&["-n", &namespace][..], &arguments].concat()).map(|_| ())
            })
            .and(address)
            .and_then(|address| Pods::of(&self.calls, &namespace, None, address));
        let mut pods = match started {
            Ok(pods) => pods,
            Err(error) => {
                self.calls.stop(&namespace);
                return Err(error);
            }
        };
        pods.goes = true;
        pods.metrics = arm.metrics.clone();
        pods.folder = self.folder.clone();
        if answers {
            self.wait(pods.address())?;
        }
        Ok(Box::new(pods))
    }

    fn install(&self, arm: &Arm, namespace: &str, more: &Value) -> Result<()> {
        let mut values = self.site.values.clone();
        merge(&mut values, &json!({ "policies": self.policies }));
        merge(&mut values, &arm.release);
        merge(&mut values, more);
        if self.installed.borrow().get(namespace) == Some(&values) {
            return Ok(());
        }
        let file = self.folder.join(format!("{namespace}.json"));
        std::fs::write(&file, values.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let (chart, file) = (self.site.chart.display().to_string(), file.display().to_string());
        let place = ["--namespace", namespace, "--create-namespace"];
        self.calls.install(&[&[RELEASE, &chart, "--values", &file][..], &place].concat())?;
        self.installed.borrow_mut().insert(namespace.to_owned(), values);
        Ok(())
    }

    /// Where an arm is called, inside the cluster.
    fn address(&self, arm: &Arm, namespace: &str) -> Result<SocketAddr> {
        let (name, port) = if arm.straight { ("echo-server", 5001) } else { ("proxy", 8001) };
        let service = format!("{RELEASE}-{name}");
        let object =
            self.calls.object(&["-n", namespace, "get", "service", &service, "-o", "json"])?;
        let address = object["spec"]["clusterIP"].as_str().and_then(|text| text.parse().ok());
        let address = address.with_context(|| format!("the service {service} has no address"))?;
        Ok(SocketAddr::new(address, port))
    }

    /// Waits until an arm answers as the server does.
    fn wait(&self, address: SocketAddr) -> Result<()> {
        let load: Load = "10".parse()?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let seen = self.send(&load::Options {
                address,
                load,
                warm_up: Duration::ZERO,
                measured: Duration::from_millis(500),
                connections: 2,
            })?;
            match seen.bad.first_key_value() {
                None => return Ok(()),
                Some((what, _)) if Instant::now() > deadline => bail!("it answers {what}"),
                Some(_) => std::thread::sleep(GLANCE),
            }
        }
    }

    /// Sends a load to its end and tells what was seen.
    ///
    /// # Errors
    /// The generator does not run.
    pub(crate) fn send(&self, options: &load::Options) -> Result<Seen> {
        let output = self.generate(&load::arguments(options))?.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line).with_context(|| format!("the generator says {line:?}"))
    }
}

impl Ground for Cluster {
    fn begin_round(&self) -> Result<Box<dyn AtWork + '_>> {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let (namespace, pod) = (&self.site.namespace, &self.site.caller);
        Ok(Box::new(Pods::of(&self.calls, namespace, Some(pod), nobody)?))
    }

    fn start(&self, arm: &Arm, _: &dyn AtWork) -> Result<Box<dyn AtWork + '_>> {
        self.start_with(arm, &Value::Null, true)
    }

    fn generate(&self, arguments: &[String]) -> Result<Child> {
        let mut command = self.calls.kubectl();
        command.args(["-n", &self.site.namespace, "exec", &self.site.caller, "--"]);
        command.arg(&self.site.generator).args(arguments).stdout(Stdio::piped());
        command.spawn().context("the generator does not start")
    }

    fn around(&self) -> f64 {
        20.0
    }
}
