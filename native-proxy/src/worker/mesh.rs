//! A worker as a member of a mesh: what it tells other processes, and what it learns of them.

use super::Worker;
use crate::board::Merged;
use bimetal_core::engine::Exchange;
use std::sync::Arc;
use tokio::sync::{Notify, oneshot};

/// What makes a worker a member of a mesh.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// The process.
    pub replica: u64,
    /// What the worker's exchanges are numbered from.
    pub sequence: u64,
    /// Rung when others should hear of something at once.
    pub urgent: Arc<Notify>,
}

impl Worker {
    /// Tells what others should know.
    pub(super) fn deltas(&self, reply: oneshot::Sender<Exchange>) {
        let now = self.clock.now();
        let exchange = self.engine.borrow_mut().take_deltas(now);
        // Whoever asked may have lost patience: then the next one is told.
        if let Err(exchange) = reply.send(exchange) {
            self.give_back(exchange);
        }
    }

    /// Others may not have heard it.
    pub(super) fn give_back(&self, exchange: Exchange) {
        self.engine.borrow_mut().give_back(exchange);
    }

    /// Learns what all know together, by key.
    pub(super) fn merge(&self, records: &[Merged]) {
        let now = self.clock.now();
        let mut engine = self.engine.borrow_mut();
        for (key, record) in records {
            // It was made in this process, of records that were looked at.
            let _ = engine.merge(now, key, record);
        }
        if engine.wants_exchange()
            && let Some(urgent) = &self.urgent
        {
            // Others wait for the share of a limit that this worker gave back.
            urgent.notify_one();
        }
        self.drain_events(&mut engine);
        self.keeper.notify_one();
    }
}
