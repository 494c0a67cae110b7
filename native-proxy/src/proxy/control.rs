//! The life of the process: signals, reloads, the drain.

use super::watch::Watch;
use super::{DRAIN, Options, Proxy, RunError, Shared};
use crate::config::{self, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// Runs a proxy until it is told to end.
///
/// # Errors
/// [`RunError`]; its exit code is that of the command.
pub fn run(options: Options) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RunError::Start(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        // Caught before anything starts, so that none of them is missed.
        let mut signals = Signals::new()
            .map_err(|error| RunError::Start(format!("cannot catch signals: {error}")))?;
        let mut watch = options.config.map(Watch::new);
        let settings = first_settings(watch.as_mut())?;
        let mut proxy = Proxy::start(settings, options.level).await?;
        serve(&proxy, &mut signals, watch).await?;
        info!("draining for at most {}s", DRAIN.as_secs());
        proxy.drain(DRAIN);
        tokio::select! {
            () = ended(&mut proxy) => {}
            () = signals.end() => {
                return Err(RunError::Ended("told twice to end: calls were cut off".into()));
            }
        }
        if proxy.join() { Ok(()) } else { Err(RunError::Ended("a worker died".into())) }
    })
}

/// Every worker has ended, and what they recorded is out.
async fn ended(proxy: &mut Proxy) {
    proxy.ended().await;
    proxy.flush().await;
}

fn first_settings(watch: Option<&mut Watch>) -> Result<Settings, RunError> {
    match watch {
        Some(watch) => watch.read().map_err(|error| RunError::Config(error.to_string())),
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
    mut watch: Option<Watch>,
) -> Result<(), RunError> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.reload.recv() => match &mut watch {
                Some(watch) => {
                    if watch.ask() {
                        watch.reload(&proxy.shared, true);
                    }
                }
                None => warn!("no configuration file to read again"),
            },
            () = changed(&mut watch) => {
                if let Some(watch) = &mut watch {
                    watch.reload(&proxy.shared, false);
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

/// Returns when the file is to be read again.
async fn changed(watch: &mut Option<Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}
