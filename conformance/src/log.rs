//! From what a host did to the log that is compared.
//!
//! A [`Recording`] holds the bytes that clients got, the calls that the upstream saw and the event
//! lines of the host, each with the time at which the runner saw it. [`normalise`] makes of it one
//! line per decision, settlement and change of state, without clocks and numbers that differ
//! between hosts.

use crate::scenario::{Answer, Scenario, answer_line, show_span};
use bimetal_core::policy::{Document, Host};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Everything a host did in one scenario. Times are from the scenario's start.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Calls in the order in which they were sent.
    pub calls: Vec<CallSeen>,
    /// Event lines as the host wrote them, each with the time of its arrival at the runner.
    pub events: Vec<(Duration, String)>,
    /// Documents that were loaded.
    pub loads: Vec<LoadSeen>,
    /// Broken promises that no line of the log shows; each becomes a line.
    pub complaints: Vec<String>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct CallSeen {
    /// Its name in the log.
    pub name: String,
    /// When it was sent.
    pub sent: Duration,
    /// What the client got.
    pub answer: Answer,
    /// How often the upstream saw it.
    pub received: usize,
}

/// One change of the document.
#[derive(Clone, Debug)]
pub struct LoadSeen {
    /// The step.
    pub step: String,
    /// When.
    pub at: Duration,
    /// What the host said.
    pub result: Loaded,
}

/// What a host said to a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is in force.
    Accepted,
    /// The one before stays in force.
    Refused,
    /// The host did not say.
    Silence,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Decision {
        #[serde(flatten)]
        place: Place,
        call: u64,
        decision: String,
        #[serde(default)]
        shadow: bool,
        #[serde(default)]
        waited_ns: u64,
    },
    Tried {
        #[serde(flatten)]
        place: Place,
        call: u64,
        outcome: String,
    },
    Settled {
        #[serde(flatten)]
        place: Place,
        call: u64,
        outcome: String,
        #[serde(default)]
        late: bool,
    },
    Transition {
        #[serde(flatten)]
        place: Place,
        from: String,
        to: String,
        cause: String,
        generation: u32,
        open_for_ns: u64,
    },
    Anomaly {
        #[serde(flatten)]
        place: Place,
        signal: String,
        value: f64,
        mean: f64,
    },
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
struct Place {
    at_ns: u64,
    policy: String,
    scope: String,
}

impl Event {
    const fn place(&self) -> &Place {
        match self {
            Self::Decision { place, .. }
            | Self::Tried { place, .. }
            | Self::Settled { place, .. }
            | Self::Transition { place, .. }
            | Self::Anomaly { place, .. } => place,
        }
    }
}

/// What clients got and the upstream saw, one line a call, in order of the calls.
pub fn answers(recording: &Recording) -> Vec<String> {
    let line = |call: &CallSeen| answer_line(&call.name, &call.answer, call.received);
    recording.calls.iter().map(line).collect()
}

