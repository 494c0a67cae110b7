//! State and health of a proxy, served from a thread of its own, so that probes are answered while
//! the workers are busy.

mod gather;
mod metrics;
mod ready;

use crate::proxy::Shared;
use crate::worker::WorkerStats;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::TcpListener as Socket;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

type Answer = Response<Full<Bytes>>;

/// Which of the two listeners a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Face {
    /// Everything.
    Admin,
    /// Probes and metrics only.
    Health,
}

/// The admin thread, with all that it needs to serve.
#[derive(Debug)]
pub(crate) struct Admin {
    serves: oneshot::Sender<Arc<Shared>>,
}

impl Admin {
    /// Starts the thread for both listeners. It has its descriptors when this returns: clients that
    /// the workers let in afterwards cannot take them.
    ///
    /// # Errors
    /// The system gives no thread, or no descriptor.
    pub(crate) async fn start(admin: Socket, health: Socket) -> std::io::Result<Self> {
        let (serves, shared) = oneshot::channel();
        let (started, is_ready) = oneshot::channel();
        let live = move || match Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
        {
            Ok(runtime) => runtime.block_on(live(admin, health, started, shared)),
            Err(error) => drop(started.send(Err(error))),
        };
        std::thread::Builder::new().name("admin".into()).spawn(live)?;
        is_ready.await.unwrap_or_else(|_| Err(std::io::Error::other("the admin thread died")))?;
        Ok(Self { serves })
    }

    /// Serves from now on, for as long as the process lives.
    pub(crate) fn serve(self, shared: Arc<Shared>) {
        // The thread waits for nothing else.
        drop(self.serves.send(shared));
    }
}

async fn live(
    admin: Socket,
    health: Socket,
    started: oneshot::Sender<std::io::Result<()>>,
    shared: oneshot::Receiver<Arc<Shared>>,
) {
    let registered = TcpListener::from_std(admin)
        .and_then(|admin| TcpListener::from_std(health).map(|health| (admin, health)));
    let (admin, health) = match registered {
        Ok(both) => both,
        Err(error) => return drop(started.send(Err(error))),
    };
    drop(started.send(Ok(())));
    // Nobody sends where the proxy did not start.
    let Ok(shared) = shared.await else {
        return;
    };
    tokio::task::spawn_local(shared.directory.clone().keep());
    tokio::join!(accept(shared.clone(), Face::Admin, admin), accept(shared, Face::Health, health));
}

async fn accept(shared: Arc<Shared>, face: Face, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(serve(shared.clone(), face, stream));
            }
            // Out of file descriptors, most likely: later is better than never.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(shared: Arc<Shared>, face: Face, stream: TcpStream) {
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(answer(&shared, face, &request).await) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    // A client that breaks off is its own affair.
    drop(builder.serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(shared: &Shared, face: Face, request: &Request<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match (face, request.uri().path()) {
        (_, "/metrics") => match gather::stats(shared).await {
            Ok(stats) => {
                let mut answer = text(StatusCode::OK, &metrics::page(shared, &stats));
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                answer.headers_mut().insert(CONTENT_TYPE, kind);
                answer
            }
            Err(busy) => text(StatusCode::SERVICE_UNAVAILABLE, &busy),
        },
        (Face::Health, "/livez" | "/startupz") => text(StatusCode::OK, "ok\n"),
        (Face::Health, "/readyz") => match ready::check(shared).await {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        (Face::Admin, "/policies") => match gather::stats(shared).await {
            Ok(stats) => json(&policies(shared, &stats)),
            Err(busy) => text(StatusCode::SERVICE_UNAVAILABLE, &busy),
        },
        (Face::Admin, "/breakers") => match gather::breakers(shared).await {
            Ok(rows) => json(&Value::Array(rows)),
            Err(busy) => text(StatusCode::SERVICE_UNAVAILABLE, &busy),
        },
        (Face::Admin, "/endpoints") => {
            let groups = shared.directory.groups();
            json(&groups.iter().flat_map(|group| group.rows()).collect())
        }
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// So many time limits of a policy are shown of each worker.
const MOST_TIMEOUTS: usize = 100;

/// The policies in force: as they were written, with the hashes of what they mean, and time limits that
/// follow their upstreams as they are now.
fn policies(shared: &Shared, stats: &[WorkerStats]) -> Value {
    let timeouts = |policy: &str| -> Vec<Value> {
        let workers = stats.iter().enumerate();
        let rows = workers.flat_map(|(worker, stats)| {
            let rows = stats.timeouts.iter().filter(|row| row.policy == policy);
            rows.take(MOST_TIMEOUTS).map(move |row| {
                json!({
                    "scope": row.scope,
                    "worker": worker,
                    "request_ms": row.limit.as_millis(),
                    "measured": row.is_measured,
                })
            })
        });
        rows.collect()
    };
    let settings = shared.settings();
    let rows = settings.document.policies.iter().enumerate().map(|(place, policy)| {
        json!({
            "name": &*policy.name,
            "hash": format!("{:016x}", policy.hash),
            "mode": policy.mode.name(),
            "policy": settings.policies.get(place),
            "timeouts": timeouts(&policy.name),
        })
    });
    json!({
        "hash": format!("{:016x}", settings.document.hash),
        "skipped": &settings.skipped,
        "policies": rows.collect::<Vec<_>>(),
    })
}

fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(String::from(text)));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn json(value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(format!("{value}\n")));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
