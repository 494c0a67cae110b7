//! The virtual world: what a call's client and upstream do, as moments of the timeline.
//!
//! It knows nothing of breakers. What a host makes of a moment is the part of [`super::adapter`].

use super::sighting::{ResponseHead, Sighting};
use crate::scenario::{Call, Content, Reply, Upstream};
use bimetal_core::call::{AnsweredBy, Upload};
use bimetal_core::outcome::Transport;
use std::time::Duration;

/// A client that is slow to send its body sends it in so many pieces, the first one at once.
pub const UPLOAD_PIECES: u32 = 5;

/// What happens to one call: each sighting with its time from the call on. `delay` is added to
/// whatever takes time.
pub(super) fn sightings(call: &Call, delay: Duration) -> Vec<(Duration, Sighting)> {
    let mut story = Story { events: Vec::new(), delay };
    let sent = story.request(call);
    if let Some(abort) = call.abort {
        story.add(abort, Sighting::ClientGone);
    }
    match call.upstream {
        Upstream::Answers(reply) => {
            let begin = if reply.early { delay } else { sent + delay };
            story.answer(&reply, begin);
        }
        Upstream::Refuses => story.add(Duration::ZERO, Sighting::Broken(Transport::Connect)),
        Upstream::Hangs | Upstream::TakesNothing => {}
        Upstream::Resets { early } => {
            let at = if early { delay } else { sent + delay };
            story.add(at, Sighting::Broken(Transport::Reset));
        }
        Upstream::Injected { status } => {
            let head = ResponseHead::bare(status, AnsweredBy::Injected);
            story.add(Duration::ZERO, Sighting::Headers(head));
        }
        Upstream::Denied { status } => {
            let head = ResponseHead::bare(status, AnsweredBy::Other);
            story.add(Duration::ZERO, Sighting::Headers(head));
        }
    }
    story.events
}

struct Story {
    events: Vec<(Duration, Sighting)>,
    delay: Duration,
}

impl Story {
    fn add(&mut self, at: Duration, sighting: Sighting) {
        self.events.push((at, sighting));
    }

    /// The request on its way to the upstream; when its end arrives there.
    fn request(&mut self, call: &Call) -> Duration {
        let blocked = call.upstream.takes_after();
        if !blocked.is_zero() {
            self.add(Duration::ZERO, Sighting::HandedOver(Upload::WaitsForUpstream));
            if call.upstream != Upstream::TakesNothing {
                self.add(blocked + self.delay, Sighting::Upload(Upload::Complete));
            }
            return blocked.saturating_add(self.delay);
        }
        if call.upload.is_zero() {
            self.add(Duration::ZERO, Sighting::HandedOver(Upload::Complete));
            return Duration::ZERO;
        }
        self.add(Duration::ZERO, Sighting::HandedOver(Upload::WaitsForClient));
        for nth in 1..UPLOAD_PIECES - 1 {
            // Each piece is on its way for no time.
            let at = call.upload * nth / (UPLOAD_PIECES - 1) + self.delay;
            self.add(at, Sighting::Upload(Upload::WaitsForUpstream));
            self.add(at, Sighting::Upload(Upload::WaitsForClient));
        }
        let end = call.upload + self.delay;
        self.add(end, Sighting::Upload(Upload::Complete));
        end
    }

    fn answer(&mut self, reply: &Reply, begin: Duration) {
        if let Some(every) = reply.informs_every {
            let heads = (1..).map(|nth| every * nth).take_while(|at| *at < reply.after);
            heads.for_each(|at| self.add(begin + at, Sighting::Informational));
        }
        let content = Content::of(reply);
        let headers = begin + reply.after;
        self.add(
            headers,
            Sighting::Headers(ResponseHead {
                status: reply.status,
                by: AnsweredBy::Upstream,
                whole: content.pieces.is_none(),
                latency: None,
                content_type: Some(content.media_type),
                grpc_status: content.status_in_headers.map(|status| status.to_string()),
                retry_after: reply.retry_after.map(|seconds| seconds.to_string()),
            }),
        );
        let Some([first, second]) = content.pieces else {
            return;
        };
        self.add(headers, Sighting::Body(first));
        let waits = if reply.body.is_zero() { Duration::ZERO } else { reply.body + self.delay };
        let end = headers + waits;
        if reply.breaks {
            return self.add(end, Sighting::Broken(Transport::Reset));
        }
        self.add(end, Sighting::Body(second));
        let last = content.status_in_trailers.map_or(Sighting::Ended, Sighting::Trailers);
        self.add(end, last);
    }
}
