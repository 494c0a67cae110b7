//! The paths of the board, and what each answers.

use super::keeper::{Asked, Sizes};
use super::page;
use crate::board::ExchangeCounts;
use crate::service::{Answer, error, given, json};
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::routing::{get, post};
use bimetal_core::board::far::{MAX_MESSAGE, Question};
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Body as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Most of all bodies that are held at once, in units of 1 KiB.
const BODIES: usize = 64 << 10;
/// How long a member may take for its body.
const BODY_WAIT: Duration = Duration::from_secs(5);

/// What all requests share.
#[derive(Debug)]
pub(super) struct Service {
    /// The prefix that is served.
    pub(super) prefix: String,
    /// Who answers questions.
    pub(super) keeper: mpsc::Sender<Asked>,
    /// What is counted of exchanges.
    pub(super) counts: Arc<ExchangeCounts>,
    /// How much is known.
    pub(super) sizes: Arc<Sizes>,
    bodies: Semaphore,
}

impl Service {
    /// A service in front of this keeper.
    pub(super) fn new(
        prefix: String,
        keeper: mpsc::Sender<Asked>,
        counts: Arc<ExchangeCounts>,
        sizes: Arc<Sizes>,
    ) -> Self {
        Self { prefix, keeper, counts, sizes, bodies: Semaphore::new(BODIES) }
    }
}

/// The board's paths.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/exchange/{prefix}", post(exchange))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || json(StatusCode::OK, r#"{"status":"ok"}"#)))
        // A store that is away does not make the board unready: it would be taken away from members that
        // get their answer as soon as it is back.
        .route("/readyz", get(ready))
        .fallback(async || error(StatusCode::NOT_FOUND, "endpoint not found"))
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "another method is wanted here: see allow")
        })
        .with_state(service)
}

async fn exchange(
    State(service): State<Arc<Service>>,
    Path(prefix): Path<String>,
    request: Request,
) -> Answer {
    if prefix != service.prefix {
        let what = format!("this board is for the prefix {}: see --prefix", service.prefix);
        return error(StatusCode::NOT_FOUND, &what);
    }
    let body = request.into_body();
    let too_large = || error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
    if body.size_hint().lower() > MAX_MESSAGE as u64 {
        return too_large();
    }
    let most = body.size_hint().exact().unwrap_or(MAX_MESSAGE as u64);
    let units = u32::try_from(most.div_ceil(1024)).unwrap_or(u32::MAX);
    let Ok(_held) = service.bodies.try_acquire_many(units) else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "too many bodies are being read");
    };
    let read = Limited::new(body, MAX_MESSAGE).collect();
    let body = match tokio::time::timeout(BODY_WAIT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) if why.is::<http_body_util::LengthLimitError>() => return too_large(),
        Ok(Err(why)) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
        Err(_) => return error(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
    };
    let question = match Question::decode(&body) {
        Ok(question) => question,
        Err(why) => return error(StatusCode::BAD_REQUEST, &format!("no question: {why}")),
    };
    drop(body);
    let (asker, answer) = oneshot::channel();
    match service.keeper.try_send((question, asker)) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => {
            return error(StatusCode::SERVICE_UNAVAILABLE, "too many questions wait");
        }
        Err(TrySendError::Closed(_)) => return ended(),
    }
    match answer.await {
        Ok(Ok(answer)) => given(StatusCode::OK, "application/octet-stream", answer.encode()),
        Ok(Err(why)) => error(StatusCode::SERVICE_UNAVAILABLE, &format!("the store fails: {why}")),
        Err(_) => ended(),
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Answer {
    let page = page::page(&service.counts, &service.sizes);
    given(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
}

async fn ready(State(service): State<Arc<Service>>) -> Answer {
    if service.keeper.is_closed() { ended() } else { json(StatusCode::OK, r#"{"status":"ready"}"#) }
}

fn ended() -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "the server ends")
}
