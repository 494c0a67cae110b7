//! Only requests whose framing is beyond doubt reach the HTTP parser.
//!
//! Two programs that disagree about where a request ends can be made to see different requests
//! (request smuggling). A lenient parser in front of a strict one, or the other way round, is
//! enough. So the client's bytes are looked at before they are parsed: [`StrictRequestIo`] passes on what
//! is unambiguous by the letter of RFC 9112 and refuses the rest. What passes, passes unchanged.
//!
//! - A head is held back until it is complete and good; of a refused one not a byte goes on.
//! - In place of a refused head the parser gets a request of our own, and [`Requests`] tells the
//!   service to answer it with the refusal. So the refusal comes after the answers to all earlier
//!   requests, in order, whoever pipelined them; then the connection closes.
//! - A body that turns bad later reads as an I/O error: both sides of the call break off.
//! - After an upgrade nothing is looked at: what follows is not HTTP.
//!
//! An upstream's bytes are looked at in the same way by [`StrictResponseIo`]: an answer whose end is in doubt
//! could make one client's answer out of what another was sent. Nothing is let through that no
//! request asked for. Informational heads (1xx) go a way of their own, by [`Answers`] to
//! [`Requests`], because the HTTP library has none for them.
//!
//! The look itself is [`scan::Scanner`] and [`answers::AnswerScanner`], free of I/O. Bytes that arrive with a whole head are
//! checked where they lie, in the parser's own buffer.

#[cfg(test)]
mod answer_cases;
pub mod answers;
mod authority;
mod bytes;
#[cfg(test)]
mod cases;
mod chunked;
mod gather;
mod head;
mod held;
#[cfg(test)]
mod independent;
mod interim;
mod lengths;
mod lines;
pub mod proxy_header;
mod refusal;
mod reply;
mod requests;
pub mod scan;
mod strict_request_io;
mod strict_response_io;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_answers;

pub use refusal::{Refusal, Refusals};
pub use reply::Ask;
pub use requests::Requests;
pub use strict_request_io::{Limits, StrictRequestIo};
pub use strict_response_io::{Answers, Interim, StrictResponseIo};
