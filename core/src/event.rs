//! What happened, as data: one line of JSON for each event.

pub use crate::anomaly::Anomaly;
pub use crate::breaker::{Cause, State, Transition};
use crate::decision::Rule;
use crate::outcome::Outcome;
use crate::time::{Duration, Instant};
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

/// What was decided for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decided {
    /// It goes upstream.
    Admitted,
    /// This rule turned it away.
    Rejected(Rule),
}

impl Decided {
    /// How many there are.
    pub const COUNT: usize = Rule::ALL.len() + 1;

    /// Everything that can be decided, each in its [place](Decided::place).
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Admitted].into_iter().chain(Rule::ALL.into_iter().map(Self::Rejected))
    }

    /// Its place among all: that of its count.
    #[inline]
    pub const fn place(self) -> usize {
        match self {
            Self::Admitted => 0,
            Self::Rejected(rule) => rule as usize + 1,
        }
    }

    /// The name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Rejected(rule) => rule.name(),
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
#[non_exhaustive]
pub enum EventKind {
    /// A call was decided.
    Decision {
        /// Number of the call in this engine, from 1.
        call: u64,
        /// What was decided.
        decided: Decided,
        /// Whether it was not applied, because the policy is in shadow mode.
        shadow: bool,
        /// How long the call waited for it in a queue.
        waited: Duration,
    },
    /// A try counted by itself, before its call was over.
    Tried {
        /// Number of the call in this engine.
        call: u64,
        /// What the try counted as.
        outcome: Outcome,
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
    /// What a policy watches is unlike what it was before. It decides nothing.
    Anomaly(Anomaly),
}

impl fmt::Display for Event {
    /// One line of JSON. Every string in it is a name of ours or escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, at) = match &self.kind {
            EventKind::Decision { .. } => ("decision", self.at),
            EventKind::Tried { .. } => ("tried", self.at),
            EventKind::Settled { .. } => ("settled", self.at),
            EventKind::Transition(change) => ("transition", change.at),
            EventKind::Anomaly(_) => ("anomaly", self.at),
        };
        write!(
            f,
            r#"{{"event":"{name}","at_ns":{},"policy":{},"scope":{}"#,
            at.as_nanos(),
            Json(&self.policy),
            Json(&self.scope)
        )?;
        match &self.kind {
            EventKind::Decision { call, decided, shadow, waited } => {
                write!(f, r#","call":{call},"decision":"{}""#, decided.name())?;
                if *shadow {
                    f.write_str(r#","shadow":true"#)?;
                }
                if !waited.is_zero() {
                    write!(f, r#","waited_ns":{}"#, waited.as_nanos())?;
                }
            }
            EventKind::Tried { call, outcome } => {
                write!(f, r#","call":{call},"outcome":"{}""#, outcome.name())?;
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
            EventKind::Anomaly(Anomaly { signal, value, mean, deviation, score }) => {
                write!(
                    f,
                    r#","signal":"{}","value":{},"mean":{},"deviation":{},"score":{}"#,
                    signal.name(),
                    Decimal(*value),
                    Decimal(*mean),
                    Decimal(*deviation),
                    Decimal(*score)
                )?;
            }
        }
        f.write_str("}")
    }
}

/// A number with up to six decimals, as JSON has it. Written by whole numbers: to format floats costs the
/// filter some 20 KB of code. Beyond what fits it is the largest that does, and 0 where it is none.
#[derive(Clone, Copy, Debug)]
pub struct Decimal(pub f64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNIT: u64 = 1_000_000;
        // The cast saturates, and maps NaN to zero.
        let all = (self.0.abs() * UNIT as f64 + 0.5) as u64;
        if self.0 < 0.0 && all > 0 {
            f.write_str("-")?;
        }
        write!(f, "{}", all / UNIT)?;
        let (mut part, mut places) = (all % UNIT, 6);
        if part == 0 {
            return Ok(());
        }
        while part % 10 == 0 {
            part /= 10;
            places -= 1;
        }
        write!(f, ".{part:0places$}")
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
    fn a_number_has_up_to_six_decimals() {
        let text = |number| Decimal(number).to_string();
        for (number, told) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.5, "1.5"),
            (-2.25, "-2.25"),
            (0.000_001, "0.000001"),
            (-0.000_000_1, "0"),
            (0.999_999_9, "1"),
            (12_000.000_1, "12000.0001"),
            (f64::NAN, "0"),
            (f64::INFINITY, "18446744073709.551615"),
        ] {
            assert_eq!(text(number), told);
        }
    }

    #[test]
    fn an_anomaly_has_its_evidence() {
        let signal = crate::anomaly::Signal::Errors;
        let anomaly = Anomaly { signal, value: 0.5, mean: 0.05, deviation: 0.1, score: 4.5 };
        let event = Event {
            policy: "echo".into(),
            scope: "*".into(),
            key: None,
            at: Instant::from_nanos(5),
            kind: EventKind::Anomaly(anomaly),
        };
        assert_eq!(
            event.to_string(),
            "{\"event\":\"anomaly\",\"at_ns\":5,\"policy\":\"echo\",\"scope\":\"*\",\
             \"signal\":\"errors\",\"value\":0.5,\"mean\":0.05,\"deviation\":0.1,\"score\":4.5}"
        );
    }

    #[test]
    fn an_event_is_one_line() {
        let event = Event {
            policy: "echo".into(),
            scope: "x\n".into(),
            key: None,
            at: Instant::from_nanos(5),
            kind: EventKind::Decision {
                call: 1,
                decided: Decided::Rejected(Rule::Breaker),
                shadow: true,
                waited: Duration::from_nanos(7),
            },
        };
        assert_eq!(
            event.to_string(),
            "{\"event\":\"decision\",\"at_ns\":5,\"policy\":\"echo\",\"scope\":\"x\\u000a\",\
             \"call\":1,\"decision\":\"breaker\",\"shadow\":true,\"waited_ns\":7}"
        );
    }
}
