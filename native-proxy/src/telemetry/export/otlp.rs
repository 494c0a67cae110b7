//! A collector, by OTLP over HTTP or gRPC.

use super::Losses;
use crate::config::Exporter;
use crate::telemetry::environment::Environment;
use crate::telemetry::queue::{Message, Receiver};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, timeout};
use tracing::info;

/// A collector and how it is sent to.
#[derive(Debug)]
pub(super) struct Sending {
    runtime: Runtime,
    exporter: SpanExporter,
    batch: usize,
    delay: Duration,
    wait: Duration,
}

/// Spans that wait for others, from traces whose size is known.
#[derive(Debug, Default)]
struct Batch {
    spans: Vec<SpanData>,
    due: Option<Instant>,
}

impl Sending {
    /// Sends to `endpoint`, or to where the variables or the standard say.
    ///
    /// # Errors
    /// What is wrong with that, in words for people.
    pub(super) fn new(
        exporter: Exporter,
        endpoint: Option<String>,
        environment: &Environment,
        resource: Resource,
    ) -> Result<Self, String> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("traces: no runtime: {error}"))?;
        let entered = runtime.enter();
        let mut exporter = match exporter {
            Exporter::OtlpGrpc => grpc(endpoint),
            _ => http(endpoint),
        }
        .map_err(|error| format!("traces: {error}"))?;
        drop(entered);
        exporter.set_resource(&resource);
        info!("traces go to a collector");
        let &Environment { batch, delay, export_wait: wait, .. } = environment;
        Ok(Self { runtime, exporter, batch, delay, wait })
    }

    /// Sends what comes, until nothing does.
    pub(super) fn run(self, receiver: Receiver) {
        let Self { runtime, exporter, batch, delay, wait } = self;
        runtime.block_on(send(&exporter, receiver, (batch, delay, wait)));
    }
}

fn http(endpoint: Option<String>) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder().with_http();
    match endpoint {
        // As OTEL_EXPORTER_OTLP_ENDPOINT is read.
        Some(url) => builder.with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/'))),
        None => builder,
    }
    .build()
}

fn grpc(endpoint: Option<String>) -> Result<SpanExporter, ExporterBuildError> {
    let builder = SpanExporter::builder().with_tonic();
    match endpoint {
        Some(url) => builder.with_endpoint(url),
        None => builder,
    }
    .build()
}

async fn send(
    exporter: &SpanExporter,
    mut receiver: Receiver,
    (most, delay, wait): (usize, Duration, Duration),
) {
    let mut losses = Losses::default();
    let mut batch = Batch::default();
    loop {
        let message = match batch.due {
            Some(due) => tokio::time::timeout_at(due, receiver.messages.recv()).await,
            None => Ok(receiver.messages.recv().await),
        };
        let is_over = match message {
            Ok(Some(Message::Trace(trace, _))) => {
                batch.spans.extend(trace.spans());
                batch.due.get_or_insert_with(|| Instant::now() + delay);
                if batch.spans.len() < most {
                    continue;
                }
                false
            }
            Ok(Some(Message::End) | None) => true,
            Err(_) => false,
        };
        batch.due = None;
        let mut spans = std::mem::take(&mut batch.spans);
        while !spans.is_empty() {
            let rest = spans.split_off(spans.len().min(most));
            let count = spans.len();
            // The exporter's own limit is for one attempt, this one for all of them.
            let lost = match timeout(wait, exporter.export(spans)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(String::from("the collector did not answer in time")),
            };
            match lost {
                None => receiver.counts.sent(count),
                Some(why) => losses.add(&receiver, count, &why),
            }
            spans = rest;
        }
        if is_over {
            return;
        }
    }
}
