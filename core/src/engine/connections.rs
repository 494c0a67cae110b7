//! Connections of clients: whether a call may come on one more of them.

use super::{Engine, Policies};
use crate::connections::Connected;
use crate::decision::{Pass, PassReason, Rejected, Rejection, Verdict};
use crate::event::{Decided, State};
use crate::facts::Facts;
use crate::policy::{Mode, Scope};
use crate::series::SHARED_LABEL;
use crate::time::{Duration, Instant};

impl Engine {
    /// A call comes on a connection of a client, which counts from now on as at work for the policy that
    /// is for the call. Asked before [`Engine::admit`], so that what it refuses takes nothing. None where
    /// nobody counts: no policy is for it, the policy does not limit connections, or not this client's.
    ///
    /// What comes back is to be given to [`Engine::disconnect`] once the call is over, and the last byte
    /// of its answer sent.
    ///
    /// # Errors
    /// The client has as many as it may: the verdict, which is counted. In shadow mode it is a pass.
    pub fn connect<'p>(
        &mut self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
    ) -> Result<Option<Connected>, Verdict<'p>> {
        if !policies.limits_connections {
            return Ok(None);
        }
        let entry = policies.find(facts);
        let Some((entry, limit)) = entry.and_then(|entry| {
            let acts = matches!(entry.policy.mode, Mode::Enforce | Mode::Shadow);
            Some((entry, entry.policy.connections.as_ref().filter(|_| acts)?))
        }) else {
            return Ok(None);
        };
        let client = facts.client_address().filter(|client| !limit.allows(*client));
        let Some(client) = client else {
            return Ok(None);
        };
        let per_client = match self.connections.enter(limit, client, self.board.as_deref()) {
            Ok(connected) => return Ok(Some(connected)),
            Err(per_client) => per_client,
        };
        let policy = &entry.policy;
        // The endpoint is not chosen yet.
        let place = match policy.scope {
            Scope::Endpoint => None,
            _ => self.scope(policies, entry, facts),
        };
        let slot = place.and_then(|place| self.slots.get_mut(place));
        let (row, breaker) = match slot {
            Some(slot) => (slot.row, slot.guard.state()),
            None => (self.recorder.series().open(&policy.name, SHARED_LABEL), State::Closed),
        };
        let rejection = Rejection::Connections { per_client, breaker };
        let (call, decided) = (self.next_call(), Decided::Rejected(rejection.rule()));
        let is_shadow = policy.mode == Mode::Shadow;
        self.recorder.decided(now, row, call, decided, is_shadow, Duration::ZERO);
        Err(if is_shadow {
            Verdict::Pass(Pass { policy, why: PassReason::Shadow(rejection) })
        } else {
            Verdict::Reject(Rejected { policy, rejection })
        })
    }

    /// A connection is not at work any more.
    pub fn disconnect(&mut self, connected: Connected) {
        self.connections.leave(connected);
    }
}
