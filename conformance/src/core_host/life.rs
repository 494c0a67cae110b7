//! One call's life in the core alone: admission, the upstream's doing, settlement.
//!
//! This is what every host has to get right, in its shortest form: a failure settles as soon as it
//! is known, a success at the end of its answer, and each ticket exactly once.

use super::CoreHost;
use super::facts::CallFacts;
use super::mutant::{self, Mutant};
use super::queue::Moment;
use crate::log::CallSeen;
use crate::scenario::{Answer, Call, Reply, StepKind, Upstream, call_name};
use bimetal_core::outcome::{Observation, Outcome, Report, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::{Duration as Span, Ticket, Verdict};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Life {
    step: usize,
    nth: u32,
    name: String,
    sent: Duration,
    received: usize,
    ticket: Option<Ticket>,
    policy: Option<Arc<Policy>>,
    timeout: Option<Span>,
    /// Latency of the response headers, once they are there.
    answered: Option<Span>,
    answer: Option<Answer>,
}

impl Life {
    pub(super) const fn holds_a_ticket(&self) -> bool {
        self.ticket.is_some()
    }

    pub(super) fn into_seen(self) -> CallSeen {
        CallSeen {
            name: self.name,
            sent: self.sent,
            answer: self.answer.unwrap_or(Answer::Waiting),
            received: self.received,
        }
    }
}

/// What a reset after good headers sends before it breaks.
const HEADERS_BEFORE_RESET: Reply = Reply {
    status: 200,
    after: Duration::ZERO,
    body: Duration::ZERO,
    retry_after: None,
    grpc_status: None,
};

impl CoreHost<'_> {
    fn call(&self, step: usize) -> &Call {
        match &self.scenario.steps[step].kind {
            StepKind::Call(call) => call,
            StepKind::Load(_) => unreachable!("a life begins with a call"),
        }
    }

    pub(super) fn begin(&mut self, step: usize, nth: u32) {
        let call = self.call(step).clone();
        let now = self.instant(self.now);
        let verdict = self.engine.admit(now, &CallFacts(&call));
        let mut life = Life {
            step,
            nth,
            name: call_name(&self.scenario.steps[step], &call, nth),
            sent: self.now,
            received: 0,
            ticket: None,
            policy: None,
            timeout: None,
            answered: None,
            answer: None,
        };
        let index = self.lives.len();
        match verdict {
            Verdict::Reject(refusal) => {
                let fallback = refusal.policy.fallback_when_rejected();
                let rule = refusal.rejection.rule;
                let status = fallback.and_then(|f| f.status).unwrap_or(rule.status());
                let rule = format!("{}/{}", refusal.policy.name, rule.name());
                if self.mutant == Some(Mutant::RejectionsCounted) {
                    self.own_rejection = Some(status);
                }
                self.lives.push(life);
                return self.over(index, Answer::Rejected { status, rule });
            }
            Verdict::Admit(admission) => {
                life.timeout = admission.plan.request_timeout;
                life.ticket = Some(admission.ticket);
                life.policy = Some(admission.policy);
            }
            Verdict::Unmatched | Verdict::Pass(_) => {}
        }
        self.lives.push(life);
        self.mutate_admission(index, now);
        self.send(index, &call);
    }

    /// Mistakes that a host can make at admission.
    fn mutate_admission(&mut self, index: usize, now: bimetal_core::Instant) {
        let Some(ticket) = self.lives[index].ticket.as_mut() else {
            return;
        };
        if self.mutant == Some(Mutant::LeaseEndsAtOnce) {
            self.engine.answered(now, ticket);
        }
        if self.mutant == Some(Mutant::StaleAccepted) {
            self.newest = Some(mutant::copy_of(ticket));
        }
        if let Some(status) = self.own_rejection.take() {
            let seen = Observation::Answer { status, grpc: None, latency: Span::ZERO };
            self.settle(index, &seen, None);
        }
    }

    fn send(&mut self, index: usize, call: &Call) {
        let seen = !matches!(call.upstream, Upstream::Refuses | Upstream::Injected { .. });
        self.lives[index].received = usize::from(seen);
        let delay = Duration::from_nanos(self.shift.delay);
        if let Some(timeout) = self.lives[index].timeout {
            let at = self.now + Duration::from(timeout);
            self.queue.add(at, Moment::Broken(index, Transport::Timeout));
        }
        if let Some(abort) = call.abort {
            self.queue.add(self.now + abort, Moment::ClientGone(index));
        }
        let soon = self.now + delay;
        match call.upstream {
            Upstream::Answers(reply) if (reply.after + delay).is_zero() => self.headers(index),
            Upstream::Answers(reply) => self.queue.add(soon + reply.after, Moment::Headers(index)),
            Upstream::Refuses => self.broken(index, Transport::Connect),
            Upstream::Hangs => {}
            Upstream::ResetsBeforeHeaders => {
                self.queue.add(soon, Moment::Broken(index, Transport::Reset));
            }
            Upstream::ResetsAfterHeaders => {
                self.queue.add(soon, Moment::Headers(index));
                self.queue.add(soon, Moment::Broken(index, Transport::Reset));
            }
            Upstream::Injected { status } => {
                let seen = match self.mutant {
                    Some(Mutant::InjectedCounted) => {
                        Observation::Answer { status, grpc: None, latency: Span::ZERO }
                    }
                    _ => Observation::Injected { status, grpc: None },
                };
                self.settle(index, &seen, None);
                self.over(index, Answer::Status(status));
            }
        }
    }

    pub(super) fn headers(&mut self, index: usize) {
        if self.lives[index].answer.is_some() {
            return;
        }
        let latency = self.instant(self.now).since(self.instant(self.lives[index].sent));
        self.lives[index].answered = Some(latency);
        let (reply, breaks) = self.reply(index);
        let seen = self.answer_seen(&reply, latency);
        let failed = self.classify(index, &seen) == Some(Outcome::Failure);
        let grpc = reply.grpc_status.is_some();
        if failed || grpc || self.mutant == Some(Mutant::SuccessAtHeaders) {
            self.settle(index, &seen, reply.retry_after);
        } else if self.mutant != Some(Mutant::HeadersKeepTheSlot) {
            let now = self.instant(self.now);
            if let Some(ticket) = self.lives[index].ticket.as_mut() {
                self.engine.answered(now, ticket);
            }
        }
        if failed && self.answer_instead(index) || breaks {
            return;
        }
        match reply.body {
            Duration::ZERO => self.ended(index),
            body => {
                let delay = Duration::from_nanos(self.shift.delay);
                self.queue.add(self.now + body + delay, Moment::End(index));
            }
        }
    }

    pub(super) fn ended(&mut self, index: usize) {
        if self.lives[index].answer.is_some() {
            return;
        }
        let (reply, _) = self.reply(index);
        let latency = match self.mutant {
            Some(Mutant::LatencyToTheEnd) => {
                self.instant(self.now).since(self.instant(self.lives[index].sent))
            }
            _ => self.lives[index].answered.unwrap_or(Span::ZERO),
        };
        self.settle(index, &self.answer_seen(&reply, latency), reply.retry_after);
        self.over(index, Answer::Status(reply.status));
    }

    pub(super) fn broken(&mut self, index: usize, how: Transport) {
        let life = &self.lives[index];
        if life.answer.is_some() || how == Transport::Timeout && life.answered.is_some() {
            return;
        }
        let answered = life.answered;
        let seen = match (self.mutant, how, answered) {
            (Some(Mutant::TimeoutsNeutral), Transport::Timeout, _)
            | (Some(Mutant::RefusalsNeutral), Transport::Connect, _) => Observation::NotEvidence,
            (Some(Mutant::LateResetsGood), Transport::Reset, Some(latency)) => {
                Observation::Answer { status: 200, grpc: None, latency }
            }
            _ => Observation::Broken(how),
        };
        let failed = self.classify(index, &seen) == Some(Outcome::Failure);
        self.settle(index, &seen, None);
        if answered.is_none() && failed && self.answer_instead(index) {
            return;
        }
        self.over(index, answered.map_or(Answer::Error, |_| Answer::Broken));
    }

    pub(super) fn client_gone(&mut self, index: usize) {
        let life = &self.lives[index];
        if life.answer.is_some() {
            return;
        }
        let elapsed = self.instant(self.now).since(self.instant(life.sent));
        let seen = match self.mutant {
            Some(Mutant::AbortsAreResets) => Observation::Broken(Transport::Reset),
            _ => match life.answered {
                Some(_) => Observation::NotEvidence,
                None => Observation::ClientGone { elapsed, deadline: life.timeout },
            },
        };
        self.settle(index, &seen, None);
        self.over(index, Answer::Gone);
    }

    /// What the upstream's headers say, and whether the answer breaks off behind them.
    fn reply(&self, index: usize) -> (Reply, bool) {
        match self.call(self.lives[index].step).upstream {
            Upstream::Answers(reply) => (reply, false),
            _ => (HEADERS_BEFORE_RESET, true),
        }
    }

    fn answer_seen(&self, reply: &Reply, latency: Span) -> Observation {
        let grpc = match self.mutant {
            Some(Mutant::GrpcIgnored) => None,
            _ => reply.grpc_status,
        };
        Observation::Answer { status: reply.status, grpc, latency }
    }

    fn classify(&self, index: usize, seen: &Observation) -> Option<Outcome> {
        self.lives[index].policy.as_ref().map(|policy| policy.failure.classify(seen))
    }

    /// Settles a call that still has its ticket.
    fn settle(&mut self, index: usize, seen: &Observation, retry_after: Option<u32>) {
        let Some(outcome) = self.classify(index, seen) else {
            return;
        };
        let Some(mut ticket) = self.lives[index].ticket.take() else {
            return;
        };
        let now = self.instant(self.now);
        let retry_after = match self.mutant {
            Some(Mutant::RetryAfterIgnored) => None,
            _ => retry_after.map(|secs| Span::from_secs(u64::from(secs))),
        };
        let report = Report { outcome, retry_after };
        if self.mutant == Some(Mutant::SettledTwice) {
            self.engine.settle(now, mutant::copy_of(&ticket), report);
        }
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.call() != ticket.call()) {
            ticket = mutant::copy_of(newest);
        }
        self.engine.settle(now, ticket, report);
    }

    /// The fallback for failures, where the policy has one.
    fn answer_instead(&mut self, index: usize) -> bool {
        let policy = self.lives[index].policy.as_ref();
        let Some(fallback) = policy.and_then(|policy| policy.fallback_when_failed()) else {
            return false;
        };
        let status = fallback.status.unwrap_or(503);
        self.over(index, Answer::Status(status));
        true
    }

    fn over(&mut self, index: usize, answer: Answer) {
        let life = &mut self.lives[index];
        life.answer = Some(answer);
        let (step, nth) = (life.step, life.nth);
        if nth < self.call(step).times {
            // What happened belongs to this call: its events leave before the next one begins.
            self.take_events();
            self.begin(step, nth + 1);
        }
    }
}
