//! Requests that the tick comes back to, because nothing that Envoy tells may come in time.

use crate::port::Host;
use crate::registry::Worker;
use bimetal_core::Instant;
use std::cell::RefCell;
use std::fmt;
use std::rc::Weak;

/// A request whose time can be over.
pub trait Watched {
    /// The time that was asked for has come. In the request's own context.
    fn due(&mut self, now: Instant);
}

/// Requests and when to come back to them. One that ended is forgotten at the latest with the next tick,
/// so that its end costs nothing.
#[derive(Debug, Default)]
pub struct Watch {
    requests: Vec<Entry>,
    /// So many may be in the list before it is looked at without a tick.
    sweep_at: usize,
}

struct Entry {
    at: Instant,
    context: u32,
    request: Weak<RefCell<dyn Watched>>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, context, .. } = self;
        f.debug_struct("Entry").field("at", at).field("context", context).finish_non_exhaustive()
    }
}

/// So few ended requests are no matter.
const FEW: usize = 1024;

impl Watch {
    /// Comes back to the request of this context at the first tick after `at`.
    pub fn add(&mut self, at: Instant, context: u32, request: Weak<RefCell<dyn Watched>>) {
        // A host that gives no ticks must not cost all memory.
        if self.requests.len() >= self.sweep_at.max(FEW) {
            self.requests.retain(|entry| entry.request.strong_count() > 0);
            self.sweep_at = 2 * self.requests.len();
        }
        self.requests.push(Entry { at, context, request });
    }

    /// Whether there is anybody to come back to.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Those that are due.
    fn take_due(&mut self, now: Instant) -> Vec<Entry> {
        self.requests.retain(|entry| entry.request.strong_count() > 0);
        self.requests.extract_if(.., |entry| entry.at <= now).collect()
    }
}

/// Comes back to the requests of a worker that are due.
pub fn tick(worker: &Worker, host: &impl Host) {
    if worker.with(|state| state.watch.is_empty()).unwrap_or(true) {
        return;
    }
    let Some(now) = worker.ok(host.now()) else {
        return;
    };
    for entry in worker.with(|state| state.watch.take_due(now)).unwrap_or_default() {
        let Some(request) = entry.request.upgrade() else {
            continue;
        };
        if worker.ok(host.enter(entry.context)).is_some() {
            if let Ok(mut request) = request.try_borrow_mut() {
                request.due(now);
            }
            worker.ok(host.leave());
        }
    }
}
