//! Standard output: a line of OTLP/JSON for each trace, and nothing else.

use super::Losses;
use crate::telemetry::queue::{Message, Receiver};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;

/// So many bytes are written at once, where that many wait.
const PIECE: usize = 64 << 10;

/// Standard output without the standard library's lock and buffer: a write that waits for room
/// holds up nobody else, not even the end of the process.
#[derive(Debug)]
pub(super) struct Page(File);

impl Page {
    /// The process's own.
    ///
    /// # Errors
    /// It is closed, or the system has no more descriptors.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Writes all of it, waiting for room where there is none.
    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.0.write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(size) => bytes = bytes.get(size..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever has the other end of it may have made it so for both.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes what comes, until nothing does.
pub(super) fn write(mut receiver: Receiver, resource: &Resource, mut page: Page) {
    let resource = ResourceAttributesWithSchema::from(resource);
    let mut losses = Losses::default();
    let mut lines = Vec::new();
    let mut is_over = false;
    while !is_over {
        let mut next = receiver.messages.blocking_recv().unwrap_or(Message::End);
        let mut waiting = 0;
        lines.clear();
        loop {
            match next {
                Message::End => {
                    is_over = true;
                    break;
                }
                Message::Trace(trace, spans) => {
                    waiting += spans;
                    lines.extend(line(trace.spans(), &resource));
                }
            }
            if lines.len() >= PIECE {
                break;
            }
            match receiver.messages.try_recv() {
                Ok(more) => next = more,
                Err(_) => break,
            }
        }
        match page.put(&lines) {
            Ok(()) => receiver.counts.sent(waiting),
            Err(error) => losses.add(&receiver, waiting, &format_args!("standard output: {error}")),
        }
    }
}

/// One trace as a line.
pub(crate) fn line(spans: Vec<SpanData>, resource: &ResourceAttributesWithSchema) -> Vec<u8> {
    let resource_spans = group_spans_by_resource_and_scope(spans, resource);
    // Text keys and plain values alone: it cannot fail.
    let mut line =
        serde_json::to_vec(&ExportTraceServiceRequest { resource_spans }).unwrap_or_default();
    line.push(b'\n');
    line
}
