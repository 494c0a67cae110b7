//! A client that makes one call on a connection of its own. It may be slow to send its request, and
//! may leave early.

use super::upstream::STEP;
use crate::core_host::UPLOAD_PIECES;
use crate::scenario::{Answer, Call, Upstream};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, Error};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Sleep;
use ureq::Agent;

/// What the client sends.
const BODY: &[u8] = br#"{"message":"hello"}"#;
/// What it sends where the upstream takes nothing: more than the system's buffers hold.
const LONG_BODY: usize = 16 << 20;
const PIECE_OF_LONG_BODY: usize = 64 << 10;
/// Envoy's fault filter answers a request that asks for it so.
const INJECT: &str = "x-envoy-fault-abort-request";
/// Another filter of the mesh answers a request that asks for it so.
pub(super) const DENY: &str = "x-mesh-answer";

/// An agent for admin pages. It keeps no connection, follows nothing and goes straight to where it
/// is sent.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(10)))
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Answer::Nothing(error.to_string()),
    };
    // With the runtime the connection ends, wherever it stands.
    runtime.block_on(async {
        match tokio::time::timeout(patience, exchange(address, name, call)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Nothing(error.to_string()),
            Err(_) => left.clone(),
        }
    })
}

async fn exchange(address: SocketAddr, name: &str, call: &Call) -> io::Result<Answer> {
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(&call.path)
        .header("host", &call.host)
        .header("content-type", "application/json")
        .header(STEP, name);
    match call.upstream {
        Upstream::Injected { status } => request = request.header(INJECT, status),
        Upstream::Denied { status } => request = request.header(DENY, status),
        _ => {}
    }
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Upload::of(call)).map_err(Error::other)?;
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
    // How it ends is seen by the answer.
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(Error::other)?;
    let answer = read(answer, call).await;
    connection.abort();
    Ok(answer)
}

async fn read<B: Body>(answer: Response<B>, call: &Call) -> Answer {
    let status = answer.status().as_u16();
    let header =
        |name| answer.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned());
    let (rule, reason) = (header("x-bimetal-rule"), header("x-bimetal-reason"));
    if answer.into_body().collect().await.is_err() {
        return Answer::Broken;
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

/// A request's body, in pieces with a pause before each but the first.
struct Upload {
    pieces: VecDeque<Bytes>,
    pause: Duration,
    pausing: Option<Pin<Box<Sleep>>>,
    left: u64,
}

impl Upload {
    fn of(call: &Call) -> Self {
        let (body, size) = if call.upstream.takes_after().is_zero() {
            let pieces = if call.upload.is_zero() { 1 } else { UPLOAD_PIECES as usize };
            (Bytes::from_static(BODY), BODY.len().div_ceil(pieces))
        } else {
            (Bytes::from(vec![b'x'; LONG_BODY]), PIECE_OF_LONG_BODY)
        };
        let left = body.len() as u64;
        let mut rest = body;
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            pieces.push_back(rest.split_to(size.min(rest.len())));
        }
        Self { pieces, pause: call.upload / (UPLOAD_PIECES - 1), pausing: None, left }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pausing) = &mut self.pausing {
            ready!(pausing.as_mut().poll(cx));
            self.pausing = None;
        }
        let Some(piece) = self.pieces.pop_front() else {
            return Poll::Ready(None);
        };
        self.left -= piece.len() as u64;
        if !self.pause.is_zero() {
            self.pausing = Some(Box::pin(tokio::time::sleep(self.pause)));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{StepKind, read_text};

    fn upload(rest: &str) -> Upload {
        let step = format!("{{step: 1, at: 0s, call: POST /echo, expect: admitted, {rest}}}");
        let text = format!("title: t\npolicies: []\nsteps:\n  - {step}\nlog: ''\n");
        match &read_text("s", &text).unwrap().steps[0].kind {
            StepKind::Call(call) => Upload::of(call),
            StepKind::Load(_) => unreachable!("a step with a call"),
        }
    }

    #[test]
    fn a_slow_upload_is_the_same_body_in_pieces() {
        let (whole, slow) = (upload("times: 1"), upload("upload: 2s"));
        assert_eq!((whole.pieces.len(), whole.pause), (1, Duration::ZERO));
        assert_eq!(slow.pieces.len(), UPLOAD_PIECES as usize);
        assert_eq!(slow.pause * (UPLOAD_PIECES - 1), Duration::from_secs(2));
        assert_eq!(slow.pieces.iter().flatten().copied().collect::<Vec<_>>(), BODY);
        assert_eq!(upload("upstream: takes nothing").left, LONG_BODY as u64);
    }
}
