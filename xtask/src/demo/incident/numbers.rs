//! The incident's numbers: those of the report, and what they become here.
//!
//! One of the monolith's 150 pods stands for all of them, and time runs five times as fast. What the
//! report does not tell is marked as chosen.

use std::time::Duration;

/// As it was.
pub mod told {
    use std::time::Duration;

    /// Pods of the monolith.
    pub const PODS: u32 = 150;
    /// Processes of a pod: each serves one call at a time.
    pub const PROCESSES: u32 = 20;
    /// What a call of the monolith takes.
    pub const WORK: Duration = Duration::from_millis(200);
    /// How long the error tracker holds the monolith up while it is slow: its time limit.
    pub const REPORT_LIMIT: Duration = Duration::from_secs(1);
    /// How long checkout waits for the monolith, within a database transaction.
    pub const MONOLITH_LIMIT: Duration = Duration::from_secs(30);
    /// Shards of the processing queue.
    pub const SHARDS: usize = 4;
}

/// How much faster time runs.
pub const FASTER: u32 = 5;

/// Calls that the monolith serves at once: one pod's.
pub const SLOTS: u32 = told::PROCESSES;
/// What a call of the monolith takes.
pub const WORK: Duration = faster(told::WORK);
/// How long the monolith waits for the tracker.
pub const REPORT_LIMIT: Duration = faster(told::REPORT_LIMIT);
/// How long checkout waits for the monolith, and processing for checkout.
pub const MONOLITH_LIMIT: Duration = faster(told::MONOLITH_LIMIT);
/// Shards of the processing queue.
pub const SHARDS: usize = told::SHARDS;

/// The monolith's own clients, calls a second: chosen, 30 % of what it can do.
pub const MONOLITH_RATE: u32 = 150;
/// Checkout's own clients, calls a second: chosen.
pub const CHECKOUT_RATE: u32 = 30;
/// Checkout's connections to its database: chosen; two are enough on a good day.
pub const DATABASE: u32 = 20;
/// What a client waits (10 s as it was), and what a job may take (5 s): chosen.
pub const PATIENCE: Duration = faster(Duration::from_secs(10));
/// See [`PATIENCE`].
pub const JOB_PATIENCE: Duration = faster(Duration::from_secs(5));
/// Tries of checkout's clients: the report's three of each level.
pub const TRIES: u32 = 3;
/// Jobs a second of each shard: chosen. One gets more than the others, as a hash of keys does.
pub const JOB_RATES: [u32; SHARDS] = [16, 6, 6, 6];
/// The shard that gets more.
pub const HOT: usize = 0;

/// A call that has no more time left than this cannot be done in time: half as much again as its
/// work.
#[cfg(test)]
pub const MARGIN: Duration = Duration::from_millis(60);

/// When the tracker becomes slow, when it is well again, and the end.
pub const SLOW_FROM: Duration = Duration::from_secs(5);
/// See [`SLOW_FROM`].
pub const SLOW_TO: Duration = Duration::from_secs(13);
/// See [`SLOW_FROM`].
pub const LENGTH: Duration = Duration::from_secs(45);

const fn faster(told: Duration) -> Duration {
    Duration::from_millis(told.as_millis() as u64 / FASTER as u64)
}

/// Calls a second of `slots` that each take `time`.
pub fn capacity(slots: u32, time: Duration) -> f64 {
    f64::from(slots) / time.as_secs_f64()
}

/// The share of a shard's one worker that jobs of this rate take, when each is done `copies` times.
/// Above 1 the shard cannot come back by itself.
pub fn busy(rate: u32, copies: u32) -> f64 {
    f64::from(rate * copies) * WORK.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_reports() {
        let slots = told::PODS * told::PROCESSES;
        assert_eq!(slots, 3_000);
        assert!((capacity(slots, told::WORK) - 15_000.0).abs() < 1e-6);
        assert!((capacity(slots, told::REPORT_LIMIT) - 3_000.0).abs() < 1e-6);
        // A 150th of the slots, five times as fast: a 30th of the calls.
        assert!((capacity(SLOTS, WORK) * 30.0 - 15_000.0).abs() < 1e-6);
        assert!((capacity(SLOTS, REPORT_LIMIT) * 30.0 - 3_000.0).abs() < 1e-6);
        assert_eq!(MONOLITH_LIMIT * FASTER, told::MONOLITH_LIMIT);
    }

    #[test]
    fn the_load_is_served_on_a_good_day_and_not_while_the_tracker_is_slow() {
        let load = f64::from(MONOLITH_RATE + CHECKOUT_RATE + JOB_RATES.iter().sum::<u32>());
        assert!(load < 0.5 * capacity(SLOTS, WORK));
        assert!(f64::from(MONOLITH_RATE) > capacity(SLOTS, REPORT_LIMIT));
        // All that waits at checkout holds a connection, once the monolith answers late.
        let held = f64::from(CHECKOUT_RATE) * MONOLITH_LIMIT.as_secs_f64();
        assert!(held > f64::from(DATABASE) * 2.0);
    }

    #[test]
    fn one_shard_alone_cannot_stand_its_jobs_twice() {
        for (shard, rate) in JOB_RATES.into_iter().enumerate() {
            assert!(busy(rate, 1) < 0.75);
            assert_eq!(busy(rate, 2) > 1.0, shard == HOT, "shard {shard}");
        }
    }
}
