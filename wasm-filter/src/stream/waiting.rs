//! A request that waits for a slot: paused, and asked about again when it is woken or its time is over.

use super::Stream;
use crate::facts::Request;
use crate::parked::Waits;
use crate::port::Host;
use crate::registry::Worker;
use crate::reply;
use bimetal_core::call::Upload;
use bimetal_core::{Instant, Verdict, Waiting};

/// What is known of a request that asks, and kept while Envoy holds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paused {
    /// What the engine knows it by; none once it was decided.
    waiting: Option<Waiting>,
    /// When it asked first.
    pub(super) begun: Instant,
    /// How far it is on its way once it goes on.
    pub(super) upload: Upload,
}

/// From where a request asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// From the tick, where no request is at work.
    Tick,
    /// From within another request's callback.
    AnotherRequest,
}

impl Paused {
    /// One that asked at `begun`.
    pub(super) const fn new(begun: Instant, upload: Upload) -> Self {
        Self { waiting: None, begun, upload }
    }
}

impl<H: Host> Stream<H> {
    /// The request waits: until it is woken, but no longer than `until`.
    pub(super) fn wait(
        &mut self,
        worker: &Worker,
        (waiting, until): (Waiting, Instant),
        paused: Paused,
    ) {
        self.paused = Some(Paused { waiting: Some(waiting), ..paused });
        worker.with(|state| {
            state.parked.add(waiting, self.context, self.itself.clone());
            state.watch.add(until, self.context, self.itself.clone());
        });
    }

    /// It asks again, and goes on or is answered. With a local reply Envoy stops whichever request it is
    /// at, so only the tick answers: until then a rejection is kept.
    pub(super) fn ask_again(&mut self, now: Instant, from: From) {
        let (Some(instance), Some(paused)) = (self.instance.clone(), self.paused) else {
            return;
        };
        let worker = &instance.worker;
        let Some(waiting) = paused.waiting else {
            // It was decided, and is to be answered, or Envoy would not have it go on.
            let reply = self.refusal.take_if(|_| from == From::Tick);
            return match reply.map(|reply| worker.ok(self.host.reply(&reply))) {
                Some(Some(())) => self.paused = None,
                _ if self.refusal.is_some() => {}
                _ => self.go_on(worker, now),
            };
        };
        let host = self.host.clone();
        let facts = Request::new(&host);
        let (policies, begun) = (&instance.policies, paused.begun);
        let verdict = worker.with(|state| {
            state.parked.remove(waiting);
            let verdict = state.engine.admit_again(now, policies, &facts, waiting, begun);
            facts.failed().into_iter().for_each(|error| state.failed(error));
            state.write_events(&self.host);
            verdict
        });
        self.paused = Some(Paused { waiting: None, ..paused });
        if let (Some(Verdict::Reject(rejected)), From::AnotherRequest) = (&verdict, from) {
            self.mark(rejected.policy, Some(rejected.rejection.state()));
            super::fell_back(worker, rejected);
            self.refusal = Some(Box::new(reply::of(rejected)));
            worker.with(|state| state.watch.add(now, self.context, self.itself.clone()));
            return;
        }
        if self.carry_out(worker, now, verdict, &facts, paused) {
            self.go_on(worker, now);
        } else if self.paused.is_some_and(|paused| paused.waiting.is_none()) {
            // It was answered.
            self.paused = None;
        }
    }

    /// Has Envoy go on with it. One that Envoy does not let go is tried again on the tick.
    fn go_on(&mut self, worker: &Worker, now: Instant) {
        if worker.ok(self.host.go_on()).is_some() {
            self.paused = None;
        } else {
            worker.with(|state| state.watch.add(now, self.context, self.itself.clone()));
        }
    }

    /// The request ended while it waited: others may have what is kept for it.
    pub(super) fn forget(&mut self) {
        let waiting = self.paused.take().and_then(|paused| paused.waiting);
        let (Some(worker), Some(waiting)) = (self.worker(), waiting) else {
            return;
        };
        let now = worker.ok(self.host.now());
        worker.with(|state| {
            state.parked.remove(waiting);
            // Without a clock the engine forgets it as it would have at the beginning of time: its slot
            // matters more than a measure of the queue.
            state.engine.forget(now.unwrap_or(Instant::ZERO), waiting);
            state.write_events(&self.host);
        });
    }
}

impl<H: Host> Waits for Stream<H> {
    fn woken(&mut self, now: Instant) {
        self.ask_again(now, From::AnotherRequest);
    }
}
