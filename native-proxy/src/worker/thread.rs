//! A worker's thread, from its start to the end of its drain.

use super::edges::Edge;
use super::{BreakerRow, FailureLog, Interactions, Look, Membership, Worker, WorkerStats, keeper};
use crate::board::{MemoryBoard, Merged};
use crate::clock::Clock;
use crate::config::{Listener, Settings};
use crate::history::History;
use crate::log::Level;
use crate::serve;
use crate::stale::StaleAnswers;
use crate::telemetry::{Environment, Queue, Tracer};
use crate::upstream::Directory;
use bimetal_core::breaker::Order;
use bimetal_core::engine::Exchange;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Take these settings.
    Load(Arc<Settings>),
    /// Tell your counts.
    Stats(oneshot::Sender<WorkerStats>),
    /// Tell your breakers.
    Breakers(oneshot::Sender<Vec<BreakerRow>>),
    /// Tell what other processes should know.
    Deltas(oneshot::Sender<Exchange>),
    /// They may not have heard this.
    GiveBack(Exchange),
    /// Learn what all processes know together, by key.
    Merge(Arc<[Merged]>),
    /// Tell who calls what.
    Edges(oneshot::Sender<Vec<Edge>>),
    /// Tell all that a dashboard shows.
    Look(oneshot::Sender<Look>),
    /// Do you have a breaker of this policy for this scope?
    HasBreaker(ScopeName, oneshot::Sender<bool>),
    /// Have the breaker of a scope do this; answer whether there is one.
    Order(ScopeName, Order, oneshot::Sender<bool>),
    /// Take no new connections, finish what you have within this time, and end.
    Drain(Duration),
}

/// A scope as an operator names it: its policy, and its key, or its label where it has none.
pub(crate) type ScopeName = Arc<(String, Vec<u8>)>;

/// What a worker starts with.
#[derive(Debug)]
pub(crate) struct Start {
    /// Its number, from 0.
    pub index: usize,
    /// The process's clock.
    pub clock: Clock,
    /// The seed of its engine.
    pub seed: u64,
    /// Where its breakers meet those of the other workers.
    pub board: Arc<MemoryBoard>,
    /// The endpoints that all workers know.
    pub directory: Arc<Directory>,
    /// How much it logs.
    pub level: Level,
    /// Where the workers agree on who logs failed tries.
    pub failure_log: Arc<FailureLog>,
    /// What happened to breakers, of all workers.
    pub history: Arc<History>,
    /// What the workers know together of how services call each other.
    pub interactions: Arc<Interactions>,
    /// Answers that are kept, for all workers.
    pub stale: Arc<StaleAnswers>,
    /// Where traces go, and what the variables say of them.
    pub traces: Option<(Queue, Arc<Environment>)>,
    /// What makes it a member of a mesh, where there is one.
    pub mesh: Option<Membership>,
    /// See [`Worker::ready_path`].
    pub ready_path: Arc<str>,
    /// Its own sockets, already listening.
    pub sockets: Vec<(Listener, TcpListener)>,
    /// Its first settings.
    pub settings: Arc<Settings>,
}

impl Start {
    /// The worker's number in a mesh.
    pub(super) fn member(&self) -> u16 {
        u16::try_from(self.index).unwrap_or(u16::MAX)
    }

    /// What decides which of the worker's requests are recorded.
    pub(super) fn tracer(&self) -> Option<Tracer> {
        let (queue, environment) = self.traces.clone()?;
        Some(Tracer::new(self.clock, queue, environment, &self.settings.telemetry))
    }
}

/// Starts a worker. Its thread ends when it has drained, or when all senders of commands are gone.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn spawn(
    start: Start,
    commands: mpsc::UnboundedReceiver<Command>,
    started: oneshot::Sender<std::io::Result<()>>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let name = format!("worker-{}", start.index);
    std::thread::Builder::new().name(name).spawn(move || {
        let mut commands = commands;
        match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => {
                runtime.block_on(live(start, &mut commands, started));
                // What is cut off ends here, before anybody hears that the worker has ended: its
                // traces are still taken.
                drop(runtime);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    })
}

async fn live(
    start: Start,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    started: oneshot::Sender<std::io::Result<()>>,
) {
    let worker = Worker::new(&start);
    worker.load(&start.settings);
    let workers = start.settings.workers;
    let listening = start
        .sockets
        .into_iter()
        .map(|(settings, socket)| serve::listen(&worker, settings, socket, workers))
        .collect::<std::io::Result<Vec<_>>>();
    let listening = match listening {
        Ok(listening) => listening,
        Err(error) => return drop(started.send(Err(error))),
    };
    drop(started.send(Ok(())));
    tokio::task::spawn_local(keeper::keep(worker.clone()));
    while let Some(command) = commands.recv().await {
        match command {
            Command::Load(settings) => worker.load(&settings),
            Command::Merge(records) => {
                worker.merge(&records);
                // More may follow: calls have their turn between.
                tokio::task::yield_now().await;
            }
            Command::Drain(limit) => return drain(&worker, listening, limit, commands).await,
            question => answer(&worker, question),
        }
    }
}

/// Answers what the admin thread and the exchange ask. Whoever asked may have lost patience: then nobody is there to be told.
fn answer(worker: &Worker, question: Command) {
    match question {
        Command::Stats(reply) => drop(reply.send(worker.stats())),
        Command::Breakers(reply) => drop(reply.send(worker.breakers())),
        Command::Edges(reply) => drop(reply.send(worker.edges())),
        Command::Look(reply) => drop(reply.send(worker.look())),
        Command::HasBreaker(name, reply) => {
            reply.send(worker.has_breaker(&name.0, &name.1)).ok();
        }
        Command::Order(name, order, reply) => {
            reply.send(worker.order(&name.0, &name.1, order)).ok();
        }
        Command::Deltas(reply) => worker.deltas(reply),
        Command::GiveBack(exchange) => worker.give_back(exchange),
        Command::Merge(records) => worker.merge(&records),
        Command::Load(_) | Command::Drain(_) => {}
    }
}

/// Finishes what is under way. Questions are answered meanwhile: a drain is when they are asked.
async fn drain(
    worker: &Rc<Worker>,
    listening: Vec<JoinHandle<()>>,
    limit: Duration,
    commands: &mut mpsc::UnboundedReceiver<Command>,
) {
    worker.drain();
    let index = worker.index;
    let emptied = async {
        for listener in listening {
            // First those who are connected already are let in. One that panicked lets nobody in.
            drop(listener.await);
        }
        worker.emptied().await;
    };
    let end = tokio::time::sleep(limit);
    tokio::pin!(emptied, end);
    loop {
        tokio::select! {
            biased;
            () = &mut emptied => return info!("worker {index} drained"),
            () = &mut end => {
                worker.cut_off();
                let left = worker.connections();
                return warn!("worker {index}: {left} connections cut at the end of the drain");
            }
            Some(command) = commands.recv() => match command {
                Command::Load(_) | Command::Drain(_) => {}
                question => answer(worker, question),
            }
        }
    }
}
