//! The waker that a connection's HTTP library gets.
//!
//! A request's own task drives its connection, so most wake-ups of the library are of no use: a
//! request handed to a pooled connection would wake the task that used it last, and a body that asks
//! for its next piece would wake the task that is just asking. Each costs a turn of the task. So the
//! waker stays the same as long as the connection lives, and is silent where its user knows better.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// Wakes whoever drives the connection, except while it is silenced.
#[derive(Debug)]
pub(super) struct QuietWaker {
    shared: Arc<Shared>,
    waker: Waker,
}

#[derive(Debug)]
struct Shared {
    // Never waited for: a worker is one thread, but a waker must be fit to be sent.
    driver: Mutex<Waker>,
    is_silent: AtomicBool,
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_silent.load(Ordering::Relaxed) {
            self.driver.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
        }
    }
}

impl QuietWaker {
    /// A waker that wakes nobody until [`QuietWaker::driven_by`].
    pub(super) fn new() -> Self {
        let driver = Mutex::new(Waker::noop().clone());
        let shared = Arc::new(Shared { driver, is_silent: AtomicBool::new(true) });
        Self { waker: Waker::from(shared.clone()), shared }
    }

    /// The context to drive the connection with: from now on it wakes the task of `cx`.
    pub(super) fn driven_by(&self, cx: &Context<'_>) -> Context<'_> {
        {
            let mut driver = self.shared.driver.lock().unwrap_or_else(PoisonError::into_inner);
            if !driver.will_wake(cx.waker()) {
                driver.clone_from(cx.waker());
            }
        }
        self.shared.is_silent.store(false, Ordering::Relaxed);
        Context::from_waker(&self.waker)
    }

    /// Wakes nobody until the connection is driven again. What becomes ready meanwhile is found
    /// then: sockets keep their readiness.
    pub(super) fn silence(&self) {
        self.shared.is_silent.store(true, Ordering::Relaxed);
    }

    /// Does something whose wake-ups are of no use, because the connection is driven by who does it.
    pub(super) fn without<R>(&self, act: impl FnOnce() -> R) -> R {
        let was_silent = self.shared.is_silent.swap(true, Ordering::Relaxed);
        let done = act();
        self.shared.is_silent.store(was_silent, Ordering::Relaxed);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn wakes_its_last_driver_and_nobody_while_it_is_silent() {
        let tasks = [Arc::new(Counting::default()), Arc::new(Counting::default())];
        let wakers = tasks.clone().map(Waker::from);
        let woken = || tasks.clone().map(|task| task.0.load(Ordering::Relaxed));
        let quiet = QuietWaker::new();
        quiet.waker.wake_by_ref();
        assert_eq!(woken(), [0, 0], "nobody drives it yet");
        let taken = quiet.driven_by(&Context::from_waker(&wakers[0])).waker().clone();
        taken.wake_by_ref();
        assert_eq!(woken(), [1, 0]);
        quiet.without(|| taken.wake_by_ref());
        assert_eq!(woken(), [1, 0]);
        taken.wake_by_ref();
        assert_eq!(woken(), [2, 0]);
        quiet.silence();
        quiet.without(|| taken.wake_by_ref());
        taken.wake_by_ref();
        assert_eq!(woken(), [2, 0], "silence lasts");
        let _ = quiet.driven_by(&Context::from_waker(&wakers[1]));
        taken.wake_by_ref();
        assert_eq!(woken(), [2, 1], "what it gave out wakes the new driver");
    }
}
