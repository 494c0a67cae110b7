//! The paths of the service, and what each answers.

use super::ingest::{self, MAX_BATCH, Refusal};
use super::metrics::{self, Counts, Requests};
use super::owner::Request as Asked;
use crate::service::{Answer, error, given, json};
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Method, StatusCode};
use serde_json::json as object;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Largest body that is read, in bytes.
pub(super) const MAX_BODY: usize = 4 << 20;
/// Most of all bodies that are held at once, in units of 1 KiB.
const BODIES: usize = 64 << 10;
/// How long a client may take for its body.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// What all requests share.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) owner: mpsc::Sender<Asked>,
    pub(super) requests: Requests,
    pub(super) counts: Arc<Counts>,
    bodies: Semaphore,
    profiles: Semaphore,
}

impl Service {
    /// A service in front of this owner.
    pub(super) fn new(owner: mpsc::Sender<Asked>, counts: Arc<Counts>) -> Self {
        Self {
            owner,
            requests: Requests::default(),
            counts,
            bodies: Semaphore::new(BODIES),
            profiles: Semaphore::new(1),
        }
    }
}

/// The service's paths.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/ingest", post(take_in))
        .route("/analyze", get(analyze))
        .route("/metrics", get(metrics))
        // Answered beside the queue: a busy server is alive.
        .route("/healthz", get(async || json(StatusCode::OK, r#"{"status":"ok"}"#)))
        .route("/readyz", get(ready))
        .route("/debug/pprof/profile", get(profile))
        .fallback(async || error(StatusCode::NOT_FOUND, "endpoint not found"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "another method is wanted here: see allow")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&service), observe))
        .with_state(service)
}

/// Counts each request. Labels are of a few values, whatever clients send.
async fn observe(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    const PATHS: [&str; 6] =
        ["/ingest", "/analyze", "/metrics", "/healthz", "/readyz", "/debug/pprof/profile"];
    let start = Instant::now();
    let path = PATHS.into_iter().find(|path| *path == request.uri().path()).unwrap_or("other");
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "other",
    };
    let answer = next.run(request).await;
    service.requests.count((method, path, answer.status().as_u16()), start.elapsed().into());
    answer
}

async fn take_in(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let body = request.into_body();
    let too_large = || {
        let what = format!("the body is larger than {MAX_BODY} bytes; send it in several");
        error(StatusCode::PAYLOAD_TOO_LARGE, &what)
    };
    if body.size_hint().lower() > MAX_BODY as u64 {
        return too_large();
    }
    // A client that says no length may send the most.
    let most = body.size_hint().exact().unwrap_or(MAX_BODY as u64);
    let units = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(_held) = service.bodies.try_acquire_many(units) else {
        return busy(StatusCode::SERVICE_UNAVAILABLE, "too many bodies are being read");
    };
    let read = Limited::new(body, MAX_BODY).collect();
    let body = match tokio::time::timeout(BODY_WAIT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) if is_too_long(&*why) => return too_large(),
        Ok(Err(why)) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
        Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let samples = match ingest::read(&body, now()) {
        Ok(samples) => samples,
        Err(refusal) => return refused(refusal),
    };
    drop(body);
    let accepted = samples.len();
    let (done, is_done) = oneshot::channel();
    match service.owner.try_send(Asked::Ingest { samples, done }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return busy(StatusCode::TOO_MANY_REQUESTS, "too many requests wait: send less often");
        }
        Err(TrySendError::Closed(_)) => return ended(),
    }
    match is_done.await {
        Ok(()) => json(StatusCode::ACCEPTED, object!({ "accepted": accepted }).to_string()),
        Err(_) => ended(),
    }
}

fn is_too_long(why: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(why), |why| why.source());
    causes.any(|why| why.is::<LengthLimitError>())
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Malformed(why) => {
            let form = r#"{"timestamp": 1732250000.25, "cpu": 41.5, "rps": 120}"#;
            let what = format!("the body must be {form} or an array of such: {why}");
            error(StatusCode::BAD_REQUEST, &what)
        }
        Refusal::TooMany(count) => {
            let what = format!("the body holds {count} samples; send at most {MAX_BATCH} at once");
            error(StatusCode::PAYLOAD_TOO_LARGE, &what)
        }
        Refusal::Invalid(faults) => {
            let body = object!({ "error": "the body is refused, all of it", "errors": faults });
            json(StatusCode::UNPROCESSABLE_ENTITY, body.to_string())
        }
    }
}

