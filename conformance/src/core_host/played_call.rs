//! One call of a play: decided, followed through the virtual world, and what its client gets.

use super::CoreHost;
use super::adapter::OwnAdmission;
use super::facts::CallFacts;
use super::mistaken::MistakenAdapter;
use super::mutant::Mutant;
use super::queue::Moment;
use super::retried::Retried;
use super::sighting::Sighting;
use super::world;
use crate::log::CallSeen;
use crate::scenario::{Answer, Call, StepKind, call_name};
use bimetal_core::connections::Connected;
use bimetal_core::decision::Rule;
use bimetal_core::engine::Policies;
use bimetal_core::outcome::Transport;
use bimetal_core::{Instant, Verdict, Waiting};
use std::rc::Rc;
use std::time::Duration;

/// One call.
pub(super) struct PlayedCall {
    pub(super) step: usize,
    nth: u32,
    name: String,
    pub(super) sent: Duration,
    received: usize,
    /// None where no policy follows the call.
    pub(super) adapter: Option<MistakenAdapter>,
    /// What is known of its tries.
    pub(super) retried: Retried,
    /// When its time for response headers is over, as it was last known.
    pub(super) deadline: Option<Instant>,
    /// The rule of its caller's time, with the moment when that is over.
    callers_time: Option<(String, Instant)>,
    /// What is answered in place of a failure, where the policy says so.
    fallback: Option<u16>,
    /// The status of the response headers, once they are there.
    status: Option<u16>,
    answer: Option<Answer>,
    /// What it is known by while it waits for a slot, and what it is judged by.
    waiting: Option<(Waiting, Rc<Policies>)>,
    /// Its connection, where its policy counts those.
    connected: Option<Connected>,
}

impl PlayedCall {
    pub(super) fn holds_a_ticket(&self) -> bool {
        self.adapter.as_ref().is_some_and(MistakenAdapter::holds_a_ticket)
    }

    /// Whether it waits under that name.
    pub(super) fn waits_as(&self, waiting: Waiting) -> bool {
        self.waiting.as_ref().is_some_and(|(name, _)| *name == waiting)
    }

    pub(super) fn into_seen(self) -> CallSeen {
        CallSeen {
            name: self.name,
            sent: self.sent,
            answer: self.answer.unwrap_or(Answer::Waiting),
            received: self.received,
        }
    }

    /// What the client gets by what the host saw.
    fn answered_by(&mut self, sighting: &Sighting, failed: bool) -> Option<Answer> {
        let instead = self.fallback.filter(|_| failed).map(Answer::Status);
        match (sighting, self.status) {
            (Sighting::Headers(head), _) => {
                self.status = Some(head.status);
                instead.or_else(|| head.whole.then_some(Answer::Status(head.status)))
            }
            (Sighting::Trailers(_) | Sighting::Ended, status) => status.map(Answer::Status),
            (Sighting::Broken(_), None) => Some(instead.unwrap_or(Answer::Error)),
            (Sighting::Broken(_), Some(_)) => Some(Answer::Broken),
            (Sighting::ClientGone, _) => Some(Answer::Gone),
            _ => None,
        }
    }
}

/// What was decided of a call.
enum Told {
    Rejected { status: u16, rule: String },
    Waits(Instant),
    Admitted(OwnAdmission),
    Passes,
}

