//! A guard around a gRPC client: `cargo run -p bimetal-proxy --example tonic`.
//!
//! The server answers `UNAVAILABLE` for a while. The client's guard trips on that, and its callers
//! get a status at once, with the reason in it, instead of a call over the network.
//!
//! There is no generated code here: messages are plain text. A generated client takes a guarded
//! channel in the same way, by `ShopClient::new(channel)`.

mod text;

use bimetal_proxy::bimetal_core::policy::{Document, Host};
use bimetal_proxy::layer::Stopped;
use bimetal_proxy::{Guard, GuardLayer};
use bytes::Bytes;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use text::Text;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tower::{BoxError, Layer, ServiceExt, service_fn};

const POLICY: &str = r#"{
    "version": "v1",
    "policies": [{
        "name": "shop",
        "scope": "policy",
        "timeout": {"request": "1s"},
        "breaker": {
            "trip": {"consecutive_failures": 3},
            "open": {"base": "500ms", "jitter": 0},
            "failure": {"grpc": ["unavailable"]}
        }
    }]
}"#;

/// Calls that fail.
const FAILING: u32 = 3;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let document = Document::parse(POLICY.as_bytes(), Host::Native)?;
    let guard = Guard::new(&document);
    // A gRPC caller knows a status; the one in the error becomes the call's.
    let layer = GuardLayer::new(guard.clone()).on_stopped(
        |stopped: Stopped| -> Result<Response<Bytes>, BoxError> {
            Err(Status::unavailable(stopped.to_string()).into())
        },
    );
    let channel = layer.layer(connect().await?.map_err(BoxError::from));
    let mut client = tonic::client::Grpc::new(channel);

    for call in 0..6 {
        if call == 5 {
            tokio::time::sleep(Duration::from_millis(600)).await;
        }
        client.ready().await?;
        let request = tonic::Request::new("a book".to_owned());
        let path = PathAndQuery::from_static("/shop.Shop/Buy");
        match client.unary(request, path, Text).await {
            Ok(answer) => println!("OK {}", answer.into_inner()),
            Err(status) => println!("{:?} {}", status.code(), status.message()),
        }
    }
    println!("{:?}", guard.totals());
    Ok(())
}

/// Starts a server and connects to it.
async fn connect() -> Result<Channel, BoxError> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    let calls = Arc::new(AtomicU32::new(0));
    let shop = service_fn(move |request: Request<Body>| {
        let calls = calls.clone();
        let buy = service_fn(move |wish: tonic::Request<String>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                match call {
                    0..FAILING => Err(Status::unavailable("stocktaking")),
                    _ => Ok(tonic::Response::new(format!("sold: {}", wish.get_ref()))),
                }
            }
        });
        async move {
            let mut server = tonic::server::Grpc::new(Text);
            Ok::<_, Infallible>(server.unary(buy, request).await)
        }
    });
    tokio::spawn(Server::builder().serve_with_incoming(shop, incoming));
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)
}
