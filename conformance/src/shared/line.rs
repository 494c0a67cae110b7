//! One connection to a host, and so to one of its workers, for as long as it lasts.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::io::{self, Error};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long an answer may take before the host counts as stuck.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// What the upstream is to do with a call.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Answer well.
    Succeed,
    /// Answer with 500.
    Fail,
    /// Wait until this name is released, then answer well.
    Hold(&'static str),
}

/// What a client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The upstream's answer: the call was admitted.
    Admitted(u16),
    /// The breaker's.
    Rejected,
}

/// One call as its client saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Before the first byte left.
    pub sent: Instant,
    /// After the last byte came.
    pub received: Instant,
    /// What came.
    pub answer: Answer,
}

/// One connection. It is never replaced by another: an end of it is an error.
#[derive(Debug)]
pub(super) struct Line {
    sender: SendRequest<Empty<Bytes>>,
}

impl Line {
    /// Opens a connection. To be called inside a runtime, which keeps it alive.
    pub(super) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(Error::other)?;
        // How it ends is seen by the call that finds it ended.
        drop(tokio::spawn(connection));
        Ok(Self { sender })
    }

    /// Makes one call.
    pub(super) async fn call(&mut self, path: &str, order: Order) -> io::Result<Seen> {
        let request = Request::post(path)
            .header("host", "echo")
            // Nothing follows the head: a host that rejects can keep the connection.
            .header("content-length", "0");
        let request = match order {
            Order::Succeed => request.header("x-fault-status", "200"),
            Order::Fail => request.header("x-fault-status", "500"),
            Order::Hold(name) => {
                request.header("x-fault-status", "200").header("x-fault-hold", name)
            }
        };
        let request = request.body(Empty::new()).map_err(Error::other)?;
        let exchange = async {
            self.sender.ready().await.map_err(Error::other)?;
            let sent = Instant::now();
            let answer = self.sender.send_request(request).await;
            let (head, body) = answer.map_err(Error::other)?.into_parts();
            body.collect().await.map_err(Error::other)?;
            let answer = if head.headers.contains_key("x-bimetal-rule") {
                Answer::Rejected
            } else {
                Answer::Admitted(head.status.as_u16())
            };
            Ok(Seen { sent, received: Instant::now(), answer })
        };
        tokio::time::timeout(ANSWER_WAIT, exchange)
            .await
            .map_err(|_| Error::other(format!("no answer to {path} within {ANSWER_WAIT:?}")))?
    }
}
