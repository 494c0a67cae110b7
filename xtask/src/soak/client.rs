//! The clients: each has a connection, makes a call after the other, and connects anew where one
//! is lost.

use super::call::{Fate, Seen, Tenant};
use bytes::Bytes;
use fastrand::Rng;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// When a call without an end counts as lost.
const CALL_WAIT: Duration = Duration::from_secs(20);

/// How long a client that leaves stays.
const STAY: Duration = Duration::from_millis(4);

/// Bytes of a large request's body.
const LARGE: usize = 200_000;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// One client.
#[derive(Debug)]
pub struct Client {
    host: SocketAddr,
    line: Option<Line>,
}

/// A connection, and the task that moves it.
#[derive(Debug)]
struct Line {
    requests: SendRequest<Body>,
    task: JoinHandle<()>,
}

impl Drop for Line {
    /// A client that goes takes its connection with it.
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Client {
    /// One that is not connected yet.
    pub const fn new(host: SocketAddr) -> Self {
        Self { host, line: None }
    }

    /// Makes one call.
    pub async fn call(&mut self, fate: Fate, tenant: &Tenant, rng: &mut Rng) -> Seen {
        let seen = tokio::time::timeout(CALL_WAIT, self.attempt(fate, tenant, rng)).await;
        let seen = seen.unwrap_or(Seen::Nothing);
        if !matches!(seen, Seen::Answer(_) | Seen::Rejected) {
            self.line = None;
        }
        seen
    }

    async fn attempt(&mut self, fate: Fate, tenant: &Tenant, rng: &mut Rng) -> Seen {
        let (body, rest) = body(fate);
        let mut request = Request::post("/echo")
            .header("host", "soak")
            .header("content-type", "application/json")
            .header("x-tenant", tenant.name());
        for (name, value) in fate.headers() {
            request = request.header(*name, *value);
        }
        let (Ok(request), Some(line)) = (request.body(body), self.line().await) else {
            return Seen::Nothing;
        };
        let sent = line.requests.send_request(request);
        let stay = STAY.mul_f64(rng.f64());
        let answer = match fate {
            Fate::LeavesBefore | Fate::LeavesSending => {
                match tokio::time::timeout(stay, sent).await {
                    Ok(Ok(answer)) if is_rejection(&answer) => Ok(answer),
                    _ => return Seen::Left,
                }
            }
            _ => sent.await,
        };
        drop(rest);
        match answer {
            Ok(answer) => read(answer, fate).await,
            Err(_) => Seen::Nothing,
        }
    }

    /// The connection; a new one where there is none that lives.
    async fn line(&mut self) -> Option<&mut Line> {
        let ready = match &mut self.line {
            Some(line) => line.requests.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            let stream = TcpStream::connect(self.host).await.ok()?;
            let _ = stream.set_nodelay(true);
            let (requests, connection) = handshake(TokioIo::new(stream)).await.ok()?;
            let task = tokio::spawn(async {
                // How it ends, the call sees.
                let _ = connection.await;
            });
            self.line = Some(Line { requests, task });
        }
        self.line.as_mut()
    }
}

/// A request's body; and, for one that never ends, what keeps it open.
fn body(fate: Fate) -> (Body, Option<http_body_util::channel::Sender<Bytes, Infallible>>) {
    const MESSAGE: &str = r#"{"message":"soak"}"#;
    match fate {
        Fate::LeavesSending => {
            let (mut sender, body) = Channel::new(1);
            let _ = sender.try_send(hyper::body::Frame::data(Bytes::from_static(b"{\"message\"")));
            (body.boxed_unsync(), Some(sender))
        }
        Fate::Large => {
            let text = format!(r#"{{"message":"{}"}}"#, "x".repeat(LARGE));
            (Full::from(text).boxed_unsync(), None)
        }
        _ => (Full::from(MESSAGE).boxed_unsync(), None),
    }
}

fn is_rejection(answer: &Response<Incoming>) -> bool {
    answer.headers().contains_key("x-bimetal-rule")
}

async fn read(answer: Response<Incoming>, fate: Fate) -> Seen {
    let status = answer.status().as_u16();
    let rejection = is_rejection(&answer);
    let mut body = answer.into_body();
    loop {
        match body.frame().await {
            Some(Ok(_)) if fate == Fate::LeavesWithin && !rejection => return Seen::Left,
            Some(Ok(_)) => {}
            Some(Err(_)) => return Seen::Broken(status),
            None if rejection => return Seen::Rejected,
            None => return Seen::Answer(status),
        }
    }
}
