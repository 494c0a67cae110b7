//! The worked timelines of the policy language, a model, and workers that share.

extern crate std;
use super::*;
use crate::board::AtomicWords;
use proptest::prelude::*;
use std::vec::Vec;

const fn per_second(tokens: u32) -> Rate {
    Rate { tokens, period: Duration::from_secs(1) }
}

const fn limit(rate: u32, capacity: u32, burst: Option<BurstPolicy>) -> RateLimitPolicy {
    RateLimitPolicy { rate: per_second(rate), capacity, burst }
}

/// Rate 10/s, capacity 10, burst 42 that expires after 1 s and recovers 10 s after the last exceeding.
const WITH_BURST: RateLimitPolicy = limit(
    10,
    10,
    Some(BurstPolicy {
        tokens: 42,
        expires: Duration::from_secs(1),
        recovers_after: Duration::from_secs(10),
    }),
);

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// How many of `offered` calls at once are admitted.
fn offered(limit: &mut RateLimit, now: Instant, offered: u32) -> usize {
    (0..offered).filter(|_| limit.peek(now).is_ok() && limit.commit(now).is_ok()).count()
}

#[test]
fn the_worked_timeline() {
    let mut limit = RateLimit::new(&WITH_BURST);
    assert_eq!(offered(&mut limit, at(0), 60), 52, "10 and the burst's 42");
    assert_eq!(offered(&mut limit, at(500), 30), 5);
    // Steady 9/s, all admitted and never exceeding.
    for step in 0..88 {
        let now = at(700 + step * 1000 / 9);
        assert_eq!(offered(&mut limit, now, 1), 1, "{now:?}");
    }
    // The last exceeding was at 0.5: whole again at 10.5.
    assert!(!limit.is_idle(at(10_499)));
    let mut early = limit.clone();
    let base = early.remaining(at(10_499)) as usize;
    assert_eq!(offered(&mut early, at(10_499), 100), base, "the burst is not back");
    let base = limit.remaining(at(10_500)) as usize;
    assert_eq!(offered(&mut limit, at(10_500), 100), base + 42);
}

#[test]
fn what_is_left_of_a_burst_is_void_after_its_time() {
    let mut limit = RateLimit::new(&WITH_BURST);
    assert_eq!(offered(&mut limit, at(0), 30), 30, "10 and 20 of the burst");
    assert_eq!(offered(&mut limit, at(1_000), 60), 10, "the other 22 are void");
}

#[test]
fn whoever_exceeds_it_all_the_time_has_the_burst_once() {
    let mut limit = RateLimit::new(&WITH_BURST);
    let admitted: usize = (0..600).map(|tenth| offered(&mut limit, at(tenth * 100), 2)).sum();
    let mut kept = RateLimit::new(&RateLimitPolicy { burst: None, ..WITH_BURST });
    let base: usize = (0..600).map(|tenth| offered(&mut kept, at(tenth * 100), 2)).sum();
    assert_eq!(admitted, base + 10, "the burst lasted for a second");
}

#[test]
fn a_call_that_is_turned_away_counts_as_exceeding() {
    let mut limit = RateLimit::new(&WITH_BURST);
    assert_eq!(offered(&mut limit, at(0), 52), 52);
    // Peeked alone, and in vain.
    assert!(limit.peek(at(0)).is_err());
    for second in 1..20 {
        // Exceeds it once a second.
        let now = at(second * 1000);
        assert_eq!(offered(&mut limit, now, 11), 10, "{second}");
    }
}

#[test]
fn a_denial_says_when_the_next_token_is_there() {
    let mut limit = RateLimit::new(&limit(4, 2, None));
    assert_eq!(offered(&mut limit, at(0), 3), 2);
    let until = limit.peek(at(100)).unwrap_err().until;
    assert_eq!(until, at(250));
    assert!(limit.peek(Instant::from_nanos(until.as_nanos() - 1)).is_err());
    assert!(limit.peek(until).is_ok());
}

