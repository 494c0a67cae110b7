//! The body of a guarded answer.

use super::replica::Account;
use bimetal_core::outcome::Transport;
use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A body that settles its call: at its end, at its error, or when it is dropped before both.
    #[derive(Debug)]
    pub struct GuardBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindPinned]
    #[derive(Debug)]
    enum Kind<B> {
        // The guard's own; none is left once it is sent.
        Own { bytes: Option<Bytes> },
        // The service's. The account is there until the call is settled.
        Inner { #[pin] body: B, account: Option<Account> },
    }
}

impl<B> GuardBody<B> {
    /// The service's body, with the account of its call.
    pub(super) const fn followed(body: B, account: Option<Account>) -> Self {
        Self { kind: Kind::Inner { body, account } }
    }
}

impl<B> From<Bytes> for GuardBody<B> {
    fn from(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { kind: Kind::Own { bytes } }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for GuardBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let (mut body, account) = match self.project().kind.project() {
            KindPinned::Own { bytes } => {
                let frame = bytes.take().map(|bytes| Frame::data(bytes.into()));
                return Poll::Ready(frame.map(Ok));
            }
            KindPinned::Inner { body, account } => (body, account),
        };
        let step = body.as_mut().poll_frame(cx);
        match &step {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(account) = &mut *account {
                    if let Some(trailers) = frame.trailers_ref() {
                        account.trailers(account.now(), trailers);
                    } else if let Some(data) = frame.data_ref()
                        && account.wants_body()
                    {
                        show(account, data);
                    }
                }
                // A body of known length is not asked again after its last piece.
                if body.is_end_stream() {
                    finish(account);
                }
            }
            Poll::Ready(None) => finish(account),
            Poll::Ready(Some(Err(_))) => {
                if let Some(mut account) = account.take() {
                    account.broken(Transport::Reset);
                }
            }
            Poll::Pending => {}
        }
        step
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { bytes } => bytes.is_none(),
            Kind::Inner { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Inner { body, .. } => body.size_hint(),
        }
    }
}

/// Shows a piece that is one stretch of memory; of any other not all can be seen without taking it.
fn show(account: &mut Account, data: &impl Buf) {
    let piece = data.chunk();
    account.body((piece.len() == data.remaining()).then_some(piece));
}

fn finish(account: &mut Option<Account>) {
    if let Some(mut account) = account.take() {
        let now = account.now();
        account.finished(now);
    }
}
