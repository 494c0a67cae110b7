//! A call under way, beside what really happened to it: its time is counted once more, and what it
//! settles as must be somebody's doing.

use super::inputs::{Sent, digits, web_body};
use super::{By, Input, Media, Reply};
use bimetal_core::call::{Call, Effect, Upload};
use bimetal_core::outcome::{FailureRules, Outcome, Report, Transport};
use bimetal_core::{Duration, Instant, Ticket};
use std::sync::Arc;

/// A call that was admitted and not heard of since.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Which call of the history it is, from 0; rejected ones count.
    pub number: usize,
    pub worker: usize,
    pub ticket: Ticket,
    /// Its place among the probes that are counted, where it is one.
    pub probe: Option<usize>,
    /// Further tries that the host would make.
    pub tries: usize,
    /// What the last try came to, while the host makes up its mind whether it tries again.
    pub proposal: Option<Report>,
    pub happened: Happened,
    call: Call,
}

/// What really happened to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Happened {
    now: Instant,
    limit: Option<Duration>,
    slower_than: Option<Duration>,
    handed_over: Option<Instant>,
    /// Whether it is with the upstream, and not in a queue.
    with_upstream: bool,
    pub upload: Upload,
    /// Time that was the upstream's, of all tries; and when the last one began.
    ran: Duration,
    began: Duration,
    runs: bool,
    /// Whether a probe's lease runs: it does from the admission on, for the host may not queue.
    pub lease_runs: bool,
    told: bool,
    pub answered: Option<(u16, Duration)>,
    body: Option<(&'static [u8], bool)>,
    pub settled: bool,
    /// Whether it waited for its client whenever it was with the upstream.
    only_waited: bool,
}

impl UnderWay {
    pub(super) fn new(
        (now, number, worker): (Instant, usize, usize),
        ticket: Ticket,
        rules: &Arc<FailureRules>,
        limit: Option<Duration>,
    ) -> Self {
        let happened = Happened {
            now,
            limit,
            slower_than: rules.slower_than,
            handed_over: None,
            with_upstream: false,
            upload: Upload::WaitsForUpstream,
            ran: Duration::ZERO,
            began: Duration::ZERO,
            runs: false,
            lease_runs: true,
            told: true,
            answered: None,
            body: None,
            settled: false,
            only_waited: true,
        };
        let call = Call::new(Arc::clone(rules), limit);
        let (probe, tries, proposal) = (None, 0, None);
        Self { number, worker, ticket, probe, tries, proposal, happened, call }
    }

    /// Whether the call waits for its client, or for its host.
    pub(super) fn waits(&self) -> bool {
        let Happened { with_upstream, upload, answered, .. } = self.happened;
        answered.is_none() && (!with_upstream || upload == Upload::WaitsForClient)
    }

    pub(super) fn time(&mut self, now: Instant, span: Duration) {
        self.happened.now = now;
        if self.happened.runs {
            self.happened.ran = self.happened.ran + span;
        }
    }

    /// Shows the call an input. `well` says what a gRPC-Web body tells.
    pub(super) fn see(&mut self, input: Input, well: bool) -> Result<Effect, String> {
        let before = self.happened;
        let effect = self.give(input, well);
        self.happened.follow(input);
        let answered = self.happened.answered;
        match effect {
            Effect::Clock { runs } if runs == self.happened.told => {
                return Err("told twice of the clock".into());
            }
            Effect::Clock { runs } => self.happened.told = runs,
            Effect::Answered if answered.is_none() => return Err("answered by nobody".into()),
            Effect::Settle(_) if before.settled && !matches!(input, Input::HandedOver(_)) => {
                return Err("settled twice".into());
            }
            Effect::Settle(report) => {
                self.happened.settled = true;
                self.happened.blame(&before, input, report.outcome)?;
            }
            Effect::None | Effect::Answered => {}
        }
        match self.happened.body {
            Some(([], true)) if !self.happened.settled => {
                Err("the whole body was seen, but not its status".into())
            }
            _ => self.check().map(|()| effect),
        }
    }

    fn give(&mut self, input: Input, well: bool) -> Effect {
        let Happened { now, ran, began, .. } = self.happened;
        let call = &mut self.call;
        match input {
            Input::Queued => call.queued(now),
            Input::HandedOver(upload) => call.handed_over(now, upload),
            Input::Upload(upload) => call.upload(now, upload),
            Input::Informational => call.informational(now),
            Input::Headers(reply) => {
                let effect = call.headers(now, &reply.head(&Sent::from(reply), ran - began));
                if call.wants_body() {
                    self.happened.body = web_body(reply.media, well).map(|body| (body, true));
                }
                effect
            }
            Input::Body(size) => {
                let Some((left, _)) = self.happened.body.as_mut().filter(|_| call.wants_body())
                else {
                    return call.body(now, Some(b"\x80\0\0\0\x0fgrpc-status:9\r\n"));
                };
                let (piece, rest) = left.split_at(size.min(left.len()));
                *left = rest;
                call.body(now, Some(piece))
            }
            Input::Unseen => {
                if let Some((_, whole)) = &mut self.happened.body {
                    *whole = false;
                }
                call.body(now, None)
            }
            Input::Trailers(status) => call.trailers(now, status.map(digits).as_deref()),
            Input::Ended => call.ended(now),
            Input::Switched => call.switched(now),
            Input::Broken(how) => call.broken(now, how),
            Input::ClientGone => call.client_gone(now),
            Input::Dropped => call.dropped(now),
        }
    }

