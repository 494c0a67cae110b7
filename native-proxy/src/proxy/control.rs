//! The life of the process: signals, reloads, the drain.

use super::{DRAIN, Options, Proxy, RunError, Shared};
use crate::config::{self, ConfigError, Settings};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Runs a proxy until it is told to end.
///
/// # Errors
/// [`RunError`]; its exit code is that of the command.
pub fn run(options: Options) -> Result<(), RunError> {
    let settings = first_settings(options.config.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RunError::Start(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        // Caught before anything starts, so that none of them is missed.
        let mut signals = Signals::new()
            .map_err(|error| RunError::Start(format!("cannot catch signals: {error}")))?;
        let proxy = Proxy::start(settings, options.level).await?;
        serve(&proxy, &mut signals, options.config).await?;
        info!("draining for at most {}s", DRAIN.as_secs());
        proxy.drain(DRAIN);
        tokio::select! {
            () = proxy.ended() => {}
            () = signals.end() => {
                return Err(RunError::Ended("told twice to end: calls were cut off".into()));
            }
        }
        if proxy.join() { Ok(()) } else { Err(RunError::Ended("a worker died".into())) }
    })
}

fn first_settings(file: Option<&Path>) -> Result<Settings, RunError> {
    match file {
        Some(file) => config::load(file).map_err(|error| RunError::Config(error.to_string())),
        None => {
            let server = std::env::var("SERVER_SERVICE");
            let server = server.ok().filter(|name| !name.is_empty());
            config::builtin(server.as_deref().unwrap_or("127.0.0.1"))
                .map_err(|problems| RunError::Config(format!("SERVER_SERVICE: {problems}")))
        }
    }
}

/// Serves until the first signal to end.
async fn serve(
    proxy: &Proxy,
    signals: &mut Signals,
    file: Option<PathBuf>,
) -> Result<(), RunError> {
    let mut watch = file.map(Watch::new);
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.reload.recv() => match &mut watch {
                Some(watch) => watch.reload(&proxy.shared),
                None => warn!("no configuration file to read again"),
            },
            () = changed(&mut watch) => {
                if let Some(watch) = &mut watch {
                    watch.reload(&proxy.shared);
                }
            }
            () = any_ended(&proxy.shared) => {
                return Err(RunError::Ended("a worker died".into()));
            }
        }
    }
}

async fn any_ended(shared: &Shared) {
    let ends = shared.workers.iter().map(|worker| Box::pin(worker.closed()));
    let mut ends: Vec<_> = ends.collect();
    std::future::poll_fn(|cx| {
        let ended = ends.iter_mut().any(|end| end.as_mut().poll(cx).is_ready());
        if ended { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The configuration file as it was seen last.
struct Watch {
    file: PathBuf,
    seen: Option<(SystemTime, u64)>,
}

impl Watch {
    fn new(file: PathBuf) -> Self {
        let seen = look(&file);
        Self { file, seen }
    }

    /// Reads the file again: good settings take effect, others are told of and change nothing.
    fn reload(&mut self, shared: &Shared) {
        self.seen = look(&self.file);
        match config::load(&self.file) {
            Ok(settings) => {
                shared.load(settings);
                info!("{} is in force", self.file.display());
            }
            Err(error) => {
                shared.refused_reloads.fetch_add(1, Ordering::Relaxed);
                let what = match &error {
                    ConfigError::Unreadable(_) => "cannot be read",
                    ConfigError::Wrong(_) => "is wrong",
                };
                warn!("{} {what} and is not used", self.file.display());
                // One for each problem: a line of the log has no end of line within.
                error.to_string().lines().for_each(|problem| warn!("{problem}"));
            }
        }
    }
}

/// Time and size: looking is cheap, and works across the links that Kubernetes swaps.
fn look(file: &Path) -> Option<(SystemTime, u64)> {
    let data = std::fs::metadata(file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// Returns when the file is not what was seen last.
async fn changed(watch: &mut Option<Watch>) {
    let Some(watch) = watch else {
        return std::future::pending().await;
    };
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        // A file that is gone for a moment is being replaced.
        if let Some(now) = look(&watch.file)
            && watch.seen != Some(now)
        {
            return;
        }
    }
}
