//! kubectl and helm.

use crate::{process, tools};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The two programs by which a cluster is asked and told.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    kubectl: PathBuf,
    helm: PathBuf,
}

impl Calls {
    /// Finds both.
    ///
    /// # Errors
    /// One is not here.
    pub(super) fn find() -> Result<Self> {
        Ok(Self { kubectl: tools::find("kubectl")?, helm: tools::find("helm")? })
    }

    /// kubectl with these arguments, to be started.
    pub(super) fn kubectl(&self) -> Command {
        let mut command = process::command(&self.kubectl);
        command.stdin(Stdio::null());
        command
    }

    /// What kubectl prints.
    ///
    /// # Errors
    /// It cannot be started or fails; the message has its complaint.
    pub(super) fn told(&self, arguments: &[&str]) -> Result<String> {
        told(self.kubectl().args(arguments), &format!("kubectl {}", arguments.join(" ")))
    }

    /// The same, read as JSON.
    ///
    /// # Errors
    /// As [`Self::told`], or it is none.
    pub(super) fn object(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.told(arguments)?;
        serde_json::from_str(&text).with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// Ends every pod of a release. One that stays a while longer does no harm.
    pub(super) fn stop(&self, namespace: &str) {
        let _ = self.told(&["-n", namespace, "scale", "deployment", "--all", "--replicas=0"]);
        // The chart's pods take their time to go: nobody calls these any more.
        let now = ["delete", "pod", "--all", "--grace-period=1", "--wait=false"];
        let _ = self.told(&[&["-n", namespace][..], &now].concat());
    }

    /// Installs a release or changes its values, without waiting for pods.
    ///
    /// # Errors
    /// helm refuses the values, or the cluster the objects.
    pub(super) fn install(&self, arguments: &[&str]) -> Result<()> {
        let mut command = process::command(&self.helm);
        command.stdin(Stdio::null()).args(["upgrade", "--install"]).args(arguments);
        told(&mut command, "helm upgrade").map(|_| ())
    }
}

fn told(command: &mut Command, name: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("{name} cannot be started"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
