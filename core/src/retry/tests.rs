//! What is tried again, how long it waits, and what the budget allows.

extern crate std;
use super::backoff::Jitter;
use super::*;
use crate::limiter::Rate;
use crate::rng::Rng;
use proptest::prelude::*;

fn policy() -> RetryPolicy {
    let mut on = AnswerSet::default();
    on.transport.extend([Transport::Connect, Transport::Reset]);
    on.statuses.insert(503);
    on.grpc = 1 << 14;
    RetryPolicy {
        tries: 3,
        on,
        on_refused_streams: false,
        methods: RetriedMethods::idempotent(),
        backoff: Backoff {
            base: Duration::from_millis(25),
            max: Duration::from_secs(1),
            jitter: Jitter::None,
        },
        budget: None,
        respects_retry_after: true,
        buffer: 0,
    }
}

const GET: RetryAsk<'static> = RetryAsk { method: "GET", has_key: false, can_be_sent_again: true };

const fn answered(status: u16) -> FailedTry {
    failed(TryFailure::Answer { status, grpc: None })
}

const fn failed(how: TryFailure) -> FailedTry {
    FailedTry { how, retry_after: None, is_exhausted: false }
}

fn case(ask: RetryAsk<'static>, failed: FailedTry) -> RetryCase<'static> {
    RetryCase { now: Instant::ZERO, ask, failed, left: None }
}

fn next(policy: &RetryPolicy, case: RetryCase<'_>) -> Result<Duration, NoRetry> {
    Tries::default().next(policy, &mut RetryBudget::default(), &mut Rng::new(1), case)
}

#[test]
fn what_is_listed_is_tried_again_and_nothing_else() {
    let wait = Ok(Duration::from_millis(25));
    for (how, decided) in [
        (TryFailure::Answer { status: 503, grpc: None }, wait),
        (TryFailure::Answer { status: 500, grpc: None }, Err(NoRetry::NotListed)),
        (TryFailure::Answer { status: 200, grpc: Some(14) }, wait),
        (TryFailure::Answer { status: 200, grpc: Some(5) }, Err(NoRetry::NotListed)),
        (TryFailure::Answer { status: 200, grpc: Some(0) }, Err(NoRetry::NotListed)),
        (TryFailure::Broken(Transport::Reset), wait),
        (TryFailure::Broken(Transport::Timeout), Err(NoRetry::NotListed)),
        (TryFailure::NotSent(Transport::Connect), wait),
    ] {
        assert_eq!(next(&policy(), case(GET, failed(how))), decided, "{how:?}");
    }
}

#[test]
fn what_could_do_harm_twice_is_sent_once() {
    let keyed = RetryAsk { method: "POST", has_key: true, ..GET };
    let post = RetryAsk { has_key: false, ..keyed };
    let idempotent = RetriedMethods::idempotent();
    let or_keyed = RetriedMethods { keyed: true, ..idempotent.clone() };
    let posts = RetriedMethods { listed: [Box::from("POST")].into(), ..RetriedMethods::default() };
    let all = RetriedMethods { every: true, ..RetriedMethods::default() };
    for (methods, ask, may) in [
        (&idempotent, GET, true),
        (&idempotent, RetryAsk { method: "DELETE", ..GET }, true),
        (&idempotent, post, false),
        (&idempotent, keyed, false),
        // A method is a word with upper and lower case (RFC 9110, 9.1).
        (&idempotent, RetryAsk { method: "get", ..GET }, false),
        (&or_keyed, keyed, true),
        (&or_keyed, post, false),
        (&posts, post, true),
        (&posts, GET, false),
        (&all, post, true),
    ] {
        let policy = RetryPolicy { methods: methods.clone(), ..policy() };
        let decided = next(&policy, case(ask, answered(503)));
        assert_eq!(decided.is_ok(), may, "{methods:?} {ask:?}");
        // What never left cannot have done anything.
        let unsent = failed(TryFailure::NotSent(Transport::Connect));
        assert!(next(&policy, case(ask, unsent)).is_ok());
    }
    let gone = RetryAsk { can_be_sent_again: false, ..GET };
    assert_eq!(next(&policy(), case(gone, answered(503))), Err(NoRetry::BodyGone));
}

#[test]
fn tries_end_and_waits_double() {
    let policy = RetryPolicy { tries: 4, ..policy() };
    let (mut tries, mut budget, mut rng) = (Tries::default(), RetryBudget::default(), Rng::new(1));
    for (number, wait) in [(1, 25), (2, 50), (3, 100)] {
        assert_eq!(tries.number(), number);
        let decided = tries.next(&policy, &mut budget, &mut rng, case(GET, answered(503)));
        assert_eq!(decided, Ok(Duration::from_millis(wait)));
    }
    let decided = tries.next(&policy, &mut budget, &mut rng, case(GET, answered(503)));
    assert_eq!(decided, Err(NoRetry::Tries));
    assert_eq!(tries.number(), 4);
}

#[test]
fn a_hop_that_gave_up_is_believed() {
    let exhausted = FailedTry { is_exhausted: true, ..answered(503) };
    assert_eq!(next(&policy(), case(GET, exhausted)), Err(NoRetry::ExhaustedBehind));
    // Only a hop that would have tried marks its answer.
    let marks = |why: NoRetry| why.gives_up();
    let marked: Vec<_> = NoRetry::ALL.into_iter().filter(|why| marks(*why)).collect();
    assert_eq!(marked, [NoRetry::Tries, NoRetry::ExhaustedBehind, NoRetry::Budget]);
}

#[test]
fn the_upstreams_wish_and_the_time_that_is_left_bound_the_wait() {
    let wish = FailedTry { retry_after: Some(Duration::from_millis(300)), ..answered(503) };
    let case = RetryCase { left: Some(Duration::from_millis(301)), ..case(GET, wish) };
    assert_eq!(next(&policy(), case), Ok(Duration::from_millis(300)));
    let short = RetryCase { left: Some(Duration::from_millis(300)), ..case };
    assert_eq!(next(&policy(), short), Err(NoRetry::Deadline));
    let deaf = RetryPolicy { respects_retry_after: false, ..policy() };
    assert_eq!(next(&deaf, short), Ok(Duration::from_millis(25)));
    let absurd = FailedTry { retry_after: Some(Duration::MAX), ..wish };
    assert_eq!(next(&policy(), RetryCase { failed: absurd, ..case }), Err(NoRetry::Deadline));
    // Without a deadline the policy's longest wait is the bound.
    let decided = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        next(&policy(), RetryCase { failed: FailedTry { retry_after, ..wish }, left: None, ..case })
    };
    assert_eq!(decided(1), Ok(Duration::from_secs(1)));
    assert_eq!(decided(2), Err(NoRetry::RetryAfter));
    let unbothered = RetryCase {
        failed: FailedTry { retry_after: Some(Duration::MAX), ..wish },
        left: None,
        ..case
    };
    assert_eq!(next(&deaf, unbothered), Ok(Duration::from_millis(25)));
}

