//! Upstreams: where they are, and this worker's connections to them.

mod balance;
mod connection;
mod directory;
mod endpoint;
mod group;
mod health;
mod member;
mod names;
mod pool;
mod quiet_waker;
mod race;
mod replay;
mod resolve;
mod runner;
mod upload;
mod view;

pub(crate) use connection::{BodyStep, Connection};
pub(crate) use directory::Directory;
pub(crate) use endpoint::Endpoint;
pub(crate) use member::State as EndpointState;
pub(crate) use pool::{Checkout, Limits, Pool, Slot};
pub(crate) use resolve::Resolver;
pub(crate) use upload::{ContinueGate, KeptUpload, Upload};

use crate::clock::Clock;
use crate::config;
use crate::serve;
use bimetal_core::outcome::{FailureRules, Outcome};
use race::{Finish, Race, WonLast};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use view::View;

/// A connection that is not open after so long is late.
const LATE: Duration = Duration::from_millis(50);

/// One upstream as one worker sees it.
#[derive(Debug)]
pub(crate) struct Upstream {
    settings: Arc<config::Upstream>,
    resolver: Rc<Resolver>,
    turn: Cell<usize>,
    family: WonLast,
    view: View,
    /// The worker's connections.
    pub pool: Rc<Pool>,
}

/// What an upstream has in common with others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// Who looks names up.
    pub resolver: &'a Rc<Resolver>,
    /// The endpoints of the process.
    pub directory: &'a Directory,
    /// Each worker has its share of the connections.
    pub workers: usize,
    /// From which draws among endpoints follow.
    pub seed: u64,
}

/// A connection for the next request.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The connection.
    pub connection: Box<Connection>,
    /// Whether requests went over it before: then the upstream may have closed it.
    pub used_before: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Connections and queue are at their limits.
    Overflow,
    /// The system gives this process no more sockets; the text says why.
    Exhausted(String),
    /// No address of any endpoint took a connection; the text says why.
    Connect(String),
}

