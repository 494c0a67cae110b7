//! The way to a new connection: all addresses of the endpoint that was chosen, then those of the others,
//! one after another in short steps, until the first one connects (RFC 8305, "Happy Eyeballs").
//!
//! A step is due when the attempt before it failed, or has said nothing for a while. So an address
//! that swallows what is sent to it costs that while and not the whole time there is. Whoever
//! connects first is taken; the other attempts are closed. They take no place of the pool: one call
//! has one slot, however many are tried.

use super::NoConnection;
use super::resolve::Resolver;
use super::runner::{Names, Runner};
use crate::config::Endpoint;
use rustix::io::Errno;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Between two attempts, unless the first fails (RFC 8305, 5: Connection Attempt Delay).
const LONGEST_STEP: Duration = Duration::from_millis(250);
/// The least that is allowed between them (the same).
const SHORTEST_STEP: Duration = Duration::from_millis(10);
/// How long it is remembered that version 6 lost (RFC 6555, 4.2).
const MEMORY: Duration = Duration::from_secs(600);
/// Most attempts that an error names.
const NAMED: usize = 4;

/// Since when version 4 is tried first, because version 6 lost against it.
#[derive(Debug, Default)]
pub(super) struct WonLast(Cell<Option<Instant>>);

impl WonLast {
    fn is_v4(&self) -> bool {
        self.0.get().is_some_and(|since| since.elapsed() < MEMORY)
    }

    fn note(&self, winner: SocketAddr, lost_v6: bool) {
        match winner {
            SocketAddr::V6(_) => self.0.set(None),
            SocketAddr::V4(_) if lost_v6 => self.0.set(Some(Instant::now())),
            SocketAddr::V4(_) => {}
        }
    }
}

type Attempting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

struct Attempt {
    /// Its endpoint's place in the race.
    place: usize,
    address: SocketAddr,
    connecting: Attempting,
}

/// What ended a wait.
enum Happened {
    /// With the attempt's number.
    Connected(TcpStream, usize),
    /// An attempt or a look-up failed.
    Failed,
    /// A look-up has addresses.
    Found,
    /// Time for the next step.
    Due,
}

/// How a race ended.
#[derive(Debug)]
pub(super) struct Finish {
    /// The first connection, and the place of its endpoint.
    pub(super) end: Result<(TcpStream, usize), NoConnection>,
    /// Endpoints that took no connection, by their places: those that refused one, and those that were
    /// passed over because they said nothing. Our own want is none of it.
    pub(super) failed: Vec<usize>,
}

/// The tries for one connection.
pub(super) struct Race<'a> {
    runners: Vec<Runner<'a>>,
    /// In the order in which they began.
    attempts: Vec<Attempt>,
    resolver: &'a Resolver,
    won_last: &'a WonLast,
    turn: usize,
    why: Vec<String>,
    /// Our own want: none of the upstream's doing.
    exhausted: Option<String>,
    /// No address or port of our own for one destination.
    unavailable: Option<String>,
    refused: bool,
    lost_v6: bool,
    failed: Vec<usize>,
}

impl<'a> Race<'a> {
    /// A race in the order of `endpoints`; `turn` says which of a name's addresses comes first.
    pub(super) fn new(
        endpoints: impl Iterator<Item = &'a Endpoint>,
        turn: usize,
        resolver: &'a Resolver,
        won_last: &'a WonLast,
    ) -> Self {
        let v4_next = won_last.is_v4();
        Self {
            runners: endpoints.map(|endpoint| Runner::new(endpoint, v4_next)).collect(),
            attempts: Vec::new(),
            resolver,
            won_last,
            turn,
            why: Vec::new(),
            exhausted: None,
            unavailable: None,
            refused: false,
            lost_v6: false,
            failed: Vec::new(),
        }
    }

