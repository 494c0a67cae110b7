//! One call of a play: decided, followed through the virtual world, and what its client gets.

use super::CoreHost;
use super::facts::CallFacts;
use super::mistaken::MistakenAdapter;
use super::mutant::Mutant;
use super::queue::Moment;
use super::retried::Retried;
use super::sighting::Sighting;
use super::world;
use crate::log::CallSeen;
use crate::scenario::{Answer, Call, StepKind, call_name};
use bimetal_core::outcome::Transport;
use bimetal_core::{Instant, Verdict};
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
    /// What is answered in place of a failure, where the policy says so.
    fallback: Option<u16>,
    /// The status of the response headers, once they are there.
    status: Option<u16>,
    answer: Option<Answer>,
}

impl PlayedCall {
    pub(super) fn holds_a_ticket(&self) -> bool {
        self.adapter.as_ref().is_some_and(MistakenAdapter::holds_a_ticket)
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
            fallback: None,
            status: None,
            answer: None,
        };
        let mut rejected = None;
        match self.engine.admit(now, &self.policies, &CallFacts(&call)) {
            Verdict::Reject(refusal) => {
                let status = refusal.reply().status;
                let rule = format!("{}/{}", refusal.policy.name, refusal.rejection.rule().name());
                if self.mutant == Some(Mutant::RejectionsAsAnswers) {
                    self.memory.own_rejection = Some(status);
                }
                rejected = Some(Answer::Rejected { status, rule });
            }
            Verdict::Admit(admission) => {
                let fallback = admission.policy.fallback_when_failed();
                played.fallback = fallback.map(|fallback| fallback.status.unwrap_or(503));
                played.retried = Retried::of(admission.policy);
                let (engine, memory) = (&mut self.engine, &mut self.memory);
                let adapter = MistakenAdapter::new(admission, self.mutant, engine, now, memory);
                played.adapter = Some(adapter);
            }
            _ => {}
        }
        let index = self.calls.len();
        self.calls.push(played);
        if let Some(answer) = rejected {
            return self.over(index, answer);
        }
        self.send(index);
    }

    /// The world goes to work on a try.
    pub(super) fn send(&mut self, index: usize) {
        let number = self.calls[index].retried.number();
        let call = self.call(self.calls[index].step).of_try(number);
        self.calls[index].received += usize::from(call.upstream.sees_the_call());
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

    fn over(&mut self, index: usize, answer: Answer) {
        let played = &mut self.calls[index];
        played.answer = Some(answer);
        let (step, nth) = (played.step, played.nth);
        if nth < self.call(step).times {
            self.queue.add(self.now, Moment::Call(step, nth + 1));
        }
    }
}
