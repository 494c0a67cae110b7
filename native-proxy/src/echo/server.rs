//! Start and end of the server, and what its workers share.

use super::holds::Holds;
use super::plan::{Plan, Problem};
use super::received::Received;
use super::socket::Port;
use super::worker::{Command, Running, Worker};
use super::{EchoArgs, admin};
use crate::clock::Clock;
use crate::config::{Exporter, Telemetry};
use crate::log::{self, Format, Level};
use crate::ready;
use crate::telemetry::{Environment, Exporting, FLUSH, Queue, Tracer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// The `service.name` of its spans.
const SERVICE_NAME: &str = "echo-server";

/// Why the server did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum EchoError {
    /// The fault rules on the command line.
    Faults(Vec<Problem>),
    /// The same address for requests and for the admin API.
    SameAddress(SocketAddr),
    /// An address that cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// The ready file.
    ReadyFile(io::Error),
    /// Traces cannot go where they should.
    Traces(String),
    /// Threads, signals or a runtime that the system does not give.
    System(io::Error),
    /// A worker ended by itself.
    WorkerLost,
    /// A second signal ended the process before everything was answered.
    Interrupted,
}

impl EchoError {
    /// 2 for wrong input, 1 for everything else.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Faults(_) | Self::SameAddress(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for EchoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Faults(problems) => {
                f.write_str("the fault rules are refused")?;
                problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
            }
            Self::SameAddress(address) => {
                write!(f, "--listen and --admin both take {address}; each needs one of its own")
            }
            Self::Listen { address, why } if why.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use; stop the other program or choose another port")
            }
            Self::Listen { address, why } => write!(f, "cannot listen on {address}: {why}"),
            Self::ReadyFile(why) => write!(f, "cannot write the ready file: {why}"),
            Self::Traces(why) => f.write_str(why),
            Self::System(why) => write!(f, "cannot start: {why}"),
            Self::WorkerLost => f.write_str("a worker ended by itself"),
            Self::Interrupted => f.write_str("ended at once by a second signal"),
        }
    }
}

impl std::error::Error for EchoError {}

/// What all workers and the admin API share.
pub(super) struct Shared {
    pub(super) received: Arc<Received>,
    pub(super) holds: Holds,
    pub(super) clock: Clock,
    traces: Option<(Queue, Arc<Environment>)>,
    /// Whether the admin API is served beside `/echo`.
    pub(super) admin_is_beside: bool,
    running: Mutex<Arc<Running>>,
    workers: Vec<mpsc::UnboundedSender<Command>>,
}

impl Shared {
    /// What decides which of a worker's requests are recorded as traces.
    pub(super) fn tracer(&self) -> Option<Tracer> {
        let (queue, environment) = self.traces.clone()?;
        Some(Tracer::new(self.clock, queue, environment, &Telemetry::default()))
    }