/// The normalised log.
pub fn normalise(scenario: &Scenario, recording: &Recording) -> Vec<String> {
    let mut lines = Lines { rows: Vec::new() };
    let mut events = Vec::new();
    for (arrival, text) in &recording.events {
        match serde_json::from_str::<Event>(text) {
            Ok(event) => events.push((*arrival, event)),
            Err(error) => lines.add(*arrival, format!("unreadable event {text}: {error}")),
        }
    }
    let clock = Clock::of(&events);
    let decided = decided_calls(scenario, recording, &events, clock);
    // The row of each event; a change of state is written behind the row of what made it.
    let mut row_of: Vec<usize> = Vec::new();
    for (index, (_, event)) in events.iter().enumerate() {
        let at = clock.on_timeline(event.place().at_ns);
        let made_by = maker(&events, index).and_then(|maker| row_of.get(maker));
        match (line_of(event, &decided, scenario), made_by) {
            (Some(text), _) => lines.add(at, text),
            (None, Some(&row)) => {
                let text = format!("; {}", change(event));
                lines.rows[row].1.push_str(&text);
            }
            (None, None) => {
                let policy = &event.place().policy;
                lines.add(at, format!("{policy} {}, made by no call", change(event)));
            }
        }
        row_of.push(lines.rows.len() - 1);
    }
    for call in &recording.calls {
        let silent = !decided.values().any(|known| known.name == call.name);
        match call.answer {
            _ if !silent => {}
            Answer::Rejected { .. } => {}
            // Who leaves while it waits is not decided.
            Answer::Gone | Answer::Waiting if call.received == 0 => {
                lines.add(call.sent, format!("{} undecided", call.name));
            }
            _ => lines.add(call.sent, format!("{} passed", call.name)),
        }
    }
    for load in &recording.loads {
        let result = match load.result {
            Loaded::Accepted => "accepted",
            Loaded::Refused => "refused",
            Loaded::Silence => "neither accepted nor refused",
        };
        lines.add(load.at, format!("{} load {result}", load.step));
    }
    recording.complaints.iter().for_each(|text| lines.add(Duration::MAX, text.clone()));
    lines.in_order()
}

struct Lines {
    rows: Vec<(Duration, String)>,
}

impl Lines {
    fn add(&mut self, at: Duration, text: String) {
        self.rows.push((at, text));
    }

    /// By time, and in the order of their arrival where the time is the same.
    fn in_order(mut self) -> Vec<String> {
        self.rows.sort_by_key(|(at, _)| *at);
        self.rows.into_iter().map(|(_, text)| text).collect()
    }
}

/// How a host's clock lies to the timeline: an event is never seen before it happened, so the
/// quickest arrival of all tells the difference best.
#[derive(Clone, Copy)]
struct Clock {
    behind: i128,
}

impl Clock {
    fn of(events: &[(Duration, Event)]) -> Self {
        let lag = |(arrival, event): &(Duration, Event)| {
            arrival.as_nanos() as i128 - i128::from(event.place().at_ns)
        };
        Self { behind: events.iter().map(lag).min().unwrap_or(0) }
    }

