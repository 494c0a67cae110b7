//! Which worker a connection leads to.
//!
//! Each worker's engine numbers its calls from 1. While the workers stand at different numbers, the
//! number of a connection's first call says whose it is: one more than a worker's last number, or 1
//! for a worker that was not met before. Where two workers stand at the same number, one of them is
//! given another call before a new connection is tried.

use super::line::{Line, Order, Seen};
use super::log::Log;
use super::stage::STEPS;
use std::io::{self, Error};
use std::net::SocketAddr;

/// Most connections that are tried; with four workers, far more than chance asks for.
const MOST: usize = 512;

/// A worker of a host, as a client sees it.
#[derive(Debug)]
pub(super) struct Worker {
    /// Connections to it.
    pub lines: Vec<Line>,
    /// The number of its last call.
    last: u64,
}

/// Two clocks laid side by side: each call of known number was decided between its first byte and
/// its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    origin: std::time::Instant,
    // The host's clock lies behind the client's by at least and at most this, in nanoseconds.
    least: i128,
    most: i128,
}

impl Clocks {
    fn new() -> Self {
        Self { origin: std::time::Instant::now(), least: i128::MIN, most: i128::MAX }
    }

    fn nanos(&self, at: std::time::Instant) -> i128 {
        at.saturating_duration_since(self.origin).as_nanos() as i128
    }

    fn learn(&mut self, seen: &Seen, at_ns: u64) {
        self.least = self.least.max(self.nanos(seen.sent) - i128::from(at_ns));
        self.most = self.most.min(self.nanos(seen.received) - i128::from(at_ns));
    }

    /// A moment of the client on the host's clock, in nanoseconds; right to [`Clocks::error_ns`].
    pub(super) fn on_host(&self, at: std::time::Instant) -> i128 {
        self.nanos(at) - i128::midpoint(self.least, self.most)
    }

    /// By how much [`Clocks::on_host`] may be wrong.
    pub(super) const fn error_ns(&self) -> i128 {
        (self.most - self.least) / 2
    }
}

/// Opens connections until `count` workers have `lines` each. Nobody else may call the host
/// meanwhile, nor before.
pub(super) async fn find(
    address: SocketAddr,
    log: &mut Log,
    count: usize,
    lines: usize,
) -> io::Result<(Vec<Worker>, Clocks)> {
    let mut workers: Vec<Worker> = Vec::new();
    let mut clocks = Clocks::new();
    for _ in 0..MOST {
        if workers.len() == count && workers.iter().all(|worker| worker.lines.len() >= lines) {
            return Ok((workers, clocks));
        }
        let mut line = Line::open(address).await?;
        let number = numbered(&mut line, log, &mut clocks).await?;
        match workers.iter_mut().find(|worker| worker.last + 1 == number) {
            Some(worker) => {
                worker.last = number;
                // More than are needed would give this worker more of the load.
                if worker.lines.len() < lines {
                    worker.lines.push(line);
                }
            }
            None if number == 1 => workers.push(Worker { lines: vec![line], last: 1 }),
            None => {
                let last: Vec<u64> = workers.iter().map(|worker| worker.last).collect();
                return Err(Error::other(format!(
                    "a call has number {number} after workers at {last:?}"
                )));
            }
        }
        tell_apart(&mut workers, log, &mut clocks).await?;
    }
    let found: Vec<usize> = workers.iter().map(|worker| worker.lines.len()).collect();
    Err(Error::other(format!("{MOST} connections led to these workers: {found:?}")))
}

/// Calls until no two workers stand at the same number.
async fn tell_apart(workers: &mut [Worker], log: &mut Log, clocks: &mut Clocks) -> io::Result<()> {
    let twin = |workers: &[Worker]| {
        let is_twin = |(index, worker): (usize, &Worker)| {
            let others = workers.get(index + 1..).unwrap_or_default();
            others.iter().any(|other| other.last == worker.last)
        };
        workers.iter().enumerate().position(is_twin)
    };
    while let Some(worker) = twin(workers).and_then(|index| workers.get_mut(index)) {
        let Some(line) = worker.lines.first_mut() else {
            return Err(Error::other("a worker without a connection"));
        };
        let number = numbered(line, log, clocks).await?;
        if number != worker.last + 1 {
            return Err(Error::other(format!(
                "a connection changed its worker: call {number} after {}",
                worker.last
            )));
        }
        worker.last = number;
    }
    Ok(())
}

/// Makes a call and gives its number.
async fn numbered(line: &mut Line, log: &mut Log, clocks: &mut Clocks) -> io::Result<u64> {
    let before = log.events()?.len();
    let seen = line.call(STEPS.path, Order::Succeed).await?;
    let (number, at_ns) = log
        .wait_for("a call's result", |events| {
            let new = events.get(before..)?;
            new.iter().find(|event| event.event == "settled")?;
            let decision = new.iter().find(|event| event.decision.is_some())?;
            Some((decision.call?, decision.at_ns))
        })
        .await?;
    clocks.learn(&seen, at_ns);
    Ok(number)
}
