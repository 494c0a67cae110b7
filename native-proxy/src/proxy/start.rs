//! Starting a proxy and talking to its workers.

use super::RunError;
use crate::admin::Admin;
use crate::board::{self, ExchangeCounts, Exchanger, Link, MemoryBoard, replica};
use crate::clock::Clock;
use crate::config::{Listener, Settings, Telemetry};
use crate::history::History;
use crate::log::Level;
use crate::serve::{Sharing, bind};
use crate::stale::StaleAnswers;
use crate::telemetry::{Environment, Exporting, FLUSH, Queue};
use crate::upstream::Directory;
use crate::worker::{self, Command, FailureLog, Interactions, Membership, Start};
use bimetal_core::policy::BoardPolicy;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// What the threads of a proxy know in common. None of it is on a request's path.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Addresses of the listeners, with real ports.
    pub listeners: Vec<SocketAddr>,
    /// See [`worker::Worker::ready_path`].
    pub ready_path: Arc<str>,
    /// One for each worker; closed when it ended.
    pub workers: Vec<mpsc::UnboundedSender<Command>>,
    /// Reloads that took effect.
    pub reloads: AtomicU64,
    /// Reloads that were refused.
    pub refused_reloads: AtomicU64,
    /// The endpoints of all upstreams.
    pub directory: Arc<Directory>,
    /// Where traces go; none where they go nowhere.
    pub traces: Option<Queue>,
    /// What is counted of exchanges with other processes.
    pub exchanges: Arc<ExchangeCounts>,
    /// The process's clock.
    pub clock: Clock,
    /// What happened to breakers.
    pub history: Arc<History>,
    /// Address of the admin listener, with its real port.
    pub admin: SocketAddr,
    settings: Mutex<Arc<Settings>>,
}

impl Shared {
    /// Settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has every worker take new settings. Sockets and threads stay as they are until the next
    /// start; a difference there is logged.
    pub(crate) fn load(&self, settings: Settings) {
        let mut settings = settings;
        let before = self.settings();
        let fixed = |settings: &Settings| {
            (settings.listeners.clone(), settings.admin, settings.health, settings.workers)
        };
        let way = |settings: &Settings| {
            let told = settings.telemetry.clone();
            (told.exporter, told.endpoint, told.service_name)
        };
        if way(&settings) != way(&before) {
            warn!("where traces go, and their service's name, change with the next start only");
            let (sample, tree) = (settings.telemetry.sample, settings.telemetry.tree);
            settings.telemetry = Telemetry { sample, tree, ..before.telemetry.clone() };
        }
        if settings.document.board != before.document.board {
            warn!("the board changes with the next start only");
            settings.document.board = before.document.board.clone();
        }
        if fixed(&settings) != fixed(&before) {
            warn!("listeners, admin, health and workers change with the next start only");
            (settings.listeners, settings.admin, settings.health, settings.workers) =
                fixed(&before);
        }
        note_skipped(&settings);
        let settings = Arc::new(settings);
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings.clone();
        self.directory.load(&settings);
        for worker in &self.workers {
            // A worker that ended needs no settings.
            drop(worker.send(Command::Load(settings.clone())));
        }
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }
}

/// A running proxy.
#[derive(Debug)]
pub struct Proxy {
    /// What its threads share.
    pub(crate) shared: Arc<Shared>,
    /// Address of the admin listener.
    pub admin: SocketAddr,
    /// Address of the health listener.
    pub health: SocketAddr,
    threads: Vec<JoinHandle<()>>,
    traces: Option<Exporting>,
}

