//! Waiting to within microseconds: the runtime's own timer counts in milliseconds.

use anyhow::{Context, Result};
use rustix::fd::{AsFd, OwnedFd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::Receiver;

/// A timer of the kernel's that the runtime waits for like for a pipe.
#[derive(Debug)]
pub(super) struct Clock {
    timer: OwnedFd,
    /// The same timer. To the runtime it is something that becomes readable and is then read; that
    /// is all it asks of a pipe, and its own way to wait for any file is not a safe function.
    rings: Receiver,
}

impl Clock {
    /// A timer, within a runtime.
    ///
    /// # Errors
    /// The kernel gives none.
    pub(super) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).context("no timer")?;
        let rings = Receiver::from_owned_fd_unchecked(timer.try_clone()?)?;
        Ok(Self { timer, rings })
    }

    /// Waits until `due`; returns at once where that has passed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) async fn wait(&self, due: Instant) -> Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::empty(), &once(left))?;
        loop {
            self.rings.readable().await?;
            match self.rings.try_read(&mut [0; 8]) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("a timer cannot be read"),
            }
        }
    }
}

fn once(after: Duration) -> Itimerspec {
    Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_wakes_before_the_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::new().unwrap();
            for micros in [0, 50, 700, 3_000] {
                let due = Instant::now() + Duration::from_micros(micros);
                clock.wait(due).await.unwrap();
                assert!(Instant::now() >= due);
            }
            clock.wait(Instant::now() - Duration::from_secs(1)).await.unwrap();
        });
    }
}
