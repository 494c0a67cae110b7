//! Connections that count for their client while a call is under way on them.

use super::{Client, RequestFacts};
use crate::worker::Worker;
use bimetal_core::connections::Connected;
use bimetal_core::engine::Policies;
use bimetal_core::{Instant, Verdict};
use std::rc::Rc;

/// A client's connection with a call under way. Its drop, however the call ends, makes room for another
/// one.
#[derive(Debug)]
pub(crate) struct ConnectionAtWork {
    worker: Rc<Worker>,
    connected: Option<Connected>,
}

impl Drop for ConnectionAtWork {
    fn drop(&mut self) {
        if let Some(connected) = self.connected.take() {
            self.worker.disconnect(connected);
        }
    }
}

/// Counts the client's connection, where the call's policy does so. What is answered where the client
/// has too many.
pub(super) fn count<'p>(
    client: &Client,
    now: Instant,
    policies: &'p Policies,
    facts: &RequestFacts<'_>,
) -> Option<Verdict<'p>> {
    if !policies.limit_connections() {
        return None;
    }
    match client.worker.connect(now, policies, facts) {
        Ok(connected) => {
            let worker = client.worker.clone();
            client.at_work.replace(
                connected.map(|connected| ConnectionAtWork { worker, connected: Some(connected) }),
            );
            None
        }
        Err(verdict) => Some(verdict),
    }
}
