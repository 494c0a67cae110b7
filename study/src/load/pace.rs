//! When calls leave.

use super::Load;
use super::calls::{Caller, Connection, Outcome};
use super::clock::Clock;
use crate::histogram::Times;
use crate::process;
use crate::record::{LATE_US, Quantiles, Seen};
use anyhow::{Context, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::LocalSet;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where calls go.
    pub address: SocketAddr,
    /// Their rate and size.
    pub load: Load,
    /// How long calls leave before they count.
    pub warm_up: Duration,
    /// How long they leave and count.
    pub measured: Duration,
    /// Connections at most. More calls at a time wait, and their time runs.
    pub connections: usize,
}

/// One state, shared by all calls of the one thread.
#[derive(Debug)]
struct Desk {
    idle: Vec<Connection>,
    /// Connections that are open or are being opened.
    open: usize,
    waiting: VecDeque<Due>,
    under_way: usize,
    seen: Tally,
}

/// A call that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    counts: bool,
}

#[derive(Debug)]
struct Tally {
    due: u64,
    good: u64,
    bad: BTreeMap<String, u64>,
    late: u64,
    longest_queue: usize,
    latency: Times,
    lag: Times,
}

/// Sends calls at their pace until all have ended. `begins` and `ended` are called when the first
/// call that counts is due and when the last one has ended.
///
/// # Errors
/// The runtime or its timer cannot be had.
pub fn run(options: &Options, begins: impl FnOnce(), ended: impl FnOnce()) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, send(options, begins, ended))
}

async fn send(options: &Options, begins: impl FnOnce(), ended: impl FnOnce()) -> Result<Seen> {
    let caller = Rc::new(Caller::new(options)?);
    let desk = Rc::new(RefCell::new(Desk::new()?));
    let all_home = Rc::new(Notify::new());
    let clock = Clock::new()?;
    let rate = f64::from(options.load.rate);
    let calls = |time: Duration| (time.as_secs_f64() * rate).round() as u64;
    let (before, counted) = (calls(options.warm_up), calls(options.measured));
    let mut begins = Some(begins);
    let mut cpu = process::Used::default();
    let start = Instant::now();
    for number in 0..before + counted {
        let at = start + Duration::from_secs_f64(number as f64 / rate);
        clock.wait(at).await?;
        let counts = number >= before;
        if counts && let Some(begins) = begins.take() {
            begins();
            cpu = process::time_used(std::process::id(), &[])?;
        }
        let due = Due { at, counts };
        let place = desk.borrow_mut().place(due, options.connections);
        if let Some(connection) = place {
            tokio::task::spawn_local(carry_out(
                caller.clone(),
                desk.clone(),
                all_home.clone(),
                due,
                connection,
            ));
        }
    }
    // A call that was due must have been seen by others than this task.
    while desk.borrow().under_way > 0 {
        all_home.notified().await;
    }
    ended();
    let cpu = process::time_used(std::process::id(), &[])?.since(cpu).whole();
    let seconds = options.measured.as_secs_f64();
    let desk = Rc::into_inner(desk).context("a call is still under way")?.into_inner();
    desk.seen.told(seconds, cpu)
}

impl Desk {
    fn new() -> Result<Self> {
        Ok(Self {
            idle: Vec::new(),
            open: 0,
            waiting: VecDeque::new(),
            under_way: 0,
            seen: Tally {
                due: 0,
                good: 0,
                bad: BTreeMap::new(),
                late: 0,
                longest_queue: 0,
                latency: Times::new()?,
                lag: Times::new()?,
            },
        })
    }

    /// Takes a call that is due now. It leaves on the connection that is given; `None` within is
    /// one to be opened. Nothing is given where it has to wait for others.
    fn place(&mut self, due: Due, connections: usize) -> Option<Option<Connection>> {
        if due.counts {
            self.seen.due += 1;
        }
        let connection = match self.idle.pop() {
            Some(connection) => Some(connection),
            None if self.open < connections => {
                self.open += 1;
                None
            }
            None => {
                self.waiting.push_back(due);
                self.seen.longest_queue = self.seen.longest_queue.max(self.waiting.len());
                return None;
            }
        };
        self.under_way += 1;
        if due.counts {
            let lag = due.at.elapsed();
            self.seen.lag.add(lag);
            self.seen.late += u64::from(lag.as_secs_f64() * 1e6 > LATE_US);
        }
        Some(connection)
    }

    /// Takes note of how a call ended.
    fn ended(&mut self, due: Due, outcome: Outcome) {
        if due.counts {
            match outcome {
                Outcome::Good => {
                    self.seen.good += 1;
                    self.seen.latency.add(due.at.elapsed());
                }
                Outcome::Bad(what) => *self.seen.bad.entry(what).or_default() += 1,
            }
        }
    }

