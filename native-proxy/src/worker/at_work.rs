//! Connections of clients, as the engine counts them.

use super::Worker;
use bimetal_core::connections::Connected;
use bimetal_core::engine::Policies;
use bimetal_core::facts::Facts;
use bimetal_core::{Instant, Verdict};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Worker {
    /// A call comes on a client's connection. None where nobody counts those.
    ///
    /// # Errors
    /// The client has too many: what is decided of the call.
    pub(crate) fn connect<'p>(
        &self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
    ) -> Result<Option<Connected>, Verdict<'p>> {
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let mut engine = self.engine.borrow_mut();
            let connected = engine.connect(now, policies, facts);
            self.drain_events(&mut engine);
            connected
        }));
        decided.unwrap_or_else(|_| {
            self.decision_error();
            Ok(None)
        })
    }

    /// The call is over.
    pub(crate) fn disconnect(&self, connected: Connected) {
        self.tell(|engine| engine.disconnect(connected));
    }
}
