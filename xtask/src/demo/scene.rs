//! The programs of the demo: the echo server and both hosts, started on free ports of loopback.

use super::metrics::Page;
use super::record::Arm;
use super::script::{self, POLICY};
use crate::process::{self, Guest, Running};
use crate::tools;
use crate::{place, say, wasm};
use anyhow::{Context, Result, anyhow, bail};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Log};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a program may take to be ready.
const READY_WAIT: Duration = Duration::from_secs(30);

/// What must be there before the demo.
#[derive(Debug)]
pub struct Parts {
    /// Our program.
    pub bimetal: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// Our filter.
    pub filter: PathBuf,
}

impl Parts {
    /// Installs and builds what is missing. `BIMETAL` and `BIMETAL_FILTER` may name a program and
    /// a filter that are built already.
    ///
    /// # Errors
    /// A tool cannot be had or a build fails.
    pub fn make() -> Result<Self> {
        let envoy = tools::named("envoy")?.get()?;
        let bimetal = program()?;
        let filter = match std::env::var_os("BIMETAL_FILTER") {
            Some(given) => PathBuf::from(given),
            None => {
                wasm::build()?;
                place::filter()
            }
        };
        Ok(Self { bimetal, envoy, filter })
    }
}

/// The program: the one that is given, or built from here.
///
/// # Errors
/// The build fails.
pub fn program() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("BIMETAL") {
        return Ok(PathBuf::from(given));
    }
    let since = Instant::now();
    say::begins("bimetal", "the native proxy and the echo server, optimised");
    process::succeed(
        "bimetal build",
        Command::new(wasm::cargo())
            .current_dir(place::root())
            .args(["build", "--profile", "fast"])
            .args(["--package", "bimetal-proxy", "--bin", "bimetal"]),
        Duration::from_secs(1200),
    )?;
    say::ended("bimetal", "built", since.elapsed());
    Ok(place::target().join("fast/bimetal"))
}

/// The programs at work. All are ended when it is dropped, the hosts before the echo server.
#[derive(Debug)]
pub struct Scene {
    envoy: Envoy,
    _envoy_guest: Guest,
    native: Running,
    native_address: SocketAddr,
    native_metrics: SocketAddr,
    echo: Running,
    echo_address: SocketAddr,
    echo_admin: SocketAddr,
}

impl Scene {
    /// Starts everything and waits until it serves.
    ///
    /// # Errors
    /// A program does not start or is not ready in time; the message holds its last words.
    pub fn start(parts: &Parts) -> Result<Self> {
        say::begins("start", "echo server, native proxy, Envoy");
        let folder = place::made("demo")?;
        let (echo, echo_address, echo_admin) = echo(&parts.bimetal, &folder)?;
        let (native, native_address, native_metrics) = native(parts, &folder, echo_address)?;
        let config = Config {
            log: Log::Quiet,
            ..Config::new(echo_address).filter(Filter::new(&parts.filter, POLICY))
        };
        let envoy = Envoy::start(&parts.envoy, &folder.join("envoy"), &config)
            .context("Envoy did not start")?;
        let guest = Guest::new(envoy.id());
        say::line(format!(
            "    echo server {echo_address}, native proxy {native_address}, Envoy {}",
            envoy.address()
        ));
        Ok(Self {
            envoy,
            _envoy_guest: guest,
            native,
            native_address,
            native_metrics,
            echo,
            echo_address,
            echo_admin,
        })
    }

    /// Where each arm's calls go.
    pub fn targets(&self) -> [(Arm, SocketAddr); 3] {
        Arm::ALL.map(|arm| match arm {
            Arm::Native => (arm, self.native_address),
            Arm::Envoy => (arm, self.envoy.address()),
            Arm::Direct => (arm, self.echo_address),
        })
    }

    /// Puts the scripted outage in force: its time begins now.
    ///
    /// # Errors
    /// The echo server refuses it.
    pub fn begin(&self) -> Result<()> {
        put(self.echo_admin, "/faults", &script::plan())
            .context("the echo server does not take the outage's plan")
    }

    /// A host's metrics.
    ///
    /// # Errors
    /// The host does not answer.
    pub fn metrics(&self, host: Arm) -> Result<Page> {
        match host {
            // All of Envoy's own metrics would be thousands of lines.
            Arm::Envoy => Ok(Page(self.envoy.get("/stats/prometheus?filter=bimetal_")?)),
            Arm::Native | Arm::Direct => get(self.native_metrics, "/metrics").map(Page),
        }
    }

