//! A shard of the processing queue: jobs in order, one worker, and submitters that ask again.

use super::record::{Log, Part};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One copy of a job.
#[derive(Clone, Debug)]
struct Job {
    deadline: Instant,
    is_done: Arc<AtomicBool>,
}

/// The queue of one shard.
#[derive(Debug, Default)]
pub struct Shard {
    jobs: Mutex<VecDeque<Job>>,
    arrived: Notify,
}

impl Shard {
    /// Copies that wait.
    pub fn backlog(&self) -> usize {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn push(&self, job: Job) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).push_back(job);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Submits a job and waits until it is done or `patience` is over; then it is submitted once more,
    /// and the first copy stays where it is: nobody knows where. True means that it was done in time.
    pub async fn submit(&self, patience: Duration) -> bool {
        let job =
            Job { deadline: Instant::now() + patience, is_done: Arc::new(AtomicBool::new(false)) };
        self.push(job.clone());
        tokio::time::sleep_until(job.deadline).await;
        let is_in_time = job.is_done.load(Ordering::Relaxed);
        if !is_in_time {
            self.push(Job { deadline: Instant::now() + patience, ..job });
        }
        is_in_time
    }

    /// The one worker: takes the oldest copy and calls `work` with the time that is left for it. It
    /// cannot tell a second copy from a first one.
    pub async fn work<F: Future<Output = bool>>(&self, work: impl Fn(Duration) -> F) {
        loop {
            let Some(job) = self.pop() else {
                self.arrived.notified().await;
                continue;
            };
            let left = job.deadline.saturating_duration_since(Instant::now());
            if work(left).await {
                job.is_done.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Submits `rate` jobs a second until `end`, and notes what became of each.
pub async fn submit_all(
    shard: Arc<Shard>,
    part: Part,
    (rate, patience): (u32, Duration),
    (start, end): (Instant, Duration),
    log: Arc<Log>,
) {
    let mut jobs = tokio::task::JoinSet::new();
    let mut due = Duration::ZERO;
    while due < end {
        tokio::time::sleep_until(start + due).await;
        let (shard, log) = (Arc::clone(&shard), Arc::clone(&log));
        jobs.spawn(async move {
            let is_good = shard.submit(patience).await;
            log.note(part, due, is_good);
        });
        due += Duration::from_secs(1) / rate;
    }
    jobs.join_all().await;
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{
        HOT, JOB_PATIENCE, JOB_RATES, LENGTH, MARGIN, SLOW_FROM, SLOW_TO, WORK,
    };
    use super::*;

    /// Plays a shard in virtual time: a call takes [`WORK`], and nothing is done from
    /// [`SLOW_FROM`] to [`SLOW_TO`]. With a margin, a call that has no more time left than that is
    /// refused at once.
    fn play(rate: u32, margin: Option<Duration>) -> (usize, Vec<bool>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (shard, log) = (Arc::new(Shard::default()), Arc::new(Log::default()));
            let start = Instant::now();
            let at_work = Arc::clone(&shard);
            let worker = tokio::spawn(async move {
                at_work
                    .work(|left| async move {
                        if margin.is_some_and(|margin| left <= margin) {
                            return false;
                        }
                        let well = start + SLOW_TO;
                        if start.elapsed() >= SLOW_FROM && Instant::now() < well {
                            tokio::time::sleep_until(well).await;
                        }
                        tokio::time::sleep(WORK).await;
                        true
                    })
                    .await;
            });
            let settings = ((rate, JOB_PATIENCE), (start, LENGTH));
            let all =
                submit_all(Arc::clone(&shard), Part::Shard(0), settings.0, settings.1, log.clone());
            tokio::time::timeout(LENGTH, all).await.unwrap_err();
            let backlog = shard.backlog();
            worker.abort();
            (backlog, log.taken().into_iter().map(|event| event.is_good).collect())
        })
    }

    #[test]
    fn the_hot_shard_stays_slow_and_the_others_come_back() {
        let last = |good: &[bool]| good[good.len() - 20..].iter().filter(|one| **one).count();
        let (backlog, good) = play(JOB_RATES[HOT], None);
        assert!(backlog > 100 && last(&good) == 0, "{backlog} wait");
        let (backlog, good) = play(JOB_RATES[1], None);
        assert!(backlog <= 1 && last(&good) == 20, "{backlog} wait");
    }

    /// A call that is begun just before its deadline is done too late, and its job is done twice after
    /// all: refusing what is late already is not enough.
    #[test]
    fn a_deadline_without_a_margin_does_not_bring_the_hot_shard_back() {
        let (backlog, _) = play(JOB_RATES[HOT], Some(Duration::ZERO));
        assert!(backlog > 1, "{backlog} wait");
    }

    #[test]
    fn who_heeds_deadlines_comes_back_on_every_shard() {
        for rate in JOB_RATES {
            let (backlog, good) = play(rate, Some(MARGIN));
            assert!(backlog <= 1, "{backlog} wait");
            assert!(good[good.len() - 20..].iter().all(|one| *one));
            assert!(good.iter().any(|one| !one), "the incident was felt");
        }
    }
}
