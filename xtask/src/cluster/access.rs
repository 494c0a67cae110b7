//! Which cluster, and how it is reached: kubectl, helm, and a way to load images.

use crate::{place, process, say, tools};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where a folder that starts a cluster is looked for, from the repository's root.
const DEFAULT_FOLDER: &str = "../shared/cluster";

/// How long the start of a cluster may take; the first one builds Kubernetes.
const START_LIMIT: Duration = Duration::from_secs(3600);

/// How long loading the images may take.
const LOAD_LIMIT: Duration = Duration::from_secs(300);

/// How long helm may take, which does not wait for pods here.
const HELM_LIMIT: Duration = Duration::from_secs(120);

/// How often a condition is looked at again.
const GLANCE: Duration = Duration::from_millis(500);

/// A cluster that can be talked to.
pub(crate) struct Access {
    /// What kubectl and helm get in their environment.
    environment: Vec<(String, OsString)>,
    helm: PathBuf,
    /// A program and its first arguments; archives follow.
    loader: Vec<OsString>,
}

impl Access {
    /// The cluster to test on; `None` where there is none. A folder's cluster is started.
    ///
    /// # Errors
    /// The folder's `up` fails, or there is no helm or no way to load images.
    pub(crate) fn find() -> Result<Option<Self>> {
        let folder = std::env::var_os("BIMETAL_CLUSTER").map(PathBuf::from);
        let default = Some(place::root().join(DEFAULT_FOLDER)).filter(|f| f.join("up").exists());
        let given = std::env::var_os("KUBECONFIG").is_some();
        let environment = match folder.as_ref().or(default.as_ref()) {
            _ if given => Vec::new(),
            Some(folder) => start(folder)?,
            None => return Ok(None),
        };
        let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let beside = path.and_then(|path| {
            std::env::split_paths(path).map(|folder| folder.join("helm")).find(|file| file.exists())
        });
        let helm = match beside {
            Some(helm) => helm,
            None => tools::named("helm")?.get()?,
        };
        let loader = loader(folder.as_deref(), default.as_deref())?;
        Ok(Some(Self { environment, helm, loader }))
    }

    /// What programs that talk to the cluster need in their environment, helm's path included.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&str, &std::ffi::OsStr)> {
        let own = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_os_str()));
        own.chain([("HELM", self.helm.as_os_str())])
    }

    /// Puts image archives into every node.
    ///
    /// # Errors
    /// The loader fails.
    pub(crate) fn load(&self, archives: &[&Path]) -> Result<()> {
        say::begins("images", "loaded into the cluster's nodes");
        let Some((program, first)) = self.loader.split_first() else {
            bail!("there is no program that loads images");
        };
        let mut command = Command::new(program);
        command.args(first).args(archives);
        process::succeed("load images", &mut command, LOAD_LIMIT)?;
        Ok(())
    }

    /// What kubectl prints, with `input` on its standard input.
    ///
    /// # Errors
    /// kubectl cannot be started, or fails; the message has its complaint.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: Option<&Path>) -> Result<String> {
        let mut command = Command::new("kubectl");
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        match input {
            Some(file) => {
                let open = File::open(file);
                command.stdin(open.with_context(|| format!("cannot read {}", file.display()))?);
            }
            None => {
                command.stdin(Stdio::null());
            }
        }
        let output = command.output().context("cannot start kubectl")?;
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", arguments.join(" "), complaint.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Applies objects.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub(crate) fn apply(&self, objects: &Value) -> Result<()> {
        let file = place::made("cluster-test")?.join("objects.json");
        std::fs::write(&file, objects.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        self.kubectl(&["apply", "-f", "-"], Some(&file)).map(|_| ())
    }

    /// Installs the chart, or changes its values. Does not wait for pods.
    ///
    /// # Errors
    /// helm refuses the values, or the cluster the objects.
    pub(crate) fn install(&self, namespace: &str, release: &str, values: &Value) -> Result<()> {
        let file = place::made("cluster-test")?.join(format!("{namespace}.json"));
        std::fs::write(&file, values.to_string())
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(&self.helm);
        command
            .args(["upgrade", "--install", release])
            .arg(place::root().join("charts/bimetal"))
            .args(["--namespace", namespace, "--values"])
            .arg(&file)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        process::succeed(&format!("helm {namespace}"), &mut command, HELM_LIMIT)?;
        Ok(())
    }
}