/// Where a call is to go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Aim<'a> {
    /// To any endpoint but these, where there is another one: they failed it before.
    Avoiding(&'a [Rc<Endpoint>]),
    /// To this one alone: it was admitted for it.
    Only(&'a Rc<Endpoint>),
}

impl Upstream {
    /// An upstream of one worker.
    pub(crate) fn new(settings: Arc<config::Upstream>, around: Surroundings<'_>) -> Self {
        let share = |total: usize| total.div_ceil(around.workers.max(1));
        let pool = Pool::new(
            settings.name.clone(),
            Limits {
                max_connections: share(settings.pool.max_connections).max(1),
                max_pending: share(settings.pool.max_pending),
                idle: settings.pool.idle,
                max_requests: settings.pool.max_requests.map(|total| share(total.get())),
                max_requests_per_connection: settings.pool.max_requests_per_connection,
            },
        );
        let group = around.directory.group(&settings);
        let view = View::new(&group, settings.balance, around.seed, &pool);
        let resolver = around.resolver.clone();
        Self { settings, resolver, turn: Cell::new(0), family: WonLast::default(), view, pool }
    }

    /// What it was made from.
    pub(crate) fn settings(&self) -> &Arc<config::Upstream> {
        &self.settings
    }

    /// The rules by which outcomes are judged of calls without a policy; none where nobody asks.
    pub(crate) fn failure_rules(&self) -> Option<&Arc<FailureRules>> {
        self.settings.outlier.as_ref().map(|_| &self.settings.failure)
    }

    /// A connection or permission to open one, to the endpoint whose turn it is; none where that takes
    /// waiting.
    pub(crate) fn take(&self, aim: Aim<'_>) -> Option<Checkout> {
        match aim {
            Aim::Avoiding(avoided) => self.pool.take(&self.choose(avoided)?),
            Aim::Only(endpoint) => self.pool.take_from(endpoint),
        }
    }

    /// The endpoint that a call goes to, where there is one: one that is avoided only where all are.
    pub(crate) fn choose(&self, avoided: &[Rc<Endpoint>]) -> Option<Rc<Endpoint>> {
        self.view.choose(&self.pool, avoided)
    }

    /// A connection or permission to open one, waiting in the queue for at most `queue_wait`; before the
    /// first answer to a name also for that.
    ///
    /// # Errors
    /// [`NoConnection::Overflow`], or [`NoConnection::Connect`] where there is no endpoint.
    pub(crate) async fn checkout(
        &self,
        queue_wait: Duration,
        aim: Aim<'_>,
    ) -> Result<Checkout, NoConnection> {
        if self.pool.is_busy() {
            return Err(NoConnection::Overflow);
        }
        self.view.filled(queue_wait).await?;
        if let Some(checkout) = self.take(aim) {
            return Ok(checkout);
        }
        let place = self.pool.wait().ok_or(NoConnection::Overflow)?;
        let mut checkout = match tokio::time::timeout(queue_wait, place.served()).await {
            Ok(Some(checkout)) => checkout,
            _ => return Err(NoConnection::Overflow),
        };
        // Meanwhile its endpoint may have been left out: then its place is used for another one.
        let chosen = match aim {
            Aim::Avoiding(avoided) => self.choose(avoided).ok_or_else(|| self.view.none())?,
            Aim::Only(endpoint) => endpoint.clone(),
        };
        let fits = |to: &Rc<Endpoint>| match aim {
            Aim::Avoiding(_) => to.is_usable(),
            Aim::Only(endpoint) => Rc::ptr_eq(to, endpoint),
        };
        if let Checkout::Connection(connection) = checkout {
            if connection.slot.endpoint().is_some_and(fits) {
                return Ok(Checkout::Connection(connection));
            }
            checkout = Checkout::Slot(connection.close());
        }
        if let Checkout::Slot(slot) = &mut checkout {
            slot.lead_to(chosen);
            slot.is_pinned = matches!(aim, Aim::Only(_));
        }
        Ok(checkout)
    }

    /// Opens a connection; once that is late, one that comes back to the pool serves as well. An upstream
    /// whose backlog is full drops what it cannot queue, and the system asks again after a second (RFC
    /// 6298, 2.1), when the calls before this one are long done. What was begun goes on and comes to the
    /// pool: to an upstream that is far, all connections are late, and the pool would never grow.
    ///
    /// # Errors
    /// As [`Upstream::open`].
    pub(crate) async fn open_or_reuse(
        self: &Rc<Self>,
        slot: Slot,
        limit: Duration,
        clock: Clock,
    ) -> Result<Ready, NoConnection> {
        let new = |connection| Ready { connection, used_before: false };
        if slot.is_pinned {
            // What comes back may lead elsewhere.
            return self.open(slot, limit).await.map(new);
        }
        let upstream = self.clone();
        let mut opening = Box::pin(async move { upstream.open(slot, limit).await });
        if let Ok(opened) = tokio::time::timeout(LATE, &mut opening).await {
            return opened.map(new);
        }
        let connection = tokio::select! {
            biased;
            Some(connection) = self.pool.returned() => connection,
            opened = &mut opening => return opened.map(new),
        };
        tokio::task::spawn_local(async move {
            if let Ok(opened) = opening.await {
                opened.release(clock.now());
            }
        });
        Ok(Ready { connection, used_before: true })
    }

    /// Connects to the endpoint that was chosen, or to whichever of all addresses of all that get calls
    /// takes the connection first: see [`Race`].
    ///
    /// # Errors
    /// [`NoConnection::Connect`], after `limit` at the latest; [`NoConnection::Exhausted`].
    async fn open(&self, mut slot: Slot, limit: Duration) -> Result<Box<Connection>, NoConnection> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let chosen = slot.endpoint().cloned().ok_or_else(|| self.view.none())?;
        // The others stand in for it; of one endpoint there are none, and nothing is allocated.
        let others = if slot.is_pinned { Vec::new() } else { self.view.others(&chosen, turn) };
        // Whose turn it is among the addresses of a name changes once all endpoints had theirs.
        let address_turn = turn / (1 + others.len());
        let places = std::iter::once(&chosen).chain(&others).map(|endpoint| &endpoint.member.place);
        let race = Race::new(places, address_turn, &self.resolver, &self.family);
        let Finish { end, failed } = race.run(limit).await;
        for place in failed {
            let endpoint = place.checked_sub(1).map_or(Some(&chosen), |place| others.get(place));
            endpoint.into_iter().for_each(|endpoint| endpoint.saw(Outcome::Failure));
        }
        let (stream, place) = end?;
        if let Some(other) = place.checked_sub(1).and_then(|place| others.get(place)) {
            slot.lead_to(other.clone());
        }
        let ready = set_up(&stream).map_err(|error| NoConnection::Connect(error.to_string()));
        let begun = match ready {
            Ok(()) => Connection::begin(stream, slot, self.settings.idle.into()).await,
            Err(none) => return Err(none),
        };
        begun.map_err(|error| NoConnection::Connect(error.to_string()))
    }
}

fn set_up(stream: &TcpStream) -> std::io::Result<()> {
    // For those that wait long for a word, and for tunnels: an end that died says nothing.
    socket2::SockRef::from(stream).set_tcp_keepalive(&serve::alive())?;
    // Requests are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)
}

#[cfg(test)]
#[path = "upstream_tests.rs"]
mod tests;
