//! One request's answer.

use super::classifier::{Accuracy, Classifier, likeliest};
use super::iris::Species;
use super::metrics::{self, Answers};
use super::request::{self, Refusal};
use super::slots::{NotServed, Slots};
use crate::service::{Answer, error, given, json};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::json as object;
use std::convert::Infallible;
use std::rc::Rc;

/// Largest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// A server at work.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) classifier: Classifier,
    /// How well it names the flowers that were held out.
    pub(super) held_out: Accuracy,
    pub(super) slots: Rc<Slots>,
    pub(super) answers: Answers,
}

#[derive(Serialize)]
struct Predicted {
    prediction: [f64; Species::ALL.len()],
    label: &'static str,
}

/// Answers one request; what hyper calls.
pub(super) async fn answer(
    request: Request<Incoming>,
    model: Rc<Model>,
) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    Ok(match (head.uri.path(), &head.method) {
        ("/predict", &Method::POST) => {
            let answer = predict(body, &model).await;
            model.answers.count(answer.status().as_u16());
            answer
        }
        ("/predict", _) => wrong_method("POST"),
        // Answered beside the queue: a busy server is alive.
        ("/healthz", &Method::GET | &Method::HEAD) => json(StatusCode::OK, r#"{"status":"ok"}"#),
        ("/metrics", &Method::GET | &Method::HEAD) => {
            let page = metrics::page(&model.answers, &model.slots, model.held_out);
            given(StatusCode::OK, "text/plain; version=0.0.4", page)
        }
        ("/healthz" | "/metrics", _) => wrong_method("GET, HEAD"),
        _ => error(StatusCode::NOT_FOUND, "endpoint not found"),
    })
}

async fn predict(body: Incoming, model: &Model) -> Answer {
    let body = match Limited::new(body, MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(why) if why.is::<LengthLimitError>() => {
            let what = format!("the body is larger than {MAX_BODY} bytes");
            return error(StatusCode::PAYLOAD_TOO_LARGE, &what);
        }
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let flower = match request::read(&body) {
        Ok(flower) => flower,
        Err(Refusal::Malformed(why)) => {
            let what = format!(r#"the body must be {{"data": [[5.1, 3.5, 1.4, 0.2]]}}: {why}"#);
            return error(StatusCode::BAD_REQUEST, &what);
        }
        Err(Refusal::Invalid(faults)) => {
            let body = object!({ "error": "the body is refused", "errors": faults });
            return json(StatusCode::UNPROCESSABLE_ENTITY, body.to_string());
        }
    };
    match model.slots.serve().await {
        Ok(()) => {}
        Err(NotServed::QueueFull(waiting)) => {
            let what = format!("the queue is full: {waiting} calls wait");
            return error(StatusCode::SERVICE_UNAVAILABLE, &what);
        }
        Err(NotServed::Ending) => {
            return error(StatusCode::SERVICE_UNAVAILABLE, "the server ends");
        }
    }
    let prediction = model.classifier.probabilities(&flower);
    let label = likeliest(&prediction).name();
    match serde_json::to_string(&Predicted { prediction, label }) {
        Ok(text) => json(StatusCode::OK, text),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, &why.to_string()),
    }
}

fn wrong_method(allowed: &'static str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &format!("use {allowed}"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
