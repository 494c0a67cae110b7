//! What a call must say, computed once more: its clock from a log of when it ran, its settlement
//! from what was seen last.

use super::{Headers, web};
use bimetal_core::call::{AnsweredBy, Call, Effect, Head, Upload};
use bimetal_core::outcome::{FailureRules, Observation, Outcome, Transport};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;

/// What a host sees.
#[derive(Debug)]
pub(super) enum Input<'a> {
    Queued,
    HandedOver(Upload),
    Upload(Upload),
    Informational,
    Headers(&'a Head<'a, Headers<'a>>),
    Body(&'a [u8]),
    Unseen,
    Trailers(Option<&'a [u8]>),
    Ended,
    Switched,
    Broken(Transport),
    ClientGone,
    Dropped,
}

impl Input<'_> {
    const fn number(&self) -> u32 {
        match self {
            Self::Queued => 0,
            Self::HandedOver(_) => 1,
            Self::Upload(_) => 2,
            Self::Informational => 3,
            Self::Headers(_) => 4,
            Self::Body(_) => 5,
            Self::Unseen => 6,
            Self::Trailers(_) => 7,
            Self::Ended => 8,
            Self::Switched => 9,
            Self::Broken(_) => 10,
            Self::ClientGone => 11,
            Self::Dropped => 12,
        }
    }
}

/// How an answer tells its end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Media {
    Plain,
    Events,
    Grpc,
    /// With all of the body that was seen; none where a part was missed.
    Web {
        is_text: bool,
        body: Option<Vec<u8>>,
    },
}

#[derive(Debug)]
struct Answer {
    status: u16,
    latency: Duration,
    media: Media,
}

/// What really happened to the call.
pub(super) struct Model {
    rules: Arc<FailureRules>,
    limit: Option<Duration>,
    /// When the upstream's clock ran; the last stretch may have no end.
    ran: Vec<(Instant, Option<Instant>)>,
    /// Whether it is with the upstream; none before the first word of it.
    with_upstream: Option<bool>,
    upload: Upload,
    /// What the clock showed when the last try began.
    began: Duration,
    answer: Option<Answer>,
    settled: bool,
    told: bool,
    /// What was seen, as bits, for the driver.
    pub(super) seen: u32,
}

