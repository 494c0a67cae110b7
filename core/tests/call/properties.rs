//! Any inputs, in any order, at any times: what holds all the same.

use crate::grpc_web::frame;
use crate::row::{Given, HeadSeen, In, given, grpc, head, tell};
use bimetal_core::call::{AnsweredBy, Call, Effect, Upload};
use bimetal_core::outcome::{Outcome, Transport};
use bimetal_core::{Duration, Instant};
use proptest::prelude::*;
use std::iter;

/// How the host's clock moves before an input.
#[derive(Clone, Copy, Debug)]
enum Move {
    Forward(u64),
    Back(u64),
    To(u64),
}

impl Move {
    fn from(self, now: Instant) -> Instant {
        let nanos = now.as_nanos();
        Instant::from_nanos(match self {
            Self::Forward(span) => nanos.saturating_add(span),
            Self::Back(span) => nanos.saturating_sub(span),
            Self::To(nanos) => nanos,
        })
    }
}

const SECOND: u64 = 1_000_000_000;

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (0..SECOND).prop_map(Move::Forward),
        2 => Just(Move::Forward(0)),
        1 => (0..2 * SECOND).prop_map(Move::Back),
        1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()].prop_map(Move::To),
    ]
}

fn uploads() -> impl Strategy<Value = Upload> {
    use Upload::{Complete, WaitsForClient, WaitsForUpstream};
    prop_oneof![Just(WaitsForClient), Just(WaitsForUpstream), Just(Complete)]
}

fn transports() -> impl Strategy<Value = Transport> {
    prop::sample::select(Transport::ALL.to_vec())
}

fn heads() -> impl Strategy<Value = HeadSeen> {
    let status = prop::sample::select(vec![101, 200, 204, 302, 404, 413, 429, 500, 503]);
    let kind = prop::sample::select(vec![
        "",
        "text/plain",
        "text/event-stream",
        "application/grpc",
        "application/grpc-web",
        "application/grpc-web-text",
    ]);
    let grpc_status = prop::option::of(prop::sample::select(vec!["0", "5", "14", "x", "99"]));
    let by = prop_oneof![
        6 => Just(AnsweredBy::Upstream),
        1 => Just(AnsweredBy::Injected),
        1 => Just(AnsweredBy::Other),
    ];
    let took = prop::option::weighted(0.2, 0_u64..3_000);
    (status, kind, grpc_status, by, took, any::<bool>()).prop_map(
        |(status, kind, grpc_status, by, took, ends)| {
            let mut seen = head(status).kind(kind).by(by).retry_after("7");
            if let Some(value) = grpc_status {
                seen = seen.status(value);
            }
            if let Some(millis) = took {
                seen = seen.took(millis);
            }
            if ends { seen.ends() } else { seen }
        },
    )
}

/// Pieces of gRPC-Web: frames, parts of frames, base64, noise.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let lines = ["grpc-status: 14\n", "grpc-status: 0", "grpc-message: x\r\n", "a message", ""];
    let flags = prop::sample::select(vec![0, 1, 0x80, 0x81]);
    let text = ["AAAAAAJoaQ==", "gAAAABFncnBjLXN0YXR1czogMTQNCg==", "gAAAAA9ncnBjLXN0YXR1czowDQo="];
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        Just(b"\x80\0\0\0\x10grpc-".to_vec()),
        (flags, prop::sample::select(lines.to_vec())).prop_map(|(flags, line)| frame(flags, line)),
        prop::sample::select(text.to_vec()).prop_map(|part| part.as_bytes().to_vec()),
    ]
}

fn inputs() -> impl Strategy<Value = In> {
    let trailers = prop::option::of(prop::sample::select(vec!["0", "14", "x", ""]));
    prop_oneof![
        1 => Just(In::Queued),
        3 => uploads().prop_map(In::HandedOver),
        6 => uploads().prop_map(In::Request),
        2 => Just(In::Informational),
        4 => heads().prop_map(In::Head),
        1 => Just(In::Switched),
        2 => bodies().prop_map(In::Body),
        1 => Just(In::Unseen),
        1 => trailers.prop_map(|status| In::Trailers(status.map(|value| value.into()))),
        1 => Just(In::Ended),
        2 => transports().prop_map(In::Broken),
        2 => Just(In::ClientGone),
        1 => Just(In::Dropped),
    ]
}

fn histories() -> impl Strategy<Value = Vec<(Move, In)>> {
    prop::collection::vec((moves(), inputs()), 1..24)
}

