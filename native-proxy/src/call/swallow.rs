//! Requests that are answered before they came to their end.

use hyper::body::{Body, Incoming};
use std::pin::Pin;

/// Reads the rest of a request that is answered already: a client that still sends may otherwise
/// see a reset in place of the answer.
pub(super) fn swallow(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::task::spawn_local(async move {
        let mut left = MOST_SWALLOWED;
        let read = std::future::poll_fn(|cx| {
            loop {
                match std::task::ready!(Pin::new(&mut body).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        let size = frame.data_ref().map_or(0, |data| data.len());
                        match left.checked_sub(size) {
                            Some(rest) => left = rest,
                            None => return std::task::Poll::Ready(()),
                        }
                    }
                    _ => return std::task::Poll::Ready(()),
                }
            }
        });
        drop(tokio::time::timeout(DRAIN_UPLOAD_WAIT, read).await);
    });
}

/// More than this of an unwanted request is not worth its connection.
const MOST_SWALLOWED: usize = 2 << 20;

/// How long the rest of an unwanted request may take.
const DRAIN_UPLOAD_WAIT: std::time::Duration = std::time::Duration::from_secs(5);