    /// The plan in force.
    pub(super) fn running(&self) -> Arc<Running> {
        Arc::clone(&self.running.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts `plan` in force; returns once every worker goes by it.
    pub(super) async fn put_in_force(&self, plan: Plan) {
        let running = Arc::new(Running { plan, since: Instant::now() });
        let mut acks = Vec::with_capacity(self.workers.len());
        {
            // Sent under the lock: two plans at once reach every worker in the same order.
            let mut current = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            for worker in &self.workers {
                let (ack, acked) = oneshot::channel();
                // A worker that is gone serves nothing by an old plan.
                let _ = worker.send(Command::Plan(Arc::clone(&running), ack));
                acks.push(acked);
            }
            *current = running;
        }
        for acked in acks {
            let _ = acked.await;
        }
    }

    fn stop(&self) {
        for worker in &self.workers {
            let _ = worker.send(Command::Stop);
        }
        self.holds.release_all();
    }
}

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// See [`EchoError`].
pub fn run(args: EchoArgs) -> Result<(), EchoError> {
    if let Some(admin) = args.admin.filter(|admin| crate::config::collide(*admin, args.listen)) {
        return Err(EchoError::SameAddress(admin));
    }
    let plan = Plan::from_flags(&args.fault).map_err(EchoError::Faults)?;
    let runtime = runtime().map_err(EchoError::System)?;
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(serve(args, plan)))
}

async fn serve(args: EchoArgs, plan: Plan) -> Result<(), EchoError> {
    // Before anything is announced: whoever reads the ready file may send a signal at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(EchoError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(EchoError::System)?;
    let failed = |address| move |why| EchoError::Listen { address, why };
    let port = Arc::new(Port::reserve(args.listen).map_err(failed(args.listen))?);
    let admin = match args.admin {
        Some(address) => {
            let listener = TcpListener::bind(address).await.map_err(failed(address))?;
            let address = listener.local_addr().map_err(EchoError::System)?;
            Some((listener, address))
        }
        None => None,
    };
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..args.workers).map(|_| mpsc::unbounded_channel()).unzip();
    let environment = Arc::new(Environment::read());
    let telemetry = Telemetry {
        exporter: args.traces,
        service_name: Arc::from(SERVICE_NAME),
        ..Telemetry::default()
    };
    if environment.exporter(args.traces) != Exporter::None {
        // Lost spans are told of in the log, which the server has no other use for.
        log::start(Level::Info, Format::Text);
    }
    let mut traces = Exporting::start(&environment, &telemetry).map_err(EchoError::Traces)?;
    let running = Arc::new(Running { plan, since: Instant::now() });
    let shared = Arc::new(Shared {
        received: Arc::new(Received::new(args.remember)),
        holds: Holds::default(),
        clock: Clock::start(),
        traces: traces.as_ref().map(|traces| (traces.queue().clone(), environment)),
        admin_is_beside: admin.is_none(),
        running: Mutex::new(Arc::clone(&running)),
        workers: senders,
    });
    let mut ends = Vec::new();
    for commands in receivers {
        let listener = port.listen().map_err(failed(port.address()))?;
        let (port, shared) = (Arc::clone(&port), Arc::clone(&shared));
        let running = Arc::clone(&running);
        let end = spawn_worker(move || async move {
            Rc::new(Worker::new(shared, running)).serve(port, listener, commands).await;
        });
        ends.push(end.map_err(EchoError::System)?);
    }
    announce(&args, port.address(), admin.as_ref().map(|(_, address)| *address))?;
    if let Some((listener, _)) = admin {
        tokio::task::spawn_local(serve_admin(listener, Arc::clone(&shared)));
    }
    tokio::select! {
        () = any(&mut terminate, &mut interrupt) => shared.stop(),
        () = all_ended(&mut ends) => return Err(EchoError::WorkerLost),
    }
    tokio::select! {
        () = any(&mut terminate, &mut interrupt) => Err(EchoError::Interrupted),
        () = all_flushed(&mut ends, traces.as_mut()) => Ok(()),
    }
}

/// Every worker has ended, and what they recorded is out.
async fn all_flushed(ends: &mut Vec<oneshot::Receiver<()>>, traces: Option<&mut Exporting>) {
    all_ended(ends).await;
    if let Some(traces) = traces {
        traces.finish(FLUSH).await;
    }
}

async fn any(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

async fn all_ended(ends: &mut Vec<oneshot::Receiver<()>>) {
    while let Some(end) = ends.last_mut() {
        // The sender is dropped when the thread ends, by whatever way.
        let _ = end.await;
        ends.pop();
    }
}

/// Starts a thread that runs one worker; the receiver resolves when the thread ends.
fn spawn_worker<F, Fut>(work: F) -> io::Result<oneshot::Receiver<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let runtime = runtime()?;
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
        let _ended: oneshot::Sender<()> = ended;
        let local = tokio::task::LocalSet::new();
        runtime.block_on(local.run_until(work()));
    })?;
    Ok(end)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

async fn serve_admin(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| admin::serve(request, Arc::clone(&shared)));
        tokio::task::spawn_local(async move {
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service);
            // An error is the peer's, and it has been answered where that was possible.
            let _ = connection.await;
        });
    }
}

/// Says where the server listens, to whoever asked for it.
fn announce(
    args: &EchoArgs,
    listen: SocketAddr,
    admin: Option<SocketAddr>,
) -> Result<(), EchoError> {
    let line = serde_json::json!({ "listen": listen, "admin": admin.unwrap_or(listen) });
    ready::announce(&line, args.ready_file.as_deref(), args.print_ports)
        .map_err(EchoError::ReadyFile)
}
