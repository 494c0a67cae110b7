//! The connections of one worker to one upstream: how many there may be, and who waits for one. Those that
//! wait for a request lie with their [endpoints](super::endpoint).

use super::connection::Connection;
use super::endpoint::Endpoint;
use bimetal_core::{Duration, Instant};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Bounds of a worker's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Most connections of this worker.
    pub max_connections: usize,
    /// Most calls of this worker that wait for one.
    pub max_pending: usize,
    /// How long a connection may wait unused.
    pub idle: Duration,
    /// Most calls of this worker under way.
    pub max_requests: Option<usize>,
    /// After so many requests a connection closes.
    pub max_requests_per_connection: Option<NonZeroUsize>,
}

/// One worker's connections to one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Arc<str>,
    limits: Limits,
    open: Cell<usize>,
    /// Those that the upstream has now.
    endpoints: RefCell<Vec<Rc<Endpoint>>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Checkout>>>,
    /// Calls whose own connection is late: they have a slot already, and take a connection alone.
    late: RefCell<VecDeque<oneshot::Sender<Checkout>>>,
    /// Whether the pool has ended: connections that come back are closed.
    retired: Cell<bool>,
}

/// What a call gets from the pool: a connection, or permission to open one.
#[derive(Debug)]
pub(crate) enum Checkout {
    /// A connection that was used before.
    Connection(Box<Connection>),
    /// Permission to open a new one.
    Slot(Slot),
}

/// A place among the connections of a pool, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Rc<Pool>,
    /// Where its connection leads, or the call that has no connection yet wants to go.
    endpoint: Option<Rc<Endpoint>>,
    /// Whether it counts as a call under way there.
    is_call: bool,
    /// Whether its connection must lead there, and nowhere else.
    pub(super) is_pinned: bool,
}

/// A call's place in a queue of the pool.
#[derive(Debug)]
pub(crate) struct Place {
    pool: Rc<Pool>,
    receiver: oneshot::Receiver<Checkout>,
}

impl Place {
    /// What the call waits for; none where the pool is gone.
    pub(crate) async fn served(mut self) -> Option<Checkout> {
        let mut checkout = (&mut self.receiver).await.ok();
        if let Some(Checkout::Connection(connection)) = &mut checkout {
            connection.slot.begin();
        }
        checkout
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.receiver.close();
        // The call ended after this was sent to it: it is the next one's. A slot goes back by itself.
        if let Ok(Checkout::Connection(connection)) = self.receiver.try_recv() {
            let since = connection.idle_since;
            self.pool.put(connection, since);
        }
    }
}

impl Checkout {
    /// Where it leads.
    pub(crate) fn endpoint(&self) -> Option<&Rc<Endpoint>> {
        match self {
            Self::Connection(connection) => connection.slot.endpoint(),
            Self::Slot(slot) => slot.endpoint(),
        }
    }
}

impl Slot {
    /// The pool it belongs to.
    pub(crate) fn pool(&self) -> Rc<Pool> {
        self.pool.clone()
    }

    /// Where it leads.
    pub(crate) fn endpoint(&self) -> Option<&Rc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// It leads here from now on, and a call goes there.
    pub(super) fn lead_to(&mut self, endpoint: Rc<Endpoint>) {
        self.rest();
        self.endpoint = Some(endpoint);
        self.begin();
    }

