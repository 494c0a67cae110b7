//! Load on all workers, and what came of a trip under it.

use super::line::{Answer, Line, Order, Seen};
use super::log::{Event, Log};
use super::stage::LOAD;
use super::workers::Clocks;
use std::fmt;
use std::io::{self, Error};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How long the healthy part may take until every worker has had its part of the calls.
const SPREAD_WAIT: Duration = Duration::from_secs(20);

/// What load.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Calls per second over all workers. Fewer where the machine cannot: each connection waits
    /// for its answer.
    pub rate: u32,
    /// How long the upstream answers well; longer where a worker has not had its part by then.
    pub healthy: Duration,
    /// How long it fails after that.
    pub failing: Duration,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// Calls per second that were made in fact.
    pub rate: f64,
    /// Calls that were settled, by worker, as the clients know it.
    pub settled: Vec<usize>,
    /// Calls that were settled, as the log knows it.
    pub settled_in_log: usize,
    /// How often workers tripped, and how often they followed another's trip.
    pub trips: usize,
    /// See `trips`.
    pub adopted: usize,
    /// Calls whose admission began, on the host's clock, after the moment of the first trip.
    pub admitted_after: usize,
    /// How long after that moment the last of them began.
    pub last_admission: Duration,
    /// From that moment until every worker had answered a call with a rejection.
    pub all_reject: Duration,
    /// By how much `all_reject` may be wrong.
    pub error: Duration,
    /// [`Fleet::STALE`](super::Fleet::STALE) of the host.
    pub stale: Duration,
    /// By worker: calls that were sent after the line about the trip had been read and `stale` had
    /// passed, and how many of those were admitted.
    pub sent_late: Vec<(usize, usize)>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let late: usize = self.sent_late.iter().map(|(sent, _)| sent).sum();
        let admitted: usize = self.sent_late.iter().map(|(_, admitted)| admitted).sum();
        writeln!(f, "calls per second            {:.0}", self.rate)?;
        writeln!(f, "settled by worker           {:?}", self.settled)?;
        writeln!(f, "admitted after the trip     {}", self.admitted_after)?;
        writeln!(f, "the last of them began      {:.1?} after it", self.last_admission)?;
        writeln!(
            f,
            "all workers rejected        {:.1?} after it (± {:.1?})",
            self.all_reject, self.error
        )?;
        let stale = format!("admitted {:?} after it", self.stale);
        write!(f, "{stale:27} {admitted} of {late} that were sent then")
    }
}

/// Puts load on every connection and judges the first trip.
pub(super) async fn run(
    workers: Vec<Vec<Line>>,
    load: Load,
    log: &mut Log,
    clocks: Clocks,
    stale: Duration,
) -> io::Result<LoadReport> {
    let before = log.events()?.len();
    let start = Instant::now();
    let calls = make(workers, load, start).await?;
    let took = start.elapsed();
    let admitted = |seen: &Seen| matches!(seen.answer, Answer::Admitted(_));
    let total = calls.iter().flatten().filter(|seen| admitted(seen)).count();
    let is_settled = |event: &&Event| event.event == "settled";
    log.wait_for("the result of every call", |events| {
        let settled = events.get(before..)?.iter().filter(is_settled).count();
        (settled >= total).then_some(())
    })
    .await?;
    // Of other breakers a last line may still have come.
    let ours = log.events()?.iter().filter(|event| event.policy == LOAD.policy);
    let events: Vec<Event> = ours.cloned().collect();
    let trips = events.iter().filter(|event| event.is_own_change_to("open"));
    let trip = trips.clone().min_by_key(|event| event.at_ns);
    let trip = trip.ok_or_else(|| Error::other("the load tripped nothing"))?;
    let tripped = Duration::from_nanos(trip.at_ns);
    let read = trip.read.unwrap_or(start) + stale;
    let after = events.iter().filter(|event| event.is_admission() && event.at_ns > trip.at_ns);
    let last = after.clone().map(|event| event.at_ns).max();
    let mut all_reject = Duration::ZERO;
    for calls in &calls {
        let rejected = calls.iter().filter(|seen| seen.answer == Answer::Rejected);
        let first = rejected.map(|seen| seen.received).min();
        let first = first.ok_or_else(|| Error::other("a worker never rejected"))?;
        let at = u64::try_from(clocks.on_host(first)).map_err(Error::other)?;
        all_reject = all_reject.max(Duration::from_nanos(at).saturating_sub(tripped));
    }
    let sent_late = calls.iter().map(|calls| {
        let late = calls.iter().filter(|seen| seen.sent > read);
        (late.clone().count(), late.filter(|seen| admitted(seen)).count())
    });
    Ok(LoadReport {
        rate: calls.iter().map(Vec::len).sum::<usize>() as f64 / took.as_secs_f64(),
        settled: calls
            .iter()
            .map(|calls| calls.iter().filter(|seen| admitted(seen)).count())
            .collect(),
        settled_in_log: events.iter().filter(is_settled).count(),
        trips: trips.count(),
        adopted: events.iter().filter(|event| event.adopted).count(),
        admitted_after: after.count(),
        last_admission: Duration::from_nanos(last.unwrap_or(trip.at_ns)).saturating_sub(tripped),
        all_reject,
        error: Duration::from_nanos(u64::try_from(clocks.error_ns()).unwrap_or(u64::MAX)),
        stale,
        sent_late: sent_late.collect(),
    })
}

