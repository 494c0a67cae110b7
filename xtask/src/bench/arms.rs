//! The programs under measurement: each started once, idle while another one is measured.

use super::cores::{self, Cores};
use super::servers::{self, BODY, Relay};
use crate::demo::metrics::Page;
use crate::process::{self, Guest, Running};
use crate::{place, say, tools, wasm};
use anyhow::{Context, Result, bail};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Log};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a program may take to be ready, and metrics to settle.
const ARM_WAIT: Duration = Duration::from_secs(30);

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The load straight at the server: what the load side can deliver.
    Direct,
    /// nginx as a proxy.
    Nginx,
    /// HAProxy.
    Haproxy(Relay),
    /// Our proxy without a policy.
    NativeBare,
    /// Our proxy with the policy.
    NativePolicy,
    /// The program named by `BIMETAL_BEFORE`, with the policy: to accept or refuse a change.
    NativeBefore,
    /// Envoy alone.
    EnvoyBare,
    /// Envoy with a filter that does nothing.
    EnvoyNoop,
    /// Envoy with our filter and the policy.
    EnvoyFilter,
    /// The same with the filter named by `BIMETAL_FILTER_BEFORE`.
    EnvoyFilterBefore,
}

/// Every program that arms are made of.
#[derive(Debug)]
pub struct Parts {
    programs: Programs,
    folder: PathBuf,
    cores: Cores,
}

/// What is ours. Built, unless the environment names what is to be measured: `BIMETAL`, and
/// `BIMETAL_FILTER` with `BIMETAL_NOOP_FILTER`.
#[derive(Debug)]
struct Programs {
    bimetal: PathBuf,
    filter: PathBuf,
    noop: PathBuf,
}

impl Programs {
    fn get() -> Result<Self> {
        let given = |variable| std::env::var_os(variable).map(PathBuf::from);
        let bimetal = bimetal()?;
        let filters = given("BIMETAL_FILTER").zip(given("BIMETAL_NOOP_FILTER"));
        let (filter, noop) = match filters {
            Some(filters) => filters,
            None => {
                wasm::build()?;
                (place::filter(), place::noop_filter())
            }
        };
        Ok(Self { bimetal, filter, noop })
    }
}

/// Our proxy: the one that `BIMETAL` names, else built.
///
/// # Errors
/// The build fails.
pub fn bimetal() -> Result<PathBuf> {
    given_or_built("BIMETAL", "bimetal-proxy", "bimetal")
}

/// A program of ours: the one that the environment names, else built as for a release.
///
/// # Errors
/// The build fails.
pub fn given_or_built(variable: &str, package: &str, program: &str) -> Result<PathBuf> {
    if let Some(given) = std::env::var_os(variable) {
        return Ok(PathBuf::from(given));
    }
    let since = Instant::now();
    say::begins(program, "built as for a release");
    let mut build = Command::new(wasm::cargo());
    build.current_dir(place::root());
    build.args(["build", "--release", "--package", package, "--bin", program]);
    let name = format!("{program} release build");
    process::succeed(&name, &mut build, Duration::from_secs(3600))?;
    say::ended(program, "built", since.elapsed());
    Ok(place::target().join("release").join(program))
}

/// One arm at work.
#[derive(Debug)]
pub struct Arm {
    /// Its name in tables and files.
    pub name: String,
    /// Where requests go.
    pub address: SocketAddr,
    /// Id of the process whose CPU time counts.
    pub process: u32,
    metrics: Option<SocketAddr>,
    program: Program,
}

#[derive(Debug)]
enum Program {
    Plain { _running: Running },
    Envoy { envoy: Box<Envoy>, _guest: Guest },
}

impl Parts {
    /// Installs and builds what is missing.
    ///
    /// # Errors
    /// A tool cannot be had, or a build fails.
    pub fn make(cores: Cores) -> Result<Self> {
        for tool in ["wrk", "nginx", "haproxy", "envoy"] {
            tools::named(tool)?.get()?;
        }
        let programs = Programs::get()?;
        let folder = place::made("bench")?;
        Ok(Self { programs, folder, cores })
    }

    /// Starts the server behind every proxy, on the load's core.
    ///
    /// # Errors
    /// It does not start.
    pub fn backend(&self) -> Result<Arm> {
        let listen = free_port()?;
        cores::on(self.cores.load, || self.nginx("direct", listen, &servers::backend(listen)))
    }

