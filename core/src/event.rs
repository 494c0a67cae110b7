//! What happened, as data: transitions with their cause, and one line of JSON for each event.

use crate::outcome::Outcome;
use crate::time::{Duration, Instant};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// A breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass (a growing share of them during a ramp).
    Closed,
    /// A few probes pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The name in metrics, events and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `count` failures without a success between them.
    ConsecutiveFailures {
        /// How many.
        count: u32,
    },
    /// Too large a share of failures.
    FailureRate {
        /// Calls in the window.
        calls: u32,
        /// Failures among them.
        failures: u32,
    },
    /// Too large a share of slow answers.
    SlowRate {
        /// Calls in the window.
        calls: u32,
        /// Slow ones among them.
        slow: u32,
    },
    /// The open time was over and a call came.
    OpenElapsed,
    /// A probe failed.
    ProbeFailed,
    /// A probe was answered too late.
    ProbeSlow,
    /// As many probes in a row as may be outstanding got no answer within their lease.
    ProbesExpired,
    /// Enough probes succeeded.
    ProbesSucceeded,
}

impl Cause {
    /// The name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures { .. } => "consecutive_failures",
            Self::FailureRate { .. } => "failure_rate",
            Self::SlowRate { .. } => "slow_rate",
            Self::OpenElapsed => "open_elapsed",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeSlow => "probe_slow",
            Self::ProbesExpired => "probes_expired",
            Self::ProbesSucceeded => "probes_succeeded",
        }
    }
}

/// For people: `3 consecutive failures`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ConsecutiveFailures { count: 1 } => f.write_str("a failure"),
            Self::ConsecutiveFailures { count } => write!(f, "{count} consecutive failures"),
            // What another replica counted is not known here.
            Self::FailureRate { calls: 0, .. } => f.write_str("too many failures"),
            Self::SlowRate { calls: 0, .. } => f.write_str("too many slow answers"),
            Self::FailureRate { calls, failures } => {
                write!(f, "{failures} failures in {calls} calls")
            }
            Self::SlowRate { calls, slow } => write!(f, "{slow} slow answers in {calls} calls"),
            Self::OpenElapsed => f.write_str("the open time was over"),
            Self::ProbeFailed => f.write_str("a failed probe"),
            Self::ProbeSlow => f.write_str("a slow probe"),
            Self::ProbesExpired => f.write_str("unanswered probes"),
            Self::ProbesSucceeded => f.write_str("successful probes"),
        }
    }
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When it was due: for a change that time caused, earlier than it was noticed.
    pub at: Instant,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// The generation that begins with it.
    pub generation: u32,
    /// The level of the open time after it.
    pub level: u8,
    /// How long it will be open; zero for other states.
    pub open_for: Duration,
    /// Whether another replica made it, and this one followed.
    pub adopted: bool,
}

/// What was decided for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decided {
    /// It goes upstream.
    Admitted,
    /// The breaker turned it away.
    Breaker,
}

impl Decided {
    /// The name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Breaker => "breaker",
        }
    }
}

/// One event with its place. Hosts write them as one line of JSON each, at debug level; the
/// conformance runner compares these lines between hosts.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The policy's name.
    pub policy: Arc<str>,
    /// The scope's label: its key, or `*` where keys come from clients.
    pub scope: Arc<str>,
    /// Of a transition: the scope's key as it is kept (at most 128 bytes). A client may have chosen
    /// it: show [`Event::scope_name`].
    pub key: Option<Arc<[u8]>>,
    /// When.
    pub at: Instant,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// The scope as people are told of it: the key where the event has one, as printable ASCII with
    /// everything else escaped (`\xff`); else the label.
    pub fn scope_name(&self) -> String {
        match self.key.as_deref() {
            None | Some([]) => String::from(&*self.scope),
            Some(key) => key.escape_ascii().map(char::from).collect(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A call was decided.
    Decision {
        /// Number of the call in this engine, from 1.
        call: u64,
        /// What was decided.
        decided: Decided,
        /// Whether it was not applied, because the policy is in shadow mode.
        shadow: bool,
    },
    /// A call was settled.
    Settled {
        /// Number of the call in this engine.
        call: u64,
        /// What it counted as.
        outcome: Outcome,
        /// Whether it came too late: see [`Settled::late`](crate::Settled::late).
        late: bool,
    },
    /// A breaker changed its state.
    Transition(Transition),
}

impl fmt::Display for Event {
    /// One line of JSON. Every string in it is a name of ours or escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, at) = match &self.kind {
            EventKind::Decision { .. } => ("decision", self.at),
            EventKind::Settled { .. } => ("settled", self.at),
            EventKind::Transition(change) => ("transition", change.at),
        };
        write!(
            f,
            r#"{{"event":"{name}","at_ns":{},"policy":{},"scope":{}"#,
            at.as_nanos(),
            Json(&self.policy),
            Json(&self.scope)
        )?;
        match &self.kind {
            EventKind::Decision { call, decided, shadow } => {
                write!(f, r#","call":{call},"decision":"{}""#, decided.name())?;
                if *shadow {
                    f.write_str(r#","shadow":true"#)?;
                }
            }
            EventKind::Settled { call, outcome, late } => {
                write!(f, r#","call":{call},"outcome":"{}""#, outcome.name())?;
                if *late {
                    f.write_str(r#","late":true"#)?;
                }
            }
            EventKind::Transition(change) => {
                write!(
                    f,
                    r#","from":"{}","to":"{}","cause":"{}","generation":{},"level":{},"open_for_ns":{}"#,
                    change.from.name(),
                    change.to.name(),
                    change.cause.name(),
                    change.generation,
                    change.level,
                    change.open_for.as_nanos()
                )?;
                if change.adopted {
                    f.write_str(r#","adopted":true"#)?;
                }
            }
        }
        f.write_str("}")
    }
}

/// A string as JSON (RFC 8259, 7), with everything beyond printable ASCII escaped: what a client
/// chose can never break a log line.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a>(pub &'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for unit in self.0.chars() {
            match unit {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => fmt::Write::write_char(f, unit)?,
                _ => {
                    let mut pair = [0; 2];
                    for half in unit.encode_utf16(&mut pair) {
                        write!(f, "\\u{half:04x}")?;
                    }
                }
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn hostile_text_stays_in_its_string() {
        let line = Json("a\"b\\c\n\u{7f}\u{1F600}").to_string();
        assert_eq!(line, r#""a\"b\\c\u000a\u007f\ud83d\ude00""#);
    }

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            policy: "echo".into(),
            scope: "x\n".into(),
            key: None,
            at: Instant::from_nanos(5),
            kind: EventKind::Decision { call: 1, decided: Decided::Breaker, shadow: true },
        };
        assert_eq!(
            event.to_string(),
            "{\"event\":\"decision\",\"at_ns\":5,\"policy\":\"echo\",\"scope\":\"x\\u000a\",\
             \"call\":1,\"decision\":\"breaker\",\"shadow\":true}"
        );
    }
}
