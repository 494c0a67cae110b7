//! One connection of the upstream: request after request, each answered as its step says.

use super::{STEP, Server};
use crate::scenario::{Content, Reply, Upstream};
use std::io::{self, Error, ErrorKind};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes of a request's head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Pause before a connection breaks within an answer: a peer shall have read what came before, so
/// that the case is the one that was asked for.
const PAUSE_BEFORE_BREAK: Duration = Duration::from_millis(50);
const INFORMATIONAL: &[u8] = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n";

pub(super) struct Connection {
    stream: TcpStream,
    /// What was read and not used.
    buffer: Vec<u8>,
}

/// What the upstream needs to know of a request's head.
struct RequestHead {
    step: String,
    body: u64,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Without it small answers wait for the peer's acknowledgement; it fails on a connection
        // that is already gone, which the next read finds out.
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    /// Answers until the peer leaves, or until nobody listens: a server that is down answers nobody
    /// over old connections either.
    pub(super) async fn serve(
        mut self,
        server: &Server,
        mut refuses: watch::Receiver<bool>,
    ) -> io::Result<()> {
        loop {
            let head = tokio::select! {
                head = self.head() => head?,
                _ = refuses.wait_for(|refuses| *refuses) => return Ok(()),
            };
            let Some(head) = head else {
                return Ok(());
            };
            let Some(call) = server.call(&head.step) else {
                self.body(head.body).await?;
                let nothing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                self.stream.write_all(nothing).await?;
                continue;
            };
            match call.upstream {
                Upstream::Answers(reply) => self.answer(&head, &reply).await?,
                Upstream::Refuses => return Ok(()),
                Upstream::Hangs => {
                    self.body(head.body).await?;
                    return self.until_the_peer_leaves().await;
                }
                Upstream::TakesNothing => std::future::pending().await,
                Upstream::Resets { early } => {
                    if !early {
                        self.body(head.body).await?;
                    }
                    return self.reset();
                }
                Upstream::Injected { .. } | Upstream::Denied { .. } => {
                    // It should not have come here: that the upstream saw it is in the recording.
                    self.body(head.body).await?;
                    self.stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
                }
            }
        }
    }

    async fn answer(&mut self, head: &RequestHead, reply: &Reply) -> io::Result<()> {
        sleep(reply.takes_after).await;
        if !reply.early {
            self.body(head.body).await?;
        }
        let began = Instant::now();
        if let Some(every) = reply.informs_every {
            for nth in 1.. {
                let at = every * nth;
                if at >= reply.after {
                    break;
                }
                sleep_until(began + at).await;
                self.stream.write_all(INFORMATIONAL).await?;
            }
        }
        sleep_until(began + reply.after).await;
        let content = Content::of(reply);
        let mut bytes = headers(reply, &content);
        let Some([first, second]) = &content.pieces else {
            return self.stream.write_all(&bytes).await;
        };
        let chunked = content.status_in_trailers.is_some();
        bytes.extend(framed(first, chunked));
        self.stream.write_all(&bytes).await?;
        if reply.breaks {
            sleep(reply.body.max(PAUSE_BEFORE_BREAK)).await;
            return self.reset();
        }
        sleep(reply.body).await;
        let mut bytes = framed(second, chunked);
        if let Some(status) = content.status_in_trailers {
            bytes.extend(format!("0\r\ngrpc-status: {status}\r\n\r\n").into_bytes());
        }
        self.stream.write_all(&bytes).await?;
        if reply.early { self.body(head.body).await } else { Ok(()) }
    }

    /// The next request's head; none where the peer leaves before one.
    async fn head(&mut self) -> io::Result<Option<RequestHead>> {
        loop {
            let end = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                let rest = self.buffer.split_off(end + 4);
                let head = std::mem::replace(&mut self.buffer, rest);
                return read_head(&String::from_utf8_lossy(&head)).map(Some);
            }
            if self.buffer.len() > LONGEST_HEAD {
                return Err(Error::new(ErrorKind::InvalidData, "the head is too long"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Takes a request's body of so many bytes.
    async fn body(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        loop {
            let taken = left.min(self.buffer.len());
            self.buffer.drain(..taken);
            left -= taken;
            if left == 0 {
                return Ok(());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn until_the_peer_leaves(&mut self) -> io::Result<()> {
        while self.stream.read_buf(&mut self.buffer).await? != 0 {
            self.buffer.clear();
        }
        Ok(())
    }

    /// Breaks the connection: what calls this must let go of it.
    fn reset(&self) -> io::Result<()> {
        self.stream.set_zero_linger()?;
        Err(ErrorKind::ConnectionReset.into())
    }
}

fn read_head(head: &str) -> io::Result<RequestHead> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let field = |wanted: &str| {
        let of_name = |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(wanted);
        fields.clone().find(of_name).map(|(_, value)| value.trim())
    };
    let step = field(STEP).unwrap_or_default().to_owned();
    // Our clients say how long their bodies are, and no host may change that.
    let body = field("content-length").unwrap_or("0").parse().map_err(Error::other)?;
    if field("transfer-encoding").is_some() {
        return Err(Error::new(ErrorKind::InvalidData, "the body's length is gone"));
    }
    Ok(RequestHead { step, body })
}

fn headers(reply: &Reply, content: &Content) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
    let mut field = |name: &str, value: &dyn std::fmt::Display| {
        head += &format!("{name}: {value}\r\n");
    };
    if let Some(seconds) = reply.retry_after {
        field("retry-after", &seconds);
    }
    if let Some(status) = content.status_in_headers {
        field("grpc-status", &status);
    }
    match &content.pieces {
        _ if reply.status == 204 || reply.status == 304 => {}
        Some(_) if content.status_in_trailers.is_some() => {
            field("content-type", &content.media_type);
            field("transfer-encoding", &"chunked");
            field("trailer", &"grpc-status");
        }
        pieces => {
            let length = pieces.as_ref().map_or(0, |pieces| pieces.concat().len());
            field("content-type", &content.media_type);
            field("content-length", &length);
        }
    }
    (head + "\r\n").into_bytes()
}

fn framed(piece: &[u8], chunked: bool) -> Vec<u8> {
    if chunked {
        [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()
    } else {
        piece.to_vec()
    }
}
