//! What the service must know of its connection.

use super::{Refusal, Refusals};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

/// The requests of one connection: which of them is a refusal, whether the connection still speaks
/// HTTP, and what goes to the client beside the answers.
///
/// A refused request is known by its number, which a client cannot forge.
#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    refused: Cell<Option<(u64, Refusal)>>,
    broken: Cell<Option<(u64, Refusal)>>,
    protocol: Cell<Protocol>,
    interim: RefCell<Vec<u8>>,
    counts: Rc<Refusals>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Protocol {
    #[default]
    Http,
    Other,
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
        let (refused, why) = self.refused.get()?;
        (refused == number).then_some(why)
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
        self.protocol.set(Protocol::Other);
    }

    pub(super) fn has_switched(&self) -> bool {
        self.protocol.get() == Protocol::Other
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
