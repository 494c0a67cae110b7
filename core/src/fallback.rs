//! What stands in for an answer that there is none of: which answer it is, and whether a request may go
//! to another upstream for it.

use crate::policy::FallbackUpstream;
use crate::retry::RetryAsk;

/// Whose answer a fallback is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FallbackKind {
    /// The policy's own, word for word.
    Fixed,
    /// Another upstream's.
    Upstream,
    /// The upstream's, from before.
    Stale,
}

impl FallbackKind {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Fixed, Self::Upstream, Self::Stale];

    /// Its place among [`FallbackKind::ALL`].
    pub const fn place(self) -> usize {
        match self {
            Self::Fixed => 0,
            Self::Upstream => 1,
            Self::Stale => 2,
        }
    }

    /// The name in signals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Upstream => "upstream",
            Self::Stale => "stale",
        }
    }
}

/// Why no answer but the fixed one stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoFallback {
    /// The request was sent once, and may not be sent twice.
    NotIdempotent,
    /// Its body is gone: it was longer than what is kept.
    BodyGone,
    /// It is a request to switch to another protocol.
    Upgrade,
    /// Its caller's time is over.
    Deadline,
    /// It is the upstream that the call went to, or was meant for.
    SameUpstream,
    /// The host's file does not have it any more.
    UnknownUpstream,
    /// It gave no answer.
    NoAnswer,
    /// No answer of before is kept, or none that may be given.
    NothingKept,
}

impl NoFallback {
    /// The name in signals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIdempotent => "not_idempotent",
            Self::BodyGone => "body_gone",
            Self::Upgrade => "upgrade",
            Self::Deadline => "deadline",
            Self::SameUpstream => "same_upstream",
            Self::UnknownUpstream => "unknown_upstream",
            Self::NoAnswer => "no_answer",
            Self::NothingKept => "nothing_kept",
        }
    }
}

impl FallbackUpstream {
    /// Whether a request may go there, after another upstream failed it. `was_sent` says whether a byte of
    /// it left: what a server may have carried out is not asked for twice (RFC 9110, 9.2.2).
    ///
    /// # Errors
    /// Why not.
    pub fn takes(&self, ask: RetryAsk<'_>, was_sent: bool) -> Result<(), NoFallback> {
        if was_sent && !self.methods.may_be_sent_twice(ask) {
            return Err(NoFallback::NotIdempotent);
        }
        if was_sent && !ask.can_be_sent_again {
            return Err(NoFallback::BodyGone);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::RetriedMethods;

    fn takes(method: &str, can_be_sent_again: bool, was_sent: bool) -> Result<(), NoFallback> {
        let upstream = FallbackUpstream {
            name: "spare".into(),
            methods: RetriedMethods::idempotent(),
            buffer: 1,
        };
        upstream.takes(RetryAsk { method, has_key: true, can_be_sent_again }, was_sent)
    }

    #[test]
    fn what_may_have_been_carried_out_goes_nowhere_else() {
        assert_eq!(takes("GET", true, true), Ok(()));
        assert_eq!(takes("POST", true, true), Err(NoFallback::NotIdempotent));
        assert_eq!(takes("POST", true, false), Ok(()), "it never left");
        assert_eq!(takes("PUT", false, true), Err(NoFallback::BodyGone));
    }

    #[test]
    fn each_kind_has_its_place() {
        for (place, kind) in FallbackKind::ALL.iter().enumerate() {
            assert_eq!(kind.place(), place, "{}", kind.name());
        }
    }
}