const SHARE: RetryBudgetPolicy = RetryBudgetPolicy { share: 0.2, floor: None };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn a_budget_is_a_share_of_the_last_ten_seconds() {
    let mut budget = RetryBudget::default();
    assert!(!budget.take(&SHARE, at(0)), "no calls, no retries");
    (0..10).for_each(|_| budget.call(at(500)));
    assert!(budget.take(&SHARE, at(9_900)) && budget.take(&SHARE, at(9_900)));
    assert!(!budget.take(&SHARE, at(9_900)));
    budget.give_back(at(9_900));
    assert!(budget.take(&SHARE, at(9_999)));
    // The calls are forgotten, the retries are not yet: nothing is owed below nothing.
    assert_eq!(budget.left(&SHARE, at(10_000)), 0.0);
    assert!(!budget.is_idle(at(18_999)));
    assert!(budget.is_idle(at(19_000)));
    (0..5).for_each(|_| budget.call(at(20_000)));
    assert!(budget.take(&SHARE, at(20_000)), "a fifth of five is one, whatever the last bit says");
}

#[test]
fn a_floor_lets_few_calls_retry() {
    let floor = Rate { tokens: 3, period: Duration::from_secs(1) };
    let policy = RetryBudgetPolicy { share: 0.0, floor: Some(floor) };
    let mut budget = RetryBudget::default();
    let taken = (0..100).filter(|_| budget.take(&policy, at(0))).count();
    assert_eq!(taken, 30);
    assert!(!budget.take(&policy, at(9_999)) && budget.take(&policy, at(10_000)));
}

#[test]
fn an_empty_budget_stops_a_retry_and_is_asked_last() {
    let policy = RetryPolicy { budget: Some(SHARE), ..policy() };
    let mut budget = RetryBudget::default();
    (0..5).for_each(|_| budget.call(at(0)));
    let mut rng = Rng::new(1);
    let mut ask = |failed| Tries::default().next(&policy, &mut budget, &mut rng, case(GET, failed));
    assert_eq!(ask(answered(500)), Err(NoRetry::NotListed), "costs nothing");
    assert!(ask(answered(503)).is_ok());
    assert_eq!(ask(answered(503)), Err(NoRetry::Budget));
}

