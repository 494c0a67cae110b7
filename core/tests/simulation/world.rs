//! The world of a history: workers, a board, a clock, and the calls under way.

use super::calls::UnderWay;
use super::documents::{NAMES, Request, documents};
use super::probes::{Probe, Slot};
use super::watched::{Handle, Seen, Watched, probing, record};
use super::{Character, Coverage, Documents, Input, NEWEST, Reply, Start, Step, WORKERS};
use bimetal_core::call::{Effect, Upload};
use bimetal_core::engine::Policies;
use bimetal_core::event::{Event, EventKind, State};
use bimetal_core::outcome::{Outcome, Report, Transport};
use bimetal_core::policy::{Document, HalfOpen};
use bimetal_core::{Admission, Duration, Engine, Instant, Verdict};
use std::rc::Rc;
use std::sync::Arc;

/// Workers on one board, and what was seen of them.
pub(crate) struct World {
    pub workers: Vec<Engine>,
    /// What is in force in each.
    policies: Vec<Rc<Policies>>,
    pub now: Instant,
    pub calls: Vec<UnderWay>,
    pub lost: [u64; WORKERS],
    pub events: Vec<(usize, Event)>,
    pub coverage: Coverage,
    /// What was settled in this step, with the number of the call.
    pub reports: Vec<(usize, Report)>,
    pub(super) character: Character,
    pub(super) probes: Vec<Probe>,
    pub(super) board: Arc<Watched>,
    /// Whether each worker ticks as soon as something is due, as hosts do.
    pub(super) is_punctual: bool,
    /// Whether a clock has jumped back: times say little from then on.
    pub(super) has_jumped: bool,
    /// Whether the history is over, and its breakers are to close.
    pub(super) is_healing: bool,
    /// How many calls asked.
    asked: usize,
    seed: u64,
    pub(super) document: usize,
    documents: &'static [Document],
}

impl World {
    pub(crate) fn new(seed: u64, form: Documents) -> Self {
        let mut world = Self {
            workers: Vec::new(),
            policies: Vec::new(),
            now: Instant::from_millis(1_000_000),
            calls: Vec::new(),
            lost: [0; WORKERS],
            events: Vec::new(),
            coverage: Coverage::default(),
            reports: Vec::new(),
            character: Character::of(seed),
            probes: Vec::new(),
            board: Arc::default(),
            is_punctual: !(seed / 20).is_multiple_of(4),
            has_jumped: false,
            is_healing: false,
            asked: 0,
            seed,
            document: 0,
            documents: documents(form),
        };
        world.workers = (0..WORKERS).map(|worker| world.worker(worker)).collect();
        world.policies = (0..WORKERS).map(|_| Rc::default()).collect();
        world.load(seed as usize % world.documents.len());
        world
    }

    fn worker(&self, worker: usize) -> Engine {
        let board = Arc::new(Handle { worker, board: self.board.clone() });
        Engine::with_board(self.seed ^ worker as u64, board)
    }

    fn load(&mut self, index: usize) {
        self.document = index;
        self.seen().document = index;
        for (worker, policies) in self.workers.iter_mut().zip(&mut self.policies) {
            *policies = Rc::new(worker.load(&self.documents[index]));
            worker.poll(self.now);
        }
        let seen = self.board.seen();
        for probe in &mut self.probes {
            if seen.breakers[probe.breaker].document != index {
                probe.orphan();
            }
        }
    }

