//! A client that makes one call on a connection of its own, and may leave early.

use super::echo::{STEP, fault_headers};
use crate::scenario::{Answer, Call};
use std::net::SocketAddr;
use std::time::Duration;
use ureq::http::Request;
use ureq::{Agent, Error};

/// What the client sends.
const BODY: &str = r#"{"message":"hello"}"#;

/// An agent that keeps no connection, follows nothing and goes straight to where it is sent.
pub(super) fn agent() -> Agent {
    agent_with(Some(Duration::from_secs(10)))
}

fn agent_with(patience: Option<Duration>) -> Agent {
    Agent::config_builder()
        .timeout_global(patience)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_idle_connections(0)
        .proxy(None)
        .build()
        .into()
}

/// Makes a call; the client leaves after `patience`, which makes the answer `left`.
pub(super) fn make(
    address: SocketAddr,
    name: &str,
    call: &Call,
    patience: Duration,
    left: &Answer,
) -> Answer {
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(format!("http://{address}{}", call.path))
        .header("host", &call.host)
        .header("content-type", "application/json")
        .header(STEP, name);
    for (name, value) in fault_headers(call) {
        request = request.header(name, value);
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let request = match request.body(BODY) {
        Ok(request) => request,
        Err(error) => return Answer::Nothing(error.to_string()),
    };
    let mut answer = match agent_with(Some(patience)).run(request) {
        Ok(answer) => answer,
        Err(Error::Timeout(_)) => return left.clone(),
        Err(error) => return Answer::Nothing(error.to_string()),
    };
    let status = answer.status().as_u16();
    let header =
        |name| answer.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let (rule, reason) = (header("x-bimetal-rule"), header("x-bimetal-reason"));
    if let Err(error) = answer.body_mut().read_to_vec() {
        // A time that is over within a body comes as the error of the read.
        let over = matches!(&error, Error::Timeout(_))
            || matches!(&error, Error::Io(io) if io.kind() == std::io::ErrorKind::TimedOut);
        return if over { left.clone() } else { Answer::Broken };
    }
    match (rule, reason) {
        (Some(rule), Some(_)) => Answer::Rejected { status, rule },
        (Some(rule), None) => Answer::Nothing(format!("{status} by {rule} without a reason")),
        (None, Some(reason)) => Answer::Nothing(format!("{status} without a rule: {reason}")),
        // The host's own errors are told from the upstream's by who asked for them.
        (None, None) if call.expect == Answer::Error && matches!(status, 502..=504) => {
            Answer::Error
        }
        (None, None) => Answer::Status(status),
    }
}
