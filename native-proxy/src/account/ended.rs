//! What is told of a request that has ended.

use crate::attempt::ErrorKind;
use crate::framing::Refusal;
use crate::worker::Route;
use bimetal_core::decision::Rule;
use bimetal_core::fallback::{FallbackKind, NoFallback};
use bimetal_core::policy::Policy;
use bimetal_core::retry::NoRetry;
use bimetal_core::{Duration, Instant};
use hyper::StatusCode;
use hyper::http::request::Parts;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Most bytes of a path, and of a method, that the log shows.
const LONGEST_PATH: usize = 256;
const LONGEST_METHOD: usize = 32;

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct RequestEnded {
    /// When its head was there.
    pub begun: Instant,
    /// From its head to the end of its answer; zero where neither metrics nor the log want it.
    pub duration: Duration,
    /// What was asked; only where the log wants it, and never of a refused head.
    pub line: Option<Box<RequestLine>>,
    /// The status that was given; none where there was no answer.
    pub status: Option<StatusCode>,
    /// Whose answer that was.
    pub by: AnsweredBy,
    /// The route; none where the request ended before one was found.
    pub route: Option<Rc<Route>>,
    /// Who called; none where the request ended before somebody looked.
    pub caller: Option<IpAddr>,
    /// What its caller said that it waits.
    pub patience: Option<Duration>,
    /// What was warned of, by [`Kind::bit`](crate::interactions::Kind::bit).
    pub warned: u8,
    /// The policy that matched.
    pub policy: Option<Arc<Policy>>,
    /// What was decided.
    pub decision: Decision,
    /// How it ended.
    pub end: End,
    /// Why its last try failed.
    pub failure: Option<ErrorKind>,
    /// How often it was sent upstream, or a connection for it was asked for.
    pub attempts: u32,
    /// Why its last try was not made again, where its policy tries such failures again.
    pub no_retry: Option<NoRetry>,
    /// What stood in for a rejection or a failure.
    pub fallback: Option<FallbackKind>,
    /// The other upstream that was asked to.
    pub fallback_upstream: Option<Arc<str>>,
    /// Why that did not stand in, where its policy names one.
    pub no_fallback: Option<NoFallback>,
    /// Its trace, where it is recorded.
    pub trace: Option<[u8; 16]>,
}

impl RequestEnded {
    /// Whether the metrics tell how long it took: not what was turned away at once.
    pub(crate) fn is_timed(&self) -> bool {
        self.route.is_some() && !matches!(self.decision, Decision::Rejected(_))
    }
}

/// What was asked, as far as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    /// The method.
    pub method: String,
    /// The path without its query, which may hold secrets.
    pub path: String,
}

impl RequestLine {
    #[cold]
    pub(super) fn of(head: &Parts) -> Box<Self> {
        // Both are visible ASCII: see `framing`.
        let cut = |text: &str, longest| text.get(..longest).unwrap_or(text).to_owned();
        Box::new(Self {
            method: cut(head.method.as_str(), LONGEST_METHOD),
            path: cut(head.uri.path(), LONGEST_PATH),
        })
    }
}

/// What was decided of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: no policy was for it, or none was asked.
    #[default]
    None,
    /// It passes without a permit: the policy does not act, or had no room for its scope.
    Passed,
    /// It goes upstream with a permit.
    Admitted,
    /// It was turned away by this rule.
    Rejected(Rule),
}

impl Decision {
    /// The name in logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passed => "passed",
            Self::Admitted => "admitted",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// Whose answer the client got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    /// The proxy's own.
    #[default]
    Proxy,
    /// The upstream's.
    Upstream,
}

impl AnsweredBy {
    /// Both names in metrics and logs, each in its place.
    pub(crate) const NAMES: [&'static str; 2] = ["proxy", "upstream"];

    /// Its place among the names.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Proxy => 0,
            Self::Upstream => 1,
        }
    }

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its answer is whole.
    Answered,
    /// Its answer broke off by the upstream's doing.
    BrokeOff,
    /// Its client left, or took nothing for too long.
    ClientGone,
    /// It was refused for its form or size.
    Refused(Refusal),
    /// It lasted longer than a drain.
    CutOff,
    /// Our own code panicked in it.
    Panicked,
}

impl End {
    /// Every name in metrics and logs, each in its place.
    pub(crate) const NAMES: [&'static str; 6] =
        ["answered", "broke_off", "client_gone", "refused", "cut_off", "panicked"];

    /// Its place among the names.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::BrokeOff => 1,
            Self::ClientGone => 2,
            Self::Refused(_) => 3,
            Self::CutOff => 4,
            Self::Panicked => 5,
        }
    }

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}
