//! Clients over HTTP/1.1 and HTTP/2 that leave where they are told to.

use super::{Client, Down, Notes, SLOW, TEST_DEADLINE};
use bytes::Bytes;
use h2::Reason;
use http::Request;
use std::error::Error;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type Boxed = Box<dyn Error + Send + Sync>;

/// One request of a row.
pub(super) struct Play {
    pub(super) envoy: SocketAddr,
    pub(super) path: String,
    pub(super) row: String,
    pub(super) number: usize,
    pub(super) down: Down,
    pub(super) client: Client,
    pub(super) notes: Notes,
}

impl Play {
    /// Plays the client's part. The answer's status; 0 where there was none.
    pub(super) async fn run(&self) -> Result<u16, Boxed> {
        let run = async {
            match self.down {
                Down::Http1 => self.http1().await,
                Down::Http2 => self.http2().await,
            }
        };
        tokio::time::timeout(TEST_DEADLINE, run)
            .await
            .map_err(|_| format!("{}: nothing happened for {TEST_DEADLINE:?}", self.row))?
    }

    fn name(&self) -> String {
        format!("{}/{}", self.row, self.number)
    }

    /// Until the upstream has the request.
    async fn arrived(&self) {
        while self.notes.tries(&self.name()) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    async fn http1(&self) -> Result<u16, Boxed> {
        let mut stream = TcpStream::connect(self.envoy).await?;
        let more = match self.client {
            Client::LeavesInRequest
            | Client::HoldsRequest
            | Client::SendsTooMuch
            | Client::UploadsLate
            | Client::LeavesLateInRequest => "content-length: 100\r\nconnection: close\r\n",
            Client::GrpcWeb => {
                "content-length: 0\r\ncontent-type: application/grpc-web+proto\r\n\
                 x-grpc-web: 1\r\nconnection: close\r\n"
            }
            Client::Upgrades => "connection: upgrade\r\nupgrade: websocket\r\n",
            _ => "connection: close\r\n",
        };
        let method = if more.starts_with("content") { "POST" } else { "GET" };
        let (row, number, path) = (&self.row, self.number, &self.path);
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: echo\r\nx-row: {row}\r\nx-step: {row}\r\n\
             x-number: {number}\r\nx-cluster: unknown\r\n{more}\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        match self.client {
            Client::LeavesInRequest
            | Client::HoldsRequest
            | Client::UploadsLate
            | Client::LeavesLateInRequest => stream.write_all(b"ten bytes.").await?,
            Client::SendsTooMuch => stream.write_all(&[b'x'; 100]).await?,
            _ => {}
        }
        match self.client {
            Client::LeavesInRequest | Client::LeavesBeforeAnswer => {
                self.arrived().await;
                return Ok(0);
            }
            Client::LeavesLate | Client::LeavesLateInRequest => {
                self.arrived().await;
                tokio::time::sleep(SLOW).await;
                return Ok(0);
            }
            Client::UploadsLate => {
                self.arrived().await;
                tokio::time::sleep(SLOW).await;
                stream.write_all(&[b'x'; 90]).await?;
            }
            _ => {}
        }
        let mut answer = Vec::new();
        let mut echoed = false;
        loop {
            let mut part = [0; 4096];
            // An answer that breaks off is an answer too.
            let size = stream.read(&mut part).await.unwrap_or(0);
            answer.extend(part.iter().take(size));
            let text = String::from_utf8_lossy(&answer);
            let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
            let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
            if body.is_some() {
                self.notes.client_saw(&self.name());
            }
            match (self.client, body) {
                _ if size == 0 => return Ok(status),
                (Client::LeavesInAnswer, Some(body)) if !body.is_empty() => return Ok(status),
                (Client::LeavesAtHeaders, Some(_)) => return Ok(status),
                (Client::Upgrades, Some(body)) => {
                    if body.contains("echo") {
                        return Ok(status);
                    }
                    if !echoed {
                        stream.write_all(b"echo").await?;
                        echoed = true;
                    }
                }
                _ => {}
            }
        }
    }

    async fn http2(&self) -> Result<u16, Boxed> {
        let stream = TcpStream::connect(self.envoy).await?;
        let (send, connection) = h2::client::handshake(stream).await?;
        let connection = tokio::spawn(connection);
        let ends = !matches!(
            self.client,
            Client::LeavesInRequest
                | Client::HoldsRequest
                | Client::SendsTooMuch
                | Client::UploadsLate
                | Client::LeavesLateInRequest
        );
        let request = Request::builder()
            .method(if ends { "GET" } else { "POST" })
            .uri(format!("http://echo{}", self.path))
            .header("x-row", &self.row)
            .header("x-step", &self.row)
            .header("x-number", self.number)
            .header("x-cluster", "unknown")
            .header("te", "trailers")
            .header("content-length", if ends { 0 } else { 100 })
            .body(())?;
        let mut send = send.ready().await?;
        let (answer, mut body) = send.send_request(request, ends)?;
        match self.client {
            Client::LeavesInRequest
            | Client::HoldsRequest
            | Client::UploadsLate
            | Client::LeavesLateInRequest => {
                body.send_data(Bytes::from_static(b"ten bytes."), false)?;
            }
            Client::SendsTooMuch => body.send_data(Bytes::from_static(&[b'x'; 100]), true)?,
            _ => {}
        }
        match self.client {
            Client::LeavesInRequest | Client::LeavesBeforeAnswer => {
                self.arrived().await;
                // The connection's task sends it before it ends.
                body.send_reset(Reason::CANCEL);
                return Ok(0);
            }
            Client::LeavesLate | Client::LeavesLateInRequest => {
                self.arrived().await;
                tokio::time::sleep(SLOW).await;
                body.send_reset(Reason::CANCEL);
                return Ok(0);
            }
            Client::UploadsLate => {
                self.arrived().await;
                tokio::time::sleep(SLOW).await;
                body.send_data(Bytes::from_static(&[b'x'; 90]), true)?;
            }
            Client::CutsConnection => {
                self.arrived().await;
                connection.abort();
                return Ok(0);
            }
            _ => {}
        }
        let Ok(answer) = answer.await else {
            return Ok(0);
        };
        let status = answer.status().as_u16();
        let mut answer = answer.into_body();
        if self.client == Client::LeavesAtHeaders {
            body.send_reset(Reason::CANCEL);
            return Ok(status);
        }
        while let Some(Ok(part)) = answer.data().await {
            self.notes.client_saw(&self.name());
            let _ = answer.flow_control().release_capacity(part.len());
            if self.client == Client::LeavesInAnswer {
                body.send_reset(Reason::CANCEL);
                return Ok(status);
            }
        }
        let _ = answer.trailers().await;
        Ok(status)
    }
}
