//! What a breaker that never tripped does not need. Nearly all scopes of a large table are such: so it
//! is made with the first change of state.

use super::mesh::Mesh;
use super::open_time::Recovery;
use super::order::Held;
use super::probes::Leases;
use super::ramp::Ramp;
use super::view::Journal;
use crate::time::Instant;

/// The part of a breaker that a call of a healthy one does not touch.
#[derive(Clone, Debug, Default)]
pub(super) struct Cold {
    /// This replica's own probes.
    pub leases: Leases,
    pub ramp: Option<Ramp>,
    pub recovery: Recovery,
    /// When the present state began.
    pub since: Instant,
    /// When anything in the record changed last.
    pub moved: Instant,
    pub journal: Journal,
    /// Where an operator holds it.
    pub held: Option<Held>,
    /// What it knows of replicas in other processes.
    pub mesh: Mesh,
}