/// Three hops with three tries each on a dead service: 27 calls there without a budget.
#[test]
fn budgets_and_marks_keep_a_storm_small() {
    fn call(hops: &mut [RetryBudget], policy: &RetryPolicy, now: Instant, calls: &mut u64) -> bool {
        let Some((hop, behind)) = hops.split_first_mut() else {
            *calls += 1;
            return false;
        };
        hop.call(now);
        let (mut tries, mut rng) = (Tries::default(), Rng::new(3));
        loop {
            let is_exhausted = call(behind, policy, now, calls);
            let failed = FailedTry { is_exhausted, ..answered(503) };
            let case = RetryCase { now, ..case(GET, failed) };
            if let Err(why) = tries.next(policy, hop, &mut rng, case) {
                return why.gives_up();
            }
        }
    }
    let storm = |budget| {
        let policy = RetryPolicy { budget, ..policy() };
        let (mut hops, mut calls) = (std::vec![RetryBudget::default(); 3], 0);
        for number in 0..10_000_u64 {
            call(&mut hops, &policy, at(number * 10), &mut calls);
        }
        calls as f64 / 10_000.0
    };
    let naive = storm(None);
    assert_eq!(naive, 3.0, "the mark alone: only the last hop tries");
    let kept = storm(Some(RetryBudgetPolicy { share: 0.05, floor: None }));
    assert!((1.04..=1.1).contains(&kept), "{kept}");
}

proptest! {
    #[test]
    fn a_wait_stays_within_its_bounds(
        base: u64, max: u64, number: u32, before: u64, seed: u64,
        jitter in prop::sample::select(&[Jitter::None, Jitter::Full, Jitter::Decorrelated][..]),
    ) {
        let (base, max) = (Duration::from_nanos(base), Duration::from_nanos(max));
        let backoff = Backoff { base, max, jitter };
        let wait = backoff.wait(number, Duration::from_nanos(before), &mut Rng::new(seed));
        prop_assert!(wait <= max);
        prop_assert!(jitter != Jitter::Decorrelated || wait >= base.min(max));
    }

    #[test]
    fn retries_of_ten_seconds_never_exceed_their_share_and_floor(
        steps in prop::collection::vec((0_u64..3_000, 0_u32..20, 0_u32..20), 1..100),
        share in 0.0_f64..=1.0,
        floor in 0_u32..3,
    ) {
        let rate = Rate { tokens: floor, period: Duration::from_secs(1) };
        let policy = RetryBudgetPolicy { share, floor: Some(rate) };
        let mut budget = RetryBudget::default();
        let mut lately = std::vec::Vec::new();
        let mut now = 0;
        for (wait, called, wanted) in steps {
            now += wait;
            (0..called).for_each(|_| budget.call(at(now)));
            let taken = (0..wanted).filter(|_| budget.take(&policy, at(now))).count();
            lately.push((now / 1_000, f64::from(called), taken as f64));
            lately.retain(|(second, ..)| second + 10 > now / 1_000);
            let calls: f64 = lately.iter().map(|(_, calls, _)| calls).sum();
            let retries: f64 = lately.iter().map(|(.., retries)| retries).sum();
            // What was paid by calls that are over counts on: it is not won back.
            if taken > 0 {
                let allowed = calls * share + f64::from(floor * 10);
                prop_assert!(retries <= allowed + 1e-6, "{} of {}", retries, allowed);
            }
        }
    }
}

#[test]
fn a_clock_that_jumps_ahead_and_comes_back_buys_no_storm() {
    let mut budget = RetryBudget::default();
    (0..1_000).for_each(|_| budget.call(at(1_000_000_000)));
    (0..10).for_each(|_| budget.call(at(0)));
    let taken = (0..1_000).filter(|_| budget.take(&SHARE, at(0))).count();
    assert_eq!(taken, 2);
    assert!(budget.is_idle(at(10_000)));
}

/// Spread over the whole bound, and not in step.
#[test]
fn jitter_uses_all_of_its_range() {
    let mut rng = Rng::new(5);
    let backoff = policy().backoff;
    let full = Backoff { jitter: Jitter::Full, ..backoff };
    let waits: std::vec::Vec<_> =
        (0..1_000).map(|_| full.wait(3, Duration::ZERO, &mut rng)).collect();
    let bound = Duration::from_millis(100);
    assert!(waits.iter().all(|wait| *wait < bound));
    assert!(waits.iter().any(|wait| *wait < Duration::from_millis(5)));
    assert!(waits.iter().any(|wait| *wait > Duration::from_millis(95)));
    let decorrelated = Backoff { jitter: Jitter::Decorrelated, ..backoff };
    let first: std::vec::Vec<_> =
        (0..1_000).map(|_| decorrelated.wait(1, Duration::ZERO, &mut rng)).collect();
    assert!(first.iter().all(|wait| (backoff.base..Duration::from_millis(75)).contains(wait)));
    assert!(first.iter().any(|wait| *wait > Duration::from_millis(70)), "not in step");
    let later: std::vec::Vec<_> =
        (0..1_000).map(|_| decorrelated.wait(2, bound, &mut rng)).collect();
    assert!(later.iter().all(|wait| (backoff.base..Duration::from_millis(300)).contains(wait)));
    assert!(later.iter().any(|wait| *wait > Duration::from_millis(290)));
}