/// How far a load has come.
#[derive(Debug)]
struct Course {
    load: Load,
    start: Instant,
    failing_since: OnceLock<Instant>,
    // By worker.
    answered: Vec<AtomicUsize>,
}

impl Course {
    /// What the upstream is to do with a call that begins now; nothing more at the end.
    fn order(&self) -> Option<Order> {
        if let Some(since) = self.failing_since.get() {
            return (since.elapsed() < self.load.failing).then_some(Order::Fail);
        }
        let enough = match self.start.elapsed() {
            elapsed if elapsed < self.load.healthy => false,
            // On a busy machine a thread may not be let to run for long.
            elapsed => self.is_spread() || elapsed >= SPREAD_WAIT,
        };
        if enough {
            self.failing_since.get_or_init(Instant::now);
            return Some(Order::Fail);
        }
        Some(Order::Succeed)
    }

    /// Whether every worker has had its part, with something to spare over the tenth that is asked
    /// for.
    fn is_spread(&self) -> bool {
        let answered = self.answered.iter().map(|count| count.load(Relaxed));
        let total: usize = answered.clone().sum();
        answered.min().is_some_and(|least| least * 7 >= total)
    }
}

/// Makes the calls; gives those of each worker.
async fn make(workers: Vec<Vec<Line>>, load: Load, start: Instant) -> io::Result<Vec<Vec<Seen>>> {
    let mut seen = vec![Vec::new(); workers.len()];
    let course = Arc::new(Course {
        load,
        start,
        failing_since: OnceLock::new(),
        answered: workers.iter().map(|_| AtomicUsize::new(0)).collect(),
    });
    let count = workers.iter().map(Vec::len).sum::<usize>();
    let apart = Duration::from_secs(1) / load.rate;
    let every = apart * u32::try_from(count).map_err(Error::other)?;
    let mut tasks = JoinSet::new();
    let lines = workers.into_iter().enumerate();
    let lines = lines.flat_map(|(worker, lines)| lines.into_iter().map(move |line| (worker, line)));
    for (nth, (worker, mut line)) in (0..).zip(lines) {
        let course = Arc::clone(&course);
        tasks.spawn(async move {
            let mut clock = tokio::time::interval_at((start + apart * nth).into(), every);
            // A client that fell behind does not make up for it with a burst.
            clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut calls = Vec::new();
            loop {
                clock.tick().await;
                let Some(order) = course.order() else {
                    return io::Result::Ok((worker, calls));
                };
                calls.push(line.call(LOAD.path, order).await?);
                if let Some(answered) = course.answered.get(worker) {
                    answered.fetch_add(1, Relaxed);
                }
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        let (worker, calls) = task.map_err(Error::other)??;
        seen.get_mut(worker).ok_or_else(|| Error::other("no such worker"))?.extend(calls);
    }
    Ok(seen)
}