impl Proxy {
    /// Binds every address and starts the workers; returns when all of them listen.
    ///
    /// # Errors
    /// [`RunError::Start`] names the address that cannot be had, or what the system refused.
    pub async fn start(settings: Settings, level: Level) -> Result<Self, RunError> {
        let clock = Clock::start();
        let admin = own(settings.admin, "admin", settings.given.admin)?;
        let health = own(settings.health, "health", settings.given.health)?;
        let (admin_address, health_address) = (address(&admin)?, address(&health)?);
        let (listeners, mut sockets) = listen(&settings)?;
        // Before the workers let anybody in: a crowd may take every descriptor there is.
        let admin = Admin::start(admin, health).await.map_err(|error| refused(&error))?;
        note_skipped(&settings);
        // Nobody outside can guess it, so it takes no path away from the upstreams.
        let ready_path: Arc<str> = format!("/.bimetal/{:016x}", random()).into();
        let environment = Arc::new(Environment::read());
        let traces = Exporting::start(&environment, &settings.telemetry);
        let traces = traces.map_err(RunError::Start)?;
        let queue = traces.as_ref().map(Exporting::queue);
        let settings = Arc::new(settings);
        let board = Arc::new(MemoryBoard::default());
        let failure_log = Arc::new(FailureLog::default());
        let interactions = Arc::new(Interactions::default());
        let stale = Arc::new(StaleAnswers::default());
        let history = Arc::new(History::default());
        let directory = Arc::new(Directory::new(clock));
        directory.load(&settings);
        let board_policy = settings.document.board.clone();
        let mesh = board_policy.as_ref().map(|policy| Membership {
            replica: replica(policy.replica.as_deref(), &listeners),
            sequence: wall_micros(),
            urgent: Arc::default(),
        });
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for index in 0..settings.workers {
            let start = Start {
                index,
                clock,
                seed: random(),
                board: board.clone(),
                directory: directory.clone(),
                level,
                failure_log: failure_log.clone(),
                interactions: interactions.clone(),
                stale: stale.clone(),
                history: history.clone(),
                traces: queue.cloned().zip(Some(environment.clone())),
                mesh: mesh.clone(),
                ready_path: ready_path.clone(),
                sockets: sockets.pop().unwrap_or_default(),
                settings: settings.clone(),
            };
            let (sender, commands) = mpsc::unbounded_channel();
            let (started, ready) = oneshot::channel();
            threads.push(worker::spawn(start, commands, started).map_err(|error| refused(&error))?);
            match ready.await {
                Ok(Ok(())) => workers.push(sender),
                Ok(Err(error)) => return Err(refused(&error)),
                Err(_) => return Err(RunError::Start(format!("worker {index} died at its start"))),
            }
        }
        let shared = Arc::new(Shared {
            listeners,
            ready_path,
            workers,
            reloads: AtomicU64::new(0),
            refused_reloads: AtomicU64::new(0),
            directory,
            traces: queue.cloned(),
            exchanges: Arc::default(),
            clock,
            history,
            admin: admin_address,
            settings: Mutex::new(settings),
        });
        if let Some((policy, mesh)) = board_policy.zip(mesh) {
            exchange(&shared, &policy, mesh)?;
        }
        admin.serve(shared.clone());
        for address in &shared.listeners {
            info!("listening on {address}");
        }
        info!("admin on {admin_address}, health on {health_address}");
        Ok(Self { shared, admin: admin_address, health: health_address, threads, traces })
    }

    /// Addresses of the listeners, with real ports.
    pub fn listeners(&self) -> &[SocketAddr] {
        &self.shared.listeners
    }

    /// Takes new settings. Sockets and threads stay as they are until the next start.
    pub fn reload(&self, settings: Settings) {
        self.shared.load(settings);
    }

    /// Begins to drain: no new connections, what is under way has until `limit`.
    pub fn drain(&self, limit: Duration) {
        for worker in &self.shared.workers {
            // One that ended has nothing to drain.
            drop(worker.send(Command::Drain(limit)));
        }
    }

    /// Returns when every worker has ended.
    pub async fn ended(&self) {
        for worker in &self.shared.workers {
            worker.closed().await;
        }
    }

