//! The admin API: faults, releases and what was received.

use super::answer::{Answer, error, json, read};
use super::plan::Plan;
use super::server::Shared;
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json as object};
use std::convert::Infallible;
use std::sync::Arc;

/// Whether `path` belongs to the admin API.
pub(super) fn is_admin(path: &str) -> bool {
    path == "/faults" || path == "/received" || path.starts_with("/release/")
}

/// Answers on the admin listener.
pub(super) async fn serve(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/healthz" {
        return Ok(json(StatusCode::OK, r#"{"status":"ok"}"#));
    }
    Ok(answer(&head, body, &shared).await)
}

/// Answers one admin request.
pub(super) async fn answer(head: &Parts, body: Incoming, shared: &Shared) -> Answer {
    let path = head.uri.path();
    match (path, &head.method) {
        ("/faults", &Method::GET) => faults(shared),
        ("/faults", &Method::PUT) => put_faults(body, shared).await,
        ("/faults", &Method::DELETE) => {
            shared.put_in_force(Plan::default()).await;
            faults(shared)
        }
        ("/faults", _) => wrong_method("GET, PUT, DELETE"),
        ("/received", &Method::GET) => json(StatusCode::OK, shared.received.to_json().to_string()),
        ("/received", &Method::DELETE) => {
            shared.received.clear();
            json(StatusCode::OK, shared.received.to_json().to_string())
        }
        ("/received", _) => wrong_method("GET, DELETE"),
        _ => match (path.strip_prefix("/release/"), &head.method) {
            (Some(name), &Method::POST) => {
                let released = shared.holds.release(name);
                json(StatusCode::OK, object!({ "released": released }).to_string())
            }
            (Some(_), _) => wrong_method("POST"),
            (None, _) => error(StatusCode::NOT_FOUND, "endpoint not found"),
        },
    }
}

fn faults(shared: &Shared) -> Answer {
    let running = shared.running();
    let plan = match running.plan.source() {
        Value::Null => object!([]),
        plan => plan.clone(),
    };
    let elapsed = running.since.elapsed().as_secs_f64();
    json(StatusCode::OK, object!({ "plan": plan, "elapsed_s": elapsed }).to_string())
}

async fn put_faults(body: Incoming, shared: &Shared) -> Answer {
    let bytes = match read(body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return refusal,
    };
    let document: Value = match serde_json::from_slice(&bytes) {
        Ok(document) => document,
        Err(what) => return refused(&[format!("document: {what}")]),
    };
    match Plan::parse(&document) {
        Ok(plan) => {
            shared.put_in_force(plan).await;
            faults(shared)
        }
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            refused(&problems)
        }
    }
}

/// The plan in force stays.
fn refused(problems: &[String]) -> Answer {
    let body = object!({ "error": "the plan is refused", "errors": problems });
    json(StatusCode::BAD_REQUEST, body.to_string())
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allowed}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