#[test]
fn what_peeks_takes_nothing_and_what_comes_back_is_there_again() {
    let mut limit = RateLimit::new(&WITH_BURST);
    for _ in 0..100 {
        assert!(limit.peek(at(0)).is_ok());
    }
    let tokens: Vec<_> = (0..52).map(|_| limit.commit(at(0)).unwrap()).collect();
    assert!(limit.commit(at(0)).is_err());
    for token in tokens {
        limit.give_back(at(0), token);
    }
    assert_eq!(limit.remaining(at(0)), 10);
    assert!(limit.is_idle(at(0)));
    assert_eq!(offered(&mut limit, at(0), 60), 52);
}

#[test]
fn a_token_of_an_older_burst_does_not_come_back_to_a_new_one() {
    let mut limit = RateLimit::new(&WITH_BURST);
    let mut tokens: Vec<_> = (0..52).map(|_| limit.commit(at(0)).unwrap()).collect();
    assert_eq!(offered(&mut limit, at(10_000), 60), 52);
    limit.give_back(at(10_000), tokens.pop().unwrap());
    assert!(limit.peek(at(10_000)).is_err());
}

#[test]
fn a_burst_that_expires_within_a_millisecond_is_good_for_one() {
    let burst = BurstPolicy { expires: Duration::from_nanos(500_000), ..WITH_BURST.burst.unwrap() };
    let mut limit = RateLimit::new(&RateLimitPolicy { burst: Some(burst), ..WITH_BURST });
    assert_eq!(offered(&mut limit, at(0), 60), 52);
}

#[test]
fn a_clock_that_jumps_ahead_and_comes_back_costs_one_bucket() {
    let in_ten_years = at(315_360_000_000);
    let mut limit = RateLimit::new(&limit(10, 10, None));
    // Beyond the times that a limit knows.
    assert_eq!(offered(&mut limit, Instant::FAR_FUTURE, 1), 1);
    assert_eq!(offered(&mut limit, in_ten_years, 1), 0, "it was emptied at the end of time");
    assert_eq!(offered(&mut limit, in_ten_years + Duration::from_secs(1), 20), 10);
    // Back: at worst the bucket is empty, and fills from here on.
    assert!(offered(&mut limit, at(0), 20) <= 10);
    assert!(limit.peek(at(0)).unwrap_err().until <= at(100));
    assert_eq!(offered(&mut limit, at(1_000), 20), 10);

    let mut limit = RateLimit::new(&WITH_BURST);
    assert_eq!(offered(&mut limit, in_ten_years, 60), 52);
    assert_eq!(offered(&mut limit, at(0), 60), 42, "the burst is of a time that is not ours");
    assert_eq!(offered(&mut limit, at(1_000), 60), 10);
    assert_eq!(offered(&mut limit, at(11_000), 60), 52, "and recovers as ever");
}

#[test]
fn how_full_it_is() {
    let mut limit = RateLimit::new(&limit(10, 10, None));
    assert_eq!((limit.fill(at(0)), limit.remaining(at(0))), (1.0, 10));
    assert_eq!(offered(&mut limit, at(0), 5), 5);
    assert_eq!((limit.fill(at(0)), limit.remaining(at(0))), (0.5, 5));
    assert_eq!(limit.until_full(at(0)), Duration::from_millis(500));
    assert_eq!(limit.fill(at(250)), 0.75);
    assert!(!limit.is_idle(at(499)) && limit.is_idle(at(500)));
}

#[test]
fn rates_that_no_nanosecond_divides_stay_true() {
    // 333,333,333.3 ns a token; over 30,000 s nothing may be lost or won.
    let policy = RateLimitPolicy { rate: per_second(3), capacity: 1, burst: None };
    let mut limit = RateLimit::new(&policy);
    let mut admitted = 0_u64;
    let mut now = Instant::ZERO;
    while now < Instant::from_millis(30_000_000) {
        match limit.commit(now) {
            Ok(_) => admitted += 1,
            Err(Exceeded { until }) => now = until,
        }
    }
    assert!((89_999..=90_002).contains(&admitted), "{admitted}");
}

