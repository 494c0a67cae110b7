//! What a generation of the mesh takes with it, and who learns of one late.

use super::fleet::{CLOSED, Fleet, OPEN, document, streak};
use bimetal_core::outcome::Outcome::{Failure, Success};

/// Two replicas trip, all are open, probes succeed, all are closed: the mesh is in its second generation.
fn through_an_open_time(fleet: &mut Fleet) {
    let those = || 0..fleet.replicas.len();
    let reached: Vec<_> = those().filter(|at| !fleet.replicas[*at].is_cut_off).collect();
    reached.iter().for_each(|replica| fleet.calls(1, *replica, 0, Success));
    fleet.trip_two();
    fleet.wait(11_000);
    for _ in 0..2 {
        reached.iter().for_each(|replica| fleet.calls(1, *replica, 0, Success));
        fleet.round();
    }
    assert!(reached.iter().all(|replica| fleet.state(*replica, 0) == CLOSED));
    assert_eq!(sum(fleet), (2, false));
}

fn sum(fleet: &mut Fleet) -> (u64, bool) {
    let (time, key) = (fleet.time, fleet.key(0));
    let merged = fleet.store.sum(time, &key);
    merged.map_or((0, false), |merged| (merged.generation, merged.is_open))
}

#[test]
fn who_opened_for_the_evidence_of_all_follows_the_close() {
    let mut fleet = Fleet::new(streak(9), 4, 1, 1);
    fleet.call(3, 0, 0, Success);
    for replica in 0..3 {
        fleet.wait(5);
        fleet.call(replica, 0, 0, Failure);
    }
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 4]);
    fleet.wait(10_000);
    fleet.call(1, 0, 0, Success);
    fleet.tell(1, 0);
    fleet.deliver();
    fleet.round();
    assert_eq!(fleet.states(0), [CLOSED; 4], "one probe was enough");
}

/// A store that forgot everything hears of a lower generation first. Who knows better says so, though it has
/// nothing else to say.
#[test]
fn a_store_that_forgot_a_generation_is_told_it_again() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    through_an_open_time(&mut fleet);
    fleet.store.gathered.clear();
    fleet.restart(0);
    fleet.restart(1);
    fleet.calls(1, 0, 0, Success);
    fleet.tell(0, 0);
    fleet.deliver();
    assert_eq!(sum(&mut fleet), (0, false));
    fleet.round();
    fleet.tell(2, 0);
    fleet.deliver();
    assert_eq!(sum(&mut fleet), (2, false));
}

/// A process that started a moment ago does not know the generation in which it trips. Its vote counts all
/// the same: nobody could have told it.
#[test]
fn the_vote_of_a_newcomer_counts() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    through_an_open_time(&mut fleet);
    fleet.restart(2);
    fleet.calls(3, 2, 0, Failure);
    fleet.calls(3, 1, 0, Failure);
    // So that there is no streak of all.
    fleet.wait(5);
    fleet.calls(1, 3, 0, Success);
    // One exchange to learn the generation, two as ever.
    (0..3).for_each(|_| fleet.round());
    assert_eq!(fleet.states(0), [OPEN; 4]);
}

/// The vote of a replica that was away for a whole open time is of another time.
#[test]
fn the_vote_of_one_that_was_away_does_not_count() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    fleet.calls(1, 3, 0, Success);
    fleet.round();
    fleet.replicas[3].is_cut_off = true;
    fleet.calls(3, 3, 0, Failure);
    through_an_open_time(&mut fleet);
    fleet.calls(1, 3, 0, Failure);
    assert_eq!(fleet.state(3, 0), OPEN, "its probe failed");
    fleet.replicas[3].is_cut_off = false;
    fleet.round();
    fleet.round();
    fleet.calls(3, 0, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN, CLOSED, CLOSED, OPEN], "one vote is no quorum");
}

/// Evidence of before is void for those as well who learn of a new generation late.
#[test]
fn evidence_of_an_older_generation_is_void() {
    let trip = r#""trip": {"consecutive_failures": 100, "failure_rate": {"threshold": 0.5, "window": {"time": "60s"}, "minimum_calls": 20}}, "open": {"base": "5s", "jitter": 0}"#;
    let mut fleet = Fleet::new(document(trip, 2), 4, 1, 1);
    fleet.calls(15, 3, 0, Failure);
    fleet.round();
    fleet.replicas[3].is_cut_off = true;
    fleet.calls(1, 2, 0, Success);
    fleet.calls(20, 0, 0, Failure);
    fleet.calls(20, 1, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN, OPEN, OPEN, CLOSED]);
    fleet.wait(6_000);
    for _ in 0..2 {
        (0..3).for_each(|replica| fleet.calls(1, replica, 0, Success));
        fleet.round();
    }
    fleet.replicas[3].is_cut_off = false;
    fleet.round();
    fleet.round();
    let (time, key) = (fleet.time, fleet.key(0));
    let merged = fleet.store.sum(time, &key).unwrap();
    assert_eq!((merged.generation, merged.failures.all.bad), (2, 0), "{merged:?}");
    assert_eq!(fleet.states(0), [CLOSED; 4]);
}

/// All that opened the mesh are gone, and nobody is left who would try. Those who are well close it, so that
/// their evidence counts again.
#[test]
fn a_mesh_whose_openers_are_gone_is_closed_by_those_who_are_well() {
    let mut fleet = Fleet::new(streak(2), 5, 1, 1);
    (3..5).for_each(|replica| fleet.replicas[replica].is_cut_off = true);
    fleet.calls(1, 2, 0, Success);
    fleet.trip_two();
    fleet.round();
    assert_eq!(sum(&mut fleet), (1, true));
    (0..3).for_each(|replica| fleet.restart(replica));
    fleet.wait(15_000);
    for replica in 3..5 {
        fleet.replicas[replica].is_cut_off = false;
        fleet.calls(1, replica, 0, Success);
    }
    (0..3).for_each(|_| fleet.round());
    assert_eq!(sum(&mut fleet), (2, false));
    for replica in [3, 4, 4] {
        fleet.wait(5);
        fleet.calls(1, replica, 0, Failure);
    }
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0)[3..], [OPEN; 2]);
}
