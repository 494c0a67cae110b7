//! Which members of a group are left out: examples, properties of any history, and what users of other systems
//! have reported.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::ejection::{Kept, Record, Settings, Streak, returning_share};
use bimetal_core::outcome::Outcome;
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1_000)
}

#[test]
fn failures_in_a_row_are_due_and_what_is_no_evidence_changes_nothing() {
    let streak = Streak::new();
    let (fail, other) = (Outcome::Failure, streak.clone());
    assert_eq!([fail, fail].map(|outcome| streak.is_due(outcome, 3)), [false; 2]);
    assert!(!other.is_due(Outcome::Neutral, 3));
    assert_eq!(streak.failures(), 2);
    // Whichever worker tells of the third.
    assert!(other.is_due(fail, 3));
    assert_eq!(streak.failures(), 0);
    for good in [Outcome::Success, Outcome::Slow] {
        assert_eq!([fail, fail, good, fail, fail].map(|one| streak.is_due(one, 3)), [false; 5]);
        assert!(streak.is_due(fail, 3));
    }
    assert!(streak.is_due(fail, 1) && streak.is_due(fail, 1));
    streak.is_due(fail, 3);
    streak.clear();
    assert_eq!(streak.failures(), 0);
}

// WASI has no threads.
#[cfg(not(target_family = "wasm"))]
#[test]
fn of_workers_that_fail_at_once_one_is_told() {
    let streak = Streak::new();
    let told: usize = std::thread::scope(|scope| {
        let work = || (0..999).filter(|_| streak.is_due(Outcome::Failure, 3)).count();
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(told, 999);
}

#[test]
fn each_ejection_is_longer_and_time_within_makes_them_shorter_again() {
    let settings = Settings { longest_ejection: secs(100), ..Settings::default() };
    let mut group = [Record::default(); 4];
    let mut now = at(1_000);
    for length in [30, 60, 90, 100, 100] {
        let ejection = settings.eject(now, &mut group, 2).unwrap();
        assert_eq!((ejection.length, ejection.until), (secs(length), now + secs(length)));
        assert!(group[2].is_out(now + secs(length - 1)) && !group[2].is_out(ejection.until));
        // It fails again as soon as it is back.
        now = ejection.until;
    }
    assert_eq!(group[2].ejections(), 5);
    // Five weigh on it. Two whole intervals within take two away, and this one comes on top.
    assert_eq!(settings.eject(now + secs(29), &mut group, 2).unwrap().length, secs(100));
    let mut group = [Record::default(); 4];
    settings.eject(at(0), &mut group, 0).unwrap();
    settings.eject(at(30), &mut group, 0).unwrap();
    assert_eq!(settings.eject(at(90 + 19), &mut group, 0).unwrap().length, secs(60));
    let long = Settings { longest_ejection: secs(1), ..settings };
    assert_eq!(long.eject(at(500), &mut group, 1).unwrap().length, secs(30));
}

/// envoyproxy/envoy 3263, 26877, 27066 and 34796: one was ejected whatever the share, and with a share of 67 %
/// all three of three.
#[test]
fn the_share_is_a_bound_and_the_last_one_stays() {
    let most = |max_ejection: f64, count| {
        let settings = Settings { max_ejection, minimum_hosts: 1, ..Settings::default() };
        settings.most(count)
    };
    assert_eq!([1, 2, 3, 4, 9].map(|count| most(0.5, count)), [0, 1, 1, 2, 4]);
    assert_eq!([1, 2, 3].map(|count| most(0.67, count)), [0, 1, 2]);
    assert_eq!([0, 1, 2, 3].map(|count| most(1.0, count)), [0, 0, 1, 2]);
    assert_eq!([most(0.1, 9), most(0.1, 10), most(0.29, 100), most(0.0, 9)], [0, 1, 29, 0]);
    let settings = Settings { max_ejection: 1.0, ..Settings::default() };
    let mut group = [Record::default(); 3];
    assert!(settings.eject(at(0), &mut group, 0).is_ok());
    assert_eq!(settings.eject(at(1), &mut group, 0), Err(Kept::IsOut));
    assert_eq!(group[0].ejections(), 1);
    assert!(settings.eject(at(1), &mut group, 1).is_ok());
    assert_eq!(settings.eject(at(2), &mut group, 2), Err(Kept::MostAreOut));
    // The first is back.
    assert!(settings.eject(at(30), &mut group, 2).is_ok());
    assert_eq!(settings.eject(at(30), &mut group, 3), Err(Kept::TooFew));
    let settings = Settings { minimum_hosts: 4, ..settings };
    assert_eq!(settings.eject(at(99), &mut group, 0), Err(Kept::TooFew));
}

/// istio/istio 20135: all were ejected, and there was no healthy upstream.
#[test]
fn where_too_few_are_in_ejections_do_not_count() {
    let settings = Settings::default();
    assert!([(1, 2), (2, 3), (3, 3)].iter().all(|(are_in, of)| !settings.panics(*are_in, *of)));
    assert!(settings.panics(1, 3) && settings.panics(0, 1));
    let never = Settings { min_healthy: 0.0, ..settings };
    assert!(!never.panics(1, 100) && never.panics(0, 100));
    let always = Settings { min_healthy: 1.0, ..settings };
    assert!(always.panics(2, 3) && !always.panics(3, 3));
}

#[test]
fn an_ejection_that_is_ended_weighs_on() {
    let settings = Settings::default();
    let mut group = [Record::default(); 2];
    settings.eject(at(0), &mut group, 0).unwrap();
    group[0].end(at(5));
    assert!(!group[0].is_out(at(5)) && group[0].until() == at(5));
    assert_eq!(settings.eject(at(6), &mut group, 0).unwrap().length, secs(60));
    group[1].end(at(7));
    assert_eq!(group[1], Record::default());
}

/// envoyproxy/envoy 19526 and 29259: the share of one that began slowly was as good as nothing.
#[test]
fn whoever_returns_gets_a_growing_share_and_never_nothing() {
    let share = |ms| returning_share(Duration::from_millis(ms), secs(10));
    assert_eq!([0, 1_000, 5_000, 10_000, 99_000].map(share), [0.1, 0.1, 0.5, 1.0, 1.0]);
    assert_eq!(returning_share(Duration::ZERO, Duration::ZERO), 1.0);
    assert!((0..100).all(|step| share(step * 100) <= share(step * 100 + 100)));
}

/// Any history: members that fail at any rate, over any settings.
#[test]
fn in_every_history_the_bounds_hold_and_whoever_is_ejected_returns() {
    let (mut ejections, mut kept, mut returns) = (0, 0, 0);
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let mut below = |most: u64| rng.next_u64() % most;
        let count = usize::try_from(below(9)).unwrap();
        let settings = Settings {
            consecutive_failures: u32::try_from(1 + below(4)).unwrap(),
            interval: secs(below(20)),
            base_ejection: secs(1 + below(30)),
            longest_ejection: secs(below(60)),
            max_ejection: below(11) as f64 / 10.0,
            minimum_hosts: usize::try_from(1 + below(4)).unwrap(),
            min_healthy: below(11) as f64 / 10.0,
        };
        let mut group = vec![Record::default(); count];
        let streaks: Vec<_> = (0..count).map(|_| Streak::new()).collect();
        let rates: Vec<_> = (0..count).map(|_| below(101)).collect();
        let mut now = at(below(1_000));
        for _ in 0..200 {
            now += Duration::from_millis(below(3_000));
            let Some(member) = usize::try_from(below(9)).ok().filter(|one| *one < count) else {
                continue;
            };
            let failed = below(100) < rates[member];
            let outcome = if failed { Outcome::Failure } else { Outcome::Success };
            let before = group.clone();
            if streaks[member].is_due(outcome, settings.consecutive_failures) {
                assert!(failed, "seed {seed}");
                match settings.eject(now, &mut group, member) {
                    Ok(ejection) => {
                        ejections += 1;
                        returns += usize::from(before[member].ejections() > 0);
                        assert!(!before[member].is_out(now), "seed {seed}");
                        let longest = settings.longest_ejection.max(settings.base_ejection);
                        assert!(ejection.length <= longest, "seed {seed}");
                        assert!(ejection.length >= settings.base_ejection, "seed {seed}");
                        assert!(!group[member].is_out(now + longest), "seed {seed}");
                    }
                    Err(_) => {
                        kept += 1;
                        assert_eq!(group, before, "seed {seed}");
                    }
                }
            }
            let out = group.iter().filter(|record| record.is_out(now)).count();
            let share = settings.max_ejection * count as f64 + 1e-6;
            assert!(out == 0 || (out < count && out as f64 <= share), "seed {seed}: {out}");
            assert!(out == 0 || count >= settings.minimum_hosts, "seed {seed}");
            // Whoever chooses has somebody to choose.
            assert!(out < count || settings.panics(count - out, count), "seed {seed}");
        }
    }
    // A simulation that never gets anywhere proves nothing.
    assert!(ejections > 5_000 && kept > 5_000 && returns > 1_000, "{ejections} {kept} {returns}");
}
