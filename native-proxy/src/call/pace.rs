//! How fast an answer goes to its client: no faster than its policy says.
//!
//! A body is cut into pieces of a twentieth of a second. One goes when those before it are paid for by
//! time; until then nothing more is taken from the upstream. So there is one timer for each piece, and a
//! connection that is paced costs others nothing. In any time `t` no more than `after` + `rate` · (`t` +
//! 0.1 s) is sent: a piece may go at once, and one that a late timer missed is made up for. Blasts with long
//! pauses between them are what users of other proxies complain of (http-party/node-http-proxy#274).

use crate::clock::Clock;
use crate::timer::Alarm;
use bimetal_core::policy::BandwidthPolicy;
use bimetal_core::{Duration, Instant};
use bytes::Bytes;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a piece takes.
const PIECE: Duration = Duration::from_millis(50);

/// The pace of one answer, and what of it waits.
#[derive(Debug)]
pub(super) struct Paced {
    pace: Pace,
    held: Bytes,
    clock: Clock,
    alarm: Option<Alarm>,
}

impl Paced {
    /// An answer that begins now.
    pub(super) fn new(policy: BandwidthPolicy, clock: Clock) -> Box<Self> {
        let pace = Pace::new(policy, clock.now());
        Box::new(Self { pace, held: Bytes::new(), clock, alarm: None })
    }

    /// What waits to be sent.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Has this wait. Nothing else may by then.
    pub(super) fn hold(&mut self, data: Bytes) {
        self.held = data;
    }

    /// Ready when something may be sent.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.pace.due <= self.clock.now() {
                return Poll::Ready(());
            }
            let due = self.clock.timer_instant(self.pace.due);
            let alarm = match &mut self.alarm {
                Some(alarm) => {
                    alarm.set(due);
                    alarm
                }
                empty => empty.insert(Alarm::new(due)),
            };
            // The wheel's milliseconds may end a little early.
            std::task::ready!(Pin::new(alarm).poll(cx));
        }
    }

    /// What may be sent at once of what waits; to be asked when it is due.
    pub(super) fn take(&mut self) -> Bytes {
        let size = self.pace.send(self.clock.now(), self.held.len());
        self.held.split_to(size)
    }
}

/// When the next piece may go.
#[derive(Debug)]
struct Pace {
    rate: u64,
    piece: u64,
    /// Bytes that are not paced.
    free: u64,
    due: Instant,
}

impl Pace {
    fn new(policy: BandwidthPolicy, now: Instant) -> Self {
        let rate = policy.per_connection.bytes;
        let piece = (rate / (1000 / PIECE.as_millis())).max(1);
        Self { rate, piece, free: policy.after, due: now }
    }

    /// Of so many bytes, how many go now.
    fn send(&mut self, now: Instant, bytes: usize) -> usize {
        let size = (bytes as u64).min(self.free.saturating_add(self.piece));
        let paid = size - size.min(self.free);
        self.free -= size - paid;
        if paid > 0 {
            let nanos = u128::from(paid) * 1_000_000_000 / u128::from(self.rate);
            let takes = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let missed = now.since(self.due).min(PIECE);
            self.due = Instant::from_nanos(now.as_nanos() - missed.as_nanos()) + takes;
        }
        usize::try_from(size).unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::policy::Bandwidth;

    fn pace(rate: u64, after: u64) -> Pace {
        let per_connection = Bandwidth { bytes: rate };
        Pace::new(BandwidthPolicy { per_connection, after }, Instant::from_millis(9_000))
    }

    /// Sends as long as it may, looking `late` after each time that it is due; the time that it took.
    fn takes(pace: &mut Pace, mut bytes: usize, late: Duration) -> Duration {
        let begun = pace.due;
        let mut now = begun;
        while bytes > 0 {
            now = now.max(pace.due) + late;
            bytes -= pace.send(now, bytes);
        }
        now.since(begun)
    }

    #[test]
    fn a_body_takes_what_its_rate_says_and_the_first_piece_no_time() {
        let took = takes(&mut pace(10_000, 0), 10_000, Duration::ZERO);
        assert_eq!(took, Duration::from_millis(950));
        assert_eq!(takes(&mut pace(10_000, 0), 500, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn what_is_free_takes_no_time() {
        let took = takes(&mut pace(10_000, 5_000), 10_000, Duration::ZERO);
        assert_eq!(took, Duration::from_millis(450));
        assert_eq!(takes(&mut pace(1_024, 1 << 20), 1 << 20, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_late_timer_costs_nothing_and_a_long_silence_gives_nothing() {
        let late = Duration::from_millis(40);
        assert_eq!(takes(&mut pace(10_000, 0), 10_000, late), Duration::from_millis(990));
        let mut paced = pace(10_000, 0);
        let now = paced.due + Duration::from_secs(60);
        // A piece, and the one that was missed.
        assert_eq!([(), ()].map(|()| paced.send(now, 10_000)), [500; 2]);
        assert_eq!(paced.due, now + Duration::from_millis(50));
    }

    #[test]
    fn small_rates_and_large_ones_move_on() {
        assert_eq!(pace(1, 0).send(Instant::from_millis(9_000), 100), 1);
        let mut fast = pace(1 << 40, 0);
        assert_eq!(fast.send(Instant::from_millis(9_000), 1 << 20), 1 << 20);
        assert!(fast.due < Instant::from_millis(10_000));
    }
}
