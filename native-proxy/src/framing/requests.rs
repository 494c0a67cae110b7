//! What the service must know of its connection.

use super::{Refusal, Refusals};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

/// The requests of one connection: which of them is a refusal, whether the connection still speaks
/// HTTP, and what goes to the client beside the answers.
///
/// A refused request is known by its number, which a client cannot forge.
#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    refused: Cell<Option<(u64, Refusal)>>,
    broken: Cell<Option<(u64, Refusal)>>,
    answered: Cell<u64>,
    streams: Cell<bool>,
    unusual: Cell<u64>,
    for_server: RefCell<Vec<u64>>,
    has_switched: Cell<bool>,
    interim: RefCell<Vec<u8>>,
    idle: Cell<Option<Duration>>,
    counts: Rc<Refusals>,
}

impl Requests {
    /// Those of a new connection; refusals are counted in `counts`.
    pub fn new(counts: Rc<Refusals>) -> Self {
        Self { counts, ..Self::default() }
    }

    /// To be asked first for every request, once each and in their order: where it gives a
    /// refusal, that is the answer, and the request means nothing else.
    pub fn next(&self) -> Option<Refusal> {
        let number = self.begun.get() + 1;
        self.begun.set(number);
        self.idle.set(None);
        let (refused, why) = self.refused.get()?;
        (refused == number).then_some(why)
    }

    /// How long the client of the request under way may send or take nothing, where that is not the
    /// connection's own limit.
    pub fn set_idle(&self, limit: Option<Duration>) {
        self.idle.set(limit);
    }

    pub(super) fn idle(&self) -> Option<Duration> {
        self.idle.get()
    }

    /// To be told when the head of the answer to the request under way is known.
    pub fn answered(&self) {
        self.answered.set(self.begun.get());
    }

    /// To be told when the body of an answer begins to go out piece by piece, and when it ends.
    pub fn streams(&self, streams: bool) {
        self.streams.set(streams);
    }

    /// Whether the request under way may have what not every request has. Where it says no, there
    /// is no `Via`, `TE`, `Upgrade`, `Expect` nor `Max-Forwards`, no name of other bytes than
    /// letters, digits and dashes, and the target is a path.
    pub fn may_be_unusual(&self) -> bool {
        self.begun.get() <= self.unusual.get()
    }

    /// Whether the request under way asks for the options of a whole server, in absolute form; to
    /// be asked once.
    pub fn is_for_server(&self) -> bool {
        let number = self.begun.get();
        let mut all = self.for_server.borrow_mut();
        let before = all.len();
        all.retain(|other| *other != number);
        all.len() < before
    }

    /// Counts a refusal that the service found itself.
    pub fn refused(&self, why: Refusal) {
        self.counts.count(why);
    }

    /// Whether what came was TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.refused.get(), Some((_, Refusal::Tls)))
    }

    /// Why the body of the request under way broke off, where that was our doing.
    pub fn broken(&self) -> Option<Refusal> {
        let (broken, why) = self.broken.get()?;
        // A body may turn bad while the answer to a request before it is still on its way.
        (broken == self.begun.get()).then_some(why)
    }

    /// Sends an informational head to the client, as soon as what was said before is sent. Not
    /// to be called once the answer to the request was given.
    pub fn tell(&self, head: &[u8]) {
        self.interim.borrow_mut().extend_from_slice(head);
    }

    /// Returns when all informational heads are sent: the answer must not overtake them. Only for
    /// the task that drives the connection, which is woken by it.
    pub async fn told(&self) {
        poll_fn(|_| if self.interim.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// The connection switches to another protocol (status 101 goes out): its bytes are no longer
    /// looked at.
    pub fn switch(&self) {
        self.has_switched.set(true);
    }

    pub(super) fn has_switched(&self) -> bool {
        self.has_switched.get()
    }

    /// Whether the head of the answer to this request is known.
    pub(super) fn has_answered(&self, number: u64) -> bool {
        self.answered.get() >= number
    }

    /// Whether a request up to this one is not answered whole yet.
    pub(super) fn is_busy(&self, number: u64) -> bool {
        self.streams.get() || !self.has_answered(number)
    }

    /// Request `number` is the last unusual one, and these ask for the options of a whole server.
    pub(super) fn note(&self, number: u64, for_server: Vec<u64>) {
        self.unusual.set(number);
        self.for_server.borrow_mut().extend(for_server);
    }

    pub(super) fn refuse(&self, number: u64, why: Refusal) {
        self.counts.count(why);
        self.refused.set(Some((number, why)));
    }

    pub(super) fn break_off(&self, number: u64, why: Refusal) {
        self.counts.count(why);
        self.broken.set(Some((number, why)));
    }

    pub(super) fn interim(&self) -> &RefCell<Vec<u8>> {
        &self.interim
    }
}
