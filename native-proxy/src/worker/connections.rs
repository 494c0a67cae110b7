//! The connections of a worker: how many there are, and how they learn that it drains.

use super::Worker;
use std::rc::Rc;
use std::task::Waker;

/// The connections of a worker: whom to wake when it drains.
#[derive(Debug, Default)]
pub(super) struct Connections {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

/// A place among a worker's connections; its drop, also by a panic, gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    worker: Rc<Worker>,
    index: usize,
}

impl Worker {
    /// A place for one more connection.
    pub(crate) fn enter(self: &Rc<Self>) -> Place {
        let mut connections = self.connections.borrow_mut();
        let index = connections.free.pop().unwrap_or_else(|| {
            connections.wakers.push(None);
            connections.wakers.len() - 1
        });
        Place { worker: self.clone(), index }
    }

    /// Connections at present.
    pub(crate) fn connections(&self) -> usize {
        let connections = self.connections.borrow();
        connections.wakers.len() - connections.free.len()
    }

    /// Returns when no connection is left.
    pub(crate) async fn emptied(&self) {
        while self.connections() > 0 {
            self.left.notified().await;
        }
    }

    /// Begins to drain: every connection learns it.
    pub(crate) fn drain(&self) {
        self.draining.set(true);
        self.drain.send_replace(true);
        let wakers: Vec<_> = self.connections.borrow().wakers.iter().flatten().cloned().collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Place {
    /// Has the task that polls this connection woken when the worker drains.
    pub(crate) fn wake_on_drain(&self, waker: &Waker) {
        if let Some(place) = self.worker.connections.borrow_mut().wakers.get_mut(self.index) {
            place.get_or_insert_with(|| waker.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let worker = &self.worker;
        if std::thread::panicking() {
            worker.panics.set(worker.panics.get() + 1);
        }
        let mut connections = worker.connections.borrow_mut();
        if let Some(place) = connections.wakers.get_mut(self.index) {
            *place = None;
        }
        connections.free.push(self.index);
        worker.left.notify_one();
    }
}
