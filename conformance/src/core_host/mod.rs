//! The core alone, in virtual time: the smallest host there is.
//!
//! It plays a scenario on a queue of moments, without a clock, a socket or a thread. The virtual
//! world makes the moments; an adapter tells the core what a host sees of them. It is also where the
//! deliberate host mutants live: a mutated host is this one with a single mistake.

mod adapter;
mod facts;
mod mistaken;
pub mod mutant;
mod played_call;
mod queue;
mod retried;
pub mod sharpness;
mod sighting;
mod world;

pub use world::UPLOAD_PIECES;

use crate::log::{LoadSeen, Loaded, Recording};
use crate::scenario::{Scenario, StepKind};
use bimetal_core::engine::{Engine, Policies, Tracing};
use bimetal_core::event::EventKind;
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration as Span, Instant};
use mistaken::Memory;
use mutant::Mutant;
use played_call::PlayedCall;
use queue::{Moment, Queue};
use serde_json::Value;
use std::rc::Rc;
use std::time::Duration;

/// How the times of a play differ from the scenario's.
#[derive(Clone, Debug, Default)]
pub struct Shift {
    /// Added to the start of each step, at most half a tick either way; in steps' order, repeated.
    pub steps: Vec<i64>,
    /// Added to each delay of the upstream and of a client's upload, in nanoseconds.
    pub delay: u64,
    /// Where the clock begins, in nanoseconds: windows in time have borders on its multiples.
    pub origin: u64,
}

/// Plays a scenario; `mutant` is the mistake to make.
pub fn play(scenario: &Scenario, shift: &Shift, mutant: Option<Mutant>) -> Recording {
    let mut host = CoreHost::new(scenario, shift, mutant);
    host.load(&scenario.document);
    for (index, step) in scenario.steps.iter().enumerate() {
        let at = shift_of(step.at, index, shift, scenario.tick);
        host.queue.add(at, Moment::Step(index));
    }
    let end = shift_of(scenario.end, 0, &Shift::default(), scenario.tick);
    while let Some((at, moment)) = host.queue.next() {
        if at > end {
            break;
        }
        host.poll_until(at);
        host.now = at;
        host.carry_out(moment);
        host.take_events();
    }
    host.poll_until(end);
    host.finish()
}

fn shift_of(at: Duration, index: usize, shift: &Shift, tick: Duration) -> Duration {
    let by = match shift.steps.len() {
        0 => 0,
        many => shift.steps[index % many],
    };
    // The whole play begins a tick late, so that its first step can be early.
    let moved = tick.as_nanos() as i128 + at.as_nanos() as i128 + i128::from(by);
    Duration::from_nanos(u64::try_from(moved).unwrap_or(0))
}

struct CoreHost<'a> {
    scenario: &'a Scenario,
    shift: &'a Shift,
    mutant: Option<Mutant>,
    engine: Engine,
    /// A call that waits keeps those that it came under.
    policies: Rc<Policies>,
    queue: Queue,
    calls: Vec<PlayedCall>,
    recording: Recording,
    now: Duration,
    /// What a mutant keeps of other calls.
    memory: Memory,
}

impl<'a> CoreHost<'a> {
    fn new(scenario: &'a Scenario, shift: &'a Shift, mutant: Option<Mutant>) -> Self {
        let mut host = Self {
            scenario,
            shift,
            mutant,
            engine: Engine::new(1),
            policies: Rc::default(),
            queue: Queue::default(),
            calls: Vec::new(),
            recording: Recording::default(),
            now: Duration::ZERO,
            memory: Memory::default(),
        };
        host.engine.set_tracing(Tracing::All);
        host.engine.set_can_wait(true);
        host
    }

    /// A moment of the timeline on the engine's clock.
    fn instant(&self, at: Duration) -> Instant {
        Instant::from_nanos(self.shift.origin) + Span::from(at)
    }

    /// The same the other way.
    fn on_timeline(&self, at: Instant) -> Duration {
        Duration::from_nanos(at.as_nanos().saturating_sub(self.shift.origin))
    }

    fn poll_until(&mut self, until: Duration) {
        if self.mutant == Some(Mutant::NobodyPolls) {
            return;
        }
        while let Some(due) = self.engine.next_wakeup().filter(|due| *due <= self.instant(until)) {
            self.engine.poll(due);
            self.take_events();
        }
    }

    fn carry_out(&mut self, moment: Moment) {
        match moment {
            Moment::Step(index) => match &self.scenario.steps[index].kind {
                StepKind::Call(_) => self.begin(index, 1),
                StepKind::Load(document) => self.update(index, document),
            },
            Moment::Call(step, nth) => self.begin(step, nth),
            Moment::Seen(call, number, sighting) => self.see(call, number, &sighting),
            Moment::Retry(call) => self.try_again(call),
            Moment::Deadline(call) => self.deadline(call),
            Moment::CallersTime(call) => self.callers_time(call),
            Moment::Patience(call) => self.ask_again(call),
            Moment::Leaves(call) => self.leaves(call),
        }
        // Who was woken asks at once, and may wake others.
        while let Some(waiting) = self.engine.take_woken() {
            let call = self.calls.iter().position(|call| call.waits_as(waiting));
            if let Some(call) = call
                && self.mutant != Some(Mutant::WokenInVain)
            {
                self.ask_again(call);
            }
        }
    }

    fn update(&mut self, step: usize, document: &Value) {
        let result = self.load(document);
        if result == Loaded::Refused && self.mutant == Some(Mutant::BadUpdateWipes) {
            self.engine = Engine::new(1);
            self.policies = Rc::default();
            self.engine.set_tracing(Tracing::All);
            self.engine.set_can_wait(true);
        }
        let step = self.scenario.steps[step].name.clone();
        self.recording.loads.push(LoadSeen { step, at: self.now, result });
    }

    fn load(&mut self, document: &Value) -> Loaded {
        match Document::parse(document.to_string().as_bytes(), Host::Native) {
            Ok(document) => {
                if self.mutant == Some(Mutant::UpdateForgets) {
                    self.engine = Engine::new(1);
                    self.engine.set_tracing(Tracing::All);
                    self.engine.set_can_wait(true);
                }
                self.policies = Rc::new(self.engine.load(&document));
                self.engine.poll(self.instant(self.now));
                Loaded::Accepted
            }
            Err(_) => Loaded::Refused,
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.engine.take_event() {
            // The arrival is the time of the event: this host's clock is the timeline.
            let at = match &event.kind {
                EventKind::Transition(change) => change.at,
                _ => event.at,
            };
            let at = self.on_timeline(at);
            self.recording.events.push((at, event.to_string()));
        }
    }

    fn finish(mut self) -> Recording {
        self.take_events();
        let totals = self.engine.totals();
        let complaints = &mut self.recording.complaints;
        if totals.events_lost != 0 {
            complaints.push(format!("{} events lost", totals.events_lost));
        }
        let held = self.calls.iter().filter(|call| call.holds_a_ticket()).count() as u64;
        let outstanding = totals.issued.checked_sub(totals.settled);
        if outstanding != Some(held) && self.mutant != Some(Mutant::UpdateForgets) {
            let (issued, settled) = (totals.issued, totals.settled);
            complaints.push(format!("{issued} tickets given out, {settled} settled, {held} held"));
        }
        self.recording.calls = self.calls.into_iter().map(PlayedCall::into_seen).collect();
        self.recording
    }
}