    /// Starts one arm named `name` on the proxies' core and waits until it answers.
    ///
    /// # Errors
    /// It does not start, or does not answer as the server does.
    pub fn start(&self, name: &str, kind: Kind, upstream: SocketAddr) -> Result<Arm> {
        let none = json!([]);
        let policy = servers::policy();
        let listen = free_port()?;
        cores::on(self.cores.proxy, || match kind {
            Kind::Direct => bail!("the load's own arm is the server itself"),
            Kind::Nginx => self.nginx(name, listen, &servers::nginx_proxy(listen, upstream)),
            Kind::Haproxy(relay) => {
                let file =
                    self.write(name, "haproxy.cfg", &servers::haproxy(listen, upstream, relay))?;
                let mut command = Command::new(tools::named("haproxy")?.get()?);
                command.arg("-f").arg(file);
                self.plain(name, &mut command, listen, None)
            }
            Kind::NativeBare => self.native(name, &self.programs.bimetal, listen, upstream, &none),
            Kind::NativePolicy => {
                self.native(name, &self.programs.bimetal, listen, upstream, &policy["policies"])
            }
            Kind::NativeBefore => {
                let before = std::env::var_os("BIMETAL_BEFORE").unwrap_or_default();
                self.native(name, before.as_ref(), listen, upstream, &policy["policies"])
            }
            Kind::EnvoyBare => self.envoy(name, Config::new(upstream)),
            Kind::EnvoyNoop => {
                let filter = Filter::new(&self.programs.noop, "");
                self.envoy(name, Config::new(upstream).filter(filter))
            }
            Kind::EnvoyFilter => {
                let filter = Filter::new(&self.programs.filter, policy.to_string());
                self.envoy(name, Config::new(upstream).filter(filter))
            }
            Kind::EnvoyFilterBefore => {
                let before = std::env::var_os("BIMETAL_FILTER_BEFORE").unwrap_or_default();
                let filter = Filter::new(before, policy.to_string());
                self.envoy(name, Config::new(upstream).filter(filter))
            }
        })
    }

    fn nginx(&self, name: &str, listen: SocketAddr, config: &str) -> Result<Arm> {
        let file = self.write(name, "nginx.conf", config)?;
        let mut command = Command::new(tools::named("nginx")?.get()?);
        command.arg("-p").arg(self.room(name)?).arg("-c").arg(file);
        self.plain(name, &mut command, listen, None)
    }

    fn native(
        &self,
        name: &str,
        program: &Path,
        listen: SocketAddr,
        upstream: SocketAddr,
        policies: &Value,
    ) -> Result<Arm> {
        let (admin, health) = (free_port()?, free_port()?);
        let file = servers::native([listen, admin, health], upstream, policies);
        let file = self.write(name, "proxy.json", &file.to_string())?;
        let mut command = Command::new(program);
        command.args(["proxy", "--config"]).arg(file);
        self.plain(name, &mut command, listen, Some(health))
    }

    fn plain(
        &self,
        name: &str,
        command: &mut Command,
        address: SocketAddr,
        metrics: Option<SocketAddr>,
    ) -> Result<Arm> {
        let log = self.room(name)?.join("log");
        let mut running = Running::start(name, command, &log)?;
        answering(address, || match running.status()? {
            Some(status) => bail!("{name} ended ({status}): {}", running.last_words()),
            None => Ok(()),
        })
        .with_context(|| format!("{name} does not serve"))?;
        Ok(Arm {
            name: name.to_owned(),
            address,
            process: running.id(),
            metrics,
            program: Program::Plain { _running: running },
        })
    }

    fn envoy(&self, name: &str, config: Config) -> Result<Arm> {
        let config = Config { log: Log::Quiet, ..config };
        let program = tools::named("envoy")?.get()?;
        let envoy = Envoy::start(&program, &self.room(name)?, &config)
            .with_context(|| format!("{name} does not start"))?;
        let guest = Guest::new(envoy.id());
        answering(envoy.address(), || Ok(())).with_context(|| format!("{name} does not serve"))?;
        Ok(Arm {
            name: name.to_owned(),
            address: envoy.address(),
            process: envoy.id(),
            metrics: None,
            program: Program::Envoy { envoy: Box::new(envoy), _guest: guest },
        })
    }

    fn room(&self, name: &str) -> Result<PathBuf> {
        let safe: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let room = self.folder.join(safe);
        std::fs::create_dir_all(&room)
            .with_context(|| format!("cannot make {}", room.display()))?;
        Ok(room)
    }

    fn write(&self, name: &str, file: &str, text: &str) -> Result<PathBuf> {
        let file = self.room(name)?.join(file);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }
}

impl Arm {
    /// Holds that every call this arm admitted was settled exactly once, where it counts them;
    /// gives how many. A worker publishes a while after the load ended.
    ///
    /// # Errors
    /// The numbers do not meet, or calls were turned away.
    pub fn check_settled(&self) -> Result<Option<u64>> {
        let deadline = Instant::now() + ARM_WAIT;
        loop {
            let page = match (&self.program, self.metrics) {
                (Program::Envoy { envoy, .. }, _) => Page(envoy.metrics()?),
                (_, Some(health)) => Page(get(health, "/metrics")?),
                _ => return Ok(None),
            };
            let admitted = page.sum("bimetal_requests_total", &[("decision", "admitted")]);
            let turned_away = page.sum("bimetal_requests_total", &[("decision", "breaker")]);
            let settled = page.sum("bimetal_outcomes_total", &[]);
            if turned_away > 0.0 {
                bail!("{}: {turned_away} calls were turned away", self.name);
            }
            if admitted == settled {
                return Ok((admitted > 0.0).then_some(admitted as u64));
            }
            if Instant::now() > deadline {
                bail!("{}: {admitted} calls admitted, {settled} settled", self.name);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A port that is free now.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}

/// Waits until `address` answers as the server behind does.
fn answering(address: SocketAddr, mut alive: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = Instant::now() + ARM_WAIT;
    loop {
        alive()?;
        match get(address, "/echo") {
            Ok(body) if body == BODY => return Ok(()),
            Ok(body) => bail!("it answers {body:?}"),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into();
    let mut answer = agent.get(format!("http://{address}{path}")).call()?;
    Ok(answer.body_mut().read_to_string()?)
}
