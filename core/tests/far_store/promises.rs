//! What replicas in several processes promise each other, one by one.

use super::fleet::{CLOSED, Fleet, OPEN, document, streak};
use super::store::Weather;
use bimetal_core::Duration;
use bimetal_core::event::Cause;
use bimetal_core::outcome::Outcome::{Failure, Success};

#[test]
fn three_failures_on_three_replicas_open_all_within_two_exchanges() {
    let mut fleet = Fleet::new(streak(9), 4, 1, 1);
    fleet.call(3, 0, 0, Success);
    for replica in 0..3 {
        fleet.wait(5);
        fleet.call(replica, 0, 0, Failure);
    }
    assert_eq!(fleet.states(0), [CLOSED; 4], "nobody knows yet");
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 4]);
    assert!(fleet.changes.iter().all(|one| one.by_merge), "each for the evidence of all");
    assert_eq!(fleet.states(1), [CLOSED; 4], "another scope has nothing to do with it");
}

#[test]
fn a_success_on_any_replica_clears_the_streak_of_all() {
    let mut fleet = Fleet::new(streak(9), 3, 1, 1);
    for (replica, outcome) in [(0, Failure), (1, Failure), (2, Success)] {
        fleet.wait(5);
        fleet.call(replica, 0, 0, outcome);
    }
    fleet.tell(2, 0);
    fleet.wait(5);
    fleet.call(0, 0, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [CLOSED; 3]);
    fleet.wait(5);
    fleet.call(1, 0, 0, Failure);
    fleet.wait(5);
    fleet.call(2, 0, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 3]);
}

#[test]
fn one_replica_that_fails_alone_opens_nobody_else() {
    let mut fleet = Fleet::new(streak(2), 3, 2, 1);
    for _ in 0..20 {
        fleet.calls(3, 0, 0, Failure);
        fleet.call(1, 0, 0, Success);
        fleet.wait(4_000);
        fleet.round();
    }
    // The third replica has no call at all: what it knows comes from the first one alone.
    assert_eq!(fleet.state(1, 0), CLOSED);
    assert_eq!(fleet.opened_by_merge(1) + fleet.opened_by_merge(2), 0);
    assert_ne!(fleet.state(0, 0), CLOSED, "its own opinion stays its own");
}

#[test]
fn a_quorum_opens_the_others_for_what_is_left_of_its_time() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    fleet.call(2, 0, 0, Success);
    fleet.call(3, 0, 0, Success);
    fleet.calls(3, 0, 0, Failure);
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN, CLOSED, CLOSED, CLOSED], "one is no quorum");
    fleet.wait(4_000);
    fleet.call(3, 0, 0, Success);
    fleet.calls(3, 1, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 4]);
    let (_, left) = fleet.view(2, 0, 0).unwrap();
    // The first of the quorum will be the first to try: about 6 s from now.
    assert!((5_900..=6_000).contains(&left.as_millis()), "{left}");
    let followed = fleet.changes.iter().find(|one| one.replica == 2).unwrap();
    assert!(followed.change.adopted && followed.by_merge);
    assert_eq!(followed.change.cause, Cause::ConsecutiveFailures { count: 3 });
    assert_eq!(followed.change.level, 1);
}

#[test]
fn who_followed_follows_the_close_and_who_failed_itself_asks_itself() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    fleet.call(2, 0, 0, Success);
    fleet.call(3, 0, 0, Success);
    fleet.trip_two();
    assert_eq!(fleet.states(0), [OPEN; 4]);
    fleet.wait(10_000);
    fleet.call(2, 0, 0, Success);
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN, OPEN, CLOSED, CLOSED]);
    // Votes and evidence of the time before do not open it again.
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN, OPEN, CLOSED, CLOSED]);
    fleet.call(0, 0, 0, Success);
    fleet.call(1, 0, 0, Success);
    assert_eq!(fleet.states(0), [CLOSED; 4]);
}

/// A replica that is open or half-open by itself is the first to learn that all fail. The others must not get
/// what is left of its open time.
#[test]
fn an_open_replica_does_not_open_the_mesh() {
    for waits in [0, 9_950, 11_000] {
        let mut fleet = Fleet::new(streak(9), 4, 1, 1);
        fleet.call(1, 0, 0, Success);
        fleet.calls(3, 0, 0, Failure);
        fleet.round();
        fleet.wait(waits);
        for replica in 1..4 {
            fleet.wait(2);
            fleet.call(replica, 0, 0, Failure);
        }
        (1..4).for_each(|replica| fleet.tell(replica, 0));
        fleet.replicas.iter_mut().skip(1).for_each(|replica| replica.is_cut_off = true);
        fleet.deliver();
        fleet.tell(0, 0);
        fleet.deliver();
        fleet.replicas.iter_mut().for_each(|replica| replica.is_cut_off = false);
        fleet.round();
        fleet.round();
        for replica in 1..4 {
            let (state, left) = fleet.view(replica, 0, 0).unwrap();
            assert!(state == OPEN && left.as_millis() > 9_900, "{waits}: {state:?} for {left}");
        }
    }
}

