//! A real Envoy with the filter in it: written down, started, updated, stopped.
//!
//! Used by the filter's own tests, the conformance runner, the demo and the bench, so that all of
//! them judge the same Envoy. Listener and admin take any free port; Envoy says which, so two
//! runs side by side cannot collide.
//!
//! ```no_run
//! # fn main() -> std::io::Result<()> {
//! use bimetal_conformance::envoy::{Config, Envoy, Filter};
//! let config = Config::new("127.0.0.1:5001".parse().unwrap())
//!     .filter(Filter::new("bimetal_filter.wasm", r#"{"version":"v1","policies":[]}"#));
//! let mut envoy = Envoy::start("/usr/bin/envoy".as_ref(), "run/envoy".as_ref(), &config)?;
//! println!("send requests to {}", envoy.address());
//! envoy.stop()
//! # }
//! ```

mod config;

pub use config::{Config, Filter, Log, METRIC_LABELS, Upstream};

use serde_json::Value;
use std::fs;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long Envoy may take for a start, an update or an end. Generous: compiling a filter on a
/// busy machine takes seconds.
const ENVOY_WAIT: Duration = Duration::from_secs(60);
/// What Envoy said to an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is in force.
    Accepted,
    /// It was refused; what was in force before still is.
    Refused,
}

/// A running Envoy. Ended when dropped.
#[derive(Debug)]
pub struct Envoy {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Envoy {
    /// Starts `program` with its files in `folder` (made where missing) and waits until it serves.
    ///
    /// # Errors
    /// When the folder cannot be written, the program cannot be started, ends at once, refuses its
    /// configuration or is not ready within a minute; the message holds the end of its log.
    pub fn start(program: &Path, folder: &Path, config: &Config) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        let admin_file = folder.join("admin");
        // Of an earlier run: read again, it would name a port of the past.
        let _ = fs::remove_file(&admin_file);
        write(&folder, "listeners.json", &config.listeners(&folder.join("access.log")))?;
        write(&folder, "bootstrap.json", &config.bootstrap(&folder.join("listeners.json")))?;
        let log = fs::File::create(folder.join("envoy.log"))?;
        let level = match config.log {
            Log::Quiet => "wasm:warning",
            Log::Events => "wasm:debug",
        };
        let child = Command::new(program)
            .arg("--config-path")
            .arg(folder.join("bootstrap.json"))
            .arg("--admin-address-path")
            .arg(&admin_file)
            .args(["--disable-hot-restart", "--log-level", "warning"])
            .args(["--component-log-level", level])
            .args(["--concurrency", &config.concurrency.to_string()])
            .args(&config.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut envoy = Self { child, folder, address: unknown, admin: unknown };
        envoy.admin = envoy.wait("say its admin address", |_| {
            fs::read_to_string(&admin_file).ok()?.trim().parse().ok()
        })?;
        let address = envoy.wait("open its listener", |envoy| {
            let refused = envoy.verdicts().is_ok_and(|(_, refused)| refused > 0);
            if refused { Some(None) } else { envoy.listener().map(Some) }
        })?;
        envoy.address = address.ok_or_else(|| envoy.error("Envoy refused its listener"))?;
        Ok(envoy)
    }

    fn listener(&self) -> Option<SocketAddr> {
        self.get("/ready").ok().filter(|body| body.trim() == "LIVE")?;
        let page = self.get("/listeners?format=json").ok()?;
        let page: Value = serde_json::from_str(&page).ok()?;
        let port = page.pointer("/listener_statuses/0/local_address/socket_address/port_value");
        Some(SocketAddr::from(([127, 0, 0, 1], u16::try_from(port?.as_u64()?).ok()?)))
    }

    /// Where requests go.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin interface.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Id of the process, for whoever measures it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Gives the running Envoy a changed listener (filters, route) and waits for its verdict. The
    /// cluster, ports and workers stay what they were at the start.
    ///
    /// # Errors
    /// When the file cannot be written or no verdict comes within a minute.
    pub fn update(&mut self, config: &Config) -> io::Result<Update> {
        let (accepted, refused) = self.verdicts()?;
        write(&self.folder, "listeners.json", &config.listeners(&self.folder.join("access.log")))?;
        self.wait("judge the update", |envoy| {
            let (now_accepted, now_refused) = envoy.verdicts().ok()?;
            if now_refused > refused {
                return Some(Update::Refused);
            }
            (now_accepted > accepted).then_some(Update::Accepted)
        })
    }