    /// The first connection; at most `limit` from now. Without one [`NoConnection::Exhausted`] where a
    /// socket was not to be had on this side, else [`NoConnection::Connect`].
    pub(super) async fn run(mut self, limit: Duration) -> Finish {
        let end = self.first(limit).await;
        // An endpoint of which one address connected is none that failed.
        let winner = end.as_ref().ok().map(|(_, place)| *place);
        self.failed.sort_unstable();
        self.failed.dedup();
        self.failed.retain(|place| Some(*place) != winner);
        Finish { end, failed: self.failed }
    }

    async fn first(&mut self, limit: Duration) -> Result<(TcpStream, usize), NoConnection> {
        let end = Instant::now() + limit;
        let mut due = true;
        let mut next = end;
        loop {
            if due {
                if self.step() {
                    next = Instant::now() + self.pace(end);
                    due = false;
                } else if self.attempts.is_empty() && !self.asks() {
                    return Err(self.lost(None));
                } else {
                    next = end;
                    due = false;
                }
            }
            match self.wait(next.min(end)).await {
                Happened::Connected(stream, index) => {
                    // Those before it had their time, and said nothing.
                    self.failed.extend(self.attempts.iter().take(index).map(|one| one.place));
                    let winner = self.attempts.remove(index);
                    let lost_v6 =
                        self.lost_v6 || self.attempts.iter().any(|other| other.address.is_ipv6());
                    self.won_last.note(winner.address, lost_v6);
                    return Ok((stream, winner.place));
                }
                Happened::Failed => due = true,
                // Beside an attempt that is under way the next one waits for its time.
                Happened::Found if self.attempts.is_empty() => due = true,
                Happened::Found if next == end => next = Instant::now() + self.pace(end),
                Happened::Found => {}
                Happened::Due if Instant::now() >= end => return Err(self.lost(Some(limit))),
                Happened::Due => due = true,
            }
        }
    }

    /// How long the attempt that was begun last may be silent before the next one begins: so that
    /// all there are get the same share of the time.
    fn pace(&self, end: Instant) -> Duration {
        let left: usize = self.runners.iter().map(Runner::left).sum();
        let shares = u32::try_from(left + 1).unwrap_or(u32::MAX);
        let time = end.saturating_duration_since(Instant::now());
        (time / shares).clamp(SHORTEST_STEP, LONGEST_STEP)
    }

    /// Begins the next attempt or look-up; false where nothing is left to begin.
    fn step(&mut self) -> bool {
        for (place, runner) in self.runners.iter_mut().enumerate() {
            // Addresses of version 4 came first: they wait for the others a little.
            if runner.waits_until().is_some() {
                return true;
            }
            if let Some(address) = runner.next() {
                let connecting = Box::pin(TcpStream::connect(address));
                self.attempts.push(Attempt { place, address, connecting });
                return true;
            }
            if let (Names::Unasked, Endpoint::Name { host, .. }) = (&runner.names, runner.endpoint)
            {
                runner.names = Names::of(self.resolver.look_up(host));
                return true;
            }
        }
        false
    }

    fn asks(&self) -> bool {
        self.runners.iter().any(|runner| matches!(runner.names, Names::Asked(_)))
    }

    /// Waits for something to happen, until `next` at the latest.
    async fn wait(&mut self, next: Instant) -> Happened {
        let family = self.runners.iter().filter_map(Runner::waits_until).min();
        let sleep = tokio::time::sleep_until(family.map_or(next, |at| at.min(next)).into());
        let mut sleep = pin!(sleep);
        // Ended by what a look-up tells; made anew for each wait, as they borrow the receivers.
        let mut told: Vec<_> = self.runners.iter().filter_map(Runner::told).map(Box::pin).collect();
        let attempts = &mut self.attempts;
        let (what, index) = poll_fn(|cx| {
            for (index, attempt) in attempts.iter_mut().enumerate() {
                if let Poll::Ready(end) = attempt.poll(cx) {
                    return Poll::Ready((Some(end), index));
                }
            }
            let told = told.iter_mut().any(|told| told.as_mut().poll(cx).is_ready());
            let over = sleep.as_mut().poll(cx).is_ready();
            if told || over { Poll::Ready((None, 0)) } else { Poll::Pending }
        })
        .await;
        drop(told);
        match what {
            Some(Ok(stream)) => Happened::Connected(stream, index),
            Some(Err(error)) => {
                let failed = self.attempts.remove(index);
                self.failed(&failed, error);
                Happened::Failed
            }
            None => self.take_found(next),
        }
    }

