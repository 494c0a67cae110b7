//! A handle of one request: what Envoy's callbacks are told to, and what the tick finds again.
//!
//! Envoy calls a request by its context. Time that is over, and a slot that comes free, happen to a
//! request from within another one's callback or the tick, so a request is shared by its handle and,
//! weakly, by the worker's list of those that somebody has to come back to ([`crate::watch`]).

use crate::instance::Instance;
use crate::parked;
use crate::port::Host;
use crate::stream::Stream;
use std::cell::RefCell;
use std::rc::Rc;

/// One request.
#[derive(Debug)]
pub struct Call<H: Host>(Rc<RefCell<Stream<H>>>);

impl<H: Host> Call<H> {
    /// A request that nothing is known of, in Envoy's context of this number. Without policies to judge
    /// it by it passes.
    pub fn new(host: H, context: u32, instance: Option<Rc<Instance>>) -> Self {
        Self(Rc::new_cyclic(|itself| {
            RefCell::new(Stream::new(host, context, instance, itself.clone()))
        }))
    }

    /// Does something with the request, and has those go on that it woke. What a host that calls back in
    /// the middle of a call wants of it is `otherwise`.
    fn with<R>(&self, otherwise: R, act: impl FnOnce(&mut Stream<H>) -> R) -> R {
        let Ok(mut stream) = self.0.try_borrow_mut() else {
            return otherwise;
        };
        let result = act(&mut stream);
        let wakes = stream.wakes();
        drop(stream);
        if let Some((worker, host)) = wakes {
            parked::wake(&worker, &host);
        }
        result
    }

    /// Decides, once. Returns whether Envoy goes on with the request; false: it was answered here, or waits.
    pub fn request_headers(&mut self, end_of_stream: bool) -> bool {
        self.with(true, |stream| stream.request_headers(end_of_stream))
    }

    /// A part of the request's body.
    pub fn request_body(&mut self, end_of_stream: bool) {
        self.with((), |stream| stream.request_body(end_of_stream));
    }

    /// The request's trailers, which end it.
    pub fn request_trailers(&mut self) {
        self.with((), Stream::request_trailers);
    }

    /// Headers of whatever answers: the upstream, Envoy, or another filter.
    pub fn response_headers(&mut self, end_of_stream: bool) {
        self.with((), |stream| stream.response_headers(end_of_stream));
    }

    /// A part of the answer's body, of `size` bytes.
    pub fn response_body(&mut self, size: usize, end_of_stream: bool) {
        self.with((), |stream| stream.response_body(size, end_of_stream));
    }

    /// The answer's trailers, which end it.
    pub fn response_trailers(&mut self) {
        self.with((), Stream::response_trailers);
    }

    /// Envoy is done with the request: what is not settled by now broke off.
    pub fn log(&mut self) {
        self.with((), Stream::log);
    }
}