impl Access {
    /// Takes a release back to its revision before the last.
    ///
    /// # Errors
    /// helm fails.
    pub(crate) fn roll_back(&self, namespace: &str, release: &str) -> Result<()> {
        let mut command = Command::new(&self.helm);
        command
            .args(["rollback", release, "--namespace", namespace])
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        process::succeed(&format!("helm rollback {namespace}"), &mut command, HELM_LIMIT)?;
        Ok(())
    }

    /// Starts kubectl, to be waited for; its output is the caller's.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Result<std::process::Child> {
        let mut command = Command::new("kubectl");
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().context("cannot start kubectl")
    }
}

/// Starts a folder's cluster, or finds it running, and returns what its `up` says to export.
fn start(folder: &Path) -> Result<Vec<(String, OsString)>> {
    let folder =
        folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
    say::begins("cluster", "started, or found running");
    let finished =
        process::succeed("cluster up", &mut Command::new(folder.join("up")), START_LIMIT)?;
    let output = finished.output();
    let line = output.lines().rev().find_map(|line| line.strip_prefix("export "));
    Ok(exports(line.context("the cluster's `up` exports nothing")?))
}

/// `KUBECONFIG=a PATH=b:$PATH` → names and values.
fn exports(line: &str) -> Vec<(String, OsString)> {
    let own = std::env::var_os("PATH").unwrap_or_default();
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| match value.strip_suffix("$PATH") {
            Some(before) => {
                let mut path = OsString::from(before);
                path.push(&own);
                (name.to_owned(), path)
            }
            None => (name.to_owned(), value.into()),
        })
        .collect()
}

/// The program that loads image archives into the cluster.
fn loader(folder: Option<&Path>, default: Option<&Path>) -> Result<Vec<OsString>> {
    let script = |folder: &Path| vec![folder.join("load-image").into_os_string()];
    if let Some(given) = std::env::var_os("BIMETAL_LOAD_IMAGE") {
        return Ok(vec![given]);
    }
    if let Some(folder) = folder {
        return Ok(script(folder));
    }
    if process::answer("k3s", &["--version"]).is_some() {
        return Ok(["k3s", "ctr", "images", "import"].map(OsString::from).to_vec());
    }
    default.map(script).context(
        "no way to load images into the cluster: set BIMETAL_LOAD_IMAGE to a program that takes \
         image archives",
    )
}

/// Asks until there is an answer. Says every [`say::BEAT`] that it still waits.
///
/// # Errors
/// There is none within `limit`; the message has the last obstacle.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<T>,
) -> Result<T> {
    let since = Instant::now();
    let mut told = since;
    loop {
        let obstacle = match ask() {
            Ok(answer) => return Ok(answer),
            Err(obstacle) => obstacle,
        };
        if since.elapsed() > limit {
            return Err(obstacle.context(format!("{what}: not within {}", say::span(limit))));
        }
        if told.elapsed() >= say::BEAT {
            told = Instant::now();
            say::works(what, since, &obstacle.to_string());
        }
        std::thread::sleep(GLANCE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_up_exports_is_taken_over() {
        let given = exports("KUBECONFIG=/state/kubeconfig PATH=/cache/bin:$PATH");
        assert_eq!(given[0], ("KUBECONFIG".to_owned(), "/state/kubeconfig".into()));
        let own = std::env::var("PATH").unwrap();
        assert_eq!(given[1], ("PATH".to_owned(), format!("/cache/bin:{own}").into()));
    }

    #[test]
    fn waiting_ends_with_the_last_obstacle() {
        let mut tries = 0;
        let two = until("counting", Duration::from_secs(20), || {
            tries += 1;
            if tries < 2 { bail!("too few") } else { Ok(tries) }
        });
        assert_eq!(two.unwrap(), 2);
        let never = until("waiting", Duration::ZERO, || -> Result<()> { bail!("still closed") });
        let message = format!("{:#}", never.unwrap_err());
        assert!(message.contains("waiting") && message.contains("still closed"), "{message}");
    }
}
