//! The one owner of the statistics: a task that works on what comes through a bounded queue, one
//! request after the other.

use super::analysis;
use super::metrics::Counts;
use super::sample::Sample;
use super::statistics::Statistics;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What the owner is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Take these in. The answer comes when their effect is there.
    Ingest { samples: Vec<Sample>, done: oneshot::Sender<()> },
    /// Tell what is known.
    Analyze { done: oneshot::Sender<Value> },
    /// Answer when all before this is done.
    End { done: oneshot::Sender<()> },
}

/// The owner.
#[derive(Debug)]
pub(super) struct Owner {
    statistics: Statistics,
    counts: Arc<Counts>,
}

impl Owner {
    /// An owner that has seen nothing; what it counts stands in `counts`, too.
    pub(super) fn new(replica: String, counts: Arc<Counts>) -> Self {
        Self { statistics: Statistics::new(replica), counts }
    }

    /// Works until nobody can ask any more.
    pub(super) async fn work(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            self.answer(request);
        }
    }

    // An asker that has left needs no answer; what it brought is taken in all the same.
    fn answer(&mut self, request: Request) {
        match request {
            Request::Ingest { samples, done } => {
                let judged = self.statistics.accept(samples);
                let anomalies = judged.iter().filter(|one| one.is_anomaly).count();
                self.counts.anomalies(anomalies as u64);
                let _ = done.send(());
            }
            Request::Analyze { done } => {
                let Statistics { window, totals, seen, .. } = &self.statistics;
                let replica = self.statistics.replica();
                let store = json!({ "kind": "memory" });
                let _ = done.send(analysis::told(window, *totals, *seen, replica, &store));
            }
            Request::End { done } => {
                let _ = done.send(());
            }
        }
    }
}
