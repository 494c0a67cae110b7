//! The server's capacity: so many calls at work, others in a queue, first come, first served.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// What the calls of one server share. One thread serves them all.
#[derive(Debug)]
pub(super) struct Slots {
    free: Semaphore,
    /// Calls that may wait.
    queue: u32,
    /// How long a call holds its slot.
    work: Duration,
    waiting: Cell<u32>,
    busy: Cell<u32>,
    busy_max: Cell<u32>,
    done: Cell<u64>,
    wasted: Cell<u64>,
}

/// Why a call was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    /// So many calls wait already.
    QueueFull(u32),
    /// The server ends.
    Ending,
}

/// What there is to tell of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// Calls that wait for a slot.
    pub(super) waiting: u32,
    /// Calls that hold one.
    pub(super) busy: u32,
    /// The most that ever held one at once.
    pub(super) busy_max: u32,
    /// Calls whose work was done.
    pub(super) done: u64,
    /// Those of them whose client had left before the work was done.
    pub(super) wasted: u64,
}

impl Slots {
    /// `slots` at work for `work` each, `queue` waiting.
    pub(super) fn new(slots: u32, queue: u32, work: Duration) -> Self {
        Self {
            free: Semaphore::new(slots as usize),
            queue,
            work,
            waiting: Cell::default(),
            busy: Cell::default(),
            busy_max: Cell::default(),
            done: Cell::default(),
            wasted: Cell::default(),
        }
    }

    /// Works on one call; returns when the work is done.
    ///
    /// The work goes on in a task of its own when the caller is dropped: nobody tells a busy
    /// server that a client has left.
    ///
    /// # Errors
    /// See [`NotServed`].
    pub(super) async fn serve(self: &Rc<Self>) -> Result<(), NotServed> {
        let taken = self.free.try_acquire().map(|slot| slot.forget()).is_ok();
        if !taken {
            if self.waiting.get() >= self.queue {
                return Err(NotServed::QueueFull(self.queue));
            }
            self.waiting.set(self.waiting.get() + 1);
        }
        let (done, is_done) = oneshot::channel();
        let slots = Rc::clone(self);
        tokio::task::spawn_local(async move {
            if !taken {
                let slot = slots.free.acquire().await;
                slots.waiting.set(slots.waiting.get() - 1);
                // It is never closed.
                let Ok(slot) = slot else { return };
                slot.forget();
            }
            slots.work().await;
            slots.done.set(slots.done.get() + 1);
            if done.send(()).is_err() {
                slots.wasted.set(slots.wasted.get() + 1);
            }
        });
        is_done.await.map_err(|_| NotServed::Ending)
    }

    /// Holds the slot that was taken for as long as the work takes, then gives it back.
    async fn work(&self) {
        self.busy.set(self.busy.get() + 1);
        self.busy_max.set(self.busy_max.get().max(self.busy.get()));
        if !self.work.is_zero() {
            tokio::time::sleep(self.work).await;
        }
        self.busy.set(self.busy.get() - 1);
        self.free.add_permits(1);
    }

    /// What there is to tell now.
    pub(super) fn sight(&self) -> Sight {
        Sight {
            waiting: self.waiting.get(),
            busy: self.busy.get(),
            busy_max: self.busy_max.get(),
            done: self.done.get(),
            wasted: self.wasted.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::task::{LocalSet, spawn_local, yield_now};

    const WORK: Duration = Duration::from_millis(20);

    /// Runs in virtual time, on one thread.
    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, test);
    }

    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[test]
    fn no_more_than_the_slots_are_at_work_and_the_first_come_is_the_first_served() {
        run(async {
            let slots = Rc::new(Slots::new(2, 100, WORK));
            let order = Rc::new(RefCell::new(Vec::new()));
            let start = tokio::time::Instant::now();
            let calls: Vec<_> = (0..7)
                .map(|number| {
                    let (slots, order) = (Rc::clone(&slots), Rc::clone(&order));
                    spawn_local(async move {
                        slots.serve().await.unwrap();
                        order.borrow_mut().push((number, start.elapsed()));
                    })
                })
                .collect();
            settle().await;
            let sight = slots.sight();
            assert_eq!((sight.busy, sight.waiting), (2, 5));
            for call in calls {
                call.await.unwrap();
            }
            for (place, (number, at)) in (0..).zip(order.borrow().iter()) {
                assert_eq!(*number, place);
                assert!(*at >= WORK * (place / 2 + 1), "call {place} was done after {at:?}");
            }
            let sight = slots.sight();
            assert_eq!((sight.busy, sight.waiting, sight.busy_max, sight.done), (0, 0, 2, 7));
            assert_eq!(sight.wasted, 0);
        });
    }

    #[test]
    fn a_full_queue_takes_nobody_in_and_keeps_who_waits() {
        run(async {
            let slots = Rc::new(Slots::new(1, 1, WORK));
            let first = spawn_local({
                let slots = Rc::clone(&slots);
                async move { slots.serve().await }
            });
            settle().await;
            let second = spawn_local({
                let slots = Rc::clone(&slots);
                async move { slots.serve().await }
            });
            settle().await;
            assert_eq!(slots.serve().await, Err(NotServed::QueueFull(1)));
            assert_eq!((first.await.unwrap(), second.await.unwrap()), (Ok(()), Ok(())));
            assert_eq!(slots.serve().await, Ok(()));
            assert_eq!(slots.sight().done, 3);
        });
    }

    #[test]
    fn work_for_a_client_that_left_is_done_and_counted_as_wasted() {
        run(async {
            let slots = Rc::new(Slots::new(1, 10, WORK));
            let leaves = |slots: &Rc<Slots>| {
                let slots = Rc::clone(slots);
                spawn_local(async move { slots.serve().await })
            };
            // One leaves while it is worked on, one while it waits.
            let (worked_on, waits) = (leaves(&slots), leaves(&slots));
            settle().await;
            worked_on.abort();
            waits.abort();
            slots.serve().await.unwrap();
            let sight = slots.sight();
            assert_eq!((sight.done, sight.wasted, sight.waiting, sight.busy), (3, 2, 0, 0));
        });
    }
}
