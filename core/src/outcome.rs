//! What became of a call: what a host saw, and what that means to a policy.
//!
//! A host reports raw facts (an [`Observation`]); [`FailureRules`] turn them into an [`Outcome`].
//! So both hosts classify alike, and the meaning of every term stands in one place.

use crate::time::Duration;
use alloc::vec::Vec;

/// What one call counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered well and in time.
    Success,
    /// Not answered, or answered with what the policy calls a failure.
    Failure,
    /// Answered well, but later than `slow_rate.slower_than`.
    Slow,
    /// Says nothing about the upstream: not evidence.
    Neutral,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Success, Self::Failure, Self::Slow, Self::Neutral];

    /// The name in metrics, events and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Slow => "slow",
            Self::Neutral => "neutral",
        }
    }

    /// Whether it counts in a window.
    pub const fn is_evidence(self) -> bool {
        !matches!(self, Self::Neutral)
    }
}

/// How a call failed below HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// No connection: refused, unreachable, timed out connecting, or no healthy endpoint.
    Connect,
    /// The connection broke, before or within the answer.
    Reset,
    /// No answer within the time the call had.
    Timeout,
    /// The host's own limit (Envoy's `UO`: its pool or request limit was reached).
    Overflow,
}

impl Transport {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Connect, Self::Reset, Self::Timeout, Self::Overflow];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Overflow => "overflow",
        }
    }
}

/// What a host saw of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// The upstream answered.
    Answer {
        /// HTTP status, 100–599.
        status: u16,
        /// `grpc-status`, where the answer is gRPC and the status is known.
        grpc: Option<u32>,
        /// What the upstream's clock (see [`crate::call`]) showed at its response headers.
        latency: Duration,
    },
    /// The upstream did not answer, or broke off within its answer.
    Broken(Transport),
    /// The client went away before response headers.
    ClientGone {
        /// What the upstream's clock showed when the client left.
        elapsed: Duration,
        /// The time the call had, where the host knows one.
        deadline: Option<Duration>,
    },
    /// A fault that the mesh injected.
    Injected {
        /// The status that was injected.
        status: u16,
        /// `grpc-status`, where the fault is a gRPC one.
        grpc: Option<u32>,
    },
    /// Nothing that says anything about the upstream: an answer made by this host, no route, the
    /// call dropped before it was sent.
    NotEvidence,
}

/// A set of HTTP statuses: single ones and whole classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    // One bit a status from 0 to 639: a look-up is one load, whatever the policy lists.
    bits: [u64; 10],
}

impl Statuses {
    /// Adds one status (100–599; others are ignored: no server can send them).
    pub fn insert(&mut self, status: u16) {
        if let Some(word) = self.bits.get_mut(usize::from(status / 64)) {
            *word |= 1 << (status % 64);
        }
    }

    /// Adds a class: 5 for all of `5xx`.
    pub fn insert_class(&mut self, class: u16) {
        (class * 100..class * 100 + 100).for_each(|status| self.insert(status));
    }

    /// Whether `status` is in the set.
    pub fn contains(&self, status: u16) -> bool {
        self.bits.get(usize::from(status / 64)).is_some_and(|word| word >> (status % 64) & 1 == 1)
    }
}

/// One of the three ways in which an answer can be named in a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerSet {
    /// HTTP statuses.
    pub statuses: Statuses,
    /// gRPC statuses other than OK, as bits 1–16.
    pub grpc: u32,
    /// Transport failures.
    pub transport: Vec<Transport>,
}

impl AnswerSet {
    /// Whether the set names an answer, by its HTTP status or by its gRPC status. A gRPC failure is
    /// an HTTP 200; OK (0) says no more than HTTP.
    pub fn has_answer(&self, status: u16, grpc: Option<u32>) -> bool {
        let grpc = grpc.filter(|code| *code != 0);
        self.statuses.contains(status) || grpc.is_some_and(|code| self.has_grpc(code))
    }

    fn has_grpc(&self, code: u32) -> bool {
        // Codes beyond the table are UNKNOWN (gRPC: "Status codes and their use in gRPC").
        let code = if code > 16 { 2 } else { code };
        self.grpc >> code & 1 == 1
    }
}

/// What a policy calls a failure (`breaker.failure`), what is slow, and what does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureRules {
    /// Failures.
    pub failures: AnswerSet,
    /// Neutral whatever `failures` says (`failure.ignore`).
    pub ignore: AnswerSet,
    /// `slow_rate.slower_than`; strictly slower counts as slow.
    pub slower_than: Option<Duration>,
    /// Whether faults injected by the mesh count like an upstream's own answer (`count_injected`);
    /// else they are neutral.
    pub count_injected: bool,
    /// Whether latencies are wanted for more than `slower_than`: an adaptive limit follows them.
    pub wants_latency: bool,
}

impl FailureRules {
    /// What `seen` counts as.
    pub fn classify(&self, seen: &Observation) -> Outcome {
        match *seen {
            Observation::Answer { status, grpc, latency } => self.answer(status, grpc, latency),
            Observation::Broken(how) => self.broken(how),
            Observation::ClientGone { elapsed, deadline } => self.client_gone(elapsed, deadline),
            Observation::Injected { status, grpc } if self.count_injected => {
                self.answer(status, grpc, Duration::ZERO)
            }
            Observation::Injected { .. } | Observation::NotEvidence => Outcome::Neutral,
        }
    }

    fn answer(&self, status: u16, grpc: Option<u32>, latency: Duration) -> Outcome {
        if self.ignore.has_answer(status, grpc) {
            return Outcome::Neutral;
        }
        if self.failures.has_answer(status, grpc) {
            return Outcome::Failure;
        }
        match self.slower_than {
            Some(limit) if latency > limit => Outcome::Slow,
            _ => Outcome::Success,
        }
    }

    fn broken(&self, how: Transport) -> Outcome {
        if self.ignore.transport.contains(&how) {
            Outcome::Neutral
        } else if self.failures.transport.contains(&how) {
            Outcome::Failure
        } else {
            // Not listed: the policy does not hold this against the upstream, but no good answer
            // was seen either.
            Outcome::Neutral
        }
    }

    /// Client aborts can hide a black hole, because clients time out first: an abort at or after
    /// the known deadline is a timeout, one after `slower_than` is slow.
    fn client_gone(&self, elapsed: Duration, deadline: Option<Duration>) -> Outcome {
        if deadline.is_some_and(|limit| elapsed >= limit) {
            return self.broken(Transport::Timeout);
        }
        match self.slower_than {
            Some(limit) if elapsed > limit => Outcome::Slow,
            _ => Outcome::Neutral,
        }
    }
}

/// What a host reports of a finished call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What the call counts as.
    pub outcome: Outcome,
    /// The upstream's `retry-after`, where it sent one.
    pub retry_after: Option<Duration>,
    /// What the upstream's clock showed at good response headers; of a failure, what it showed when the
    /// call's time was over. None where that says nothing of how fast the upstream is, or nobody
    /// [wants](FailureRules::wants_latency) it.
    pub latency: Option<Duration>,
}

impl From<Outcome> for Report {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, retry_after: None, latency: None }
    }
}
