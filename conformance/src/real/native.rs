//! The native proxy: `bimetal proxy`.

use super::RealHost;
use super::process::Process;
use super::tools::Tools;
use crate::log::Loaded;
use crate::scenario::Scenario;
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Error};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// `bimetal proxy`.
#[derive(Debug)]
pub struct NativeHost {
    process: Process,
    addresses: Addresses,
    echo: SocketAddr,
    folder: PathBuf,
    workers: usize,
}

#[derive(Clone, Copy, Debug)]
struct Addresses {
    listen: SocketAddr,
    admin: SocketAddr,
    health: SocketAddr,
}

impl Addresses {
    /// Three free ports, used by no other host of this process.
    fn free() -> io::Result<Self> {
        Ok(Self { listen: free()?, admin: free()?, health: free()? })
    }
}

/// Where ports are taken from: below those that the system gives to whoever asks for any, so that
/// no connection of anybody takes one before the proxy does.
const FIRST_PORT: u32 = 20_000;
const PORTS: u32 = 12_000;

fn free() -> io::Result<SocketAddr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS {
        // Runs at the same time begin at different places.
        let number = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id() * 97);
        let port = u16::try_from(FIRST_PORT + number % PORTS).map_err(Error::other)?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err(Error::other("no free port"))
}

impl NativeHost {
    /// Starts a proxy with so many workers in front of `echo`, its files in `folder`, and waits
    /// until it serves.
    ///
    /// # Errors
    /// When it does not start; the message says why.
    pub fn launch(
        tools: &Tools,
        document: &Value,
        workers: usize,
        echo: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        let addresses = Addresses::free()?;
        write(folder, &file(document, addresses, echo, workers))?;
        let config = folder.join("proxy.yaml").display().to_string();
        let mut command = Command::new(tools.bimetal());
        command.args(["proxy", "--config", &config, "--log", "debug"]);
        command.envs(tools.variable().map(|(name, value)| (*name, value.as_str())));
        let mut process = Process::start(&mut command, &folder.join("proxy.log"))?;
        let ready = format!("http://{}/readyz", addresses.health);
        process.wait_for("serve", || {
            let answer = super::client::agent().get(&ready).call().ok()?;
            (answer.status() == 200).then_some(())
        })?;
        Ok(Self { process, addresses, echo, folder: folder.to_owned(), workers })
    }

    /// The metrics, in Prometheus' text form.
    ///
    /// # Errors
    /// When the admin interface does not answer.
    pub fn metrics(&self) -> io::Result<String> {
        metrics(self.addresses.admin)
    }
}

impl RealHost for NativeHost {
    fn start(
        tools: &Tools,
        scenario: &Scenario,
        echo: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        Self::launch(tools, &scenario.document, 1, echo, folder)
    }

    fn address(&self) -> SocketAddr {
        self.addresses.listen
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("proxy.log")
    }

    fn load(&mut self, document: &Value) -> io::Result<Loaded> {
        let (accepted, refused) = verdicts(self.addresses.admin)?;
        write(&self.folder, &file(document, self.addresses, self.echo, self.workers))?;
        let id = i32::try_from(self.process.id()).map_err(Error::other)?;
        let id = rustix::process::Pid::from_raw(id).ok_or_else(|| Error::other("no process id"))?;
        rustix::process::kill_process(id, rustix::process::Signal::HUP)?;
        let Self { process, addresses, .. } = self;
        process.wait_for("judge the document", || {
            let (now_accepted, now_refused) = verdicts(addresses.admin).ok()?;
            if now_refused > refused {
                return Some(Loaded::Refused);
            }
            (now_accepted > accepted).then_some(Loaded::Accepted)
        })
    }
}

fn metrics(admin: SocketAddr) -> io::Result<String> {
    let url = format!("http://{admin}/metrics");
    let mut answer = super::client::agent().get(url).call().map_err(Error::other)?;
    answer.body_mut().read_to_string().map_err(Error::other)
}

/// How many documents it accepted and refused since its start.
fn verdicts(admin: SocketAddr) -> io::Result<(u64, u64)> {
    let page = metrics(admin)?;
    let count = |result: &str| {
        let name = format!(r#"bimetal_reloads_total{{result="{result}"}} "#);
        let value = page.lines().find_map(|line| line.strip_prefix(&name));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    Ok((count("applied"), count("refused")))
}

fn file(document: &Value, addresses: Addresses, echo: SocketAddr, workers: usize) -> Value {
    json!({
        "version": "v1",
        "listeners": [{"address": addresses.listen}],
        "admin": {"address": addresses.admin},
        "health": {"address": addresses.health},
        "workers": workers,
        "upstreams": {"echo": {"endpoints": [echo]}},
        "routes": [{"host": "*", "path_prefix": "/", "upstream": "echo"}],
        "policies": document["policies"],
    })
}

/// Writes beside and moves into place: a proxy that watches the file never reads half of it.
fn write(folder: &Path, content: &Value) -> io::Result<()> {
    let beside = folder.join("proxy.yaml.new");
    fs::write(&beside, serde_json::to_vec_pretty(content)?)?;
    fs::rename(beside, folder.join("proxy.yaml"))
}
