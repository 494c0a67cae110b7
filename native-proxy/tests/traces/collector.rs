//! Collectors: an HTTP server that keeps what it gets, and one for gRPC.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use crate::proxy_support::{TEST_DEADLINE, Upstream, value};

/// A collector and the spans that it got, request by request.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    pub(crate) batches: Receiver<Vec<Span>>,
}

impl Collector {
    /// One that speaks HTTP and gives this answer.
    pub(crate) fn http(answer: &'static str) -> Self {
        let (sender, batches) = mpsc::channel();
        let sender = Mutex::new(sender);
        let upstream = Upstream::start(move |mut peer| {
            while let Some((head, body)) = peer.request() {
                assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
                let request = match value(&head, "content-type") {
                    Some("application/x-protobuf") => {
                        ExportTraceServiceRequest::decode(&*body).unwrap()
                    }
                    Some("application/json") => serde_json::from_slice(&body).unwrap(),
                    other => panic!("{other:?}"),
                };
                drop(sender.lock().unwrap().send(spans(request)));
                peer.send(answer);
            }
        });
        Self { address: upstream.address, batches }
    }

    /// One that speaks gRPC.
    pub(crate) fn grpc() -> Self {
        let (sender, batches) = mpsc::channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tonic::transport::server::TcpIncoming::from(listener);
                let service = TraceServiceServer::new(Keeping(Arc::new(Mutex::new(sender))));
                let server = tonic::transport::Server::builder().add_service(service);
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        Self { address, batches }
    }

    /// The next request's spans.
    pub(crate) fn next(&self) -> Vec<Span> {
        self.batches.recv_timeout(TEST_DEADLINE).expect("spans")
    }
}

fn spans(request: ExportTraceServiceRequest) -> Vec<Span> {
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

struct Keeping(Arc<Mutex<Sender<Vec<Span>>>>);

#[tonic::async_trait]
impl TraceService for Keeping {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        drop(self.0.lock().unwrap().send(spans(request.into_inner())));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
