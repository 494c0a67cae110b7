//! A host with its upstream and with connections to each worker.

use super::WORKERS;
use super::fleet::Fleet;
use super::line::{Line, Order, Seen};
use super::load::{Load, LoadReport, run};
use super::log::{Event, Log};
use super::workers::{Clocks, Worker, find};
use crate::envoy::sum;
use crate::real::echo::Echo;
use crate::real::tools::Tools;
use serde_json::{Value, json};
use std::io::{self, Error};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Connections to each worker.
const LINES: usize = 8;
/// How long a host may take for what its ticks do.
const TICK_WAIT: Duration = Duration::from_secs(30);
/// How often is looked.
const EVERY: Duration = Duration::from_millis(20);

/// Who is to know of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// All workers.
    Process,
    /// Nobody but the worker that saw it.
    Nobody,
}

/// A policy of the stage: three consecutive failures trip it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its name.
    pub policy: &'static str,
    /// Where its calls go.
    pub path: &'static str,
}

/// Where single calls go. It opens for [`OPEN_FOR`], then admits one probe.
pub const STEPS: Place = Place { policy: "steps", path: "/echo/steps" };
/// Where load goes. It stays open.
pub const LOAD: Place = Place { policy: "load", path: "/echo/load" };
/// How long the breaker of [`STEPS`] is open.
pub const OPEN_FOR: Duration = Duration::from_secs(3);

/// A running host, its upstream, and connections whose worker is known.
#[derive(Debug)]
pub struct Stage<F> {
    fleet: F,
    echo: Echo,
    log: Log,
    workers: Vec<Worker>,
    clocks: Clocks,
}

fn document(share: Share) -> Value {
    let share = match share {
        Share::Process => "process",
        Share::Nobody => "none",
    };
    let policy = |place: Place, open: &str| {
        json!({
            "name": place.policy,
            "match": {"path_prefix": place.path},
            "scope": "policy",
            "breaker": {
                "trip": {"consecutive_failures": 3},
                "open": {"base": open, "jitter": 0, "multiplier": 1},
                "half_open": {"max_probes": 1, "required_successes": 1, "lease": "20s"},
                "share": share,
            },
        })
    };
    let open = format!("{}s", OPEN_FOR.as_secs());
    json!({"version": "v1", "policies": [policy(STEPS, &open), policy(LOAD, "60s")]})
}

impl<F: Fleet> Stage<F> {
    /// Starts everything, its files in `folder`, and finds the workers. To be called inside a
    /// runtime.
    ///
    /// # Errors
    /// When something does not start, or not every worker can be reached.
    pub async fn set(tools: &Tools, share: Share, folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let echo = Echo::start(tools.bimetal(), folder)?;
        let fleet = F::start(tools, &document(share), echo.address(), folder)?;
        let mut log = Log::follow(&fleet.log_file())?;
        let (workers, clocks) = find(fleet.address(), &mut log, WORKERS, LINES).await?;
        Ok(Self { fleet, echo, log, workers, clocks })
    }

    /// Every event so far.
    ///
    /// # Errors
    /// When the log holds a line that is no event.
    pub fn events(&mut self) -> io::Result<&[Event]> {
        self.log.events()
    }

    /// Waits until so many workers followed a change of [`STEPS`] to `state` since the start: a line
    /// of a call may come after the call's answer.
    ///
    /// # Errors
    /// When they do not.
    pub async fn adopted(&mut self, state: &str, workers: usize) -> io::Result<()> {
        let is_adopted = |event: &&Event| {
            event.policy == STEPS.policy && event.adopted && event.to.as_deref() == Some(state)
        };
        let what = format!("{workers} workers that follow to {state}");
        self.log
            .wait_for(&what, |events| {
                (events.iter().filter(is_adopted).count() >= workers).then_some(())
            })
            .await
    }

    /// Makes a call to a worker and waits until it is settled where it was admitted, and until every
    /// worker can know of it: the next call begins after this one in every sense.
    ///
    /// # Errors
    /// When the host does not answer, or closes the connection.
    pub async fn call(&mut self, worker: usize, order: Order) -> io::Result<Seen> {
        let before = self.log.events()?.len();
        let worker = self.workers.get_mut(worker);
        let line = worker.and_then(|worker| worker.lines.first_mut());
        let line = line.ok_or_else(|| Error::other("no connection to this worker"))?;
        let seen = line.call(STEPS.path, order).await?;
        self.log
            .wait_for("a call's result", |events| {
                let new = events.get(before..)?;
                let admitted = new.iter().find(|event| event.decision.is_some())?;
                let settled = new.iter().any(|event| event.event == "settled");
                (settled || !admitted.is_admission()).then_some(())
            })
            .await?;
        tokio::time::sleep(F::STALE).await;
        Ok(seen)
    }