    /// A call begins on it.
    #[inline]
    pub(super) fn begin(&mut self) {
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| !self.is_call) {
            endpoint.enter();
            self.is_call = true;
        }
    }

    /// The call on it is over.
    #[inline]
    fn rest(&mut self) {
        if let Some(endpoint) = self.endpoint.as_ref().filter(|_| self.is_call) {
            endpoint.exit();
        }
        self.is_call = false;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.rest();
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
        self.pool.hand_out_slot();
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(upstream: Arc<str>, limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            upstream,
            limits,
            open: Cell::new(0),
            endpoints: RefCell::default(),
            waiting: RefCell::default(),
            late: RefCell::default(),
            retired: Cell::new(false),
        })
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// These are the upstream's endpoints from now on; others were told to leave.
    pub(super) fn set_endpoints(&self, endpoints: Vec<Rc<Endpoint>>) {
        self.endpoints.replace(endpoints);
    }

    /// A connection to `endpoint`, or permission to open one, where that takes no waiting. At the limit
    /// one to another endpoint is better than waiting.
    pub(crate) fn take(self: &Rc<Self>, endpoint: &Rc<Endpoint>) -> Option<Checkout> {
        if self.is_busy() {
            return None;
        }
        self.take_free(endpoint).or_else(|| self.any_idle().map(Checkout::Connection))
    }

    /// The same to this endpoint and no other.
    pub(super) fn take_from(self: &Rc<Self>, endpoint: &Rc<Endpoint>) -> Option<Checkout> {
        if self.is_busy() {
            return None;
        }
        let mut checkout = self.take_free(endpoint);
        if let Some(Checkout::Slot(slot)) = &mut checkout {
            slot.is_pinned = true;
        }
        checkout
    }

    #[inline]
    fn take_free(self: &Rc<Self>, endpoint: &Rc<Endpoint>) -> Option<Checkout> {
        if let Some(mut connection) = endpoint.pop_idle() {
            connection.slot.begin();
            return Some(Checkout::Connection(connection));
        }
        if self.open.get() < self.limits.max_connections {
            let mut slot = self.slot();
            slot.lead_to(endpoint.clone());
            return Some(Checkout::Slot(slot));
        }
        None
    }

    /// Whether as many calls are under way as may be. Each has a connection, or makes one.
    pub(super) fn is_busy(&self) -> bool {
        self.limits.max_requests.is_some_and(|most| {
            let endpoints = self.endpoints.borrow();
            let idle: usize = endpoints.iter().map(|endpoint| endpoint.idle()).sum();
            self.open.get() >= most.saturating_add(idle)
        })
    }

    /// An idle connection to whichever endpoint gets calls.
    fn any_idle(&self) -> Option<Box<Connection>> {
        let endpoints = self.endpoints.borrow();
        let mut usable = endpoints.iter().filter(|endpoint| endpoint.is_usable());
        let mut connection = usable.find_map(|endpoint| endpoint.pop_idle())?;
        connection.slot.begin();
        Some(connection)
    }

    /// A place in the queue for a connection; `None` where the queue is full.
    pub(crate) fn wait(self: &Rc<Self>) -> Option<Place> {
        let mut waiting = self.waiting.borrow_mut();
        // Those who gave up still stand in the queue: they make room before anybody is sent away.
        if waiting.len() >= self.limits.max_pending {
            waiting.retain(|waiter| !waiter.is_closed());
        }
        (waiting.len() < self.limits.max_pending).then(|| self.place(&mut waiting))
    }

    /// A connection that was used before, for a call whose own is late: one that is there, or the next
    /// that comes back. Those who wait in the queue have nothing at all and go first.
    pub(crate) async fn returned(self: &Rc<Self>) -> Option<Box<Connection>> {
        if let Some(connection) = self.any_idle() {
            return Some(connection);
        }
        let place = {
            let mut late = self.late.borrow_mut();
            // Each has a slot of its own, so there are never more of them than connections.
            late.retain(|waiter| !waiter.is_closed());
            self.place(&mut late)
        };
        match place.served().await {
            Some(Checkout::Connection(connection)) => Some(connection),
            Some(Checkout::Slot(_)) | None => None,
        }
    }

    /// Takes a connection back that is ready for the next request.
    pub(crate) fn put(&self, mut connection: Box<Connection>, now: Instant) {
        let most = self.limits.max_requests_per_connection;
        if self.retired.get() || most.is_some_and(|most| connection.requests >= most.get()) {
            return;
        }
        connection.idle_since = now;
        connection.slot.rest();
        connection.slot.is_pinned = false;
        let Some(endpoint) = connection.slot.endpoint.clone() else {
            return;
        };
        if !endpoint.is_usable() && self.has_waiters() {
            // Whoever waits is not sent where nobody is to go: the drop gives them the place instead.
            return;
        }
        let mut checkout = Checkout::Connection(connection);
        while let Some(waiter) = self.next_waiter().or_else(|| self.next_late()) {
            match waiter.send(checkout) {
                Ok(()) => return,
                Err(back) => checkout = back,
            }
        }
        if let Checkout::Connection(connection) = checkout {
            endpoint.push_idle(connection);
        }
    }

    /// Closes connections that were unused for too long, or that the upstream closed.
    pub(crate) fn sweep(&self, now: Instant) {
        let endpoints = self.endpoints.borrow().clone();
        endpoints.iter().for_each(|endpoint| endpoint.sweep(now, self.limits.idle));
    }

    /// Ends the pool: idle connections close now, others when their call is done.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        self.endpoints.take().iter().for_each(|endpoint| endpoint.leave());
    }

    /// Connections that are open, idle or in use.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// A place, whether or not there is one.
    pub(crate) fn slot(self: &Rc<Self>) -> Slot {
        self.open.set(self.open.get() + 1);
        Slot { pool: self.clone(), endpoint: None, is_call: false, is_pinned: false }
    }

    fn has_waiters(&self) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        waiting.retain(|waiter| !waiter.is_closed());
        !waiting.is_empty()
    }

    fn next_waiter(&self) -> Option<oneshot::Sender<Checkout>> {
        self.waiting.borrow_mut().pop_front()
    }

    fn next_late(&self) -> Option<oneshot::Sender<Checkout>> {
        self.late.borrow_mut().pop_front()
    }

    /// The last place of `queue`.
    fn place(self: &Rc<Self>, queue: &mut VecDeque<oneshot::Sender<Checkout>>) -> Place {
        let (sender, receiver) = oneshot::channel();
        queue.push_back(sender);
        Place { pool: self.clone(), receiver }
    }

    /// Hands on the place that was just given back.
    fn hand_out_slot(self: &Rc<Self>) {
        while let Some(waiter) = self.next_waiter() {
            if waiter.is_closed() {
                continue;
            }
            // The waiter may be gone all the same; its slot then comes back here by its drop, which
            // serves the next one.
            drop(waiter.send(Checkout::Slot(self.slot())));
            return;
        }
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
