//! A guard around an axum service: `cargo run -p bimetal-proxy --example axum`.
//!
//! The service's route `/pay` fails for a while. The guard trips, answers in its place, and lets it
//! have calls again when it is well.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use bimetal_proxy::bimetal_core::policy::{Document, Host};
use bimetal_proxy::layer::CallFacts;
use bimetal_proxy::{Guard, GuardLayer};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tower::util::MapRequestLayer;

const POLICY: &str = r#"{
    "version": "v1",
    "policies": [{
        "name": "pay",
        "match": {"path_prefix": "/pay"},
        "scope": "route",
        "timeout": {"request": "1s"},
        "breaker": {"trip": {"consecutive_failures": 3}, "open": {"base": "500ms", "jitter": 0}}
    }]
}"#;

/// Calls of `/pay` that fail.
const FAILING: u32 = 3;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let document = Document::parse(POLICY.as_bytes(), Host::Native)?;
    let guard = Guard::builder().on_event(|event| println!("  event: {event}")).build(&document);

    let calls = Arc::new(AtomicU32::new(0));
    let pay = move || async move {
        match calls.fetch_add(1, Ordering::Relaxed) {
            0..FAILING => (StatusCode::INTERNAL_SERVER_ERROR, "no\n"),
            _ => (StatusCode::OK, "paid\n"),
        }
    };
    let app = Router::new()
        .route("/pay", get(pay))
        .layer(GuardLayer::new(guard.clone()))
        // Outside the guard, so that the guard sees it: what a request's head does not say.
        .layer(MapRequestLayer::new(|mut request: Request| {
            request
                .extensions_mut()
                .insert(CallFacts { route: Some("pay".into()), ..CallFacts::default() });
            request
        }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    for _ in 0..5 {
        ask(address).await?;
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    ask(address).await?;
    println!("{:?}", guard.totals());
    Ok(())
}

/// Asks for `/pay` and prints what comes.
async fn ask(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = hyper::Request::get("/pay").header("host", "shop");
    let request = request.body(http_body_util::Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let header = |name: &str| response.headers().get(name)?.to_str().ok();
    println!("{} {}", response.status(), header("x-bimetal-reason").unwrap_or_default());
    Ok(())
}
