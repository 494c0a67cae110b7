//! One configuration of the plugin at work: what judges the requests of its root context.

use crate::parked;
use crate::port::Host;
use crate::registry::Worker;
use crate::watch;
use bimetal_core::engine::Policies;
use std::cell::Cell;
use std::rc::Rc;

/// The policies of one root context, with the worker that has their state. Envoy tries configurations
/// that it then rejects, warms others, and lets the old one drain beside the new: each judges the
/// requests of its own listener alone.
#[derive(Debug)]
pub struct Instance {
    /// The worker of the plugin's name.
    pub worker: Rc<Worker>,
    /// What its requests are judged by.
    pub policies: Policies,
    /// Parts of the document that are not supported here.
    skipped: usize,
    told: Cell<Told>,
}

/// What the metrics know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Nothing: no request came by it, and so it may be none that serves.
    Nothing,
    /// Nothing yet, though it serves.
    Due,
    /// All.
    All,
}

impl Instance {
    /// Policies that judge nothing yet.
    pub const fn new(worker: Rc<Worker>, policies: Policies, skipped: usize) -> Self {
        Self { worker, policies, skipped, told: Cell::new(Told::Nothing) }
    }

    /// A request came by it.
    #[inline]
    pub fn serves(&self) {
        if self.told.get() == Told::Nothing {
            self.told.set(Told::Due);
        }
    }

    /// Does what time made due, publishes metrics, and comes back to the requests whose time is over.
    pub fn tick(&self, host: &impl Host) {
        self.worker.with(|state| {
            if self.told.get() == Told::Due {
                state.in_force(host, self.skipped);
                self.told.set(Told::All);
            }
            state.tick(host);
        });
        // Who is turned away here is answered at once, and what the answers give free is for others.
        parked::wake(&self.worker, host);
        watch::tick(&self.worker, host);
        parked::wake(&self.worker, host);
    }
}
