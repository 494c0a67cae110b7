//! What the service must know of its connection.

use super::Refusal;
use std::cell::Cell;

/// The requests of one connection: which of them is a refusal, and whether the connection still
/// speaks HTTP.
///
/// A refused request is known by its number, which a client cannot forge.
#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    refused: Cell<Option<(u64, Refusal)>>,
    protocol: Cell<Protocol>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Protocol {
    #[default]
    Http,
    Other,
}

impl Requests {
    /// To be asked first for every request, once each and in their order: where it gives a
    /// refusal, that is the answer, and the request means nothing else.
    pub fn next(&self) -> Option<Refusal> {
        let number = self.begun.get() + 1;
        self.begun.set(number);
        let (refused, why) = self.refused.get()?;
        (refused == number).then_some(why)
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
        self.refused.set(Some((number, why)));
    }
}
