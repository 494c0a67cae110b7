//! A timer that costs a store to move.
//!
//! A request's time limit is set for each request and hardly ever comes. Moving an entry of the
//! runtime's timer wheel for each would cost more than the breaker's decision. So an [`Alarm`] lets
//! the wheel ring at the old time, looks at the clock then, and sleeps on.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// Rings at its deadline, to the wheel's millisecond.
#[derive(Debug)]
pub(crate) struct Alarm {
    wheel: Pin<Box<Sleep>>,
    deadline: Instant,
}

impl Alarm {
    /// An alarm for `deadline`.
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { wheel: Box::pin(tokio::time::sleep_until(deadline.into())), deadline }
    }

    /// Moves the alarm: a store, where the new deadline is not earlier than what the wheel holds.
    pub(crate) fn set(&mut self, deadline: Instant) {
        self.deadline = deadline;
        if deadline < self.wheel.deadline().into_std() {
            self.wheel.as_mut().reset(deadline.into());
        }
    }
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.wheel.as_mut().poll(cx));
            let deadline = self.deadline;
            if self.wheel.deadline().into_std() >= deadline {
                return Poll::Ready(());
            }
            self.wheel.as_mut().reset(deadline.into());
        }
    }
}

impl hyper::rt::Sleep for Alarm {}

/// How long something may stand still. Where it keeps moving, it costs neither a timer nor a look
/// at the clock.
#[derive(Debug)]
pub(crate) struct Pause {
    limit: Duration,
    /// Whether it moved since the last time it was asked.
    has_moved: bool,
    alarm: Option<Alarm>,
}

impl Pause {
    /// One of at most `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, has_moved: true, alarm: None }
    }

    /// It moved.
    pub(crate) fn moved(&mut self) {
        self.has_moved = true;
    }

    /// To be asked when it does not move: ready once that lasts for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_within(cx, None)
    }

    /// The same; `limit` is in place of its own, where there is one.
    pub(crate) fn poll_within(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
    ) -> Poll<()> {
        let end = || Instant::now() + limit.unwrap_or(self.limit);
        let alarm = match (&mut self.alarm, self.has_moved) {
            (Some(alarm), false) => alarm,
            (Some(alarm), true) => {
                alarm.set(end());
                alarm
            }
            (empty, _) => empty.insert(Alarm::new(end())),
        };
        self.has_moved = false;
        Pin::new(alarm).poll(cx)
    }
}

/// A timer for hyper under which its own limits never come. With one set it looks for the next
/// request as soon as an answer is done, which is when our limit begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoAlarms(pub Instant);

/// Never ready.
#[derive(Debug)]
struct Never;

impl Future for Never {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl hyper::rt::Sleep for Never {}

impl hyper::rt::Timer for NoAlarms {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Never)
    }

    fn sleep_until(&self, _: Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Never)
    }

    fn now(&self) -> Instant {
        self.0
    }

    fn reset(&self, _: &mut Pin<Box<dyn hyper::rt::Sleep>>, _: Instant) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waited(alarm: &mut Alarm) -> u128 {
        let begun = tokio::time::Instant::now();
        alarm.await;
        begun.elapsed().as_millis()
    }

    fn after(millis: u64) -> Instant {
        tokio::time::Instant::now().into_std() + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_last_deadline_that_was_set() {
        let mut alarm = Alarm::new(after(100));
        alarm.set(after(300));
        let late = waited(&mut alarm).await;
        assert!((300..=302).contains(&late), "{late}");
        alarm.set(after(50));
        let early = waited(&mut alarm).await;
        assert!((50..=52).contains(&early), "{early}");
        alarm.set(after(5_000));
        alarm.set(after(10));
        let earlier = waited(&mut alarm).await;
        assert!((10..=12).contains(&earlier), "{earlier}");
    }
}
