//! What Envoy shows of an answer.

use super::{Mark, Stream, broke};
use crate::answer;
use crate::flags::{self, Meaning};
use crate::headers::Headers;
use crate::port::{Host, Map};
use crate::registry::Worker;
use bimetal_core::Duration;
use bimetal_core::call::{self, AnsweredBy, Fields, Head};
use bimetal_core::outcome::Transport;
use bimetal_core::retry::TryFailure;

impl<H: Host> Stream<H> {
    /// Headers of whatever answers: the upstream, Envoy, or another filter.
    pub(crate) fn response_headers(&mut self, end_of_stream: bool) {
        let Some(worker) = self.worker() else {
            return;
        };
        if let Some(Mark { policy, state }) = self.mark.take() {
            let state = state.map(|state| ("x-bimetal-state", state.name()));
            for (name, value) in [("x-bimetal-policy", &*policy.name)].into_iter().chain(state) {
                worker.ok(self.host.set_header(Map::Response, name, value));
            }
        }
        if self.admitted.is_none() {
            return;
        }
        if !answer::is_of_upstream(&self.host, &worker) {
            return self.answered_here(&worker, end_of_stream);
        }
        let headers = worker.ok(self.host.headers(Map::Response)).unwrap_or_default();
        let status = answer::status(&headers);
        let last = TryFailure::Answer { status, grpc: call::grpc_status(&headers) };
        self.retries_ended(&worker, Some(last), true);
        let Some(admitted) = &self.admitted else {
            return;
        };
        // Until the request is complete no time is the upstream's, and the header, which the router
        // writes behind a complete request alone, is somebody else's.
        let runs = admitted.life.clock_runs();
        let latency = answer::service_time(&headers).filter(|_| runs);
        let timed = latency.is_none() && runs && admitted.life.is_timed();
        let (host, slower_than) = (self.host.clone(), admitted.policy.failure.slower_than);
        self.tell(&worker, timed, |life, now| {
            // The router was told to write no time. What this clock shows may hold a fault filter's
            // delay, and that is not the upstream's.
            let is_slow = || timed && slower_than.is_some_and(|limit| life.elapsed(now) > limit);
            let latency = match latency {
                None if is_slow() && flags::delayed(answer::flags(&host, &worker)) => {
                    Some(Duration::ZERO)
                }
                latency => latency,
            };
            let by = AnsweredBy::Upstream;
            life.headers(now, &Head { status, by, latency, end_of_stream, fields: &headers })
        });
    }

    /// Envoy or another filter answered: nothing more will come from the upstream.
    fn answered_here(&mut self, worker: &Worker, end_of_stream: bool) {
        let read = |host: &H| worker.ok(host.headers(Map::Response)).unwrap_or_default();
        let meaning = flags::meaning(answer::flags(&self.host, worker));
        self.retries_ended(worker, meaning.and_then(broke), true);
        let (by, headers) = match meaning {
            Some(Meaning::Broken(how)) => return self.broken(worker, how, true),
            // The status says whom Envoy waited for.
            Some(Meaning::Idle) if answer::status(&read(&self.host)) == 504 => {
                return self.tell(worker, false, |life, now| life.broken(now, Transport::Timeout));
            }
            Some(Meaning::Injected) => (AnsweredBy::Injected, read(&self.host)),
            _ => (AnsweredBy::Other, Headers::default()),
        };
        let status = answer::status(&headers);
        let head = Head { status, by, latency: None, end_of_stream, fields: &headers };
        self.tell(worker, false, |life, now| life.headers(now, &head));
    }

    /// A part of the answer's body, of `size` bytes.
    pub(crate) fn response_body(&mut self, size: usize, end_of_stream: bool) {
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        if size > 0 && admitted.life.wants_body() {
            // A piece that cannot be had is not seen, and then the call says nothing.
            let piece = worker.ok(self.host.response_body(size));
            let piece = piece.filter(|piece| piece.len() == size);
            self.tell(&worker, false, |life, now| life.body(now, piece.as_deref()));
        }
        if end_of_stream {
            self.tell(&worker, false, |life, now| life.ended(now));
        }
    }

    /// The answer's trailers, which end it.
    pub(crate) fn response_trailers(&mut self) {
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        let trailers = if admitted.life.wants_trailers() {
            worker.ok(self.host.headers(Map::Trailers)).unwrap_or_default()
        } else {
            Headers::default()
        };
        self.tell(&worker, false, |life, now| life.trailers(now, trailers.grpc_status()));
    }
}
