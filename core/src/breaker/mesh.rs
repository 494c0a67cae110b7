//! A breaker that decides as one with replicas in other processes (`share: mesh`): the deltas that it gives
//! to [a store](crate::board::far), and what it makes of the sum of all.
//!
//! A call is decided by what is known here. This file is used once per exchange. Beside the state of each
//! replica's own breaker there is one of the mesh, closed or open, with a generation of its own:
//!
//! ```text
//!             the merged evidence trips, or `quorum` replicas opened on their own
//!   CLOSED ──────────────────────────────────────────────────────────────────────▶ OPEN
//!     ▲                        a replica's probes succeed                            │
//!     └──────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - A replica that trips on what it saw itself is open by itself, and has a vote. So one pod with a broken
//!   egress opens nobody else. Its own changes do not raise the generation of the mesh.
//! - Evidence of one replica alone is not merged evidence. The replica with most failures is left out, and
//!   the others must still have a failure in the streak, or a share of failures that trips.
//! - The mesh has the state of the highest generation; in the same generation open goes before closed. A
//!   replica that was closed follows an OPEN, for what is left of its time and never longer than
//!   `open.max`.
//! - A replica that followed follows the close too. One that opened on its own evidence closes on its own
//!   probes: the half of a mesh that cannot reach the upstream stays open and does not take the other half
//!   with it again and again.
//! - Only a replica that is closed opens the mesh: one that is open already would give the others what is left
//!   of its own open time. Where all replicas that opened the mesh are gone, a closed one whose last result
//!   was good closes it.
//! - A new generation of the mesh begins without evidence and without votes.

use super::evidence::{reaches, streak_trips};
use super::record::{self, Phase};
use super::{Breaker, Cause, State};
use crate::board::far::{Delta, Member, Merged, Sum};
use crate::policy::{RateCondition, Share};
use crate::time::{Duration, Instant};

/// A record that is older than the last one by more than this comes from another store, or from one whose
/// clock was set. One that is older by less was overtaken on its way.
const ANOTHER_CLOCK: Duration = Duration::from_secs(10);

/// What a replica knows of its mesh.
#[derive(Clone, Debug, Default)]
pub(super) struct Mesh {
    generation: u64,
    is_open: bool,
    /// Whether its own breaker opened on its own evidence in this generation.
    is_vote: bool,
    /// Whether its own breaker opened on its own evidence, in whichever generation, and did not close since.
    opened_itself: bool,
    /// The store's time of the last record that was merged. None before the first.
    merged_at: Option<Instant>,
    has_news: bool,
}

impl Mesh {
    /// The breaker itself changed its state.
    pub(super) fn entered(&mut self, from: State, to: State) {
        match to {
            State::Open => {
                self.is_vote |= from == State::Closed && !self.is_open;
                self.opened_itself = true;
            }
            State::HalfOpen => {}
            State::Closed => {
                (self.is_vote, self.opened_itself) = (false, false);
                if self.is_open {
                    self.enter(self.generation.saturating_add(1), false);
                }
            }
        }
    }

    fn enter(&mut self, generation: u64, is_open: bool) {
        (self.generation, self.is_open) = (generation, is_open);
        self.is_vote = false;
        self.has_news = true;
    }

    /// Whether a record of the store's time `at` is newer than the last one; it is the last one then.
    fn is_newer(&mut self, at: Instant) -> bool {
        let is_newer = self.merged_at.is_none_or(|last| at > last || at + ANOTHER_CLOCK < last);
        if is_newer {
            self.merged_at = Some(at);
        }
        is_newer
    }
}

impl Breaker {
    /// What others should know of it, where anything changed since the last one; nothing while an operator holds it. While it is open or
    /// half-open there is always one, so that a store that forgot everything learns it again. None where it
    /// shares nothing with other processes.
    pub fn take_delta(&mut self, now: Instant, member: Member, sequence: u64) -> Option<Delta> {
        if self.held().is_some() {
            // An order is for this process alone.
            return None;
        }
        let mut has_news = self.evidence.as_mut()?.mesh_windows().0?.take_news();
        has_news |= match self.record.phase {
            Phase::Closed { .. } => false,
            Phase::HalfOpen(_) | Phase::Trial(_) => true,
            Phase::Open { until } => until > now,
        };
        let cold = self.cold.as_deref_mut();
        has_news |= cold.is_some_and(|cold| core::mem::take(&mut cold.mesh.has_news));
        // Most scopes of a large table: not even the board is asked.
        if !has_news {
            return None;
        }
        self.look(now);
        self.bound_open_time(now);
        let open_for = match self.record.phase {
            Phase::Open { until } => until.since(now),
            _ => Duration::ZERO,
        };
        let evidence = self.evidence.as_mut()?;
        evidence.exchange(now);
        let (failures, slow) = evidence.mesh_windows();
        let (streak, failures) = failures?.own_counts(now);
        let slow = slow.map(|window| window.own_counts(now).1).unwrap_or_default();
        let mesh = self.cold.as_ref().map(|cold| cold.mesh.clone()).unwrap_or_default();
        Some(Delta {
            member,
            sequence,
            state: self.record.state(),
            open_for,
            level: self.record.level,
            cause: self.record.cause,
            generation: mesh.generation,
            is_mesh_open: mesh.is_open,
            is_vote: mesh.is_vote,
            streak,
            failures,
            slow,
        })
    }