impl Model {
    pub(super) const fn new(rules: Arc<FailureRules>, limit: Option<Duration>) -> Self {
        Self {
            rules,
            limit,
            ran: Vec::new(),
            with_upstream: None,
            upload: Upload::WaitsForUpstream,
            began: Duration::ZERO,
            answer: None,
            settled: false,
            told: true,
            seen: 0,
        }
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    pub(super) fn is_text(&self) -> bool {
        let media = self.answer.as_ref().map(|answer| &answer.media);
        matches!(media, Some(Media::Web { is_text: true, .. }))
    }

    fn runs(&self) -> bool {
        self.ran.last().is_some_and(|(_, end)| end.is_none())
    }

    fn elapsed(&self, now: Instant) -> Duration {
        let stretches = self.ran.iter().map(|(from, to)| to.unwrap_or(now).since(*from));
        stretches.fold(Duration::ZERO, |sum, stretch| sum + stretch)
    }

    fn switch(&mut self, now: Instant, runs: bool) {
        match (self.ran.last_mut(), runs) {
            (Some((_, end @ None)), false) => *end = Some(now),
            (Some((_, None)), true) | (None, false) | (Some((_, Some(_))), false) => {}
            (None | Some((_, Some(_))), true) => self.ran.push((now, None)),
        }
    }

    /// Takes an input, and holds what the call said of it to what it must say.
    pub(super) fn take(&mut self, now: Instant, input: &Input<'_>, effect: Effect) {
        let was_settled = self.settled;
        let must = if was_settled { None } else { self.outcome(now, input) };
        self.follow(now, input);
        match (effect, must) {
            (Effect::Settle(report), Some(outcome)) => {
                assert_eq!(
                    report.outcome, outcome,
                    "another outcome: {input:?}, {:?}",
                    self.answer
                );
                let asked = report.retry_after.is_some();
                assert!(!asked || outcome == Outcome::Failure, "retry-after of no failure");
                self.settled = true;
                self.seen |= 1 << (outcome as u32) | 16 << input.number();
            }
            (Effect::Settle(report), None) => panic!("{report:?} that nobody gave: {input:?}"),
            (effect, Some(outcome)) => panic!("{effect:?} in place of {outcome:?}: {input:?}"),
            (Effect::Clock { runs }, None) => {
                assert!(self.told != runs, "told twice");
                self.told = runs;
                self.seen |= 1 << 20 << u32::from(runs);
            }
            (Effect::Answered, None) => {
                let is_head = matches!(input, Input::Headers(_));
                assert!(is_head && !was_settled, "answered by what is no head");
            }
            (Effect::None, None) => {
                let is_head = matches!(input, Input::Headers(_));
                assert!(!is_head || was_settled, "headers that say nothing");
            }
        }
        if self.with_upstream.is_some() && self.answer.is_none() && !self.settled && !was_settled {
            assert_eq!(self.told, self.runs(), "the host was not told of the clock");
        }
    }

    /// What the input settles the call as, if it does.
    fn outcome(&mut self, now: Instant, input: &Input<'_>) -> Option<Outcome> {
        let with_upstream = self.with_upstream == Some(true);
        let in_this_try = self.elapsed(now) - self.began;
        let answer = self.answer.as_mut();
        let seen = match *input {
            Input::Queued | Input::HandedOver(_) | Input::Upload(_) | Input::Informational => {
                return None;
            }
            Input::Headers(head) => return self.of_head(head, in_this_try),
            Input::Unseen => return None,
            Input::Body(piece) => {
                let answer = answer?;
                let Media::Web { is_text, body: Some(body) } = &mut answer.media else {
                    return None;
                };
                body.extend_from_slice(piece);
                let status = web::status(body, *is_text)?;
                self.seen |= 1 << 22 << u32::from(*is_text);
                answer.observed(Some(status))
            }
            Input::Trailers(Some(status)) => match answer? {
                plain @ Answer { media: Media::Plain | Media::Events, .. } => plain.observed(None),
                grpc => grpc.observed(Some(web::number(status.trim_ascii()))),
            },
            Input::Trailers(None) | Input::Ended => match answer? {
                plain @ Answer { media: Media::Plain | Media::Events, .. } => plain.observed(None),
                _ => Observation::NotEvidence,
            },
            Input::Switched => answer?.observed(None),
            Input::Broken(how) => {
                let refused = answer.is_none_or(|answer| answer.status >= 300);
                let whole = with_upstream && self.upload == Upload::Complete;
                let waits = !with_upstream || self.upload == Upload::WaitsForClient;
                let is_ours = match how {
                    Transport::Timeout => waits,
                    Transport::Reset => !whole && refused,
                    Transport::Connect | Transport::Overflow => false,
                };
                if is_ours { Observation::NotEvidence } else { Observation::Broken(how) }
            }
            Input::ClientGone => match answer {
                // Whether the headers came late is all that can be held against anybody.
                Some(answer) => {
                    let outcome = self.rules.classify(&answer.observed(None));
                    let is_slow = outcome == Outcome::Slow;
                    return Some(if is_slow { outcome } else { Outcome::Neutral });
                }
                None => Observation::ClientGone {
                    elapsed: in_this_try,
                    deadline: self.limit.map(|limit| limit - self.began),
                },
            },
            Input::Dropped => Observation::NotEvidence,
        };
        Some(self.rules.classify(&seen))
    }

    fn of_head(&self, head: &Head<'_, Headers<'_>>, in_this_try: Duration) -> Option<Outcome> {
        let status = head.status;
        let answer = Answer::of(head, in_this_try);
        let is_grpc = !matches!(answer.media, Media::Plain | Media::Events);
        let grpc = head.fields.0[1].filter(|_| is_grpc);
        let grpc = grpc.map(|status| web::number(status.trim_ascii()));
        match head.by {
            AnsweredBy::Upstream => {}
            AnsweredBy::Injected => {
                return Some(self.rules.classify(&Observation::Injected { status, grpc }));
            }
            AnsweredBy::Other => return Some(Outcome::Neutral),
        }
        let outcome = self.rules.classify(&answer.observed(grpc));
        let is_final = grpc.is_some() || status == 101 || answer.media == Media::Events;
        match outcome {
            Outcome::Failure => Some(outcome),
            // The status never comes.
            _ if head.end_of_stream && is_grpc && grpc.is_none() => Some(Outcome::Neutral),
            _ => (is_final || head.end_of_stream).then_some(outcome),
        }
    }

    fn follow(&mut self, now: Instant, input: &Input<'_>) {
        match *input {
            Input::Queued => {
                self.with_upstream = Some(false);
                self.switch(now, false);
            }
            Input::HandedOver(upload) => {
                self.began = self.elapsed(now);
                (self.with_upstream, self.upload) = (Some(true), upload);
                (self.answer, self.settled) = (None, false);
                self.switch(now, upload != Upload::WaitsForClient);
            }
            Input::Upload(upload) => {
                self.upload = upload;
                let matters = self.with_upstream == Some(true) && self.answer.is_none();
                if matters && !self.settled {
                    self.switch(now, upload != Upload::WaitsForClient);
                }
            }
            Input::Headers(head) if !self.settled => {
                let in_this_try = self.elapsed(now) - self.began;
                self.switch(now, false);
                if head.by == AnsweredBy::Upstream {
                    self.answer = Some(Answer::of(head, in_this_try));
                }
            }
            Input::Unseen => {
                if let Some(Answer { media: Media::Web { body, .. }, .. }) = &mut self.answer {
                    *body = None;
                }
            }
            _ => {}
        }
    }

    /// What the call shows of itself.
    pub(super) fn check(&self, call: &Call, now: Instant) {
        assert_eq!(call.elapsed(now), self.elapsed(now), "another time");
        assert_eq!((call.clock_runs(), call.is_answered()), (self.runs(), self.answer.is_some()));
        let due = self.limit.zip(self.ran.last()).and_then(|(limit, (since, end))| {
            let before = self.elapsed(*since);
            end.is_none().then(|| *since + (limit - before))
        });
        assert_eq!(call.deadline(), due, "another deadline");
        let media = self.answer.as_ref().filter(|_| !self.settled).map(|answer| &answer.media);
        assert_eq!(call.wants_body(), matches!(media, Some(Media::Web { .. })));
        let has_status = matches!(media, Some(Media::Web { .. } | Media::Grpc));
        assert_eq!(call.wants_trailers(), has_status);
    }
}

impl Answer {
    fn of(head: &Head<'_, Headers<'_>>, in_this_try: Duration) -> Self {
        let named = String::from_utf8_lossy(head.fields.0[0].unwrap_or_default()).to_lowercase();
        let essence = named.split(';').next().unwrap_or_default();
        let essence = essence.trim_matches([' ', '\t', '\r', '\n', '\u{c}']);
        let web = |is_text| Media::Web { is_text, body: Some(Vec::new()) };
        let media = match essence.split('+').next().unwrap_or_default() {
            _ if essence == "text/event-stream" => Media::Events,
            "application/grpc" => Media::Grpc,
            "application/grpc-web" => web(false),
            "application/grpc-web-text" => web(true),
            _ => Media::Plain,
        };
        let latency = head.latency.unwrap_or(in_this_try);
        Self { status: head.status, latency, media }
    }

    const fn observed(&self, grpc: Option<u32>) -> Observation {
        Observation::Answer { status: self.status, grpc, latency: self.latency }
    }
}