    fn on_timeline(self, at_ns: u64) -> Duration {
        let nanos = (i128::from(at_ns) + self.behind).max(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

struct Decided {
    name: String,
    at_ns: u64,
    admitted: bool,
}

/// Which step's call each numbered call of the engine is: the n-th decision after a step began is
/// the n-th call of that step. One that waited began to do so then.
fn decided_calls(
    scenario: &Scenario,
    recording: &Recording,
    events: &[(Duration, Event)],
    clock: Clock,
) -> BTreeMap<u64, Decided> {
    let mut free: Vec<&CallSeen> = recording.calls.iter().collect();
    let mut known = BTreeMap::new();
    // A host may read its clock once for several calls, a moment before this one came.
    let grace = scenario.tick / 2;
    for (_, event) in events {
        let Event::Decision { place, call, decision, waited_ns, .. } = event else {
            continue;
        };
        let at = clock.on_timeline(place.at_ns.saturating_sub(*waited_ns)) + grace;
        let step = scenario.steps.iter().rev().find(|step| {
            let began = recording.calls.iter().find(|call| belongs(&call.name, &step.name));
            began.is_some_and(|call| call.sent <= at)
        });
        let found = step
            .and_then(|step| free.iter().position(|call| belongs(&call.name, &step.name)))
            .map(|index| free.remove(index));
        let name = found.map_or_else(|| format!("unknown call {call}"), |call| call.name.clone());
        let admitted = decision == "admitted";
        known.insert(*call, Decided { name, at_ns: place.at_ns, admitted });
    }
    known
}

fn belongs(call: &str, step: &str) -> bool {
    call.strip_prefix(step).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The line of a decision, a settlement, or a change that time made. Other changes belong to the
/// line of what made them.
fn line_of(event: &Event, decided: &BTreeMap<u64, Decided>, scenario: &Scenario) -> Option<String> {
    let name = |call: &u64| decided.get(call).map_or("unknown call", |known| &known.name);
    match event {
        Event::Decision { place, call, decision, shadow, waited_ns } => {
            let what = match decision.as_str() {
                "admitted" => "admitted".to_owned(),
                rule => format!("rejected by {rule}"),
            };
            let shadow = if *shadow { " in shadow" } else { "" };
            let waited = if *waited_ns > 0 { ", waited" } else { "" };
            Some(format!("{} {} {what}{shadow}{waited}", name(call), place.policy))
        }
        Event::Tried { place, call, outcome } => {
            Some(format!("{} {} try {outcome}", name(call), place.policy))
        }
        Event::Settled { place, call, outcome, late } => {
            let late = if *late { ", too late" } else { "" };
            Some(format!("{} {} {outcome}{late}", name(call), place.policy))
        }
        Event::Transition { place, cause, .. } if cause == "probes_expired" => {
            let (step, due) = due(place.at_ns, decided, scenario);
            Some(format!("{step} {} {}, due {due}", place.policy, change(event)))
        }
        Event::Transition { .. } => None,
        Event::Anomaly { place, signal, value, mean } => {
            Some(format!("{} anomaly of {signal}: {value}, mean {mean}", place.policy))
        }
    }
}

/// The admission whose lease ends at `at_ns`, and when that is. A lease is of the upstream's time: it
/// stands while a call waits for its own client. Both times are the host's own, so however late the
/// change was noticed, they differ only by how exactly the host saw the client's request end.
fn due(at_ns: u64, decided: &BTreeMap<u64, Decided>, scenario: &Scenario) -> (String, String) {
    let exactness = scenario.tick.as_nanos() as u64 / 2;
    let (leases, uploads) = (leases(scenario), uploads(scenario));
    let mut candidates = Vec::new();
    for call in decided.values().filter(|call| call.admitted) {
        let upload = uploads.get(&call.name).copied().unwrap_or_default();
        for lease in &leases {
            let due = call.at_ns + lease + upload.as_nanos() as u64;
            candidates.push((at_ns.abs_diff(due), &call.name, *lease, upload));
        }
    }
    let nearest = candidates.into_iter().rev().min_by_key(|(difference, ..)| *difference);
    match nearest {
        Some((difference, step, lease, upload)) if difference <= exactness => {
            let lease = show_span(Duration::from_nanos(lease));
            let upload = if upload.is_zero() { "" } else { "the upload of " };
            (step.clone(), format!("{lease} after {upload}{step}"))
        }
        _ => ("unknown step".to_owned(), "at an unknown time".to_owned()),
    }
}

fn uploads(scenario: &Scenario) -> BTreeMap<String, Duration> {
    scenario.calls().map(|(name, _, call)| (name, call.upload)).collect()
}

fn leases(scenario: &Scenario) -> Vec<u64> {
    let text = scenario.document.to_string();
    let Ok(document) = Document::parse(text.as_bytes(), Host::Native) else {
        return Vec::new();
    };
    let breakers = document.policies.iter().filter_map(|policy| policy.breaker.as_ref());
    breakers.map(|breaker| breaker.half_open.lease.as_nanos()).collect()
}

fn change(event: &Event) -> String {
    let Event::Transition { from, to, cause, generation, open_for_ns, .. } = event else {
        return String::new();
    };
    let open_for = match open_for_ns {
        0 => String::new(),
        nanos => format!(" for {}", show_span(Duration::from_nanos(*nanos))),
    };
    format!("{from} → {to}{open_for}: {cause}, generation {generation}")
}

/// The event in whose verb a change was made: the last one of the same breaker at the same moment.
fn maker(events: &[(Duration, Event)], index: usize) -> Option<usize> {
    let place = events[index].1.place();
    events[..index].iter().rposition(|(_, other)| {
        other.place() == place && !matches!(other, Event::Transition { .. } | Event::Anomaly { .. })
    })
}
