//! The in-app guard around a tonic service, over real sockets.

mod layer_support;
#[path = "../examples/tonic/text.rs"]
mod text;

use bimetal_proxy::bimetal_core::outcome::Outcome;
use bimetal_proxy::layer::Stopped;
use bimetal_proxy::{Guard, GuardLayer};
use hyper::Request;
use hyper::http::uri::PathAndQuery;
use layer_support::*;
use std::convert::Infallible;
use std::time::{Duration, Instant};
use text::Text;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tonic::{Code, Status};
use tower::service_fn;

/// Connects to a guarded server that answers with the status whose number it is sent.
async fn connect(guard: &Guard) -> tonic::client::Grpc<Channel> {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let service = service_fn(|request: Request<Body>| async move {
        let say = service_fn(|wish: tonic::Request<String>| async move {
            match Code::from(wish.get_ref().parse::<i32>().unwrap()) {
                Code::Ok => Ok(tonic::Response::new("well".to_owned())),
                code => Err(Status::new(code, "as you wish")),
            }
        });
        let mut server = tonic::server::Grpc::new(Text);
        Ok::<_, Infallible>(server.unary(say, request).await)
    });
    let layer = GuardLayer::new(guard.clone()).on_stopped(|stopped: Stopped| {
        Ok::<_, Infallible>(Status::unavailable(stopped.to_string()).into_http())
    });
    let server = Server::builder().layer(layer);
    tokio::spawn(server.serve_with_incoming(service, incoming));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(endpoint.connect().await.unwrap())
}

async fn ask(client: &mut tonic::client::Grpc<Channel>, code: Code) -> Result<String, Status> {
    client.ready().await.unwrap();
    let request = tonic::Request::new((code as i32).to_string());
    let path = PathAndQuery::from_static("/test.Test/Say");
    let answer = client.unary(request, path, Text).await?;
    Ok(answer.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn trips_on_its_statuses_and_recovers() {
    let guard = guard(&breaker("300ms"));
    let mut client = connect(&guard).await;
    assert_eq!(ask(&mut client, Code::Ok).await.unwrap(), "well");
    // No failure to the policy, and so the end of a streak.
    let status = ask(&mut client, Code::NotFound).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    for _ in 0..3 {
        let status = ask(&mut client, Code::Unavailable).await.unwrap_err();
        assert_eq!(status.message(), "as you wish");
    }
    let status = ask(&mut client, Code::Ok).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = status.message();
    assert!(text.starts_with("p/breaker: open for another "), "{text}");
    let end = Instant::now() + Duration::from_secs(20);
    while ask(&mut client, Code::Ok).await.is_err() {
        assert!(Instant::now() < end, "it never recovered");
    }
    assert_eq!(count(&guard, Outcome::Failure), 3);
    while outstanding(&guard) > 0 {
        assert!(Instant::now() < end, "a call was never settled");
    }
}
