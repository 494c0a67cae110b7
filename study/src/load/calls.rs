//! Single calls over connections that stay open.

use super::pace::Options;
use anyhow::Result;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::net::TcpStream;

/// After so long a call counts as not answered.
const PATIENCE: Duration = Duration::from_secs(10);

/// The header in which an answer of a policy names its rule.
const RULE: &str = "x-bimetal-rule";

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Status 200 and a whole body of at least the message's length.
    Good,
    /// Anything else, in a word or two.
    Bad(String),
}

/// An open connection.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// What every call is made of.
#[derive(Debug)]
pub(super) struct Caller {
    options: Options,
    body: Bytes,
    host: HeaderValue,
}

impl Caller {
    /// Calls as `options` say.
    ///
    /// # Errors
    /// The address is none for a header.
    pub(super) fn new(options: &Options) -> Result<Self> {
        Ok(Self {
            options: options.clone(),
            body: super::body(options.load.bytes).into(),
            host: HeaderValue::from_str(&options.address.to_string())?,
        })
    }

    /// Makes a call over `connection`, or over a new one where there is none, and gives the
    /// connection back where it can be used again.
    pub(super) async fn call(
        &self,
        connection: Option<Connection>,
    ) -> (Outcome, Option<Connection>) {
        match tokio::time::timeout(PATIENCE, self.exchange(connection)).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => (Outcome::Bad(in_short(error.as_ref())), None),
            Err(_) => (Outcome::Bad("no answer in time".to_owned()), None),
        }
    }

    async fn exchange(
        &self,
        connection: Option<Connection>,
    ) -> Result<(Outcome, Option<Connection>)> {
        let mut connection = match connection {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static("/echo");
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = connection.send_request(request).await?;
        let status = answer.status();
        let rule =
            answer.headers().get(RULE).and_then(|rule| rule.to_str().ok().map(str::to_owned));
        let body = answer.into_body().collect().await?.to_bytes();
        let outcome = match status {
            StatusCode::OK if body.len() > self.options.load.bytes => Outcome::Good,
            StatusCode::OK => Outcome::Bad("a short answer".to_owned()),
            status => Outcome::Bad(refused(status, rule.as_deref())),
        };
        Ok((outcome, Some(connection).filter(|connection| !connection.is_closed())))
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(self.options.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = handshake(TokioIo::new(stream)).await?;
        // How it ends is seen by the calls on it.
        tokio::task::spawn_local(async move { driver.await.ok() });
        Ok(connection)
    }
}

/// What an answer says that is none of the server's good ones, and which rule of a policy gave it.
fn refused(status: StatusCode, rule: Option<&str>) -> String {
    let status = status.as_u16();
    match rule {
        Some(rule) => format!("status {status} by {rule}"),
        None => format!("status {status}"),
    }
}

/// The innermost cause: `connection refused` says more than `client error`.
fn in_short(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_a_rule_is_told_apart_from_the_servers() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(refused(status, None), "status 503");
        assert_eq!(refused(status, Some("echo/breaker")), "status 503 by echo/breaker");
    }
}
