//! The table of keys by itself.

extern crate std;
use super::*;
use crate::board::AtomicWords;
use crate::limiter::{BurstPolicy, Rate};
use crate::time::Duration;
use proptest::prelude::*;
use std::collections::HashMap;
use std::vec::Vec;

const fn per_second(tokens: u32) -> RateLimitPolicy {
    let rate = Rate { tokens, period: Duration::from_secs(1) };
    RateLimitPolicy { rate, capacity: tokens, burst: None }
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn place(table: &mut KeyedLimit, now: Instant, key: &[u8]) -> KeyPlace {
    table.find_or_make(now, key, |_| true, |_| Opened::default())
}

fn passes(table: &mut KeyedLimit, now: Instant, key: &[u8]) -> bool {
    let place = place(table, now, key);
    table.peek(now, place).is_ok() && table.commit(now, place).is_ok()
}

#[test]
fn a_key_is_small() {
    // Beside the key itself: its part of the index is 9 bytes at 7/8 of its load.
    assert!(size_of::<Key>() <= 56, "{}", size_of::<Key>());
}

#[test]
fn keys_that_are_used_stay_and_who_was_not_used_leaves() {
    let mut table = KeyedLimit::new(&[per_second(1)], 2, 1);
    let one = place(&mut table, at(0), b"one");
    place(&mut table, at(0), b"two");
    // All were used since the hand came by: it passes each over once, and comes back to the first.
    let three = place(&mut table, at(0), b"three");
    assert_eq!(three, one);
    // Now "two" was not used since.
    assert_eq!(place(&mut table, at(0), b"three"), three);
    place(&mut table, at(0), b"four");
    assert_eq!((place(&mut table, at(0), b"three"), table.len()), (three, 2));
}

#[test]
fn the_index_forgets_a_key_that_leaves() {
    let mut table = KeyedLimit::new(&[per_second(1)], 50, 1);
    for round in 0..2_000_u32 {
        let key = (round.wrapping_mul(2_654_435_761) % 90).to_le_bytes();
        let found = place(&mut table, at(0), &key);
        assert_eq!(place(&mut table, at(0), &key), found, "found again");
    }
    assert_eq!((table.len(), table.index.len()), (50, 50));
}

#[test]
fn a_key_that_has_something_to_lose_stays() {
    let burst = BurstPolicy {
        tokens: 1,
        expires: Duration::from_secs(1),
        recovers_after: Duration::from_secs(10),
    };
    let policy = RateLimitPolicy { burst: Some(burst), ..per_second(1) };
    let mut table = KeyedLimit::new(&[policy], 1, 1);
    assert!(passes(&mut table, at(0), b"a") && passes(&mut table, at(0), b"a"));
    for now in [at(0), at(999), at(9_999)] {
        assert_eq!(place(&mut table, now, b"other"), OVERFLOW, "{now:?}");
    }
    assert_ne!(place(&mut table, at(10_000), b"other"), OVERFLOW);
}

#[test]
fn without_memory_a_table_is_full() {
    let mut table = KeyedLimit::new(&[per_second(1)], 10, 1);
    let few = |len| len < 2;
    let mut ask = |key: &[u8], now| {
        let place = table.find_or_make(now, key, few, |_| Opened::default());
        let _ = table.commit(now, place);
        (place, table.len())
    };
    assert_eq!(ask(b"a", at(0)).1, 1);
    assert_eq!(ask(b"b", at(0)).1, 2);
    assert_eq!(ask(b"c", at(0)), (OVERFLOW, 2));
    assert_ne!(ask(b"c", at(1_000)).0, OVERFLOW);
}

#[test]
fn the_overflow_is_one_limit_and_another_than_that_of_the_empty_key() {
    let mut table = KeyedLimit::new(&[per_second(2)], 1, 1);
    assert!(passes(&mut table, at(0), b""));
    assert!(passes(&mut table, at(0), b"a") && passes(&mut table, at(0), b"b"));
    assert!(!passes(&mut table, at(0), b"c"));
    assert!(passes(&mut table, at(0), b""));
}

#[test]
fn each_key_has_the_policy_that_it_was_opened_with_and_the_words() {
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(crate::limiter::WORDS));
    let mut table = KeyedLimit::new(&[per_second(1), per_second(3)], 10, 1);
    let open = |_: Option<&[u8]>| Opened { policy: 1, words: Some(words.clone()), account: None };
    let place = table.find_or_make(at(0), b"a", |_| true, open);
    assert_eq!(table.policy(place), 1);
    let token = table.commit(at(0), place).unwrap().unwrap();
    assert_ne!(words.load(0), 0);
    table.give_back(at(0), place, token);
    assert_eq!((0..5).filter(|_| table.commit(at(0), place).is_ok()).count(), 3);
}

proptest! {
    /// Whatever keys come and when: in no window of time is a key admitted more than its bucket holds
    /// and what flows in meanwhile, however small the table is and whoever shares the overflow.
    #[test]
    fn no_window_has_more_than_the_limit(
        most in 1_u32..6,
        rate in 1_u32..20,
        calls in prop::collection::vec((0_u64..300, 0_u8..8), 1..400),
    ) {
        let mut table = KeyedLimit::new(&[per_second(rate)], most, 7);
        let mut admitted: HashMap<u8, Vec<u64>> = HashMap::new();
        let mut now = 0;
        for (step, key) in calls {
            now += step;
            if passes(&mut table, at(now), &[key]) {
                admitted.entry(key).or_default().push(now);
            }
            prop_assert!(table.len() <= most);
        }
        // Where not all have room a key may go to the overflow and come back: it has a share of both.
        let limits = if admitted.len() as u32 <= most { 1 } else { 2 };
        for times in admitted.values() {
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as u64;
                    let allowed = limits * u64::from(rate) * (1_000 + end - start);
                    prop_assert!(count * 1_000 <= allowed, "{count} in {} ms", end - start);
                }
            }
        }
    }
}