/// Policies of every kind; no limit of a policy is shorter than a millisecond.
fn policies() -> impl Strategy<Value = Given> {
    let span = prop_oneof![1..3_000_u64, Just(u64::MAX / 1_000_000)];
    (prop::option::of(span.clone()), prop::option::of(span), any::<bool>(), any::<bool>()).prop_map(
        |(limit, slower_than, counts_injected, is_lenient)| {
            let mut given = given();
            if let Some(millis) = limit {
                given = given.limit(millis);
            }
            if let Some(millis) = slower_than {
                given = given.slower_than(millis);
            }
            if counts_injected {
                given = given.counts_injected();
            }
            if is_lenient {
                given = given.fails_transport(&[Transport::Overflow]).ignores(503).ignores_grpc(14);
            }
            given
        },
    )
}

/// Times that add up: how far the host's clock moved forward, whatever it did besides.
#[derive(Default)]
struct Wall(Duration);

impl Wall {
    fn passes(&mut self, before: Instant, now: Instant) {
        self.0 = self.0 + now.since(before);
    }
}

/// One input, what it gave, and the call after it.
struct Step<'a> {
    before: Instant,
    now: Instant,
    input: &'a In,
    effect: Effect,
    call: &'a Call,
}

fn play(
    given: &Given,
    history: &[(Move, In)],
    mut check: impl FnMut(Step<'_>) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut call = given.call();
    let mut now = Instant::from_millis(1_000_000);
    for (step, input) in history {
        let before = now;
        now = step.from(now);
        let effect = tell(&mut call, now, input);
        check(Step { before, now, input, effect, call: &call })?;
    }
    Ok(())
}

/// The same history, in which the call waits for nobody but its client.
fn waiting(history: Vec<(Move, In)>) -> Vec<(Move, In)> {
    let first = (Move::Forward(0), In::HandedOver(Upload::WaitsForClient));
    let rest = history.into_iter().map(|(step, input)| match input {
        In::HandedOver(_) => (step, In::HandedOver(Upload::WaitsForClient)),
        In::Request(_) => (step, In::Request(Upload::WaitsForClient)),
        input => (step, input),
    });
    iter::once(first).chain(rest).collect()
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_try_settles_at_most_once(given in policies(), history in histories()) {
        let mut settled = false;
        play(&given, &history, |Step { input, effect, call, .. }| {
            settled &= !matches!(input, In::HandedOver(_));
            if matches!(effect, Effect::Settle(_)) {
                prop_assert!(!settled, "settled twice: {:?}", input);
                settled = true;
            }
            prop_assert!(!settled || !matches!(effect, Effect::Answered), "answered when settled");
            let wants = call.wants_body() || call.wants_trailers();
            prop_assert!(!settled || !wants, "more is wanted when settled");
            Ok(())
        })?;
    }

    #[test]
    fn the_clock_never_shows_more_than_passed_since_the_hand_over(
        given in policies(),
        history in histories(),
    ) {
        let mut wall: Option<Wall> = None;
        play(&given, &history, |Step { before, now, input, call, .. }| {
            match &mut wall {
                Some(wall) => wall.passes(before, now),
                None if matches!(input, In::HandedOver(_)) => wall = Some(Wall::default()),
                None => {}
            }
            let most = wall.as_ref().map_or(Duration::ZERO, |wall| wall.0);
            let shown = call.elapsed(now);
            prop_assert!(shown <= most, "{} shown, {} passed", shown, most);
            Ok(())
        })?;
    }

    #[test]
    fn in_a_queue_the_clock_stands(given in policies(), history in histories()) {
        let mut queued = false;
        play(&given, &history, |Step { input, call, .. }| {
            match input {
                In::Queued => queued = true,
                In::HandedOver(_) => queued = false,
                _ => {}
            }
            prop_assert!(!queued || !call.clock_runs(), "the clock runs in a queue");
            Ok(())
        })?;
    }

    #[test]
    fn a_deadline_exists_only_while_the_clock_runs(given in policies(), history in histories()) {
        play(&given, &history, |Step { now, call, .. }| {
            prop_assert_eq!(call.deadline().is_some(), call.clock_runs() && given.limit.is_some());
            prop_assert!(!call.is_answered() || !call.clock_runs(), "it runs after the headers");
            if let (Some(due), Some(limit)) = (call.deadline(), given.limit) {
                let is_past = due == Instant::FAR_FUTURE || call.elapsed(due) >= limit;
                prop_assert!(is_past, "the clock does not show the limit when it is due");
                prop_assert!(now < due || call.elapsed(now) >= limit || due == Instant::FAR_FUTURE);
                let just_before = Instant::from_nanos(due.as_nanos().saturating_sub(1));
                let was_early = call.elapsed(now) >= limit || call.elapsed(just_before) < limit;
                prop_assert!(was_early, "the clock shows the limit before it is due");
            }
            Ok(())
        })?;
    }

    /// A host whose clock costs need not ask it then.
    #[test]
    fn a_call_that_is_not_timed_does_not_see_the_time(history in histories()) {
        let given = given();
        let (mut with, mut without) = (given.call(), given.call());
        prop_assert!(!with.is_timed());
        let mut now = Instant::ZERO;
        for (step, input) in &history {
            now = step.from(now);
            let effect = tell(&mut with, now, input);
            prop_assert_eq!(effect, tell(&mut without, Instant::ZERO, input), "{:?}", input);
        }
    }

    /// A timer of the host and a probe's lease know the clock by these effects alone.
    #[test]
    fn the_host_is_told_of_the_clock(given in policies(), history in histories()) {
        let (mut told, mut follows) = (true, false);
        play(&given, &history, |Step { input, effect, call, .. }| {
            if let Effect::Clock { runs } = effect {
                prop_assert_ne!(runs, told, "told twice");
                prop_assert_eq!(runs, call.clock_runs());
                told = runs;
            }
            // Headers and an outcome stop the clock by themselves.
            follows = match (input, effect) {
                (In::HandedOver(_) | In::Queued, _) => true,
                (_, Effect::Answered | Effect::Settle(_)) => false,
                _ => follows,
            };
            prop_assert!(!follows || told == call.clock_runs(), "the host was not told");
            Ok(())
        })?;
    }

    /// Its client is all that the call ever waits for: nobody but the client is to blame.
    #[test]
    fn a_call_that_waits_for_its_client_is_no_evidence(
        given in policies(),
        history in histories(),
    ) {
        let mut heard = false;
        play(&given, &waiting(history), |Step { input, effect, .. }| {
            match input {
                In::HandedOver(_) => heard = false,
                // What the upstream said counts, and an injected fault may count like that.
                In::Head(seen) => heard |= !seen.is_of(AnsweredBy::Other),
                In::Broken(Transport::Connect | Transport::Overflow) => return Ok(()),
                _ => {}
            }
            if let Effect::Settle(report) = effect {
                prop_assert!(heard || report.outcome == Outcome::Neutral, "{:?}", report);
            }
            Ok(())
        })?;
    }

    /// It may be answered all the same: that is never late.
    #[test]
    fn a_call_that_waits_for_its_client_is_never_slow(
        given in policies(),
        history in histories(),
    ) {
        let history = history.into_iter().map(|(step, input)| match input {
            In::Head(seen) => (step, seen.measured_by_the_call().into()),
            input => (step, input),
        });
        play(&given, &waiting(history.collect()), |Step { effect, .. }| {
            if let Effect::Settle(report) = effect {
                prop_assert_ne!(report.outcome, Outcome::Slow);
            }
            Ok(())
        })?;
    }

    /// Pieces are cut by the network: where, means nothing.
    #[test]
    fn where_a_grpc_web_body_is_cut_means_nothing(
        pieces in prop::collection::vec(bodies(), 1..6),
        is_text in any::<bool>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let body = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let mut cut_up = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([body.len()]) {
            cut_up.push(&body[from..cut]);
            from = cut;
        }
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        let kind = if is_text { "application/grpc-web-text" } else { "application/grpc-web" };
        let whole = outcome(kind, &[&body]);
        prop_assert_eq!(outcome(kind, &cut_up), whole);
        prop_assert_eq!(outcome(kind, &bytes), whole);
    }

    /// Any bytes may stand in a field.
    #[test]
    fn fields_may_hold_anything(value in prop::collection::vec(any::<u8>(), 0..24)) {
        let value = String::from_utf8_lossy(&value).into_owned();
        for seen in [head(503), grpc(200), head(200).kind(&value), head(503).status(&value)] {
            let mut call = given().call();
            let now = Instant::ZERO;
            let _ = tell(&mut call, now, &In::HandedOver(Upload::Complete));
            let seen = seen.status(&value).retry_after(&value).ends();
            prop_assert!(matches!(tell(&mut call, now, &seen.into()), Effect::Settle(_)));
        }
    }
}

fn outcome(kind: &str, pieces: &[&[u8]]) -> Outcome {
    let mut call = given().call();
    let now = Instant::ZERO;
    let first = [In::HandedOver(Upload::Complete), head(200).kind(kind).into()];
    let rest = pieces.iter().map(|piece| In::Body(piece.to_vec()));
    for input in first.into_iter().chain(rest).chain([In::Ended]) {
        if let Effect::Settle(report) = tell(&mut call, now, &input) {
            return report.outcome;
        }
    }
    panic!("the body ended without an outcome");
}
