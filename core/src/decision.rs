//! What the engine answers: admit with a plan, pass, or reject with a reason.

mod applied;
mod rate_limited;
mod reply;

use crate::breaker::{self, State};
use crate::concurrency;
use crate::guard::GuardPermit;
use crate::outcome::Outcome;
use crate::policy::{Mode, Policy};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
pub(crate) use applied::CallersTime;
use core::fmt;
pub use rate_limited::RateLimited;
pub use reply::Reply;

/// The answer to one request.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "an admission that is dropped is never settled"]
pub enum Verdict<'p> {
    /// No policy is for this request: it passes untouched and is no evidence.
    Unmatched,
    /// A policy is for it, but does not hold a permit for it: it passes and is no evidence.
    Pass(Pass<'p>),
    /// It goes upstream and must be settled.
    Admit(Admission<'p>),
    /// It is turned away.
    Reject(Rejected<'p>),
    /// A rule would let it through later: nothing is decided, counted or taken yet.
    Wait(Wait<'p>),
}

/// A request that passes without a permit.
#[derive(Debug)]
pub struct Pass<'p> {
    /// The policy that matched.
    pub policy: &'p Arc<Policy>,
    /// Why it passes.
    pub why: PassReason,
}

impl Pass<'_> {
    /// State of the breaker, for `x-bimetal-state`; none where it was not asked.
    pub const fn state(&self) -> Option<State> {
        match &self.why {
            PassReason::Shadow(rejection) => Some(rejection.state()),
            PassReason::Disabled | PassReason::TableFull => None,
        }
    }
}

/// Why a matched request passes without a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassReason {
    /// `mode: disabled`.
    Disabled,
    /// `mode: shadow`, and it would have been rejected.
    Shadow(Rejection),
    /// The table of scopes is full of busy ones and `when_full` is `pass`.
    TableFull,
}

/// An admitted request.
#[derive(Debug)]
pub struct Admission<'p> {
    /// The policy that matched.
    pub policy: &'p Arc<Policy>,
    /// To be given back to [`Engine::settle`](crate::Engine::settle), exactly once.
    pub ticket: Ticket,
    /// How long it may take, where that follows the upstream; else 0. Milliseconds, for the sake of size.
    pub(crate) millis: u32,
}

impl Admission<'_> {
    /// What the host does for it; empty in shadow mode, where nothing is applied.
    pub fn plan(&self) -> Plan {
        match self.policy.mode {
            Mode::Shadow => Plan::default(),
            _ => Plan {
                request_timeout: match self.millis {
                    0 => self.policy.timeout.request,
                    millis => Some(Duration::from_millis(millis.into())),
                },
                connect_timeout: self.policy.timeout.connect,
                try_timeout: self.policy.timeout.per_try,
            },
        }
    }

    /// State of the breaker at admission, for `x-bimetal-state`.
    pub fn state(&self) -> State {
        // What is admitted while open half-opens.
        if self.ticket.is_probe() { State::HalfOpen } else { State::Closed }
    }
}

/// A rejected request.
#[derive(Debug)]
pub struct Rejected<'p> {
    /// The policy that matched.
    pub policy: &'p Arc<Policy>,
    /// By what rule, and why.
    pub rejection: Rejection,
}

/// A request that has to wait. It is admitted to nothing meanwhile: whoever waits asks again, as if it
/// came then.
#[derive(Debug)]
pub struct Wait<'p> {
    /// The policy that matched.
    pub policy: &'p Arc<Policy>,
    /// When to ask again, unless the call is [woken](crate::Engine::take_woken) before.
    pub until: Instant,
    /// What the call is known by meanwhile.
    pub waiting: Waiting,
}

/// A call that waits in a queue of the engine. The host gives it to
/// [`Engine::admit_again`](crate::Engine::admit_again), or to [`Engine::forget`](crate::Engine::forget)
/// where the call ended meanwhile: one of both, or a slot that is kept for it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use = "who waits is to ask again, or to be forgotten"]
pub struct Waiting {
    /// Its scope's place in the engine.
    pub(crate) place: u32,
    /// Its number among the engine's calls that waited, modulo 2^32.
    pub(crate) number: u32,
}

/// Proof of an admission: plain data, without lock or lifetime. A host keeps it with the call and
/// settles it once; its wrapper settles a dropped one as neutral.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket must be settled"]
pub struct Ticket {
    /// Its scope's place in the engine; it stays the scope's own until the call is settled.
    pub(crate) place: u32,
    /// Number of the call in its engine, modulo 2^32.
    pub(crate) call: u32,
    pub(crate) permit: GuardPermit,
}

impl Ticket {
    /// Number of the call in its engine, from 1 and modulo 2^32: the `call` of its events.
    pub const fn call(&self) -> u64 {
        self.call as u64
    }

    /// Where its breaker is: good for [`Engine::breaker`](crate::Engine::breaker) also once the
    /// ticket is used up.
    pub const fn breaker(&self) -> BreakerPlace {
        BreakerPlace(self.place)
    }

    /// Whether the call is a probe that waits for response headers: only then do
    /// [`Engine::answered`](crate::Engine::answered) and
    /// [`Engine::upstream_clock`](crate::Engine::upstream_clock) do anything.
    pub fn is_probe(&self) -> bool {
        self.permit.is_probe()
    }
}