    /// Returns when the traces of requests that have ended are out, after a few seconds at the
    /// latest.
    pub async fn flush(&mut self) {
        if let Some(traces) = &mut self.traces {
            traces.finish(FLUSH).await;
        }
    }

    /// Waits for the threads of the workers. False where one of them panicked.
    pub fn join(self) -> bool {
        let ends: Vec<_> = self.threads.into_iter().map(JoinHandle::join).collect();
        ends.iter().all(Result::is_ok)
    }
}

/// Begins to exchange with other processes.
fn exchange(shared: &Arc<Shared>, policy: &BoardPolicy, mesh: Membership) -> Result<(), RunError> {
    let Some(redis) = &policy.redis else {
        return Ok(());
    };
    let client =
        board::address(redis).map_err(|why| RunError::Config(format!("board.redis: {why}")))?;
    let link = Link::new(client, &policy.prefix, format!("{:016x}", random()));
    let counts = shared.exchanges.clone();
    let exchanger =
        Exchanger::new(shared.clone(), link, policy.interval.into(), mesh.urgent, counts);
    exchanger.start().map_err(|error| refused(&error))
}

/// Microseconds since 1970: whoever begins again begins with more.
fn wall_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn note_skipped(settings: &Settings) {
    for skipped in &settings.skipped {
        warn!("skipped {skipped}");
    }
    for warning in &settings.warnings {
        warn!("{warning}");
    }
}

/// For each worker its sockets, one for each listener; and the real addresses.
type Sockets = (Vec<SocketAddr>, Vec<Vec<(Listener, TcpListener)>>);

fn listen(settings: &Settings) -> Result<Sockets, RunError> {
    let mut addresses = Vec::new();
    let mut sockets: Vec<Vec<_>> = (0..settings.workers).map(|_| Vec::new()).collect();
    for listener in &settings.listeners {
        let mut at = listener.address;
        if at.port() != 0 {
            // Sockets of another process that share the port would be let in beside ours, and take
            // half of the connections. Asking once for the address alone finds them.
            drop(bind(at, Sharing::Alone).map_err(|error| taken(at, "listener", &error))?);
        }
        for mine in &mut sockets {
            let socket =
                bind(at, Sharing::Workers).map_err(|error| taken(at, "listener", &error))?;
            at = address(&socket)?;
            mine.push((listener.clone(), socket));
        }
        addresses.push(at);
    }
    Ok((addresses, sockets))
}

/// A socket of the proxy's own. Where nobody gave its address and another proxy of this machine has it, it is
/// on a free port of loopback: two proxies run side by side without a word in their files.
fn own(address: SocketAddr, what: &str, is_given: bool) -> Result<TcpListener, RunError> {
    let bound = bind(address, Sharing::Alone);
    match bound {
        Err(error) if !is_given && error.kind() == std::io::ErrorKind::AddrInUse => {
            let free = bind((Ipv4Addr::LOCALHOST, 0).into(), Sharing::Alone);
            let free = free.map_err(|error| taken(address, what, &error))?;
            let instead = self::address(&free)?;
            warn!(
                "{what}: {address} is in use, so it is on {instead}; whoever asks {address} asks another \
                 program. Give it an address: {what}: {{address: …}}"
            );
            Ok(free)
        }
        bound => bound.map_err(|error| taken(address, what, &error)),
    }
}

fn address(socket: &TcpListener) -> Result<SocketAddr, RunError> {
    socket.local_addr().map_err(|error| refused(&error))
}

fn taken(address: SocketAddr, what: &str, error: &std::io::Error) -> RunError {
    RunError::Start(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{what}: {address} is in use; another program listens there, or another address is to \
             be given"
        ),
        _ => format!("{what}: cannot listen on {address}: {error}"),
    })
}

fn refused(error: &std::io::Error) -> RunError {
    RunError::Start(format!("cannot start: {error}"))
}

fn random() -> u64 {
    // The standard library seeds its hash tables from the system.
    RandomState::new().hash_one(0)
}
