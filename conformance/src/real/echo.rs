//! The upstream of [`crate::shared`]: `bimetal echo`, told by each request what to do with it.

use super::process::Process;
use serde_json::Value;
use std::io::{self, Error};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// A running echo server.
#[derive(Debug)]
pub(crate) struct Echo {
    address: SocketAddr,
    admin: SocketAddr,
    _process: Process,
}

impl Echo {
    pub(crate) fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        let ready = folder.join("echo.ready");
        // Of an earlier run: read again, it would name ports of the past.
        let _ = std::fs::remove_file(&ready);
        let text = ready.display().to_string();
        let mut command = Command::new(program);
        command.args(["echo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--ready-file", &text]);
        let mut process = Process::start(&mut command, &folder.join("echo.log"))?;
        let ports: Value = process.wait_for("say its ports", || {
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        })?;
        let port = |name: &str| {
            let text = ports[name].as_str().and_then(|text| text.parse().ok());
            text.ok_or_else(|| Error::other(format!("no address {name} in {ports}")))
        };
        Ok(Self { address: port("listen")?, admin: port("admin")?, _process: process })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets go of what is held under `name` now, and says how many calls that were.
    pub(crate) fn release(&self, name: &str) -> io::Result<u64> {
        let url = format!("http://{}/release/{name}", self.admin);
        let trouble = |error| Error::other(format!("telling the echo server to release: {error}"));
        let mut answer = super::client::agent().post(url).send_empty().map_err(trouble)?;
        let text = answer.body_mut().read_to_string().map_err(Error::other)?;
        let page: Value = serde_json::from_str(&text)?;
        page["released"]
            .as_u64()
            .ok_or_else(|| Error::other(format!("no number of releases in {text}")))
    }
}