    /// The last delta may not have reached the store: there will be another one.
    pub fn give_back_delta(&mut self) {
        self.cold().mesh.has_news = true;
    }

    /// Learns what all members together know.
    pub fn merge(&mut self, now: Instant, merged: &Merged) {
        let Share::Mesh { quorum } = self.policy.share else {
            return;
        };
        if self.held().is_some() {
            return;
        }
        self.look(now);
        self.expire_leases(now);
        self.bound_open_time(now);
        let mesh = &mut self.cold().mesh;
        let is_first = mesh.merged_at.is_none();
        if !mesh.is_newer(merged.at) {
            return;
        }
        let state = (merged.generation, merged.is_open);
        if state > (mesh.generation, mesh.is_open) {
            self.join(now, state, is_first);
        }
        let mesh = &mut self.cold().mesh;
        if mesh.generation != merged.generation {
            // The store forgot the generation.
            mesh.has_news = true;
            return;
        }
        if mesh.is_open {
            self.follow_open(now, merged);
            self.close_abandoned(merged);
        } else if self.state() == State::Closed {
            // Not where it is open or half-open: the others would get what is left of its own open time.
            self.open_with_others(now, merged, quorum);
        }
    }

    /// Opens the mesh where it is closed and there is reason to.
    fn open_with_others(&mut self, now: Instant, merged: &Merged, quorum: u16) {
        let cause = self.merged_cause(merged);
        if cause.is_none() && merged.votes < quorum.max(1) {
            return;
        }
        let mesh = &mut self.cold().mesh;
        mesh.enter(mesh.generation.saturating_add(1), true);
        let Some(cause) = cause else {
            return self.follow_open(now, merged);
        };
        while self.state() == State::Closed {
            self.open(now, cause, None);
            self.cold().mesh.opened_itself = false;
        }
    }

    /// A newer state of the mesh.
    fn join(&mut self, now: Instant, (generation, is_open): (u64, bool), is_first: bool) {
        let mesh = &mut self.cold().mesh;
        let is_vote = mesh.is_vote;
        mesh.enter(generation, is_open);
        if is_first {
            // It voted before it could learn of the generation.
            mesh.is_vote = is_vote && !is_open;
        }
        if is_open {
            return;
        }
        if !is_first {
            self.restart_mesh_windows(None);
        }
        while self.state() != State::Closed && !self.cold().mesh.opened_itself {
            let closed = Phase::Closed { streak: 0 };
            let next = self.record.entering(closed, Cause::ProbesSucceeded);
            self.follow(now, next);
        }
    }

    /// Opens a closed breaker because the mesh is open.
    fn follow_open(&mut self, now: Instant, merged: &Merged) {
        let left = merged.open_for.min(self.policy.open.max);
        while !left.is_zero() && self.state() == State::Closed {
            let code = record::cause_code(merged.cause);
            let cause = record::cause_of(code, State::Open, &self.policy.trip);
            let mut next = self.record.entering(Phase::Open { until: now + left }, cause);
            next.level = next.level.max(merged.level);
            self.follow(now, next);
            self.cold().mesh.opened_itself = false;
        }
    }

    /// Closes a mesh that is open while no replica in it is: those that would have closed it are gone. The
    /// last result here must be good.
    fn close_abandoned(&mut self, merged: &Merged) {
        let window = self.evidence.as_mut().and_then(|evidence| evidence.mesh_windows().0);
        let is_last_good = window.is_some_and(|window| window.is_last_good());
        if merged.open_for.is_zero() && self.state() == State::Closed && is_last_good {
            let mesh = &mut self.cold().mesh;
            mesh.enter(mesh.generation.saturating_add(1), false);
        }
    }

    /// What trips on the evidence of all; never on that of one replica alone.
    fn merged_cause(&self, merged: &Merged) -> Option<Cause> {
        let trip = &self.policy.trip;
        let rate = |rate: &Option<RateCondition>, sum: &Sum| {
            rate.as_ref().is_some_and(|rate| {
                let Sum { all, others } = sum;
                reaches(rate, all.calls, all.bad)
                    && others.bad > 0
                    && f64::from(others.bad) / f64::from(others.calls) >= rate.threshold
            })
        };
        let streak = streak_trips(trip, merged.streak).filter(|_| merged.streak_of_others > 0);
        if streak.is_some() {
            return streak;
        }
        let (failures, slow) = (&merged.failures, &merged.slow);
        if rate(&trip.failure_rate, failures) {
            return Some(Cause::FailureRate {
                calls: failures.all.calls,
                failures: failures.all.bad,
            });
        }
        rate(&trip.slow_rate, slow)
            .then_some(Cause::SlowRate { calls: slow.all.calls, slow: slow.all.bad })
    }

    /// The breaker itself changed its state, whoever made it.
    #[cold]
    pub(super) fn mesh_entered(&mut self, at: Instant, from: State) {
        let to = self.state();
        if self.held().is_none() {
            self.cold().mesh.entered(from, to);
        }
        if to == State::Closed {
            self.restart_mesh_windows(Some(at));
        }
    }

    fn restart_mesh_windows(&mut self, good: Option<Instant>) {
        let windows = self.evidence.as_mut().map(|evidence| evidence.mesh_windows());
        let (failures, slow) = windows.unwrap_or_default();
        [failures, slow].into_iter().flatten().for_each(|window| window.restart(good));
    }
}
