//! The look at the bytes: head, body, next head, however they are cut.

use super::Refusal;
use super::chunked::Chunked;
use super::head::{Body, Head};

/// Longest request line, in bytes (RFC 9112, 3 recommends at least 8,000).
pub const MAX_REQUEST_LINE: usize = 8 * 1024;
/// Longest head, in bytes, with its empty lines.
pub const MAX_HEAD: usize = 64 * 1024;
/// Most header lines of a request, and most trailers.
pub const MAX_FIELDS: usize = 100;

/// The first byte of a TLS connection; no method begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Follows the requests of one connection.
#[derive(Debug)]
pub struct Scanner {
    phase: Phase,
    requests: u64,
    max_body: u64,
    unusual: u64,
    for_server: Vec<u64>,
}

impl Default for Scanner {
    /// One without a limit for bodies.
    fn default() -> Self {
        Self::with_max_body(u64::MAX)
    }
}

#[derive(Debug)]
enum Phase {
    Head(Head),
    /// So many bytes of a body are to come.
    Length(u64),
    Chunked(Chunked),
    /// Whose the next bytes are, the answer says.
    Answer,
}

impl Default for Phase {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

/// What may happen to the bytes that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// So many of them may go on; the rest waits for more, or is refused.
    pub pass: usize,
    /// Why nothing after those goes on, ever.
    pub refused: Option<Refused>,
}

/// What was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A request, before any byte of it went on.
    Head(Refusal),
    /// The rest of a request whose head has gone on.
    Body(Refusal),
}

impl Scanner {
    /// One that refuses bodies of more than `max_body` bytes: those of known length by their head,
    /// chunked ones at the chunk that passes the limit.
    pub fn with_max_body(max_body: u64) -> Self {
        Self { phase: Phase::default(), requests: 0, max_body, unusual: 0, for_server: Vec::new() }
    }

    /// Whether a body is under way.
    pub(super) const fn is_in_body(&self) -> bool {
        matches!(self.phase, Phase::Length(_) | Phase::Chunked(_))
    }

    /// Looks at `pending`: all bytes that came and have not gone on yet. Not to be called again
    /// after a refusal.
    pub fn scan(&mut self, pending: &[u8]) -> Scan {
        let mut pass = 0;
        loop {
            let rest = pending.get(pass..).unwrap_or_default();
            if rest.is_empty() {
                return Scan { pass, refused: None };
            }
            match &mut self.phase {
                Phase::Answer => return Scan { pass, refused: None },
                Phase::Head(_) if rest.first() == Some(&TLS_HANDSHAKE) => {
                    self.requests += 1;
                    return Scan { pass, refused: Some(Refused::Head(Refusal::Tls)) };
                }
                Phase::Head(head) => match head.advance(rest) {
                    Ok(None) => {
                        return Scan { pass, refused: None };
                    }
                    Ok(Some((_, Body::Length(length)))) if length > self.max_body => {
                        self.requests += 1;
                        let why = Refused::Head(Refusal::BodyTooLarge);
                        return Scan { pass, refused: Some(why) };
                    }
                    Ok(Some((length, body))) => {
                        pass += length;
                        self.requests += 1;
                        let traits = head.traits();
                        if traits.is_unusual {
                            self.unusual = self.requests;
                        }
                        if traits.is_for_server {
                            self.for_server.push(self.requests);
                        }
                        self.phase = match body {
                            Body::None if traits.may_switch => Phase::Answer,
                            Body::None => Phase::default(),
                            Body::Length(length) => Phase::Length(length),
                            Body::Chunked => Phase::Chunked(Chunked::new(self.max_body)),
                        };
                    }
                    Err(why) => {
                        self.requests += 1;
                        return Scan { pass, refused: Some(Refused::Head(why)) };
                    }
                },
                Phase::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    pass += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.phase = Phase::default();
                    }
                }
                Phase::Chunked(chunked) => {
                    let (used, end) = chunked.advance(rest);
                    pass += used;
                    match end {
                        Ok(false) => {
                            return Scan { pass, refused: None };
                        }
                        Ok(true) => self.phase = Phase::default(),
                        Err(why) => {
                            return Scan { pass, refused: Some(Refused::Body(why)) };
                        }
                    }
                }
            }
        }
    }

    /// Whether it depends on an answer what the next bytes are: an upgrade was asked for.
    pub(super) const fn awaits_answer(&self) -> bool {
        matches!(self.phase, Phase::Answer)
    }

    /// The answer that was waited for is no switch of protocols.
    pub(super) fn go_on(&mut self) {
        self.phase = Phase::default();
    }

    /// The last request with something that not every request has; 0 for none.
    pub(super) const fn unusual(&self) -> u64 {
        self.unusual
    }

    /// Requests for the options of a whole server, since the last time.
    pub(super) fn take_for_server(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.for_server)
    }

    /// Heads so far, the refused one included.
    pub const fn requests(&self) -> u64 {
        self.requests
    }
}
