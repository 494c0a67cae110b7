//! What a worker does by the clock: what time makes due in its breakers, and sweeping its pools. And what
//! other workers ring for.

use super::Worker;
use std::rc::Rc;
use std::time::Duration;

/// How often the pools are swept.
const SWEEP: Duration = Duration::from_secs(1);

/// Breakers are not looked after more often than this, however many probes are under way: each
/// admission looks after its own.
const FINEST: Duration = Duration::from_millis(5);

/// How often a worker looks at the board though nobody asks it anything: so an idle one learns that
/// another tripped, and shows what it counted itself.
const TICK: Duration = Duration::from_millis(100);

/// Keeps a worker for as long as it lives.
pub(super) async fn keep(worker: Rc<Worker>) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let due = {
            let engine = worker.engine.borrow();
            engine.next_wakeup().map(|at| at.since(worker.clock.now()))
        };
        let due = due.map_or(TICK, |due| Duration::from(due).clamp(FINEST, TICK));
        tokio::select! {
            _ = sweep.tick() => {
                let now = worker.clock.now();
                worker.routing().upstreams().iter().for_each(|upstream| upstream.pool.sweep(now));
                worker.failures.tell_of_suppressed(now);
                worker.warnings.tell_of_suppressed(now);
            }
            () = tokio::time::sleep(due) => {}
            () = worker.keeper.notified() => {}
            () = worker.bell_rings() => {
                worker.serve_waiting();
                continue;
            }
        }
        worker.poll();
    }
}

impl Worker {
    /// Carries out what time made due.
    fn poll(&self) {
        let now = self.clock.now();
        let mut engine = self.engine.borrow_mut();
        engine.poll(now);
        self.drain_events(&mut engine);
    }
}