    /// A settled call says nothing more, whatever is seen of it, until a further try.
    pub(super) fn stays_silent(&self) -> Result<(), String> {
        let now = self.happened.now;
        let mut copy = self.call.clone();
        let reply = Reply { media: Media::Events, ..Reply::whole(200) };
        let effects = [
            copy.client_gone(now),
            copy.headers(now, &reply.head(&Sent::from(reply), Duration::ZERO)),
            copy.upload(now, Upload::Complete),
            copy.body(now, Some(b"\x80\0\0\0\x0fgrpc-status:9\r\n")),
            copy.trailers(now, Some(b"0")),
            copy.broken(now, Transport::Connect),
            copy.ended(now),
            copy.switched(now),
            copy.dropped(now),
        ];
        let spoken = effects.into_iter().find(|effect| *effect != Effect::None);
        spoken.map_or(Ok(()), |effect| Err(format!("settled, and then {effect:?}")))
    }

    /// The upstream's clock is what was counted, and never more than the time since it was handed
    /// over.
    pub(super) fn check(&self) -> Result<(), String> {
        let Happened { now, ran, runs, settled, told, .. } = self.happened;
        let shown = self.call.elapsed(now);
        let most = self.happened.handed_over.map_or(Duration::ZERO, |at| now.since(at));
        if shown != ran || shown > most || self.call.clock_runs() != runs {
            let seen = format!("shows {shown:?} and runs {}", self.call.clock_runs());
            return Err(format!("the clock {seen}, not {ran:?} of {most:?} and {runs}: {self:?}"));
        }
        let limit = self.happened.limit.filter(|_| runs);
        if self.call.deadline() != limit.map(|limit| now + (limit - ran)) && limit > Some(ran) {
            return Err(format!("a deadline that is not there: {self:?}"));
        }
        let answered = self.happened.answered.is_some();
        if self.call.is_answered() != answered {
            return Err(format!("whether it was answered: {self:?}"));
        }
        if !answered && !settled && told != self.happened.lease_runs {
            return Err(format!("the host was not told of the clock: {self:?}"));
        }
        Ok(())
    }
}

impl Happened {
    fn follow(&mut self, input: Input) {
        match input {
            Input::Queued => {
                (self.with_upstream, self.runs, self.lease_runs) = (false, false, false);
            }
            Input::HandedOver(upload) => {
                self.handed_over.get_or_insert(self.now);
                (self.with_upstream, self.began) = (true, self.ran);
                (self.answered, self.body, self.settled) = (None, None, false);
                self.got_to(upload);
            }
            Input::Upload(upload) if self.answered.is_none() && !self.settled => {
                self.got_to(upload);
            }
            Input::Upload(upload) => self.upload = upload,
            Input::Headers(reply) if !self.settled => {
                self.runs = false;
                if reply.by == By::Upstream {
                    let latency = self.ran - self.began;
                    self.answered = Some((reply.status, latency));
                }
            }
            _ => {}
        }
    }

    fn got_to(&mut self, upload: Upload) {
        self.upload = upload;
        if self.with_upstream {
            self.runs = upload != Upload::WaitsForClient;
            self.lease_runs = self.runs;
            self.only_waited &= !self.runs;
        }
    }

    /// A failure and a slow answer are somebody's doing, and never the client's.
    fn blame(&self, before: &Self, input: Input, outcome: Outcome) -> Result<(), String> {
        if !matches!(outcome, Outcome::Failure | Outcome::Slow) {
            return Ok(());
        }
        let is_slow = outcome == Outcome::Slow;
        let waits = !before.with_upstream || before.upload == Upload::WaitsForClient;
        let is_late = |waited| self.slower_than.is_some_and(|limit| waited > limit);
        let in_this_try = self.ran - self.began;
        let latency = self.answered.map(|(_, latency)| latency);
        let fair = match input {
            Input::Headers(Reply { by: By::Upstream, .. })
            | Input::Body(_)
            | Input::Trailers(_)
            | Input::Ended
            | Input::Switched => latency.is_some_and(|latency| !is_slow || is_late(latency)),
            Input::Broken(Transport::Connect | Transport::Overflow) => !is_slow,
            Input::Broken(Transport::Timeout) => !is_slow && !waits,
            Input::Broken(Transport::Reset) => {
                let whole = before.with_upstream && before.upload == Upload::Complete;
                !is_slow && (whole || before.answered.is_some_and(|(status, _)| status < 300))
            }
            Input::ClientGone if is_slow => is_late(latency.unwrap_or(in_this_try)),
            Input::ClientGone => {
                latency.is_none() && self.limit.is_some_and(|limit| self.ran >= limit)
            }
            _ => false,
        };
        let excused = self.answered.is_some()
            || matches!(input, Input::Broken(Transport::Connect | Transport::Overflow));
        if !fair || before.only_waited && !excused {
            return Err(format!("{outcome:?}, but nobody is to blame: {self:?}"));
        }
        Ok(())
    }
}
