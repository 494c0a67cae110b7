//! Requests that wait for a slot, by the name that the engine knows each by.

use crate::port::Host;
use crate::registry::Worker;
use bimetal_core::{Instant, Waiting};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Weak;

/// A request that can wait.
pub trait Waits {
    /// It is to ask again. In the request's own context.
    fn woken(&mut self, now: Instant);
}

/// The requests of a worker that wait.
#[derive(Default)]
pub struct Parked {
    // No client chooses a name of the engine's, so nobody can aim at the table.
    requests: HashMap<Waiting, Entry, BuildHasherDefault<DefaultHasher>>,
}

struct Entry {
    context: u32,
    request: Weak<RefCell<dyn Waits>>,
}

impl fmt::Debug for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parked").field("requests", &self.requests.len()).finish()
    }
}

impl Parked {
    /// The request of this context waits under that name.
    pub fn add(&mut self, waiting: Waiting, context: u32, request: Weak<RefCell<dyn Waits>>) {
        self.requests.insert(waiting, Entry { context, request });
    }

    /// It waits no more.
    pub fn remove(&mut self, waiting: Waiting) {
        self.requests.remove(&waiting);
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// Has those who were woken ask again, each in its own context; Envoy has them go on behind this callback.
/// To be called when no request is at work. Who asks may wake others.
pub fn wake(worker: &Worker, host: &impl Host) {
    let next = || {
        worker.with(|state| {
            while let Some(waiting) = state.engine.take_woken() {
                // One that has ended was forgotten.
                if let Some(entry) = state.parked.requests.remove(&waiting) {
                    return Some(entry);
                }
            }
            None
        })
    };
    let mut clock = None;
    while let Some(entry) = next().flatten() {
        // Without a clock it is asked for when its time is over.
        clock = clock.or_else(|| worker.ok(host.now()));
        let Some(now) = clock else {
            return;
        };
        let Some(request) = entry.request.upgrade() else {
            continue;
        };
        if worker.ok(host.enter(entry.context)).is_some() {
            if let Ok(mut request) = request.try_borrow_mut() {
                request.woken(now);
            }
            worker.ok(host.leave());
        }
    }
}
