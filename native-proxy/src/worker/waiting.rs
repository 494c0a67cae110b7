//! Calls that wait in the core's queues, and how they learn that they are to ask again.

use super::Worker;
use crate::upstream::Endpoint;
use bimetal_core::engine::Policies;
use bimetal_core::{Facts, Instant, Verdict, Wait, Waiting};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// The calls of a worker that wait.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls(RefCell<HashMap<Waiting, Rc<Notify>>>);

impl WaitingCalls {
    /// Wakes a call. One that has ended is not here any more.
    pub(super) fn wake(&self, waiting: Waiting) {
        if let Some(woken) = self.0.borrow().get(&waiting) {
            woken.notify_one();
        }
    }
}

/// A call that waits. Its drop, before it was decided, has it forgotten.
#[derive(Debug)]
pub(crate) struct WaitingCall {
    worker: Rc<Worker>,
    /// It is judged by what it came under.
    policies: Rc<Policies>,
    /// None once it is decided.
    waiting: Option<Waiting>,
    woken: Rc<Notify>,
    /// It waits for this one, where each has a scope of its own.
    endpoint: Option<Rc<Endpoint>>,
    begun: Instant,
    until: Instant,
}

impl WaitingCall {
    /// A call that came at `begun` and is to wait.
    #[cold]
    pub(crate) fn new(
        worker: &Rc<Worker>,
        policies: &Rc<Policies>,
        begun: Instant,
        endpoint: Option<Rc<Endpoint>>,
        wait: &Wait<'_>,
    ) -> Box<Self> {
        let woken = Rc::new(Notify::new());
        worker.waiting.0.borrow_mut().insert(wait.waiting, woken.clone());
        Box::new(Self {
            worker: worker.clone(),
            policies: policies.clone(),
            waiting: Some(wait.waiting),
            woken,
            endpoint,
            begun,
            until: wait.until,
        })
    }

    /// The policies that it is judged by.
    pub(crate) fn policies(&self) -> Rc<Policies> {
        self.policies.clone()
    }

    /// The endpoint that it waits for.
    pub(crate) fn endpoint(&self) -> Option<Rc<Endpoint>> {
        self.endpoint.clone()
    }

    /// Returns when it is to ask again.
    pub(crate) async fn is_to_ask(&self) {
        let left = Duration::from(self.until.since(self.worker.clock.now()));
        // The wheel's milliseconds may end a little early: then it is told to wait on.
        drop(tokio::time::timeout(left, self.woken.notified()).await);
    }

    /// Asks again. Where it is to wait on it stays; else it is decided.
    pub(crate) fn ask<'p>(
        &mut self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
    ) -> Verdict<'p> {
        let Some(waiting) = self.waiting else {
            return Verdict::Unmatched;
        };
        let verdict = self.worker.admit_again(now, policies, facts, waiting, self.begun);
        match &verdict {
            Verdict::Wait(wait) => self.until = wait.until,
            // Nothing matched, or the engine failed: what it knows of the call is forgotten.
            Verdict::Unmatched => {}
            _ => self.is_decided(),
        }
        verdict
    }

    fn is_decided(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.worker.waiting.0.borrow_mut().remove(&waiting);
        }
    }
}

impl Drop for WaitingCall {
    fn drop(&mut self) {
        let Some(waiting) = self.waiting else {
            return;
        };
        self.is_decided();
        let now = self.worker.clock.now();
        self.worker.tell(|engine| engine.forget(now, waiting));
    }
}

impl Worker {
    /// Returns when another worker has a slot that calls of this one may wait for.
    pub(super) async fn bell_rings(&self) {
        self.bell.notified().await;
    }

    /// Gives it to them.
    pub(super) fn serve_waiting(&self) {
        let now = self.clock.now();
        self.tell(|engine| engine.serve_waiting(now));
    }
}