    /// Takes a connection back, where one is left, unless a call waits for it.
    fn back(&mut self, connection: Option<Connection>) -> Option<(Due, Option<Connection>)> {
        if let Some(next) = self.waiting.pop_front() {
            return Some((next, connection));
        }
        match connection {
            Some(connection) => self.idle.push(connection),
            None => self.open -= 1,
        }
        self.under_way -= 1;
        None
    }
}

/// Makes a call, and then those that waited for its connection.
async fn carry_out(
    caller: Rc<Caller>,
    desk: Rc<RefCell<Desk>>,
    all_home: Rc<Notify>,
    mut due: Due,
    mut connection: Option<Connection>,
) {
    loop {
        let (outcome, left) = caller.call(connection.take()).await;
        desk.borrow_mut().ended(due, outcome);
        // Only a connection that is ready for the next call is one.
        let ready = match left {
            Some(mut left) => left.ready().await.is_ok().then_some(left),
            None => None,
        };
        match desk.borrow_mut().back(ready) {
            Some(next) => (due, connection) = next,
            None => break,
        }
    }
    if desk.borrow().under_way == 0 {
        all_home.notify_one();
    }
}

impl Tally {
    fn told(self, seconds: f64, cpu: Duration) -> Result<Seen> {
        Ok(Seen {
            seconds,
            due: self.due,
            good: self.good,
            bad: self.bad,
            late: self.late,
            longest_queue: self.longest_queue as u64,
            lag: Quantiles::of(&self.lag),
            latency: Quantiles::of(&self.latency),
            histogram: self.latency.to_text()?,
            generator_cpu_us_per_call: cpu.as_secs_f64() * 1e6 / self.due.max(1) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server that answers each call by what `answer` says of its number, over any number of
    /// connections.
    fn server(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = std::sync::Arc::new(answer);
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, answer, count) = (stream.unwrap(), answer.clone(), count.clone());
                std::thread::spawn(move || {
                    let mut bytes = [0; 4096];
                    // A call of 64 bytes comes in one piece.
                    while stream.read(&mut bytes).is_ok_and(|length| length > 0) {
                        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if stream.write_all(answer(number).as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn good(_: usize) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{}", "X".repeat(100))
    }

    fn ask(address: SocketAddr, connections: usize) -> Seen {
        let options = Options {
            address,
            load: Load { rate: 500, bytes: 64 },
            warm_up: Duration::from_millis(100),
            measured: Duration::from_millis(400),
            connections,
        };
        let told = RefCell::new(Vec::new());
        let seen =
            run(&options, || told.borrow_mut().push("begins"), || told.borrow_mut().push("ended"));
        assert_eq!(*told.borrow(), ["begins", "ended"]);
        seen.unwrap()
    }

    #[test]
    fn every_call_after_the_warm_up_counts_once() {
        let seen = ask(server(good), 16);
        assert_eq!((seen.due, seen.good, seen.bad.len()), (200, 200, 0));
        let times = Times::from_text(&seen.histogram).unwrap();
        assert_eq!(times.count(), 200);
        assert_eq!(Quantiles::of(&times), seen.latency);
        assert!(seen.latency.p50 > 0.0 && seen.generator_cpu_us_per_call > 0.0);
    }

    #[test]
    fn calls_that_were_due_while_the_server_stood_still_have_waited() {
        // The hundredth call is held for 200 ms, and there is one connection: a hundred calls are
        // due meanwhile. A closed loop would have seen one slow call.
        let held = |number| {
            if number == 100 {
                std::thread::sleep(Duration::from_millis(200));
            }
            good(number)
        };
        let seen = ask(server(held), 1);
        assert_eq!((seen.due, seen.good), (200, 200));
        assert!(seen.longest_queue >= 50, "{seen:?}");
        assert!(seen.latency.p90 >= 100_000.0, "{seen:?}");
    }

    #[test]
    fn what_goes_wrong_is_counted_by_its_name() {
        let failing = |number| match number % 2 {
            0 => "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nshort".to_owned(),
        };
        let seen = ask(server(failing), 4);
        assert_eq!((seen.due, seen.good), (200, 0));
        assert_eq!(seen.bad.keys().collect::<Vec<_>>(), ["a short answer", "status 503"]);
        assert_eq!(seen.bad.values().sum::<u64>(), 200);
        let nobody = SocketAddr::from(([127, 0, 0, 1], crate::ports::hold().unwrap()));
        let seen = ask(nobody, 4);
        assert_eq!((seen.good, seen.bad.values().sum::<u64>()), (0, 200));
        assert!(seen.bad.keys().all(|what| what.contains("refused")), "{seen:?}");
    }
}