/// The bucket as a sum of tokens times their period, without rounding.
struct Model {
    level: u128,
    whole: u128,
    token: u128,
    rate: u128,
    last: Instant,
}

impl Model {
    fn new(rate: Rate, capacity: u32) -> Self {
        let token = u128::from(rate.period.as_nanos());
        let whole = token * u128::from(capacity);
        Self { level: whole, whole, token, rate: rate.tokens.into(), last: Instant::ZERO }
    }

    fn offer(&mut self, now: Instant) -> bool {
        self.level += u128::from(now.since(self.last).as_nanos()) * self.rate;
        self.level = self.level.min(self.whole);
        self.last = now;
        let has = self.level >= self.token;
        if has {
            self.level -= self.token;
        }
        has
    }
}

proptest! {
    #[test]
    fn equals_a_model_that_counts_exactly(
        // Rates whose tokens take whole parts of a nanosecond, so that nothing is rounded.
        rate in prop::sample::select(&[1_u32, 2, 4, 5, 8, 10, 1_000, 15_625, 1_000_000][..]),
        capacity in 1_u32..50,
        steps in prop::collection::vec((0_u64..2_000_000_000, 1_u32..5), 1..200),
    ) {
        let policy = limit(rate, capacity, None);
        let (mut limit, mut model) = (RateLimit::new(&policy), Model::new(policy.rate, capacity));
        let mut now = Instant::from_millis(1);
        model.last = now;
        for (wait, calls) in steps {
            now += Duration::from_nanos(wait / u64::from(rate));
            for _ in 0..calls {
                let peeked = limit.peek(now).is_ok();
                prop_assert_eq!(limit.commit(now).is_ok(), peeked);
                prop_assert_eq!(model.offer(now), peeked);
            }
        }
    }

    #[test]
    fn workers_that_share_admit_what_one_alone_would(
        workers in 1_usize..5,
        steps in prop::collection::vec((0_u64..700, 0_usize..5), 1..300),
    ) {
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(WORDS));
        let mut alone = RateLimit::new(&WITH_BURST);
        let mut replicas: Vec<_> =
            (0..workers).map(|_| RateLimit::shared(&WITH_BURST, words.clone())).collect();
        let mut now = 0;
        for (wait, worker) in steps {
            now += wait / 10;
            let replica = &mut replicas[worker % workers];
            let (ours, its) = (replica.commit(at(now)), alone.commit(at(now)));
            prop_assert_eq!(ours, its);
        }
    }

    #[test]
    fn no_policy_and_no_clock_panics(
        tokens: u32, period: u64, capacity: u32, burst: u32, expires: u64, recovers: u64,
        times in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let burst = BurstPolicy {
            tokens: burst,
            expires: Duration::from_nanos(expires),
            recovers_after: Duration::from_nanos(recovers),
        };
        let rate = Rate { tokens, period: Duration::from_nanos(period) };
        let mut limit = RateLimit::new(&RateLimitPolicy { rate, capacity, burst: Some(burst) });
        for nanos in times {
            let now = Instant::from_nanos(nanos);
            let peeked = limit.peek(now).is_ok();
            let taken = limit.commit(now);
            prop_assert_eq!(taken.is_ok(), peeked);
            let fill = limit.fill(now);
            prop_assert!((0.0..=1.0).contains(&fill), "{}", fill);
            prop_assert!(limit.remaining(now) <= capacity.max(1));
            if let Ok(token) = taken && nanos % 3 == 0 {
                limit.give_back(now, token);
            }
            let _ = (limit.is_idle(now), limit.until_full(now));
        }
    }
}

/// Threads that take at once never take more than there is. WASI has none.
#[cfg(not(target_family = "wasm"))]
#[test]
fn threads_take_each_token_once() {
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(WORDS));
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mut replica = RateLimit::shared(&WITH_BURST, words.clone());
                scope.spawn(move || (0..1_000).filter(|_| replica.commit(at(5)).is_ok()).count())
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(taken, 52);
}
