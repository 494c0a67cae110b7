//! The tiers: a monolith that reports its exceptions, and a checkout that calls it within a database
//! transaction. Real HTTP; the work and the database are waited for.

use super::numbers::{DATABASE, MONOLITH_LIMIT, REPORT_LIMIT, SLOTS, WORK};
use anyhow::{Context, Result};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// One way from a caller to what it calls: straight, or through the proxy.
#[derive(Clone, Debug)]
pub struct Edge {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: String,
}

impl Edge {
    /// The way to `path` at `address`.
    pub fn new(address: SocketAddr, path: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, uri: format!("http://{address}{path}") }
    }

    /// One call that its caller waits for so long. It says how long somebody wants its result (which
    /// may be no longer at all), and more headers. True means a good answer.
    pub async fn call(
        &self,
        limit: Duration,
        wanted: Duration,
        headers: &[(&'static str, &'static str)],
    ) -> bool {
        let mut request = Request::post(&self.uri)
            .header("content-type", "application/json")
            .header("x-request-deadline-ms", wanted.as_millis().to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let Ok(request) = request.body(Full::from(r#"{"message":"incident"}"#)) else {
            return false;
        };
        let exchange = async {
            let answer = self.client.request(request).await.ok()?;
            let is_good = answer.status().is_success();
            answer.into_body().collect().await.ok()?;
            Some(is_good)
        };
        tokio::time::timeout(limit, exchange).await.ok().flatten().unwrap_or(false)
    }
}

/// A resource of which there are so many, and who waits for one.
#[derive(Debug)]
pub struct Places {
    free: Semaphore,
    all: usize,
    waiting: AtomicUsize,
}

impl Places {
    fn new(all: u32) -> Self {
        let all = all as usize;
        Self { free: Semaphore::new(all), all, waiting: AtomicUsize::new(0) }
    }

    /// Who waits for one.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.all - self.free.available_permits()
    }

    /// Runs `work` in one of the places, when it is its turn.
    async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = self.free.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // It is never closed.
        let _place = place.ok()?;
        Some(work.await)
    }
}

/// A tier at work.
#[derive(Clone, Debug)]
pub struct Tier {
    /// Where it listens.
    pub address: SocketAddr,
    /// The monolith's slots, or checkout's connections to its database.
    pub places: Arc<Places>,
}

/// Starts the monolith. Each call reports one exception to `tracker` while it works, and its slot is
/// free when both are done; what became of the report matters to nobody.
///
/// # Errors
/// It cannot listen.
pub async fn monolith(tracker: Edge) -> Result<Tier> {
    let places = Arc::new(Places::new(SLOTS));
    let shared = Arc::clone(&places);
    let address = serve(move || {
        let (places, tracker) = (Arc::clone(&shared), tracker.clone());
        async move {
            let work = async {
                let report = tracker.call(REPORT_LIMIT, REPORT_LIMIT, &[]);
                tokio::join!(tokio::time::sleep(WORK), report);
            };
            places.within(work).await.is_some()
        }
    })
    .await?;
    Ok(Tier { address, places })
}

/// Starts checkout. Each call takes a connection to the database, calls the monolith within its
/// transaction, and gives it back.
///
/// # Errors
/// It cannot listen.
pub async fn checkout(monolith: Edge) -> Result<Tier> {
    let places = Arc::new(Places::new(DATABASE));
    let shared = Arc::clone(&places);
    let address = serve(move || {
        let (places, monolith) = (Arc::clone(&shared), monolith.clone());
        async move {
            let call =
                monolith.call(MONOLITH_LIMIT, MONOLITH_LIMIT, &[("x-db-transaction", "open")]);
            places.within(call).await.unwrap_or(false)
        }
    })
    .await?;
    Ok(Tier { address, places })
}

/// Serves on a free port of loopback: 200 where `work` is good, else 503. The work goes on when the
/// client has left: nobody tells it.
async fn serve<F>(work: impl Fn() -> F + Clone + Send + 'static) -> Result<SocketAddr>
where
    F: Future<Output = bool> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.context("a tier cannot listen")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let work = work.clone();
            let service = service_fn(move |request: Request<Incoming>| answer(request, work()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(address)
}

async fn answer(
    request: Request<Incoming>,
    work: impl Future<Output = bool> + Send + 'static,
) -> Result<Response<Full<Bytes>>, Infallible> {
    // Its end is not looked for: what it says does not matter here.
    let _ = request.into_body().collect().await;
    let is_good = tokio::spawn(work).await.unwrap_or(false);
    let mut answer = Response::new(Full::from("{}"));
    if !is_good {
        *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(answer)
}