async fn analyze(State(service): State<Arc<Service>>) -> Answer {
    let (done, analysis) = oneshot::channel();
    match service.owner.try_send(Asked::Analyze { done }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return busy(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait");
        }
        Err(TrySendError::Closed(_)) => return ended(),
    }
    match analysis.await {
        Ok(analysis) => json(StatusCode::OK, format!("{analysis}\n")),
        Err(_) => ended(),
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Answer {
    let page = metrics::page(&service.requests, &service.counts);
    given(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
}

/// Samples this process for `seconds` (10), then gives the profile. One at a time.
async fn profile(State(service): State<Arc<Service>>, request: Request) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let asked = query.split('&').find_map(|one| one.strip_prefix("seconds="));
    let seconds = match asked.map_or(Ok(10), str::parse::<u64>) {
        Ok(seconds) if (1..=60).contains(&seconds) => seconds,
        _ => return error(StatusCode::BAD_REQUEST, "seconds is a whole number of 1 to 60"),
    };
    let Ok(_one) = service.profiles.try_acquire() else {
        return busy(StatusCode::SERVICE_UNAVAILABLE, "another profile is being taken");
    };
    let guard = match super::profile::begin() {
        Ok(guard) => guard,
        Err(why) => return error(StatusCode::INTERNAL_SERVER_ERROR, &why),
    };
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    // Symbols are looked up elsewhere: it takes long, and others want their answers.
    let done = tokio::task::spawn_blocking(move || super::profile::end(&guard)).await;
    match done.map_err(|why| why.to_string()).and_then(|profile| profile) {
        Ok(profile) => given(StatusCode::OK, "application/octet-stream", profile),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

/// Ready is who can take another request.
async fn ready(State(service): State<Arc<Service>>) -> Answer {
    if service.owner.is_closed() {
        return ended();
    }
    match service.owner.capacity() {
        0 => busy(StatusCode::SERVICE_UNAVAILABLE, "too many requests wait"),
        _ => json(StatusCode::OK, r#"{"status":"ready"}"#),
    }
}

/// Microseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn ended() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "the server ends")
}

/// A refusal that a later try may not meet.
fn busy(status: StatusCode, what: &str) -> Answer {
    let mut answer = error(status, what);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use std::pin::pin;
    use std::task::Poll;
    use tower::ServiceExt;

    fn request(method: &str, path: &str) -> Request {
        let body = r#"{"timestamp":1,"cpu":1,"rps":1}"#;
        Request::builder().method(method).uri(path).body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn a_full_queue_is_said_at_once_and_keeps_what_it_holds() {
        // An owner that does not get to work.
        let (owner, mut requests) = mpsc::channel(1);
        let paths = router(Arc::new(Service::new(owner, Arc::default())));
        let mut waits = pin!(paths.clone().oneshot(request("POST", "/ingest")));
        assert!(std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx))).await.is_pending());
        for (method, path, status) in
            [("POST", "/ingest", 429), ("GET", "/analyze", 503), ("GET", "/readyz", 503)]
        {
            let answer = paths.clone().oneshot(request(method, path)).await.unwrap();
            assert_eq!(answer.status(), status, "{path}");
            assert_eq!(answer.headers()[RETRY_AFTER], "1");
        }
        let alive = paths.clone().oneshot(request("GET", "/healthz")).await.unwrap();
        assert_eq!(alive.status(), 200);
        // The owner begins to work: who waited is answered, and there is room.
        let Some(Asked::Ingest { samples, done }) = requests.recv().await else { panic!() };
        assert_eq!(samples.len(), 1);
        done.send(()).unwrap();
        assert_eq!(waits.await.unwrap().status(), 202);
        assert_eq!(paths.oneshot(request("GET", "/readyz")).await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn without_an_owner_nothing_is_accepted() {
        let (owner, requests) = mpsc::channel(1);
        let paths = router(Arc::new(Service::new(owner, Arc::default())));
        drop(requests);
        for (method, path) in [("POST", "/ingest"), ("GET", "/analyze"), ("GET", "/readyz")] {
            let answer = paths.clone().oneshot(request(method, path)).await.unwrap();
            assert_eq!(answer.status(), 503, "{path}");
        }
    }
}
