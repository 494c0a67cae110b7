//! Evidence counts exactly once, whatever the store and the network do to it.

use super::fleet::{Fleet, document};
use super::store::Weather;
use bimetal_core::Duration;
use bimetal_core::outcome::Outcome::{self, Failure, Slow, Success};

/// Rates over an hour that never trip, so that nothing gets old within a history.
fn hour() -> bimetal_core::policy::Document {
    let rate = r#"{"threshold": 1, "window": {"time": "1h"}, "minimum_calls": 1000000"#;
    let trip = format!(
        r#""trip": {{"failure_rate": {rate}}}, "slow_rate": {rate}, "slower_than": "1s"}}}}"#
    );
    document(&trip, 9)
}

/// What is lost is told again, what is repeated or overtaken counts once; a store that forgot all has
/// all again once its members have news.
#[test]
fn evidence_counts_exactly_once() {
    for seed in 0..super::histories::seeds(300) {
        let mut fleet = Fleet::new(hour(), 3, 2, seed);
        fleet.weather = Weather {
            loss: 0.4 * fleet.rng.next_share(),
            repeat: 0.5 * fleet.rng.next_share(),
            delay: Duration::from_millis(fleet.rng.next_u64() % 3_000),
        };
        let forgets = seed % 3 == 0;
        for _ in 0..100 {
            let (replica, worker) =
                ((fleet.rng.next_u64() % 3) as usize, (fleet.rng.next_u64() % 2) as usize);
            match fleet.rng.next_u64() % 20 {
                0 if forgets => fleet.store.gathered.clear(),
                0..=7 => {
                    let outcome = [Success, Failure, Slow][(fleet.rng.next_u64() % 3) as usize];
                    fleet.call(replica, worker, 0, outcome);
                }
                8..=14 => fleet.tell(replica, worker),
                _ => {
                    let millis = fleet.rng.next_u64() % 800;
                    fleet.wait(millis);
                }
            }
            never_too_much(&mut fleet, seed);
        }
        fleet.weather = Weather::default();
        fleet.wait(4_000);
        if forgets {
            // What came late from before may be all that such a store has, until there is news.
            (0..6).for_each(|member| fleet.call(member / 2, member % 2, 0, Success).unwrap());
        }
        // What was lost is known to be so by now: it is given back and told again.
        (0..2).for_each(|_| fleet.round());
        let truth = truth(&fleet);
        assert_eq!(counted(&mut fleet).unwrap_or_default(), truth, "seed {seed}");
    }
}

fn truth(fleet: &Fleet) -> [u32; 3] {
    let of = |outcome: Option<Outcome>| {
        let results = fleet.results.iter();
        results.filter(|one| outcome.is_none_or(|outcome| one.outcome == outcome)).count() as u32
    };
    [of(None), of(Some(Failure)), of(Some(Slow))]
}

fn counted(fleet: &mut Fleet) -> Option<[u32; 3]> {
    let (time, key) = (fleet.time, fleet.key(0));
    let sum = fleet.store.sum(time, &key)?;
    assert_eq!(sum.failures.all.calls, sum.slow.all.calls);
    Some([sum.failures.all.calls, sum.failures.all.bad, sum.slow.all.bad])
}

fn never_too_much(fleet: &mut Fleet, seed: u64) {
    let truth = truth(fleet);
    let counted = counted(fleet).unwrap_or_default();
    let is_too_much = counted.iter().zip(&truth).any(|(counted, truth)| counted > truth);
    assert!(!is_too_much, "seed {seed}: {counted:?} of {truth:?}");
}

/// Clocks that are apart say nothing about ages: the merged window is that of one that sees all calls, but
/// for the bucket that is at its edge.
#[test]
fn windows_of_clocks_that_are_apart_are_one_window() {
    let rate = r#"{"threshold": 1, "window": {"time": "10s"}, "minimum_calls": 1000000}"#;
    let trip = format!(r#""trip": {{"failure_rate": {rate}}}"#);
    let mut fleet = Fleet::new(document(&trip, 9), 4, 1, 3);
    for step in 0..6_000 {
        let millis = fleet.rng.next_u64() % 20;
        fleet.wait(millis);
        let replica = (fleet.rng.next_u64() % 4) as usize;
        let outcome = if fleet.rng.next_share() < 0.3 { Failure } else { Success };
        fleet.call(replica, 0, 0, outcome);
        if step % 10 == 0 {
            fleet.round();
            let counted = counted_failures(&mut fleet);
            let since = |millis: u64| {
                let from = fleet.time.saturating_sub(millis * 1_000_000);
                fleet.results.iter().filter(|one| one.time >= from).count() as u32
            };
            let (least, most) = (since(8_950), since(10_050));
            assert!((least..=most).contains(&counted), "{counted} of {least} to {most}");
        }
    }
}

fn counted_failures(fleet: &mut Fleet) -> u32 {
    let (time, key) = (fleet.time, fleet.key(0));
    fleet.store.sum(time, &key).map_or(0, |sum| sum.failures.all.calls)
}
