//! The thread that writes or sends traces.

mod otlp;
mod stdout;

use super::environment::Environment;
use super::queue::{Queue, Receiver};
use crate::config::{Exporter, Telemetry};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tracing::{info, warn};

/// How long what waits may take at the end.
pub(crate) const FLUSH: Duration = Duration::from_secs(5);

/// Between two warnings that spans are lost.
const QUIET: Duration = Duration::from_secs(10);

/// Traces that go somewhere. Dropped, it takes no more; its thread ends by itself.
#[derive(Debug)]
pub(crate) struct Exporting {
    queue: Queue,
    ended: Option<oneshot::Receiver<()>>,
}

impl Exporting {
    /// Starts the thread that `settings` and the variables want; none where traces go nowhere.
    ///
    /// # Errors
    /// There is no such way to a collector, or the system gives no thread; in words for people.
    pub(crate) fn start(
        environment: &Environment,
        settings: &Telemetry,
    ) -> Result<Option<Self>, String> {
        for warning in &environment.warnings {
            warn!("{warning}");
        }
        let exporter = environment.exporter(settings.exporter);
        if exporter == Exporter::None {
            return Ok(None);
        }
        let (queue, receiver) = Queue::new(environment.queue);
        let resource = environment.resource(&settings.service_name);
        let (sender, ended) = oneshot::channel();
        let work: Box<dyn FnOnce() + Send> = match exporter {
            Exporter::None | Exporter::OtlpStdout => {
                let page = stdout::Page::open()
                    .map_err(|error| format!("traces: no standard output: {error}"))?;
                info!("traces go to standard output");
                Box::new(move || stdout::write(receiver, &resource, page))
            }
            Exporter::OtlpHttp | Exporter::OtlpGrpc => {
                let endpoint = environment.endpoint(settings)?.map(str::to_owned);
                let sending = otlp::Sending::new(exporter, endpoint, environment, resource)?;
                Box::new(move || sending.run(receiver))
            }
        };
        let thread = std::thread::Builder::new().name("traces".into()).spawn(move || {
            let _ended: oneshot::Sender<()> = sender;
            work();
        });
        thread.map_err(|error| format!("traces: no thread: {error}"))?;
        Ok(Some(Self { queue, ended: Some(ended) }))
    }

    /// Where traces are put.
    pub(crate) const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Returns when everything that was put has gone out, or after `limit`: what is left then is
    /// lost.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        self.queue.end();
        if let Some(ended) = self.ended.take()
            && tokio::time::timeout(limit, ended).await.is_err()
        {
            let left = self.queue.counts().give_up();
            warn!(spans = left, "traces: {left} spans did not go out within {}s", limit.as_secs());
        }
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.queue.end();
    }
}

/// Tells of lost spans, now and then.
#[derive(Debug, Default)]
struct Losses {
    told: Option<Instant>,
    untold: usize,
}

impl Losses {
    /// These spans are lost, for this reason.
    fn add(&mut self, receiver: &Receiver, spans: usize, why: &dyn std::fmt::Display) {
        receiver.counts.lost(spans);
        self.untold += spans;
        if self.told.is_none_or(|at| at.elapsed() >= QUIET) {
            self.told = Some(Instant::now());
            let spans = std::mem::take(&mut self.untold);
            warn!(spans, "traces: {spans} spans are lost: {why}");
        }
    }
}
