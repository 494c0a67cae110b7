//! The service of the study's in-app arms: it takes `POST /echo` and forwards it, as the origin
//! study's proxy does. With a policy, `GuardLayer` is around that.

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::ListenerExt;
use bimetal_proxy::bimetal_core::policy::{Document, Host};
use bimetal_proxy::layer::UploadLayer;
use bimetal_proxy::{Guard, GuardLayer};
use clap::Parser;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A service that forwards calls.
#[derive(Debug, Parser)]
#[command(name = "bimetal-study-app", version)]
struct Arguments {
    /// Where it listens
    #[arg(long)]
    listen: SocketAddr,
    /// Where it forwards to
    #[arg(long)]
    upstream: SocketAddr,
    /// The policy document of the guard; without it there is no guard
    #[arg(long)]
    policy: Option<PathBuf>,
}

/// What a call needs.
#[derive(Clone, Debug)]
struct Forward {
    client: Client<HttpConnector, Body>,
    upstream: SocketAddr,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One thread, as every other arm has one worker.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&arguments))
}

async fn serve(arguments: &Arguments) -> Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let forward = Forward {
        client: Client::builder(TokioExecutor::new()).build(connector),
        upstream: arguments.upstream,
    };
    let mut app = Router::new().route("/echo", post(echo)).with_state(forward);
    if let Some(file) = &arguments.policy {
        let text =
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let document = Document::parse(&text, Host::Native)
            .map_err(|error| anyhow!("{}: {error}", file.display()))?;
        app = app.layer(GuardLayer::new(Guard::new(&document))).layer(UploadLayer);
    }
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    let listener = listener.tap_io(|stream| {
        // Without it an answer waits for more to send; a failure costs only that.
        let _ = stream.set_nodelay(true);
    });
    let served = axum::serve(listener, app);
    tokio::select! {
        ended = served.into_future() => ended.context("it can no longer serve"),
        told = tokio::signal::ctrl_c() => told.context("signals cannot be heard"),
    }
}

/// Forwards a call; where the upstream gives no answer, 502.
async fn echo(State(forward): State<Forward>, mut request: Request) -> Response {
    let upstream = Uri::builder()
        .scheme("http")
        .authority(forward.upstream.to_string())
        .path_and_query("/echo")
        .build();
    let Ok(upstream) = upstream else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    *request.uri_mut() = upstream;
    match forward.client.request(request).await {
        Ok(answer) => answer.map(Body::new),
        Err(_) => StatusCode::BAD_GATEWAY.into_response(),
    }
}
