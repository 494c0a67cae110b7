//! How many connections of one client may be at work.
//!
//! A connection counts while a call is under way on it: whoever holds it tells the end by
//! [`ClientConnections::leave`]. An idle connection costs next to nothing, and has no call that would
//! say which policy it is for. A client is an IPv4 address, or the network of an IPv6 address: its first
//! 64 bits, for that much a single subscriber has (RFC 6177, RFC 7421), and each of them may be another
//! address with every connection.
//!
//! The count of a client is a word. One worker has it for itself, or shares it with others on a
//! [board](crate::board): a compare-and-swap changes it then, so the limit is exact over all workers.
//! Clients without a call are forgotten, so the table has no more of them than there are connections,
//! and a few that were here just now.

use crate::board::{Board, HeldWords};
use crate::guard::Place;
use crate::policy::Network;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::IpAddr;

/// How many connections a client may have at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionsPolicy {
    /// So many, 1 at least.
    pub per_client: u32,
    /// Clients that are not limited.
    pub allow: Vec<Network>,
    /// The status of its rejections.
    pub status: u16,
    /// Whose connections they are: policies that have it in common count together.
    pub hash: u64,
}

impl ConnectionsPolicy {
    /// Whether a client at this address is not limited.
    pub fn allows(&self, client: IpAddr) -> bool {
        self.allow.iter().any(|network| network.contains(client))
    }
}

/// The connections at work, by client, as one worker sees them.
#[derive(Debug, Default)]
pub struct ClientConnections {
    // By order and not by hash: addresses are what clients choose.
    clients: BTreeMap<Client, Count>,
    /// How many clients there may be before idle ones are looked for.
    sweep_at: usize,
}

/// A connection at work. To be given back to [`ClientConnections::leave`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a connection that is not given back counts for ever"]
pub struct Connected(Client);

/// A client of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Client {
    policy: u64,
    network: u128,
}

/// The connections of one client.
#[derive(Debug)]
struct Count {
    all: HeldWords<1>,
    /// Those of this worker.
    own: u64,
}

/// Fewer clients than this are not worth a sweep.
const FEW: usize = 1024;

impl Client {
    fn of(policy: u64, address: IpAddr) -> Self {
        let network = match address.to_canonical() {
            // Within ::/64, where no client's address is (RFC 4291, 2.5).
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> 64 << 64,
        };
        Self { policy, network }
    }
}

impl ClientConnections {
    /// Counts one more connection of the client at `address`; with the workers that share `board`.
    ///
    /// # Errors
    /// It has as many as it may; the limit is given.
    pub fn enter(
        &mut self,
        policy: &ConnectionsPolicy,
        address: IpAddr,
        board: Option<&dyn Board>,
    ) -> Result<Connected, u32> {
        let client = Client::of(policy.hash, address);
        if !self.clients.contains_key(&client) {
            self.make_room();
        }
        let count = self.clients.entry(client).or_insert_with(|| {
            let key = client.network.to_le_bytes();
            let words = Place { board, key: &key }.words(policy.hash, 1);
            Count { all: words.map_or_else(HeldWords::own, HeldWords::Shared), own: 0 }
        });
        let most = u64::from(policy.per_client);
        match count.all.update(0, |all| (all < most).then(|| all + 1)) {
            Some(_) => {
                count.own += 1;
                Ok(Connected(client))
            }
            None => Err(policy.per_client),
        }
    }

    /// A connection is not at work any more.
    pub fn leave(&mut self, connection: Connected) {
        if let Some(count) = self.clients.get_mut(&connection.0) {
            count.leave(1);
        }
    }

    /// Clients that are known.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Forgets clients without a connection at work, where there are many: twice what is left may come
    /// until the next time, so that costs each new client a constant share.
    fn make_room(&mut self) {
        if self.clients.len() >= self.sweep_at.max(FEW) {
            self.clients.retain(|_, count| count.own > 0);
            self.sweep_at = self.clients.len() * 2;
        }
    }
}

impl Count {
    fn leave(&mut self, connections: u64) {
        self.all.update(0, |all| Some(all.saturating_sub(connections)));
        self.own = self.own.saturating_sub(connections);
    }
}

/// A worker that ends leaves no connections behind.
impl Drop for Count {
    fn drop(&mut self) {
        if self.own > 0 {
            self.leave(self.own);
        }
    }
}

#[cfg(test)]
mod tests;