    /// Takes what the look-ups have told.
    fn take_found(&mut self, next: Instant) -> Happened {
        let (turn, mut happened) = (self.turn, Happened::Due);
        let is_due = Instant::now() >= next;
        for (place, runner) in self.runners.iter_mut().enumerate() {
            let (found, why) = runner.take_found(turn);
            if let Some((why, is_own)) = why {
                self.refused |= !is_own;
                if is_own {
                    self.exhausted.get_or_insert(why);
                } else {
                    self.failed.push(place);
                    self.why.push(why);
                }
                happened = Happened::Failed;
            } else if found && !is_due {
                happened = Happened::Found;
            }
        }
        match happened {
            // Woken for news that are none yet: the wait goes on.
            Happened::Due if !is_due => Happened::Found,
            happened => happened,
        }
    }

    fn failed(&mut self, attempt: &Attempt, error: io::Error) {
        self.lost_v6 |= attempt.address.is_ipv6();
        if is_exhaustion(&error) {
            self.exhausted = Some(error.to_string());
            return;
        }
        self.why.push(format!("{}: {error}", self.name(attempt)));
        // For version 6 it says as well that there is none here at all.
        if error.kind() == io::ErrorKind::AddrNotAvailable {
            self.unavailable = Some(error.to_string());
        } else {
            self.refused = true;
            self.failed.push(attempt.place);
        }
    }

    /// The endpoint, and where that is a name the address.
    fn name(&self, attempt: &Attempt) -> String {
        match self.runners.get(attempt.place).map(|runner| runner.endpoint) {
            Some(endpoint @ Endpoint::Name { .. }) => {
                format!("{endpoint} ({})", attempt.address.ip())
            }
            _ => attempt.address.to_string(),
        }
    }

    /// Why there is no connection; `limit` where the time is over.
    fn lost(&mut self, limit: Option<Duration>) -> NoConnection {
        if let Some(why) = self.exhausted.take() {
            return NoConnection::Exhausted(why);
        }
        if let (Some(why), false, None) = (self.unavailable.take(), self.refused, limit) {
            return NoConnection::Exhausted(why);
        }
        let silent: Vec<_> = self.attempts.iter().map(|one| self.name(one)).collect();
        self.why.extend(silent.iter().map(|name| format!("{name}: no answer")));
        self.failed.extend(self.attempts.iter().map(|one| one.place));
        for runner in &self.runners {
            if let (Names::Asked(_), Endpoint::Name { host, .. }) = (&runner.names, runner.endpoint)
            {
                self.why.push(format!("{host}: no address yet"));
            }
        }
        if let (true, Some(limit)) = (self.why.is_empty(), limit) {
            return NoConnection::Connect(format!("no connection within {limit:?}"));
        }
        let more = self.why.len().saturating_sub(NAMED);
        self.why.truncate(NAMED);
        let mut text = self.why.join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        NoConnection::Connect(match limit {
            Some(limit) => format!("{text}, within {limit:?}"),
            None if text.is_empty() => "no endpoint".into(),
            None => text,
        })
    }
}

impl Attempt {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<TcpStream>> {
        self.connecting.as_mut().poll(cx)
    }
}

/// Whether a socket is not to be had on this side: no file descriptor (`EMFILE`, `ENFILE`), no
/// memory for it (`ENOBUFS`, `ENOMEM`).
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|number| lacking.contains(&number))
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
