//! The one owner of the statistics: a task that works on what comes through a bounded queue, one
//! request after the other.
//!
//! With a store a request is answered when the store has what it brought, so that it outlives this
//! process. While the store fails nobody waits for it: samples count here, and are owed to it.

use super::analysis;
use super::metrics::Counts;
use super::sample::Sample;
use super::statistics::Statistics;
use super::store::{Exchange, Link, Reply, Shared};
use serde_json::{Value, json};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// How often the store is asked where nobody asks: it may be back, or have forgotten something.
const TICK: Duration = Duration::from_millis(500);

/// What the owner is asked.
#[derive(Debug)]
pub(super) enum Request {
    /// Take these in. The answer comes when their effect is there.
    Ingest { samples: Vec<Sample>, done: oneshot::Sender<()> },
    /// Tell what is known.
    Analyze { done: oneshot::Sender<Value> },
    /// Answer when all before this is done.
    End { done: oneshot::Sender<()> },
}

/// Who waits for an answer.
#[derive(Debug)]
enum Asker {
    Ingest(oneshot::Sender<()>),
    Analyze(oneshot::Sender<Value>),
}

/// Someone who waits for the store.
#[derive(Debug)]
struct Waiting {
    asker: Asker,
    /// All samples up to this mark have to be settled.
    mark: u64,
    /// This exchange, or a later one, has to be over.
    exchange: u64,
}

/// The owner.
#[derive(Debug)]
pub(super) struct Owner {
    statistics: Statistics,
    counts: Arc<Counts>,
    shared: Option<Shared>,
    waiting: Vec<Waiting>,
    /// Exchanges that were begun.
    exchanges: u64,
    /// Most requests that wait for the store at once.
    queue: usize,
}

type Exchanging = Pin<Box<dyn Future<Output = (Box<Link>, Result<Reply, String>)>>>;

/// The way to the store: free, or at an exchange.
enum Way {
    Free(Box<Link>),
    Busy(Exchanging),
    None,
}

async fn exchange(mut link: Box<Link>, exchange: Exchange) -> (Box<Link>, Result<Reply, String>) {
    let result = link.exchange(&exchange).await;
    (link, result)
}

impl Way {
    /// The end of the exchange; never where there is none.
    async fn ended(&mut self) -> Result<Reply, String> {
        let Self::Busy(exchanging) = self else {
            return std::future::pending().await;
        };
        let (link, result) = exchanging.await;
        *self = Self::Free(link);
        result
    }
}

impl Owner {
    /// An owner that has seen nothing; what it counts stands in `counts`, too.
    pub(super) fn new(replica: String, counts: Arc<Counts>, has_store: bool, queue: usize) -> Self {
        Self {
            shared: has_store.then(|| Shared::new(replica.clone())),
            statistics: Statistics::new(replica),
            counts,
            waiting: Vec::new(),
            exchanges: 0,
            queue,
        }
    }

    /// Works until nobody can ask any more, or until it is told the end and has kept what it can.
    pub(super) async fn work(mut self, mut requests: mpsc::Receiver<Request>, link: Option<Link>) {
        let mut way = link.map_or(Way::None, |link| Way::Free(Box::new(link)));
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut end = None;
        loop {
            tokio::select! {
                request = requests.recv(), if self.has_room() => match request {
                    Some(Request::End { done }) => end = Some(done),
                    Some(request) => self.take(request),
                    None => break,
                },
                result = way.ended() => self.learn(result),
                _ = tick.tick(), if self.shared.is_some() => self.begin(&mut way),
            }
            // One that fails is asked again at the next tick.
            if self.is_up() && (!self.waiting.is_empty() || self.owes()) {
                self.begin(&mut way);
            }
            if self.waiting.is_empty()
                && !self.owes()
                && let Some(done) = end.take()
            {
                // Who does not wait for the end misses nothing by it.
                let _ = done.send(());
                break;
            }
        }
    }

    fn is_up(&self) -> bool {
        self.shared.as_ref().is_some_and(Shared::is_up)
    }

    /// Whether the store lacks anything. At the end one that fails is tried until the drain is over.
    fn owes(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| shared.marks().0 > shared.marks().1)
    }

    /// Whether another request may be taken from the queue.
    fn has_room(&self) -> bool {
        let is_behind = |shared: &Shared| shared.is_up() && shared.owes_much();
        self.waiting.len() < self.queue && !self.shared.as_ref().is_some_and(is_behind)
    }

    fn begin(&mut self, way: &mut Way) {
        let Some(shared) = &mut self.shared else { return };
        *way = match std::mem::replace(way, Way::None) {
            Way::Free(link) => {
                self.exchanges += 1;
                Way::Busy(Box::pin(exchange(link, shared.exchange())))
            }
            busy => busy,
        };
    }

    fn take(&mut self, request: Request) {
        let asker = match request {
            Request::Ingest { samples, done } => {
                let judged = self.statistics.accept(samples);
                let anomalies = judged.iter().filter(|one| one.is_anomaly).count();
                self.counts.anomalies(anomalies as u64);
                if let Some(shared) = &mut self.shared {
                    shared.owe(judged);
                }
                Asker::Ingest(done)
            }
            Request::Analyze { done } => Asker::Analyze(done),
            Request::End { .. } => return,
        };
        match &self.shared {
            Some(shared) if shared.is_up() => {
                let (mark, exchange) = (shared.marks().0, self.exchanges + 1);
                self.waiting.push(Waiting { asker, mark, exchange });
            }
            _ => self.answer(asker),
        }
    }

    /// What an exchange brought.
    fn learn(&mut self, result: Result<Reply, String>) {
        let Some(shared) = &mut self.shared else { return };
        match result {
            Ok(reply) => shared.merge(&reply, &mut self.statistics.window),
            Err(why) => shared.fail(why),
        }
        let (is_up, settled) = (shared.is_up(), shared.marks().1);
        let is_over =
            |one: &mut Waiting| !is_up || (one.mark <= settled && one.exchange <= self.exchanges);
        let over: Vec<Waiting> = self.waiting.extract_if(.., is_over).collect();
        over.into_iter().for_each(|one| self.answer(one.asker));
    }

    // An asker that has left needs no answer; what it brought is taken in all the same.
    fn answer(&self, asker: Asker) {
        match asker {
            Asker::Ingest(done) => drop(done.send(())),
            Asker::Analyze(done) => drop(done.send(self.analysis())),
        }
    }

    fn analysis(&self) -> Value {
        let Statistics { window, totals, seen, .. } = &self.statistics;
        let replica = self.statistics.replica();
        match &self.shared {
            Some(shared) => analysis::told(window, shared.totals(), *seen, replica, &shared.told()),
            None => analysis::told(window, *totals, *seen, replica, &json!({ "kind": "memory" })),
        }
    }
}