    /// Tells which program has ended although nobody asked it to.
    ///
    /// # Errors
    /// One has.
    pub fn check_alive(&mut self) -> Result<()> {
        for (name, program) in
            [("the native proxy", &mut self.native), ("the echo server", &mut self.echo)]
        {
            if let Some(status) = program.status()? {
                bail!(
                    "{name} ended in the middle of the demo ({status}); {}",
                    program.last_words()
                );
            }
        }
        Ok(())
    }
}

/// Starts the echo server on free ports; gives where it listens and where its admin interface is.
///
/// # Errors
/// It does not start.
pub fn echo(bimetal: &Path, folder: &Path) -> Result<(Running, SocketAddr, SocketAddr)> {
    let ready = folder.join("echo.ready");
    // Of an earlier demo: read again, it would name ports of the past.
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(bimetal);
    command.args(["echo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ready-file"]);
    command.arg(&ready);
    let mut echo = Running::start("echo server", &mut command, &folder.join("echo.log"))?;
    let address = ready_address(&mut echo, &ready, "listen")?;
    let admin = ready_address(&mut echo, &ready, "admin")?;
    Ok((echo, address, admin))
}

/// Waits until a program has written its ready file; gives the address of that name in it.
///
/// # Errors
/// It ends or is not ready in time, or tells no such address.
pub fn ready_address(program: &mut Running, ready: &Path, field: &str) -> Result<SocketAddr> {
    let ports = ready_when(program, || {
        let text = std::fs::read_to_string(ready).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    })?;
    ports[field]
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| anyhow!("the ready file of {} names no {field:?}: {ports}", program.name()))
}

fn native(
    parts: &Parts,
    folder: &Path,
    upstream: SocketAddr,
) -> Result<(Running, SocketAddr, SocketAddr)> {
    let [listen, admin, health] = free_ports()?;
    let policy: Value = serde_json::from_str(POLICY).context("the demo's policy is not JSON")?;
    let config = json!({
        "version": "v1",
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        // As many as Envoy has, so that both have the same part of the machine.
        "workers": 1,
        "upstreams": {"echo": {"endpoints": [upstream.to_string()]}},
        "routes": [{"host": "*", "path_prefix": "/echo", "upstream": "echo"}],
        "policies": policy["policies"],
    });
    Ok((proxy(&parts.bimetal, folder, &config, health)?, listen, health))
}

/// Starts the native proxy with this file and waits until it is ready.
///
/// # Errors
/// It does not start.
pub fn proxy(bimetal: &Path, folder: &Path, config: &Value, health: SocketAddr) -> Result<Running> {
    let file = folder.join("proxy.json");
    std::fs::write(&file, format!("{config:#}"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(bimetal);
    command.args(["proxy", "--config"]).arg(&file);
    let mut native = Running::start("native proxy", &mut command, &folder.join("native.log"))?;
    ready_when(&mut native, || get(health, "/readyz").ok())?;
    Ok(native)
}

/// Asks `look` until it has an answer.
fn ready_when<T>(program: &mut Running, look: impl Fn() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + READY_WAIT;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if program.status()?.is_some() || Instant::now() > deadline {
            bail!("{} is not ready: {}", program.name(), program.last_words());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that are free now: all three are held until the last one is known.
///
/// # Errors
/// There are none.
pub fn free_ports<const N: usize>() -> Result<[SocketAddr; N]> {
    let bound = [(); N].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut addresses = Vec::new();
    for listener in &bound {
        let listener = listener.as_ref().map_err(|error| anyhow!("no free port: {error}"))?;
        addresses.push(listener.local_addr()?);
    }
    addresses.try_into().map_err(|_| anyhow!("no free ports"))
}

/// The answer of a program on this machine.
///
/// # Errors
/// There is none, or it is an error.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut answer = agent().get(format!("http://{address}{path}")).call()?;
    Ok(answer.body_mut().read_to_string()?)
}

/// Gives a program on this machine a document.
///
/// # Errors
/// It does not take it.
pub fn put(address: SocketAddr, path: &str, document: &Value) -> Result<()> {
    agent().put(format!("http://{address}{path}")).send(document.to_string())?;
    Ok(())
}

/// Has a program on this machine forget something.
///
/// # Errors
/// It does not.
pub fn delete(address: SocketAddr, path: &str) -> Result<()> {
    agent().delete(format!("http://{address}{path}")).call()?;
    Ok(())
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into()
}