    fn verdicts(&self) -> io::Result<(u64, u64)> {
        let stats = self.get("/stats?filter=listener_manager.lds.update")?;
        let count = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').trim().parse().ok()
        };
        let missing = || Error::new(ErrorKind::InvalidData, "no update counters in /stats");
        let accepted = count("listener_manager.lds.update_success").ok_or_else(missing)?;
        let refused = count("listener_manager.lds.update_rejected").ok_or_else(missing)?;
        Ok((accepted, refused))
    }

    /// The body of an admin page.
    ///
    /// # Errors
    /// When the admin interface does not answer with 200.
    pub fn get(&self, path: &str) -> io::Result<String> {
        let agent = agent();
        let mut answer =
            agent.get(format!("http://{}{path}", self.admin)).call().map_err(Error::other)?;
        answer.body_mut().read_to_string().map_err(Error::other)
    }

    /// Metrics in Prometheus' text form, of the filter alone.
    ///
    /// # Errors
    /// As [`Envoy::get`].
    pub fn metrics(&self) -> io::Result<String> {
        let page = self.get("/stats/prometheus")?;
        let ours =
            page.lines().filter(|line| line.trim_start_matches("# TYPE ").starts_with("bimetal_"));
        Ok(ours.flat_map(|line| [line, "\n"]).collect())
    }

    /// The sum of a metric over every line whose labels contain all of `labels`
    /// (`("bimetal_requests_total", &["decision=\"breaker\""])`); zero where there is none.
    ///
    /// # Errors
    /// As [`Envoy::get`].
    pub fn metric(&self, name: &str, labels: &[&str]) -> io::Result<f64> {
        Ok(sum(&self.metrics()?, name, labels))
    }

    /// Everything Envoy logged so far.
    ///
    /// # Errors
    /// When the file cannot be read. Bytes that are not text are replaced.
    pub fn log(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(self.folder.join("envoy.log"))?).into_owned())
    }

    /// The filter's event lines so far, in order: bare JSON, one event each. An event that is
    /// being written right now is left for the next call.
    ///
    /// # Errors
    /// As [`Envoy::log`].
    pub fn events(&self) -> io::Result<Vec<String>> {
        let log = self.log()?;
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let event = |line: &str| Some(line.get(line.find(r#"{"event":"#)?..)?.to_owned());
        Ok(whole.lines().filter_map(event).collect())
    }

    /// The access log so far: one JSON object a line with `status`, `flags`, `details` and `step`
    /// (the request's `x-step`). Envoy writes it about once a second and at its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn access_log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.join("access.log"))
    }

    /// Asks Envoy to end and waits for it; after a minute ends it the hard way.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn stop(&mut self) -> io::Result<()> {
        if self.exited()?.is_none() {
            // The answer may be cut off by the end that it asks for.
            let _ = agent().post(format!("http://{}/quitquitquit", self.admin)).send_empty();
        }
        let deadline = Instant::now() + ENVOY_WAIT;
        while self.exited()?.is_none() {
            if Instant::now() >= deadline {
                self.child.kill()?;
                self.child.wait()?;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    fn wait<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> io::Result<T> {
        let deadline = Instant::now() + ENVOY_WAIT;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            let trouble = match self.exited()? {
                Some(status) => format!("Envoy ended ({status}) before it could {what}"),
                None if Instant::now() >= deadline => {
                    format!("Envoy did not {what} within {} s", ENVOY_WAIT.as_secs())
                }
                None => {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
            };
            return Err(self.error(&trouble));
        }
    }

    /// An error that shows the end of the log.
    fn error(&self, trouble: &str) -> Error {
        let log = self.log().unwrap_or_default();
        let from = log.lines().count().saturating_sub(12);
        let tail: Vec<&str> = log.lines().skip(from).collect();
        Error::other(format!("{trouble}; its log ends:\n{}", tail.join("\n")))
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Nothing can be reported from here; a process that is gone already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a metric over every line of `page` whose labels contain all of `labels`.
pub(crate) fn sum(page: &str, name: &str, labels: &[&str]) -> f64 {
    let of_name =
        |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    let lines = page.lines().filter(of_name);
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .proxy(None)
        .build()
        .into()
}

/// Writes beside and moves into place: Envoy reacts to the move, and never reads half a file.
fn write(folder: &Path, name: &str, content: &Value) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    fs::write(&beside, serde_json::to_vec_pretty(content)?)?;
    fs::rename(beside, folder.join(name))
}
