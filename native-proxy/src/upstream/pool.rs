//! The connections of one worker to one upstream.
//!
//! A stack: the connection used last is used next, so that the others can grow old and be closed.

use super::link::Link;
use bimetal_core::{Duration, Instant};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
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
    limits: Limits,
    open: Cell<usize>,
    #[expect(clippy::vec_box, reason = "links are large, and move in and out with every call")]
    idle: RefCell<Vec<Box<Link>>>,
    waiting: RefCell<VecDeque<oneshot::Sender<Grant>>>,
    retired: Cell<Retired>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retired {
    No,
    Yes,
}

/// What a call gets that asks for a connection.
#[derive(Debug)]
pub(crate) enum Grant {
    /// A connection that was used before.
    Link(Box<Link>),
    /// Leave to open a new one.
    Slot(Slot),
}

/// A place among the connections of a pool, given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    pool: Rc<Pool>,
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
    pub(crate) fn new(limits: Limits) -> Rc<Self> {
        Rc::new(Self {
            limits,
            open: Cell::new(0),
            idle: RefCell::default(),
            waiting: RefCell::default(),
            retired: Cell::new(Retired::No),
        })
    }

    /// A connection or leave to make one, where that takes no waiting.
    pub(crate) fn take(self: &Rc<Self>) -> Option<Grant> {
        if let Some(link) = self.idle.borrow_mut().pop() {
            return Some(Grant::Link(link));
        }
        (self.open.get() < self.limits.max_connections).then(|| Grant::Slot(self.slot()))
    }

    /// A place in the queue for a connection; `None` where the queue is full.
    pub(crate) fn wait(&self) -> Option<oneshot::Receiver<Grant>> {
        let mut waiting = self.waiting.borrow_mut();
        // Those who gave up still stand in the queue: they make room before anybody is sent away.
        if waiting.len() >= self.limits.max_pending {
            waiting.retain(|waiter| !waiter.is_closed());
        }
        (waiting.len() < self.limits.max_pending).then(|| {
            let (sender, receiver) = oneshot::channel();
            waiting.push_back(sender);
            receiver
        })
    }

    /// Takes a connection back that is ready for the next request.
    pub(crate) fn put(&self, mut link: Box<Link>, now: Instant) {
        if self.retired.get() == Retired::Yes {
            return;
        }
        let mut grant = Grant::Link(link);
        while let Some(waiter) = self.next_waiter() {
            match waiter.send(grant) {
                Ok(()) => return,
                Err(back) => grant = back,
            }
        }
        if let Grant::Link(back) = grant {
            link = back;
            link.idle_since = now;
            self.idle.borrow_mut().push(link);
        }
    }

    /// Closes connections that were unused for too long, or that the upstream closed.
    pub(crate) fn sweep(&self, now: Instant) {
        // Taken out first: dropping a link gives its slot back to this pool.
        let links = self.idle.take();
        let kept = links.into_iter().filter_map(|mut link| {
            let fresh = now.since(link.idle_since) < self.limits.idle;
            (fresh && link.is_alive()).then_some(link)
        });
        let kept: Vec<_> = kept.collect();
        self.idle.replace(kept);
    }

    /// Ends the pool: idle connections close now, others when their call is done.
    pub(crate) fn retire(&self) {
        self.retired.set(Retired::Yes);
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

    fn next_waiter(&self) -> Option<oneshot::Sender<Grant>> {
        self.waiting.borrow_mut().pop_front()
    }

    fn hand_out_slot(self: &Rc<Self>) {
        while self.open.get() < self.limits.max_connections {
            let Some(waiter) = self.next_waiter() else {
                return;
            };
            if waiter.is_closed() {
                continue;
            }
            // The waiter may be gone all the same; its slot then comes back here by its drop, which
            // serves the next one.
            drop(waiter.send(Grant::Slot(self.slot())));
            return;
        }
    }
}