/// Notes what was decided.
fn told(
    played: &mut PlayedCall,
    verdict: Verdict<'_>,
    policies: &Rc<Policies>,
    (facts, begun): (&CallFacts<'_>, Instant),
) -> Told {
    match verdict {
        Verdict::Reject(refusal) => {
            let status = refusal.reply().status;
            let rule = format!("{}/{}", refusal.policy.name, refusal.rejection.rule().name());
            Told::Rejected { status, rule }
        }
        Verdict::Wait(wait) => {
            played.waiting = Some((wait.waiting, policies.clone()));
            Told::Waits(wait.until)
        }
        Verdict::Admit(admission) => {
            let fallback = admission.policy.fallback_when_failed();
            played.fallback = fallback.map(|fallback| fallback.status.unwrap_or(503));
            played.retried = Retried::of(admission.policy);
            let time = admission.policy.deadline_of(facts, begun);
            let rule = || format!("{}/{}", admission.policy.name, Rule::Deadline.name());
            played.callers_time = time.map(|time| (rule(), time.ends()));
            Told::Admitted(OwnAdmission::of(admission))
        }
        _ => Told::Passes,
    }
}

impl CoreHost<'_> {
    pub(super) fn call(&self, step: usize) -> &Call {
        match &self.scenario.steps[step].kind {
            StepKind::Call(call) => call,
            StepKind::Load(_) => unreachable!("a step with calls"),
        }
    }

    /// Decides the `nth` call of a step, and sets the world to work where it is not rejected.
    pub(super) fn begin(&mut self, step: usize, nth: u32) {
        let call = self.call(step).clone();
        let now = self.instant(self.now);
        let mut played = PlayedCall {
            step,
            nth,
            name: call_name(&self.scenario.steps[step], &call, nth),
            sent: self.now,
            received: 0,
            adapter: None,
            retried: Retried::default(),
            deadline: None,
            callers_time: None,
            fallback: None,
            status: None,
            answer: None,
            waiting: None,
            connected: None,
        };
        let policies = self.policies.clone();
        let facts = CallFacts(&call);
        let verdict = match self.engine.connect(now, &policies, &facts) {
            Ok(connected) => {
                played.connected = connected;
                self.engine.admit(now, &policies, &facts)
            }
            Err(verdict) => verdict,
        };
        let index = self.calls.len();
        let what = told(&mut played, verdict, &policies, (&facts, now));
        self.calls.push(played);
        self.go_on(index, &call, what);
    }

    /// A call that waits asks again.
    pub(super) fn ask_again(&mut self, index: usize) {
        let Some((waiting, policies)) = self.calls[index].waiting.take() else {
            return;
        };
        let call = self.call(self.calls[index].step).clone();
        let (now, begun) = (self.instant(self.now), self.instant(self.calls[index].sent));
        let facts = CallFacts(&call);
        let verdict = self.engine.admit_again(now, &policies, &facts, waiting, begun);
        let what = told(&mut self.calls[index], verdict, &policies, (&facts, begun));
        self.go_on(index, &call, what);
    }

    /// The client of a call leaves, if it waits.
    pub(super) fn leaves(&mut self, index: usize) {
        if let Some((waiting, _)) = self.calls[index].waiting.take() {
            if self.mutant != Some(Mutant::LeaversKept) {
                self.engine.forget(self.instant(self.now), waiting);
            }
            self.over(index, Answer::Gone);
        }
    }

    /// What follows on what was decided of a call.
    fn go_on(&mut self, index: usize, call: &Call, what: Told) {
        let now = self.instant(self.now);
        match what {
            Told::Rejected { status, rule } => {
                if self.mutant == Some(Mutant::RejectionsAsAnswers) {
                    self.memory.own_rejection = Some(status);
                }
                return self.over(index, Answer::Rejected { status, rule });
            }
            Told::Waits(until) => {
                // A real timer ends late, never early.
                self.queue.add(self.on_timeline(until), Moment::Patience(index));
                if let Some(abort) = call.abort {
                    self.queue.add(self.calls[index].sent + abort, Moment::Leaves(index));
                }
                return;
            }
            Told::Admitted(admission) => {
                let (engine, memory) = (&mut self.engine, &mut self.memory);
                let adapter = MistakenAdapter::new(admission, self.mutant, engine, now, memory);
                self.calls[index].adapter = Some(adapter);
                if let Some((_, ends)) = &self.calls[index].callers_time {
                    let ends = self.on_timeline(*ends);
                    self.queue.add(ends, Moment::CallersTime(index));
                }
            }
            Told::Passes => {}
        }
        self.send(index);
    }

    /// The world goes to work on a try.
    pub(super) fn send(&mut self, index: usize) {
        let number = self.calls[index].retried.number();
        let call = self.call(self.calls[index].step).of_try(number);
        self.calls[index].received += usize::from(call.upstream.sees_the_call());
        // A client's patience began with its call, which may have waited before its first try.
        let waited = if number == 0 {
            self.now.saturating_sub(self.calls[index].sent)
        } else {
            Duration::ZERO
        };
        let abort = call.abort.map(|abort| abort.saturating_sub(waited));
        let call = Call { abort, ..call };
        let delay = Duration::from_nanos(self.shift.delay);
        for (after, sighting) in world::sightings(&call, delay) {
            self.queue.add(self.now + after, Moment::Seen(index, number, sighting));
        }
    }

    /// The host sees something of a try.
    pub(super) fn see(&mut self, index: usize, number: usize, sighting: &Sighting) {
        let played = &mut self.calls[index];
        if played.answer.is_some() || played.retried.number() != number {
            return;
        }
        if !played.retried.holds(sighting) && !self.waits(index, sighting) {
            self.take_in(index, sighting);
        }
    }

    /// What was seen of a call is told, and its client answered.
    pub(super) fn take_in(&mut self, index: usize, sighting: &Sighting) {
        let now = self.instant(self.now);
        let played = &mut self.calls[index];
        let mut failed = false;
        let mut deadline = None;
        if let Some(adapter) = &mut played.adapter {
            failed = adapter.tell(&mut self.engine, now, sighting, &self.memory);
            deadline = adapter.deadline();
        }
        let moved = std::mem::replace(&mut played.deadline, deadline) != deadline;
        if let Some(answer) = played.answered_by(sighting, failed) {
            self.over(index, answer);
        } else if let Some(deadline) = deadline.filter(|_| moved) {
            self.queue.add(self.on_timeline(deadline), Moment::Deadline(index));
        }
    }

    /// A call's time for its response headers may be over: the core says whether it is.
    pub(super) fn deadline(&mut self, index: usize) {
        let now = self.instant(self.now);
        let adapter = self.calls[index].adapter.as_ref();
        let deadline = adapter.and_then(MistakenAdapter::deadline);
        if deadline.is_some_and(|deadline| deadline <= now) {
            let number = self.calls[index].retried.number();
            self.see(index, number, &Sighting::Broken(Transport::Timeout));
        }
    }

    /// The time of a call's caller is over: until headers came it is given up.
    pub(super) fn callers_time(&mut self, index: usize) {
        let played = &self.calls[index];
        let Some((rule, _)) = played.callers_time.clone() else {
            return;
        };
        if played.answer.is_none() && played.status.is_none() {
            if self.mutant == Some(Mutant::CallersTimeAsTimeout) {
                return self.take_in(index, &Sighting::Broken(Transport::Timeout));
            }
            self.take_in(index, &Sighting::ClientGone);
            self.calls[index].answer = Some(Answer::Rejected { status: 504, rule });
        }
    }

    fn over(&mut self, index: usize, answer: Answer) {
        let played = &mut self.calls[index];
        played.answer = Some(answer);
        if let Some(connected) = played.connected.take()
            && self.mutant != Some(Mutant::ConnectionsKept)
        {
            self.engine.disconnect(connected);
        }
        let (step, nth) = (played.step, played.nth);
        if nth < self.call(step).times {
            self.queue.add(self.now, Moment::Call(step, nth + 1));
        }
    }
}
