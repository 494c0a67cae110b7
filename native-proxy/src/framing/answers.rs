//! The look at an upstream's bytes: informational heads, the answer, and nothing behind it.

use super::Refusal::{self, Malformed};
use super::chunked::Chunked;
use super::reply::{After, Ask, Reply};

/// Most informational heads before one answer, and their bytes together: an upstream that sends
/// more keeps everybody busy with nothing.
const MAX_INTERIM: usize = 64;
const MAX_INTERIM_BYTES: usize = 64 * 1024;

/// Follows the answers on one connection to an upstream, one request at a time.
#[derive(Debug, Default)]
pub struct AnswerScanner {
    phase: Phase,
}

#[derive(Debug, Default)]
enum Phase {
    /// No request is under way: whatever comes now is the answer to nothing.
    #[default]
    Unasked,
    Head {
        ask: Ask,
        reply: Reply,
        interim: usize,
        interim_bytes: usize,
    },
    Length(u64),
    Chunked(Chunked),
    /// Until the connection closes, or until it ends in another protocol.
    Everything,
}

/// What may happen to the bytes that were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerScan {
    /// So many of them may go on.
    pub pass: usize,
    /// What is to be done with the rest.
    pub rest: Rest,
}

/// What is to be done with bytes that do not go on now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// They wait for more; there may be none.
    Waits,
    /// First of them are so many of an informational head, which goes its own way; then look at
    /// the others.
    Interim(usize),
    /// Neither they nor anything after them goes on.
    Refused(Refusal),
}

impl AnswerScanner {
    /// A request is sent now: the next head is the answer to it. False where the connection is
    /// not done with the answer before.
    pub fn ask(&mut self, ask: Ask) -> bool {
        let is_free = matches!(self.phase, Phase::Unasked);
        if is_free {
            self.phase = Self::head(ask, 0, 0);
        }
        is_free
    }

    /// Looks at `pending`: all bytes that came and have not gone on yet. Not to be called again
    /// after a refusal.
    pub fn scan(&mut self, pending: &[u8]) -> AnswerScan {
        let mut pass = 0;
        loop {
            let rest = pending.get(pass..).unwrap_or_default();
            if rest.is_empty() {
                return AnswerScan { pass, rest: Rest::Waits };
            }
            let refused = |why| AnswerScan { pass, rest: Rest::Refused(why) };
            match &mut self.phase {
                Phase::Unasked => {
                    return refused(Malformed("bytes behind the answer, or before the request"));
                }
                Phase::Head { ask, reply, interim, interim_bytes } => {
                    match reply.advance(rest, *ask) {
                        Ok(None) => return AnswerScan { pass, rest: Rest::Waits },
                        Ok(Some((length, After::Head))) => {
                            let (count, bytes) = (*interim + 1, *interim_bytes + length);
                            if count > MAX_INTERIM || bytes > MAX_INTERIM_BYTES {
                                return refused(Malformed("too many informational answers"));
                            }
                            self.phase = Self::head(*ask, count, bytes);
                            return AnswerScan { pass, rest: Rest::Interim(length) };
                        }
                        Ok(Some((length, after))) => {
                            pass += length;
                            self.phase = match after {
                                After::Head | After::Nothing => Phase::Unasked,
                                After::Length(length) => Phase::Length(length),
                                After::Chunked => Phase::Chunked(Chunked::new(u64::MAX)),
                                After::Close | After::Switched => Phase::Everything,
                            };
                        }
                        Err(why) => return refused(why),
                    }
                }
                Phase::Length(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    pass += here;
                    *left -= here as u64;
                    if *left == 0 {
                        self.phase = Phase::Unasked;
                    }
                }
                Phase::Chunked(chunked) => {
                    let (used, end) = chunked.advance(rest);
                    pass += used;
                    match end {
                        Ok(false) => return AnswerScan { pass, rest: Rest::Waits },
                        Ok(true) => self.phase = Phase::Unasked,
                        Err(why) => return AnswerScan { pass, rest: Rest::Refused(why) },
                    }
                }
                Phase::Everything => {
                    return AnswerScan { pass: pending.len(), rest: Rest::Waits };
                }
            }
        }
    }

    fn head(ask: Ask, interim: usize, interim_bytes: usize) -> Phase {
        Phase::Head { ask, reply: Reply::default(), interim, interim_bytes }
    }
}
