//! An HTTP/2 upstream that does what a request's path says.

use super::{Notes, name};
use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// Serves on loopback until the runtime ends.
pub(super) async fn start(notes: Notes) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, notes.clone()));
        }
    });
    Ok(address)
}

/// One connection. That it breaks is often what was asked for.
async fn connection(stream: TcpStream, notes: Notes) -> Option<()> {
    let mut connection = h2::server::handshake(stream).await.ok()?;
    let cut = Arc::new(Notify::new());
    loop {
        let (request, respond) = tokio::select! {
            accepted = connection.accept() => accepted?.ok()?,
            () = cut.notified() => return None,
        };
        let (notes, cut) = (notes.clone(), cut.clone());
        tokio::spawn(async move { serve(request, respond, &notes, &cut).await });
    }
}

/// A message of gRPC: not compressed, of one byte.
const MESSAGE: Bytes = Bytes::from_static(b"\0\0\0\0\x01x");

/// One request. A client that is gone needs no report.
async fn serve(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    notes: &Notes,
    cut: &Notify,
) -> Option<()> {
    let of = |header: &str| {
        let value = request.headers().get(header).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let name = name(of);
    notes.arrived(&name);
    let mut words = request.uri().path().trim_start_matches('/').split('/');
    let (what, argument) = (words.next()?, words.next().unwrap_or("0"));
    let head = |status: &str| Response::builder().status(status);
    let ok = |end: bool, respond: &mut SendResponse<Bytes>| {
        respond.send_response(head("200").body(()).ok()?, end).ok()
    };
    let grpc = |argument: &str| HeaderValue::from_str(argument).ok();
    let started = |respond: &mut SendResponse<Bytes>| {
        let response = head("200").header("content-type", "application/grpc").body(()).ok()?;
        respond.send_response(response, false).ok()
    };
    match what {
        "status" => {
            let response = head(argument).body(()).ok()?;
            let mut body = respond.send_response(response, false).ok()?;
            body.send_data(Bytes::from_static(b"x"), true).ok()?;
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(argument.parse().ok()?)).await;
            ok(true, &mut respond)?;
        }
        "drip" => {
            let mut body = ok(false, &mut respond)?;
            for number in 0..5 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                body.send_data(Bytes::from_static(b"x"), number == 4).ok()?;
            }
        }
        "reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "refuse" => respond.send_reset(Reason::REFUSED_STREAM),
        "close" => cut.notify_one(),
        "half-reset" | "half-close" | "stall" => {
            let mut body = ok(false, &mut respond)?;
            body.send_data(Bytes::from_static(b"half"), false).ok()?;
            notes.client(&name).await;
            match what {
                "half-reset" => body.send_reset(Reason::INTERNAL_ERROR),
                "half-close" => cut.notify_one(),
                _ => forever().await,
            }
        }
        "short" => {
            let response = head("200").header("content-length", "10").body(()).ok()?;
            let mut body = respond.send_response(response, false).ok()?;
            body.send_data(Bytes::from_static(b"half"), true).ok()?;
        }
        "grpc" => {
            let response = head("200")
                .header("content-type", "application/grpc")
                .header("grpc-status", grpc(argument)?);
            respond.send_response(response.body(()).ok()?, true).ok()?;
        }
        "grpc-trailers" => {
            let mut body = started(&mut respond)?;
            body.send_data(MESSAGE, false).ok()?;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", grpc(argument)?);
            body.send_trailers(trailers).ok()?;
        }
        "grpc-none" => {
            let mut body = started(&mut respond)?;
            body.send_data(MESSAGE, true).ok()?;
        }
        "grpc-reset" => {
            let mut body = started(&mut respond)?;
            body.send_data(MESSAGE, false).ok()?;
            notes.client(&name).await;
            body.send_reset(Reason::INTERNAL_ERROR);
        }
        "grpc-stall" => {
            let mut body = started(&mut respond)?;
            body.send_data(MESSAGE, false).ok()?;
            forever().await;
        }
        // "hang": the client's move.
        _ => forever().await,
    }
    Some(())
}

/// Holds the stream until the runtime ends: dropping it would answer.
async fn forever() {
    std::future::pending::<()>().await;
}