    fn restart(&mut self, worker: usize) {
        self.workers[worker] = self.worker(worker);
        let policies = self.workers[worker].load(&self.documents[self.document]);
        self.policies[worker] = Rc::new(policies);
        self.calls.retain(|call| call.worker != worker);
        self.lost[worker] = 0;
        self.probes.iter_mut().filter(|probe| probe.worker == worker).for_each(Probe::orphan);
    }

    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.board.seen()
    }

    pub(super) fn half_open(&self, document: usize) -> &HalfOpen {
        let policy = &self.documents[document].policies[0];
        &policy.breaker.as_ref().unwrap().half_open
    }

    /// Takes a step. `Err` where a verb answered what it never may.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), String> {
        self.events.clear();
        self.reports.clear();
        {
            let mut seen = self.board.seen();
            seen.writes.clear();
            seen.now = self.now;
        }
        match step {
            Step::Wait { millis } => self.wait(self.now + Duration::from_millis(millis))?,
            Step::ClockBack { millis } => {
                self.has_jumped = true;
                let nanos = self.now.as_nanos().saturating_sub(millis * 1_000_000);
                self.workers[0].poll(Instant::from_nanos(nanos));
            }
            Step::Call { worker, key, start } => self.call(worker, key, start)?,
            Step::See { call, input } => {
                if let Some(at) = self.pick(call) {
                    self.see(at, input)?;
                }
            }
            Step::Lose { call } => {
                if let Some(at) = self.pick(call) {
                    self.lost[self.calls.swap_remove(at).worker] += 1;
                }
            }
            Step::Tick { worker } => self.workers[worker].poll(self.now),
            Step::Restart { worker } => self.restart(worker),
            Step::Load { document } => self.load(document),
        }
        self.collect();
        Ok(())
    }

    fn wait(&mut self, until: Instant) -> Result<(), String> {
        while self.is_punctual {
            let due = |worker: usize| Some((self.workers[worker].next_wakeup()?, worker));
            let Some((at, worker)) = (0..WORKERS).filter_map(due).min() else {
                break;
            };
            if at > until {
                break;
            }
            self.pass_to(at.max(self.now))?;
            self.workers[worker].poll(self.now);
            self.collect();
            if self.workers[worker].next_wakeup().is_some_and(|next| next <= self.now) {
                return Err(format!("worker {worker} is due at {at:?} again and again"));
            }
        }
        self.pass_to(until)
    }

    fn pass_to(&mut self, now: Instant) -> Result<(), String> {
        let span = now.since(self.now);
        self.now = now;
        self.seen().now = now;
        self.calls.iter_mut().for_each(|call| call.time(now, span));
        for probe in &mut self.probes {
            let was_held = probe.is_held();
            probe.time(now, span)?;
            let gave_up = was_held && probe.slot == Slot::Over { missed: false };
            self.coverage.waited += u64::from(gave_up);
        }
        Ok(())
    }

    fn call(&mut self, worker: usize, key: usize, start: Start) -> Result<(), String> {
        let before = self.open_until(worker, key);
        let number = self.asked;
        self.asked += 1;
        let policies = self.policies[worker].clone();
        match self.workers[worker].admit(self.now, &policies, &Request(key)) {
            Verdict::Admit(admission) => {
                self.coverage.admitted += 1;
                self.admitted(worker, number, admission);
                // A worker whose clock jumped back bounds the open time by it, and may try again earlier.
                let is_early = |until: &Instant| !self.has_jumped && self.now < *until;
                if let Some(until) = before.filter(is_early) {
                    return Err(format!("admitted while open until {until:?}"));
                }
                let at = self.calls.len() - 1;
                match start {
                    Start::Kept => Ok(()),
                    Start::Queued => self.see(at, Input::Queued),
                    Start::HandedOver(upload) => self.see(at, Input::HandedOver(upload)),
                }
            }
            Verdict::Reject(_) => {
                self.coverage.rejected += 1;
                Ok(())
            }
            other => Err(format!("neither admitted nor rejected: {other:?}")),
        }
    }

    fn admitted(&mut self, worker: usize, number: usize, admission: Admission<'_>) {
        let plan = admission.plan();
        let Admission { policy, ticket, .. } = admission;
        let is_probe = ticket.is_probe();
        let place = (self.now, number, worker);
        let mut call = UnderWay::new(place, ticket, &policy.failure, plan.request_timeout);
        if self.character != Character::Plain {
            call.tries = [0, 0, 1, 2][number % 4];
        }
        // A probe's admission writes last of all.
        if is_probe
            && let Some(write) = self.board.seen().writes.last().copied()
            && let Some((generation, _)) = probing(write.new)
        {
            let lease = self.half_open(self.document).lease;
            let breaker = (write.breaker, generation);
            call.probe = Some(self.probes.len());
            self.probes.push(Probe::new(self.now, worker, breaker, lease));
        }
        self.calls.push(call);
    }

    /// Until when this worker knows the scope of a call to be open.
    fn open_until(&self, worker: usize, key: usize) -> Option<Instant> {
        let one_for_all = self.workers[worker].totals().scopes == 1;
        let own = |name: &[u8]| NAMES.get(key) == Some(&name) || name.is_empty() && one_for_all;
        let mut seen = self.workers[worker].breakers(self.now);
        seen.find(|seen| own(seen.key))?.view.next_probe
    }

    /// Which of the calls under way a step means.
    pub(crate) fn pick(&self, call: usize) -> Option<usize> {
        let last = self.calls.len().checked_sub(1)?;
        Some(if call == NEWEST { last } else { call % self.calls.len() })
    }

    /// The host sees something of a call.
    fn see(&mut self, at: usize, input: Input) -> Result<(), String> {
        let is_healthy = self.character == Character::Healthy;
        let input = match input {
            _ if !is_healthy => input,
            _ => match self.calls[at].well(input) {
                Some(input) => input,
                None => return Ok(()),
            },
        };
        let was_settled = self.show(at, input)?;
        let answers_at_once = |call: &UnderWay| {
            let whole = call.happened.upload == Upload::Complete && !call.waits();
            whole && call.happened.answered.is_none() && !call.happened.settled
        };
        if is_healthy && !was_settled && answers_at_once(&self.calls[at]) {
            let end = self.calls[at].number.is_multiple_of(2);
            self.show(at, Input::Headers(Reply { end, ..Reply::whole(200) }))?;
        }
        Ok(())
    }

    /// Shows a call what was seen of it and carries out what it says. Whether it is over.
    fn show(&mut self, at: usize, input: Input) -> Result<bool, String> {
        let is_even = self.calls[at].number.is_multiple_of(2);
        let well = self.character == Character::Healthy || is_even;
        let call = &mut self.calls[at];
        let input = match input {
            Input::Upload(upload) if call.proposal.is_some() => Input::HandedOver(upload),
            input => input,
        };
        match (call.proposal, input) {
            (None, _) | (Some(_), Input::Queued) => {}
            (Some(_), Input::HandedOver(_)) => {
                self.coverage.tried_again += 1;
                call.proposal = None;
            }
            // No further try: what the last one came to is the result.
            (Some(report), _) => {
                let _ = call.see(input, well)?;
                return self.settle(at, report).map(|()| true);
            }
        }
        let effect = call.see(input, well)?;
        if matches!(effect, Effect::Settle(_)) && !self.is_healing {
            call.stays_silent()?;
        }
        let (now, worker) = (self.now, &mut self.workers[call.worker]);
        let probe = call.probe.map(|probe| &mut self.probes[probe]);
        match effect {
            Effect::None => {}
            Effect::Clock { runs } => worker.upstream_clock(now, &call.ticket, runs),
            Effect::Answered => worker.answered(now, &mut call.ticket),
            Effect::Settle(report) if report.outcome == Outcome::Failure && call.tries > 0 => {
                call.tries -= 1;
                call.proposal = Some(report);
            }
            Effect::Settle(report) => return self.settle(at, report).map(|()| true),
        }
        if let Some(probe) = probe {
            probe.clock(now, call.happened.lease_runs);
            if effect == Effect::Answered {
                probe.give_back();
            }
        }
        Ok(false)
    }

    fn settle(&mut self, at: usize, report: Report) -> Result<(), String> {
        let UnderWay { number, worker, ticket, probe, .. } = self.calls.swap_remove(at);
        self.reports.push((number, report));
        self.coverage.settled(report.outcome);
        let probe = probe.map(|probe| &mut self.probes[probe]);
        let is_void = probe.as_ref().map(|probe| {
            let word = self.board.seen().breakers[probe.breaker].word();
            let is_older = record(word).generation & 0xffff != probe.generation;
            is_older || probe.is_void
        });
        let settled = self.workers[worker].settle(self.now, ticket, report);
        self.coverage.late += u64::from(settled.late);
        // A worker that is not punctual may find other leases over, and open by that.
        let must_be = is_void.filter(|is_void| *is_void || self.is_punctual);
        let must_be = must_be.filter(|_| !self.has_jumped);
        if must_be.is_some_and(|is_late| is_late != settled.late) {
            return Err(format!("late {}: {probe:?}", settled.late));
        }
        if let Some(probe) = probe {
            probe.give_back();
        }
        Ok(())
    }

    fn collect(&mut self) {
        for (index, worker) in self.workers.iter_mut().enumerate() {
            while let Some(event) = worker.take_event() {
                if let EventKind::Transition(change) = &event.kind {
                    let seen = &mut self.coverage;
                    seen.opened += u64::from(change.to == State::Open);
                    seen.closed += u64::from(change.to == State::Closed);
                    seen.adopted += u64::from(change.adopted);
                    seen.expired += u64::from(change.cause.name() == "probes_expired");
                }
                self.events.push((index, event));
            }
        }
    }
}

impl UnderWay {
    /// What becomes of an input where the upstream is well; none where that cannot be.
    fn well(&self, input: Input) -> Option<Input> {
        let takes = |upload| match upload {
            Upload::WaitsForUpstream => Upload::WaitsForClient,
            other => other,
        };
        Some(match input {
            Input::HandedOver(upload) => Input::HandedOver(takes(upload)),
            Input::Upload(upload) => Input::Upload(takes(upload)),
            Input::Headers(reply) => Input::Headers(reply.well()),
            Input::Trailers(status) => Input::Trailers(status.map(|_| 0)),
            // A host's own patience with a client, and an upload that is refused.
            Input::Broken(Transport::Timeout | Transport::Reset) if self.waits() => input,
            Input::Broken(_) => return None,
            other => other,
        })
    }
}
