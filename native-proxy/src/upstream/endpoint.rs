//! One endpoint as one worker sees it: its connections that wait for the next request.

use super::connection::Connection;
use super::group::Group;
use super::member::Member;
use bimetal_core::outcome::Outcome;
use bimetal_core::{Duration, Instant};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// One endpoint of one worker.
///
/// Its idle connections are a stack: the one used last is used next, so that the others can grow old and be
/// closed.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// What all workers know of it.
    pub member: Arc<Member>,
    group: Arc<Group>,
    #[expect(
        clippy::vec_box,
        reason = "connections are large, and move in and out with every call"
    )]
    idle: RefCell<Vec<Box<Connection>>>,
    /// Whether calls to it are counted: of one endpoint alone nobody asks.
    is_counted: bool,
    /// Whether it gets calls at present.
    is_usable: Cell<bool>,
    /// Whether it is none of the upstream's any more: its connections close when their calls are done.
    is_gone: Cell<bool>,
}

impl Endpoint {
    /// One of `group`, without connections.
    pub(super) fn new(member: Arc<Member>, group: Arc<Group>, is_counted: bool) -> Rc<Self> {
        Rc::new(Self {
            member,
            group,
            idle: RefCell::default(),
            is_counted,
            is_usable: Cell::new(true),
            is_gone: Cell::new(false),
        })
    }

    /// The idle connection that was used last.
    pub(super) fn pop_idle(&self) -> Option<Box<Connection>> {
        self.idle.borrow_mut().pop()
    }

    /// How many connections wait.
    pub(super) fn idle(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Takes a connection back; one to an endpoint that is gone closes.
    pub(super) fn push_idle(&self, connection: Box<Connection>) {
        if !self.is_gone.get() {
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Closes connections that were unused for too long, or that the upstream closed.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) {
        // Taken out first: dropping a connection gives its slot back to the pool.
        let connections = self.idle.take();
        let kept = connections.into_iter().filter_map(|mut connection| {
            let fresh = now.since(connection.idle_since) < idle;
            (fresh && connection.is_alive()).then_some(connection)
        });
        let kept: Vec<_> = kept.collect();
        self.idle.replace(kept);
    }

    /// Idle connections close now, others when their call is done.
    pub(super) fn leave(&self) {
        self.is_gone.set(true);
        self.is_usable.set(false);
        drop(self.idle.take());
    }

    /// A call to it counted as `outcome`; or no connection to it could be made, which is a failure.
    #[inline]
    pub(crate) fn saw(&self, outcome: Outcome) {
        self.group.saw(&self.member, outcome);
    }

    /// It gets calls from now on, or none.
    pub(super) fn set_usable(&self, is_usable: bool) {
        self.is_usable.set(is_usable);
    }

    /// Whether it gets calls.
    pub(super) fn is_usable(&self) -> bool {
        self.is_usable.get()
    }

    /// A call to it begins.
    #[inline]
    pub(super) fn enter(&self) {
        if self.is_counted {
            self.member.enter();
        }
    }

    /// A call to it is over.
    #[inline]
    pub(super) fn exit(&self) {
        if self.is_counted {
            self.member.leave();
        }
    }
}
