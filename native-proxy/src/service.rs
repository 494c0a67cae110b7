//! A small HTTP server of one thread: from its address to its end. The commands that serve something
//! beside the proxy run by it.

use crate::ready;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::{Value, json as object};
use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

/// How long a stopping server waits for what is under way.
const DRAIN: Duration = Duration::from_secs(5);
/// How long a client may take for a request's head.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: the cause (no descriptors left) needs time to pass.
const RETRY: Duration = Duration::from_millis(20);

/// An answer that is known whole.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Where a server listens, and whom it tells.
#[derive(Clone, Debug, clap::Args)]
pub struct Announced {
    /// Write the address as one JSON line to standard error once it is open (and the ready file is
    /// there)
    #[arg(long)]
    pub print_ports: bool,
    /// Write the same JSON line to this file, whole at once
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

/// Why a server did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServiceError {
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

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
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

impl Error for ServiceError {}

/// What a value of JSON is, for people.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// An answer that says what is wrong.
pub(crate) fn error(status: StatusCode, what: &str) -> Answer {
    json(status, object!({ "error": what }).to_string())
}

/// An answer in JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    given(status, "application/json", body)
}

/// An answer of this media type.
pub(crate) fn given(
    status: StatusCode,
    media_type: &'static str,
    body: impl Into<Bytes>,
) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// An address on the command line.
pub(crate) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| r#"allowed is an IP address and a port, such as "0.0.0.0:8000""#)
}

/// Runs `future` on a runtime of one thread; what it spawns locally runs there, too.
///
/// # Errors
/// The system gives no runtime.
pub(crate) fn run<T>(
    future: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ServiceError::System)?;
    runtime.block_on(LocalSet::new().run_until(future))
}

/// The signals that end a server: the first one drains, the second one ends at once.
pub(crate) struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    /// Begins to listen for them; from now on none ends the process by itself.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> Result<Self, ServiceError> {
        let one = |kind| signal(kind).map_err(ServiceError::System);
        Ok(Self {
            terminate: one(SignalKind::terminate())?,
            interrupt: one(SignalKind::interrupt())?,
        })
    }

    /// Returns at the next of them.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for `last`, for so long as a drain may take, or until the next signal.
    /// `None` where the time was not enough.
    ///
    /// # Errors
    /// [`ServiceError::Interrupted`] by a signal.
    pub(crate) async fn drain<T>(
        &mut self,
        last: impl Future<Output = T>,
    ) -> Result<Option<T>, ServiceError> {
        tokio::select! {
            () = self.next() => Err(ServiceError::Interrupted),
            done = tokio::time::timeout(DRAIN, last) => Ok(done.ok()),
        }
    }
}

/// Serves `service` on `listen` until the first signal, then answers what is under way, for at most
/// five seconds. The signals come back: what is left to do may be ended by the next one.
///
/// # Errors
/// See [`ServiceError`].
pub(crate) async fn serve<S>(
    listen: SocketAddr,
    announced: &Announced,
    service: S,
) -> Result<Ends, ServiceError>
where
    S: HttpService<Incoming> + Clone + 'static,
    S::ResBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Before anything is announced: whoever reads the ready file may send a signal at once.
    let mut ends = Ends::new()?;
    let failed = |why| ServiceError::Listen { address: listen, why };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let listen = listener.local_addr().map_err(ServiceError::System)?;
    ready::announce(
        &serde_json::json!({ "listen": listen }),
        announced.ready_file.as_deref(),
        announced.print_ports,
    )
    .map_err(ServiceError::ReadyFile)?;
    tracing::info!("listening on {listen}");
    let connections = GracefulShutdown::new();
    loop {
        tokio::select! {
            () = ends.next() => break,
            stream = accept(&listener) => welcome(stream, service.clone(), &connections),
        }
    }
    drop(listener);
    ends.drain(connections.shutdown()).await?;
    Ok(ends)
}

fn welcome<S>(stream: TcpStream, service: S, connections: &GracefulShutdown)
where
    S: HttpService<Incoming> + 'static,
    S::ResBody: Body<Error: Into<Box<dyn Error + Send + Sync>>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Without it small answers wait for the peer's acknowledgement; it fails on a connection that
    // is already gone, which the next read finds out.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .serve_connection(TokioIo::new(stream), service);
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
