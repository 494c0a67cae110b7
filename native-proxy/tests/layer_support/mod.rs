//! Guards for tests, and bodies whose every frame the test sends.
#![allow(dead_code, reason = "each test program uses its own part")]

use bimetal_proxy::Guard;
use bimetal_proxy::bimetal_core::event::State;
use bimetal_proxy::bimetal_core::outcome::Outcome;
use bimetal_proxy::bimetal_core::policy::{Document, Host};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// More replicas than a test program has threads: so no two of its threads share one.
const REPLICAS: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// A document with one policy `p`; `more` is added to it.
pub(crate) fn document(more: &str) -> Document {
    parsed("policy", more)
}

/// A document whose policy has this scope and trips after three failures.
pub(crate) fn scoped(scope: &str) -> Document {
    parsed(scope, &breaker("60s"))
}

fn parsed(scope: &str, more: &str) -> Document {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "p", "scope": "{scope}", {more}}}]}}"#
    );
    Document::parse(text.as_bytes(), Host::Native).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// `breaker` of [`document`] with this open time.
pub(crate) fn breaker(open: &str) -> String {
    format!(
        r#""breaker": {{"trip": {{"consecutive_failures": 3}},
            "open": {{"base": "{open}", "jitter": 0}}}}"#
    )
}

/// A guard by [`document`], with a replica for each thread.
pub(crate) fn guard(more: &str) -> Guard {
    Guard::builder().replicas(REPLICAS).build(&document(more))
}

/// A guard that stays open once it tripped.
pub(crate) fn long_open() -> Guard {
    guard(&breaker("60s"))
}

/// How many calls counted as `outcome`, over all replicas.
pub(crate) fn count(guard: &Guard, outcome: Outcome) -> u64 {
    let (mut sum, mut rows) = (0, 0);
    guard.series(|_, _, _, counts| {
        sum += counts.outcome(outcome);
        rows += 1;
    });
    assert!(rows > 0, "nothing was counted: 0 would say nothing");
    sum
}

/// How many replicas saw a failure.
pub(crate) fn replicas_with_failures(guard: &Guard) -> usize {
    let mut replicas = Vec::new();
    guard.series(|replica, _, _, counts| {
        if counts.outcome(Outcome::Failure) > 0 {
            replicas.push(replica);
        }
    });
    replicas.dedup();
    replicas.len()
}

/// Calls that are under way.
pub(crate) fn outstanding(guard: &Guard) -> u64 {
    let totals = guard.totals();
    totals.issued - totals.settled
}

/// How many of the replicas that have a breaker say this state.
pub(crate) fn replicas_in(guard: &Guard, state: State) -> usize {
    let (mut sum, mut all) = (0, 0);
    guard.breakers(|_, breaker| {
        sum += usize::from(breaker.view.state == state);
        all += 1;
    });
    assert!(all > 0, "there is no breaker");
    sum
}

/// What a test sends as a body.
pub(crate) type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, &'static str>>;

/// A body that gives what is sent to it.
#[derive(Debug)]
pub(crate) struct Sent(mpsc::UnboundedReceiver<Result<Frame<Bytes>, &'static str>>);

/// A body, and the end at which its frames go in.
pub(crate) fn body() -> (Frames, Sent) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Sent(receiver))
}

impl Body for Sent {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0.poll_recv(cx)
    }
}
