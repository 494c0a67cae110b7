//! What is known of one endpoint while a connection is looked for: its addresses, as they are
//! found, in the order in which they are tried.

use super::resolve::Found;
use crate::config::Endpoint;
use std::collections::VecDeque;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long an address of version 4 waits for those of version 6 (RFC 8305, 3: Resolution Delay).
const FAMILY_WAIT: Duration = Duration::from_millis(50);
/// One endpoint and what is known of it.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) endpoint: &'a Endpoint,
    v6: VecDeque<SocketAddr>,
    v4: VecDeque<SocketAddr>,
    pub(super) v4_next: bool,
    pub(super) names: Names,
}

/// How far the look-up of an endpoint's name is.
#[derive(Debug)]
pub(super) enum Names {
    /// It has not begun.
    Unasked,
    /// It goes on.
    Asked(Asked),
    /// Nothing more comes.
    Over,
}

#[derive(Debug)]
pub(super) struct Asked {
    found: watch::Receiver<Found>,
    took_v6: bool,
    took_v4: bool,
    /// Whether there is an answer for version 6, be it that there are none.
    knows_v6: bool,
    /// Since when there are addresses of version 4 alone.
    v4_since: Option<Instant>,
}

impl Names {
    /// A look-up that began just now.
    pub(super) const fn of(found: watch::Receiver<Found>) -> Self {
        Self::Asked(Asked {
            found,
            took_v6: false,
            took_v4: false,
            knows_v6: false,
            v4_since: None,
        })
    }
}

impl<'a> Runner<'a> {
    pub(super) fn new(endpoint: &'a Endpoint, v4_next: bool) -> Self {
        let (mut v6, mut v4, mut names) = (VecDeque::new(), VecDeque::new(), Names::Over);
        match endpoint {
            Endpoint::Address(address @ SocketAddr::V6(_)) => v6.push_back(*address),
            Endpoint::Address(address @ SocketAddr::V4(_)) => v4.push_back(*address),
            Endpoint::Name { .. } => names = Names::Unasked,
        }
        Self { endpoint, v6, v4, v4_next, names }
    }

    /// How many steps it may still take; a look-up that is not over counts as one.
    pub(super) fn left(&self) -> usize {
        let asked = usize::from(!matches!(self.names, Names::Over));
        self.v6.len() + self.v4.len() + asked
    }

    /// The next address, the families in turn.
    pub(super) fn next(&mut self) -> Option<SocketAddr> {
        let address = if self.v4_next {
            self.v4.pop_front().or_else(|| self.v6.pop_front())
        } else {
            self.v6.pop_front().or_else(|| self.v4.pop_front())
        };
        if let Some(address) = address {
            self.v4_next = address.is_ipv6();
        }
        address
    }

    /// Until when addresses of version 4 wait for others; none where they need not, or no more.
    pub(super) fn waits_until(&self) -> Option<Instant> {
        match &self.names {
            Names::Asked(asked) if !self.v4_next && !asked.knows_v6 => {
                let until = asked.v4_since.map(|since| since + FAMILY_WAIT);
                until.filter(|until| Instant::now() < *until)
            }
            _ => None,
        }
    }

    /// Returns when the look-up knows more; none where there is no look-up.
    pub(super) fn told(&self) -> Option<impl Future<Output = ()> + use<>> {
        let Names::Asked(asked) = &self.names else {
            return None;
        };
        let (mut found, took_v6, took_v4) = (asked.found.clone(), asked.took_v6, asked.took_v4);
        let knows_v6 = asked.knows_v6;
        Some(async move {
            let news = |found: &Found| {
                found.is_over
                    || (took_v4 && !knows_v6 && found.v6.is_some())
                    || (!took_v6 && has_some(found.v6.as_ref()))
                    || (!took_v4 && has_some(found.v4.as_ref()))
            };
            // A look-up that died tells nothing more: that is news too.
            drop(found.wait_for(news).await);
        })
    }

    /// Takes new addresses, the one whose turn it is first. Whether there are some, and where the
    /// look-up has ended without any why, and whether that is our own want.
    pub(super) fn take_found(&mut self, turn: usize) -> (bool, Option<(String, bool)>) {
        let (Names::Asked(asked), Endpoint::Name { host, port }) = (&mut self.names, self.endpoint)
        else {
            return (false, None);
        };
        let died = asked.found.has_changed().is_err();
        let found = asked.found.borrow().clone();
        let before = self.v6.len() + self.v4.len();
        asked.knows_v6 = found.v6.is_some();
        let socket = |ip: &IpAddr| SocketAddr::new(*ip, *port);
        if let (Some(v6), false) = (found.v6.filter(|v6| !v6.is_empty()), asked.took_v6) {
            asked.took_v6 = true;
            self.v6.extend(in_turn(&v6, turn).map(socket));
        }
        if let (Some(v4), false) = (found.v4.filter(|v4| !v4.is_empty()), asked.took_v4) {
            (asked.took_v4, asked.v4_since) = (true, Some(Instant::now()));
            self.v4.extend(in_turn(&v4, turn).map(socket));
        }
        let took_none = !asked.took_v6 && !asked.took_v4;
        if found.is_over || died {
            self.names = Names::Over;
            if took_none {
                let why = found.why.as_deref().unwrap_or("the look-up broke off");
                return (false, Some((format!("cannot resolve {host}: {why}"), found.is_own)));
            }
        }
        (self.v6.len() + self.v4.len() > before, None)
    }
}

fn has_some(addresses: Option<&Vec<IpAddr>>) -> bool {
    addresses.is_some_and(|addresses| !addresses.is_empty())
}

/// All of them, beginning with the one whose turn it is.
fn in_turn(addresses: &[IpAddr], turn: usize) -> impl Iterator<Item = &IpAddr> {
    let (before, from) = addresses.split_at(turn % addresses.len().max(1));
    from.iter().chain(before)
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