/// Half of the replicas cannot reach the upstream, for ten minutes. The mesh opens once, for the quorum
/// is theirs; then each half goes by what it sees.
#[test]
fn halves_do_not_flap() {
    let mut fleet = Fleet::new(streak(2), 6, 2, 1);
    for tick in 0..6_000_u64 {
        fleet.wait(100);
        for replica in 0..6 {
            let outcome = if replica < 3 { Failure } else { Success };
            fleet.call(replica, (tick % 2) as usize, 0, outcome);
            fleet.tell(replica, (tick % 2) as usize);
        }
    }
    for replica in 3..6 {
        assert_eq!(fleet.opened_by_merge(replica), 1, "replica {replica}");
        assert_eq!(fleet.state(replica, 0), CLOSED);
    }
    let opened: Vec<_> = fleet.changes.iter().filter(|one| one.replica >= 3).collect();
    assert!(opened.len() <= 18, "{opened:?}");
}

#[test]
fn a_store_that_forgot_all_learns_again_that_a_mesh_is_open() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    fleet.calls(3, 0, 0, Failure);
    fleet.calls(3, 1, 0, Failure);
    fleet.round();
    fleet.store.gathered.clear();
    fleet.restart(2);
    fleet.call(2, 0, 0, Success);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 3]);
}

#[test]
fn a_rate_over_all_replicas_trips_for_all() {
    let trip = r#""trip": {"failure_rate": {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 20}}"#;
    let mut fleet = Fleet::new(document(trip, 9), 4, 1, 1);
    for turn in 0..6 {
        fleet.wait(50);
        for replica in 0..4 {
            let outcome = if (replica + turn) % 3 < 2 { Failure } else { Success };
            fleet.call(replica, 0, 0, outcome);
        }
    }
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 4], "no replica alone saw 20 calls");
    let cause = fleet.changes[0].change.cause;
    assert_eq!(cause, Cause::FailureRate { calls: 24, failures: 16 });
}

/// Two replicas, of which one fails all its calls: together they fail at half. Nothing says that it is
/// the upstream.
#[test]
fn a_rate_that_one_replica_alone_makes_opens_nobody_else() {
    let trip = r#""trip": {"failure_rate": {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 20}}"#;
    let mut fleet = Fleet::new(document(trip, 2), 2, 1, 1);
    for turn in 0..30 {
        fleet.wait(50);
        fleet.call(0, 0, 0, Failure);
        // Now and then a call fails anywhere.
        fleet.call(1, 0, 0, if turn == 3 { Failure } else { Success });
        fleet.round();
    }
    assert_eq!(fleet.states(0), [OPEN, CLOSED]);
}

/// 5 % random failures over four replicas, a threshold of 3, reset after each trip: of a million calls
/// that one breaker sees, about 10^6 · 0.05³ · 0.95 = 119 trip it. What the merged evidence trips is held
/// to twice that, at any number of calls per exchange. The replicas' own streaks trip as well; they are
/// no merged evidence, and are reset like it.
#[test]
fn no_trip_is_invented() {
    for calls_per_exchange in [1, 4, 40] {
        let mut fleet = Fleet::new(streak(99), 4, 1, calls_per_exchange);
        fleet.weather = Weather { loss: 0.1, repeat: 0.3, delay: Duration::from_millis(80) };
        let calls = 250_000;
        let (mut merged, mut seen) = (0, 0);
        for number in 0..calls {
            let replica = (fleet.rng.next_u64() % 4) as usize;
            let outcome = if fleet.rng.next_share() < 0.05 { Failure } else { Success };
            fleet.call(replica, 0, 0, outcome);
            if number % calls_per_exchange == 0 {
                fleet.wait(25);
                fleet.tell((number / calls_per_exchange % 4) as usize, 0);
            } else {
                fleet.time += 25_000_000 / calls_per_exchange;
            }
            while let Some(one) = fleet.changes.get(seen) {
                seen += 1;
                if one.change.to != OPEN {
                    continue;
                }
                merged += u32::from(one.by_merge && !one.change.adopted);
                reset(&mut fleet);
                seen = fleet.changes.len();
            }
            fleet.results.clear();
        }
        println!("{calls_per_exchange} calls per exchange: {merged} merged trips");
        let most = 2.0 * calls as f64 * 0.05_f64.powi(3) * 0.95;
        assert!(f64::from(merged) <= most, "{calls_per_exchange}: {merged} of {most}");
        assert!(merged > 0 || calls_per_exchange > 4, "{calls_per_exchange}: none was seen");
    }
}

/// The open time passes, probes succeed, everybody knows.
fn reset(fleet: &mut Fleet) {
    let weather = std::mem::take(&mut fleet.weather);
    fleet.wait(1_000);
    fleet.round();
    fleet.round();
    fleet.wait(11_000);
    for _ in 0..2 {
        (0..4).for_each(|replica| fleet.calls(2, replica, 0, Success));
        fleet.round();
    }
    assert_eq!(fleet.states(0), [CLOSED; 4]);
    fleet.weather = weather;
}