/// Where the breaker of a call is, within its engine. Once the call is settled another scope may
/// take the place: look at it at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPlace(pub(crate) u32);

/// What the host does for an admitted call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Time until the answer's headers; in Envoy the router's request timeout.
    pub request_timeout: Option<Duration>,
    /// Time for the connection (native only).
    pub connect_timeout: Option<Duration>,
    /// Time until the answer's headers of each try (native only).
    pub try_timeout: Option<Duration>,
}

/// The rules of a policy that can turn a request away, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// `connections`
    Connections,
    /// `deadline`
    Deadline,
    /// `rate_limits`
    RateLimit,
    /// `breaker`
    Breaker,
    /// `concurrency`
    Concurrency,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] =
        [Self::Connections, Self::Deadline, Self::RateLimit, Self::Breaker, Self::Concurrency];

    /// The name in metrics and events, and in `x-bimetal-rule` after the policy's name and a slash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Deadline => "deadline",
            Self::RateLimit => "rate_limit",
            Self::Breaker => "breaker",
            Self::Concurrency => "concurrency",
        }
    }

    /// The status of its rejections, where the policy gives no other.
    pub const fn status(self) -> u16 {
        match self {
            Self::Deadline => 504,
            // RFC 6585, 4.
            Self::Connections | Self::RateLimit => 429,
            Self::Breaker | Self::Concurrency => 503,
        }
    }

    /// What it is, for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Connections => "connection limit",
            Self::Deadline => "deadline",
            Self::RateLimit => "rate limit",
            Self::Breaker => "circuit breaker",
            Self::Concurrency => "concurrency limit",
        }
    }
}

/// Why a request was turned away: which rule did it, and what that says. This is the one place that
/// knows what a rule's denial means to whoever asked. Its `Display` is `x-bimetal-reason`: printable
/// ASCII without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// The breaker.
    Breaker(breaker::Denied),
    /// `mode: forced_open`, in the breaker's name.
    ForcedOpen,
    /// The client has as many connections at work as it may.
    Connections {
        /// So many.
        per_client: u32,
        /// State of the breaker, which was not asked.
        breaker: State,
    },
    /// The caller has no time left that an upstream could use.
    Deadline {
        /// What it had left when it asked, in whole milliseconds, rounded down.
        left_ms: u32,
        /// State of the breaker, which was not asked.
        breaker: State,
    },
    /// A rate limit: of those that are exceeded the one that has room again last.
    RateLimit {
        /// Which it is, and when there is room.
        limit: RateLimited,
        /// State of the breaker, which was not asked.
        breaker: State,
    },
    /// The limit of calls under way.
    Concurrency {
        /// What it says.
        denied: concurrency::Denied,
        /// State of the breaker, which would have admitted the call.
        breaker: State,
    },
}

impl Rejection {
    /// A caller that had `left` when it asked has no time left.
    pub fn deadline(left: Duration, breaker: State) -> Self {
        let left_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
        Self::Deadline { left_ms, breaker }
    }

    /// The rule.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::Breaker(_) | Self::ForcedOpen => Rule::Breaker,
            Self::Connections { .. } => Rule::Connections,
            Self::Deadline { .. } => Rule::Deadline,
            Self::RateLimit { .. } => Rule::RateLimit,
            Self::Concurrency { .. } => Rule::Concurrency,
        }
    }

    /// When it is worth another try, where that is known: `retry-after`.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Breaker(denied) => denied.left(),
            Self::RateLimit { limit, .. } => Some(limit.left()),
            Self::ForcedOpen
            | Self::Connections { .. }
            | Self::Concurrency { .. }
            | Self::Deadline { .. } => None,
        }
    }

    /// State of the breaker, for `x-bimetal-state`.
    pub const fn state(&self) -> State {
        match self {
            Self::Breaker(denied) => denied.state(),
            Self::ForcedOpen => State::Open,
            Self::Connections { breaker, .. }
            | Self::Deadline { breaker, .. }
            | Self::RateLimit { breaker, .. }
            | Self::Concurrency { breaker, .. } => *breaker,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaker(denied) => denied.fmt(f),
            Self::Connections { per_client: 1, .. } => {
                f.write_str("1 connection of this client at work, and no more may be")
            }
            Self::Connections { per_client, .. } => {
                write!(f, "{per_client} connections of this client at work, and no more may be")
            }
            Self::Deadline { left_ms, .. } => write!(f, "of {left_ms}ms nothing is left"),
            Self::RateLimit { limit, .. } => limit.fmt(f),
            Self::Concurrency { denied, .. } => denied.fmt(f),
            Self::ForcedOpen => f.write_str("forced open by the policy"),
        }
    }
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What the call counted as.
    pub outcome: Outcome,
    /// Whether the result came too late to touch the breaker: it belongs to an older generation, to
    /// a probe whose lease ran out, or to a policy that is gone.
    pub late: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_with_every_call_is_small() {
        assert!(size_of::<Ticket>() <= 20, "{}", size_of::<Ticket>());
        assert!(size_of::<Admission<'_>>() <= 32, "{}", size_of::<Admission<'_>>());
        assert!(size_of::<Rejection>() <= 16, "{}", size_of::<Rejection>());
        assert!(size_of::<Verdict<'_>>() <= 32, "{}", size_of::<Verdict<'_>>());
    }
}
