//! Start and end of the server.

use super::ModelArgs;
use super::answer::{Model, answer};
use super::classifier::Classifier;
use super::iris;
use super::metrics::Answers;
use super::slots::Slots;
use crate::log::{self, Format, Level};
use crate::ready;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

/// How long a stopping server waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take for a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: the cause (no descriptors left) needs time to pass.
const RETRY: Duration = Duration::from_millis(20);

/// Why the server did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ModelError {
    /// The classifier could not be trained.
    Training(String),
    /// An address that cannot be listened on.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        why: io::Error,
    },
    /// The ready file.
    ReadyFile(io::Error),
    /// Signals or a runtime that the system does not give.
    System(io::Error),
    /// A second signal ended the process before everything was answered.
    Interrupted,
}

impl fmt::Display for ModelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Training(why) => write!(f, "the classifier cannot be trained: {why}"),
            Self::Listen { address, why } if why.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use; stop the other program or choose another port")
            }
            Self::Listen { address, why } => write!(f, "cannot listen on {address}: {why}"),
            Self::ReadyFile(why) => write!(f, "cannot write the ready file: {why}"),
            Self::System(why) => write!(f, "cannot start: {why}"),
            Self::Interrupted => f.write_str("ended at once by a second signal"),
        }
    }
}

impl std::error::Error for ModelError {}

impl ModelError {
    /// 1: nothing of it is wrong input.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::FAILURE
    }
}

/// Runs the server until SIGTERM or SIGINT.
///
/// # Errors
/// See [`ModelError`].
pub fn run(args: &ModelArgs) -> Result<(), ModelError> {
    log::start(Level::Info, Format::Text);
    let model = Rc::new(trained(args)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ModelError::System)?;
    runtime.block_on(LocalSet::new().run_until(serve(args, model)))
}

fn trained(args: &ModelArgs) -> Result<Model, ModelError> {
    let flowers = iris::flowers().map_err(|why| ModelError::Training(why.to_string()))?;
    let classifier = Classifier::learn(&flowers.learnt).map_err(ModelError::Training)?;
    let held_out = classifier.judge(&flowers.held_out);
    tracing::info!(
        right = held_out.right,
        of = held_out.of,
        "learnt from {} flowers; of {} others {} are named rightly ({:.1} %)",
        flowers.learnt.len(),
        held_out.of,
        held_out.right,
        held_out.share() * 100.0,
    );
    let slots = Rc::new(Slots::new(args.slots, args.queue, args.work));
    Ok(Model { classifier, held_out, slots, answers: Answers::default() })
}

async fn serve(args: &ModelArgs, model: Rc<Model>) -> Result<(), ModelError> {
    // Before anything is announced: whoever reads the ready file may send a signal at once.
    let mut terminate = signal(SignalKind::terminate()).map_err(ModelError::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ModelError::System)?;
    let failed = |why| ModelError::Listen { address: args.listen, why };
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    let listen = listener.local_addr().map_err(ModelError::System)?;
    ready::announce(
        &serde_json::json!({ "listen": listen }),
        args.ready_file.as_deref(),
        args.print_ports,
    )
    .map_err(ModelError::ReadyFile)?;
    tracing::info!("listening on {listen}");
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            stream = accept(&listener) => welcome(stream, &model, &connections),
        }
    }
    drop(listener);
    tokio::select! {
        _ = terminate.recv() => Err(ModelError::Interrupted),
        _ = interrupt.recv() => Err(ModelError::Interrupted),
        // Calls that still wait in the queue after that would keep the process for long.
        _ = tokio::time::timeout(DRAIN, connections.shutdown()) => Ok(()),
    }
}

fn welcome(stream: TcpStream, model: &Rc<Model>, connections: &GracefulShutdown) {
    // Without it small answers wait for the peer's acknowledgement; it fails on a connection that
    // is already gone, which the next read finds out.
    let _ = stream.set_nodelay(true);
    let model = Rc::clone(model);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(move |request| answer(request, Rc::clone(&model))),
        );
    let connection = connections.watch(connection);
    tokio::task::spawn_local(async move {
        // Errors are the peer's: it left, or sent what is not HTTP and got its 400.
        let _ = connection.await;
    });
}

/// The next connection.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(why) => {
                tracing::warn!("cannot accept a connection: {why}");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
