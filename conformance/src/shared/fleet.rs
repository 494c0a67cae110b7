//! The hosts, each with several workers.

use super::WORKERS;
use crate::envoy::{Config, Envoy, Filter, sum};
use crate::real::RealHost;
use crate::real::native::NativeHost;
use crate::real::tools::{Tools, envoy};
use serde_json::{Value, json};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A host whose workers are to decide as one.
pub trait Fleet: Sized {
    /// How old a worker's view of the board may be: so long after a trip was written an admission
    /// may still begin.
    const STALE: Duration;

    /// Starts it in front of `echo`, its files in `folder`, and waits until it serves.
    ///
    /// # Errors
    /// When it does not start; the message says why.
    fn start(tools: &Tools, document: &Value, echo: SocketAddr, folder: &Path) -> io::Result<Self>;

    /// Where calls go.
    fn address(&self) -> SocketAddr;

    /// The file that its event lines come to.
    fn log_file(&self) -> PathBuf;

    /// Its metrics, in Prometheus' text form.
    ///
    /// # Errors
    /// When it does not tell.
    fn metrics(&self) -> io::Result<String>;

    /// In how many workers the breaker of `policy` is in `state`.
    ///
    /// # Errors
    /// As [`Fleet::metrics`].
    fn replicas(&self, policy: &str, state: &str) -> io::Result<f64> {
        let labels = [format!("policy={policy:?}"), format!("state={state:?}")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        Ok(sum(&self.metrics()?, "bimetal_breaker_replicas", &labels))
    }
}

/// `bimetal proxy` with [`WORKERS`] workers.
#[derive(Debug)]
pub struct NativeFleet(NativeHost);

impl Fleet for NativeFleet {
    // Each decision reads the shared word itself.
    const STALE: Duration = Duration::ZERO;

    fn start(tools: &Tools, document: &Value, echo: SocketAddr, folder: &Path) -> io::Result<Self> {
        NativeHost::launch(tools, document, WORKERS, echo, folder).map(Self)
    }

    fn address(&self) -> SocketAddr {
        RealHost::address(&self.0)
    }

    fn log_file(&self) -> PathBuf {
        RealHost::log_file(&self.0)
    }

    fn metrics(&self) -> io::Result<String> {
        self.0.metrics()
    }
}

/// Envoy with the filter and a concurrency of [`WORKERS`].
#[derive(Debug)]
pub struct EnvoyFleet {
    envoy: Envoy,
    log: PathBuf,
}

impl EnvoyFleet {
    fn start_with(
        document: &Value,
        echo: SocketAddr,
        folder: &Path,
        change: impl FnOnce(&mut Config),
    ) -> io::Result<Self> {
        let (program, module) = envoy()?;
        let mut config = Config::new(echo).filter(Filter::new(module, document.to_string()));
        config.concurrency = u32::try_from(WORKERS).map_err(io::Error::other)?;
        change(&mut config);
        let folder = folder.join("envoy");
        Ok(Self { envoy: Envoy::start(&program, &folder, &config)?, log: folder.join("envoy.log") })
    }
}

impl Fleet for EnvoyFleet {
    // Each decision reads the counter of writes itself.
    const STALE: Duration = Duration::ZERO;

    fn start(
        _tools: &Tools,
        document: &Value,
        echo: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        Self::start_with(document, echo, folder, |_| ())
    }

    fn address(&self) -> SocketAddr {
        self.envoy.address()
    }

    fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    fn metrics(&self) -> io::Result<String> {
        self.envoy.metrics()
    }
}

/// [`EnvoyFleet`] with an Envoy that is told to keep no count of changes to the board, as an
/// operator who keeps few statistics may.
#[derive(Debug)]
pub struct UncountedEnvoyFleet(EnvoyFleet);

impl Fleet for UncountedEnvoyFleet {
    const STALE: Duration = Duration::from_millis(20);

    fn start(
        _tools: &Tools,
        document: &Value,
        echo: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self> {
        let matcher = json!({"stats_config": {"stats_matcher": {"exclusion_list": {
            "patterns": [{"contains": "bimetal_board_changes"}],
        }}}});
        let arguments = ["--config-yaml".to_owned(), matcher.to_string()];
        EnvoyFleet::start_with(document, echo, folder, |config| {
            config.arguments.extend(arguments);
        })
        .map(Self)
    }

    fn address(&self) -> SocketAddr {
        self.0.address()
    }

    fn log_file(&self) -> PathBuf {
        self.0.log_file()
    }

    fn metrics(&self) -> io::Result<String> {
        self.0.metrics()
    }
}
