//! State and health of a proxy, served from a thread of its own, so that probes are answered while
//! the workers are busy.

mod analyze;
mod asked;
mod control;
mod envoy;
mod gather;
mod hub;
mod metrics;
mod page;
mod quantile;
mod ready;
mod relay;
mod row;
mod tables;
mod topology;
mod traffic;

use crate::proxy::Shared;
use crate::worker::{Command, WorkerStats};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hub::{Feed, Hub};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, TcpListener as Socket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, oneshot};

type Answer = Response<Either<Full<Bytes>, Feed>>;

/// What the kernel keeps for a client that does not read.
const SEND_BUFFER: usize = 64 << 10;

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
    let hub = Hub::new(shared.clone());
    tokio::task::spawn_local(hub.clone().keep());
    let desk = Rc::new(Desk { shared, hub });
    tokio::join!(accept(desk.clone(), Face::Admin, admin), accept(desk, Face::Health, health));
}

/// What answers are made from.
struct Desk {
    shared: Arc<Shared>,
    hub: Rc<Hub>,
}

/// Who asks.
struct Visitor {
    face: Face,
    address: IpAddr,
    /// Ends the connection.
    ends: Rc<Notify>,
}

async fn accept(desk: Rc<Desk>, face: Face, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Where the kernel does not take it, a slow client is let go a little later.
                drop(socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER));
                let (address, ends) = (peer.ip().to_canonical(), Rc::default());
                let visitor = Visitor { face, address, ends };
                tokio::task::spawn_local(serve(desk.clone(), visitor, stream));
            }
            // Out of file descriptors, most likely: later is better than never.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(desk: Rc<Desk>, visitor: Visitor, stream: TcpStream) {
    let visitor = Rc::new(visitor);
    let asks = visitor.clone();
    let service = service_fn(move |request| {
        let (desk, visitor) = (desk.clone(), asks.clone());
        async move { Ok::<_, Infallible>(guarded(answer(&desk, &visitor, request).await)) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10));
    let served = builder.serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // A client that breaks off is its own affair.
        served = served => drop(served),
        () = visitor.ends.notified() => {}
    }
}

/// What every answer says to browsers: it is no page to be framed, kept, or taken for something else.
fn guarded(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn answer(desk: &Desk, visitor: &Visitor, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let shared = &*desk.shared;
    let is_admin = visitor.face == Face::Admin;
    let settings = shared.settings();
    // Who scrapes comes by whatever name its discovery found.
    if is_admin
        && path != "/metrics"
        && !asked::is_own_name(request.headers(), &settings.operators.hosts)
    {
        let what = "this is not a name of mine; name it in admin.hosts, or come by an address\n";
        return text(StatusCode::MISDIRECTED_REQUEST, what);
    }
    let accept = request.headers().get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|field| field.to_str().ok()).collect();
    let form = metrics::Form::asked(&accept);
    let is_breaker = is_admin && path.starts_with("/breakers/");
    match *request.method() {
        Method::GET | Method::HEAD if !is_breaker => {}
        Method::POST if is_breaker => {
            return control::order(shared, request, visitor.address).await;
        }
        _ => return wrong_method(is_breaker),
    }
    match visitor.face {
        Face::Health => of_health(shared, &path, form).await,
        Face::Admin => of_admin(desk, visitor, &path, request.uri().query(), form).await,
    }
}

fn wrong_method(is_breaker: bool) -> Answer {
    let allowed = if is_breaker { "POST" } else { "GET, HEAD" };
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

async fn of_health(shared: &Shared, path: &str, form: metrics::Form) -> Answer {
    match path {
        "/metrics" => told(gather::stats(shared).await, |stats| exposition(shared, &stats, form)),
        "/livez" | "/startupz" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match ready::check(shared).await {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

async fn of_admin(
    desk: &Desk,
    visitor: &Visitor,
    path: &str,
    query: Option<&str>,
    form: metrics::Form,
) -> Answer {
    let shared = &*desk.shared;
    match path {
        "/metrics" => told(gather::stats(shared).await, |stats| exposition(shared, &stats, form)),
        "/policies" => {
            told(gather::stats(shared).await, |stats| json_of(&policies(shared, &stats)))
        }
        "/breakers" => told(gather::breakers(shared).await, |rows| {
            json_of(&rows.iter().map(row::breaker).collect())
        }),
        "/analyze" => told(gather::ask(shared, Command::Edges).await, |edges| {
            json_of(&analyze::page(shared, edges.into_iter().flatten().collect()))
        }),
        "/topology" => json_of(&topology::page(&shared.settings())),
        "/endpoints" => {
            let groups = shared.directory.groups();
            json_of(&groups.iter().flat_map(|group| group.rows()).collect())
        }
        "/events" => events(desk, visitor, query.unwrap_or_default()),
        "/" => page::answer(),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// The events of this proxy, and of those beside it that `watch` names; without it, of all.
fn events(desk: &Desk, visitor: &Visitor, query: &str) -> Answer {
    let watch = query.split('&').find_map(|pair| pair.strip_prefix("watch="));
    // Names of the configuration have nothing that is escaped, but for the comma between them.
    let watch = watch.map(|names| names.replace("%2C", ",").replace("%2c", ","));
    let is_named =
        |name: &str| watch.as_ref().is_none_or(|names| names.split(',').any(|one| one == name));
    let settings = desk.shared.settings();
    let others = settings.operators.watch.iter().filter(|other| is_named(&other.name));
    let Some(feed) = desk.hub.watch(visitor.ends.clone(), others.cloned()) else {
        let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, "too many watch already\n");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        return answer;
    };
    let mut answer = Response::new(Either::Right(feed));
    let kind = HeaderValue::from_static("text/event-stream");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// What the workers' answers are made to; or which of them does not answer.
fn told<T>(gathered: Result<T, String>, tell: impl FnOnce(T) -> Answer) -> Answer {
    match gathered {
        Ok(gathered) => tell(gathered),
        Err(busy) => text(StatusCode::SERVICE_UNAVAILABLE, &busy),
    }
}

fn exposition(shared: &Shared, stats: &[WorkerStats], form: metrics::Form) -> Answer {
    let mut answer = text(StatusCode::OK, &metrics::page(shared, stats, form));
    let kind = HeaderValue::from_static(form.media());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
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
    let mut answer = Response::new(Either::Left(Full::from(String::from(text))));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn html(page: &str) -> Answer {
    let mut answer = text(StatusCode::OK, page);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn json_of(value: &Value) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(format!("{value}\n"))));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