    /// Makes a call to every worker at once, each to be held under `name` where it is admitted.
    /// Gives the workers that rejected, and those that have not answered once all but one did.
    ///
    /// # Errors
    /// As [`Stage::call`].
    pub async fn call_all_held(&mut self, name: &'static str) -> io::Result<Held> {
        let before = self.log.events()?.len();
        let mut calls = JoinSet::new();
        for (index, worker) in self.workers.iter_mut().enumerate() {
            let line = worker.lines.pop();
            let mut line = line.ok_or_else(|| Error::other("no connection to this worker"))?;
            calls.spawn(async move {
                let seen = line.call(STEPS.path, Order::Hold(name)).await?;
                Ok((index, line, seen))
            });
        }
        let mut held = Held { calls, answered: Vec::new() };
        while held.calls.len() > 1 {
            let (worker, seen) = self.next_of(&mut held).await?;
            held.answered.push((worker, seen));
        }
        // Read late, they would be taken for those of the next call.
        self.log
            .wait_for("the decisions on all workers", |events| {
                let new = events.get(before..)?.iter();
                let decisions = new.filter(|event| event.decision.is_some()).count();
                (decisions == WORKERS).then_some(())
            })
            .await?;
        Ok(held)
    }

    /// Lets go of what is held under `name`, once it is there, and waits for its answer.
    ///
    /// # Errors
    /// When nothing is held under this name, or as [`Stage::call`].
    pub async fn release(&mut self, mut held: Held, name: &str) -> io::Result<(usize, Seen)> {
        let before = self.log.events()?.len();
        let deadline = Instant::now() + TICK_WAIT;
        while self.echo.release(name)? == 0 {
            if Instant::now() >= deadline {
                return Err(Error::other(format!("no call is held under {name}")));
            }
            tokio::time::sleep(EVERY).await;
        }
        let answered = self.next_of(&mut held).await?;
        self.log
            .wait_for("the probe's result", |events| {
                let mut new = events.get(before..)?.iter();
                new.any(|event| event.event == "settled").then_some(())
            })
            .await?;
        Ok(answered)
    }

    async fn next_of(&mut self, held: &mut Held) -> io::Result<(usize, Seen)> {
        let next = held.calls.join_next().await;
        let next = next.ok_or_else(|| Error::other("no call is under way"))?;
        let (index, line, seen) = next.map_err(Error::other)??;
        if let Some(worker) = self.workers.get_mut(index) {
            worker.lines.push(line);
        }
        Ok((index, seen))
    }

    /// Waits until the breaker of [`STEPS`] is in `state` in every worker, as the metrics tell.
    ///
    /// # Errors
    /// When it does not come to that; the message has the count.
    pub async fn all_are(&self, state: &str) -> io::Result<()> {
        let deadline = Instant::now() + TICK_WAIT;
        loop {
            let count = self.fleet.replicas(STEPS.policy, state)?;
            // A count of workers: whole and small.
            if count == WORKERS as f64 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::other(format!("{count} workers of {WORKERS} are {state}")));
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Waits until the open time of the last trip is over.
    ///
    /// # Errors
    /// When nothing tripped.
    pub async fn open_time_passes(&mut self) -> io::Result<()> {
        let mut events = self.log.events()?.iter().rev();
        let trip = events.find(|event| event.is_own_change_to("open"));
        let read = trip.and_then(|event| event.read);
        let read = read.ok_or_else(|| Error::other("nothing tripped"))?;
        // The line was written before it was read, so this is late enough; how late says nothing.
        tokio::time::sleep_until((read + OPEN_FOR + EVERY).into()).await;
        Ok(())
    }

    /// The sum of a metric of the host.
    ///
    /// # Errors
    /// When the host does not tell.
    pub fn metric(&self, name: &str) -> io::Result<f64> {
        Ok(sum(&self.fleet.metrics()?, name, &[]))
    }

    /// Puts load on all workers alike.
    ///
    /// # Errors
    /// When a call gets no answer, or the log does not tell of each.
    pub async fn load(&mut self, load: Load) -> io::Result<LoadReport> {
        let lines: Vec<Vec<Line>> =
            self.workers.iter_mut().map(|worker| std::mem::take(&mut worker.lines)).collect();
        run(lines, load, &mut self.log, self.clocks, F::STALE).await
    }
}

/// Calls that were made at once.
#[derive(Debug)]
pub struct Held {
    calls: JoinSet<io::Result<(usize, Line, Seen)>>,
    /// Those that were answered, with their worker.
    pub answered: Vec<(usize, Seen)>,
}
