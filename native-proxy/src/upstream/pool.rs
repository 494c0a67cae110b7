//! The connections of one worker to one upstream.
//!
//! A stack: the connection used last is used next, so that the others can grow old and be closed.

use super::connection::Connection;
use bimetal_core::{Duration, Instant};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
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
}

/// One worker's connections to one upstream.
#[derive(Debug)]
pub(crate) struct Pool {
    upstream: Arc<str>,
    limits: Limits,
    open: Cell<usize>,
    #[expect(
        clippy::vec_box,
        reason = "connections are large, and move in and out with every call"
    )]
    idle: RefCell<Vec<Box<Connection>>>,
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
        (&mut self.receiver).await.ok()
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

impl Slot {
    /// The pool it belongs to.
    pub(crate) fn pool(&self) -> Rc<Pool> {
        self.pool.clone()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
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
            idle: RefCell::default(),
            waiting: RefCell::default(),
            late: RefCell::default(),
            retired: Cell::new(false),
        })
    }

    /// The upstream's name.
    pub(crate) fn upstream(&self) -> &Arc<str> {
        &self.upstream
    }

    /// A connection or permission to open one, where that takes no waiting.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Checkout> {
        if let Some(connection) = self.idle.borrow_mut().pop() {
            return Some(Checkout::Connection(connection));
        }
        (self.open.get() < self.limits.max_connections).then(|| Checkout::Slot(self.slot()))
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
        if let Some(connection) = self.idle.borrow_mut().pop() {
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
        if self.retired.get() {
            return;
        }
        connection.idle_since = now;
        let mut checkout = Checkout::Connection(connection);
        while let Some(waiter) = self.next_waiter().or_else(|| self.next_late()) {
            match waiter.send(checkout) {
                Ok(()) => return,
                Err(back) => checkout = back,
            }
        }
        if let Checkout::Connection(connection) = checkout {
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Closes connections that were unused for too long, or that the upstream closed.
    pub(crate) fn sweep(&self, now: Instant) {
        // Taken out first: dropping a connection gives its slot back to this pool.
        let connections = self.idle.take();
        let kept = connections.into_iter().filter_map(|mut connection| {
            let fresh = now.since(connection.idle_since) < self.limits.idle;
            (fresh && connection.is_alive()).then_some(connection)
        });
        let kept: Vec<_> = kept.collect();
        self.idle.replace(kept);
    }

    /// Ends the pool: idle connections close now, others when their call is done.
    pub(crate) fn retire(&self) {
        self.retired.set(true);
        drop(self.idle.take());
    }

    /// Connections that are open, idle or in use.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    fn slot(self: &Rc<Self>) -> Slot {
        self.open.set(self.open.get() + 1);
        Slot { pool: self.clone() }
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
