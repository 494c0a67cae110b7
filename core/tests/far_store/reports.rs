//! What users of other breakers and limiters with a shared store reported, played here.

use super::fleet::{CLOSED, Fleet, OPEN, Packet, document, streak};
use bimetal_core::outcome::Outcome::{Failure, Success};
use bimetal_core::{Duration, Instant};

/// App-vNext/Polly#287: with one shared state a node that has a problem of its own (its network, its CPU)
/// breaks the circuit of all others.
#[test]
fn a_node_with_a_problem_of_its_own_poisons_nobody() {
    let mut fleet = Fleet::new(streak(2), 5, 1, 1);
    for tick in 0..600_u64 {
        fleet.wait(100);
        for replica in 0..5 {
            // Three of them have little to do.
            if replica < 2 || tick.is_multiple_of(50) {
                fleet.call(replica, 0, 0, if replica == 0 { Failure } else { Success });
            }
            fleet.tell(replica, 0);
        }
    }
    assert!(fleet.changes.iter().all(|one| one.replica == 0), "{:?}", fleet.changes);
}

/// danielfm/pybreaker#26: each process that starts sets the shared circuit to closed and its count to zero.
#[test]
fn a_process_that_starts_closes_nothing_and_forgets_nothing() {
    let mut fleet = Fleet::new(streak(9), 3, 1, 1);
    fleet.call(0, 0, 0, Failure);
    fleet.wait(5);
    fleet.call(1, 0, 0, Failure);
    fleet.round();
    // Its place is known: what it counted before is told by the store, not by it.
    fleet.restart(1);
    fleet.round();
    fleet.restart(2);
    fleet.call(2, 0, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!([fleet.state(0, 0), fleet.state(2, 0)], [OPEN; 2]);
    for _ in 0..5 {
        fleet.restart(2);
        fleet.round();
        assert_eq!(fleet.state(0, 0), OPEN, "a start closes nothing");
    }
}

/// danielfm/pybreaker#36: each process that starts sets the time at which the circuit opened to now, so where
/// they start often it never tries again.
#[test]
fn processes_that_start_do_not_lengthen_the_open_time() {
    let mut fleet = Fleet::new(streak(2), 4, 1, 1);
    fleet.calls(3, 0, 0, Failure);
    fleet.calls(3, 1, 0, Failure);
    fleet.round();
    for _ in 0..19 {
        fleet.restart(2);
        fleet.restart(3);
        fleet.call(2, 0, 0, Success);
        fleet.call(3, 0, 0, Success);
        fleet.round();
        fleet.wait(500);
        let left = |replica| fleet.view(replica, 0, 0).unwrap().1;
        let most = left(0).max(left(1)) + Duration::from_millis(20);
        assert!(left(2) <= most && left(3) <= most, "{} {} of {most}", left(2), left(3));
    }
    fleet.wait(1_000);
    assert!((0..4).all(|replica| fleet.call(replica, 0, 0, Success).is_some()));
}

/// redhat-data-and-ai/template-agent#232: the time of the last failure was one process's monotonic clock, and
/// another process, just booted, waited for it for days. bolshakov/stoplight#315: clocks that are apart
/// recover at different times.
#[test]
fn clocks_that_began_at_different_times_agree_on_what_is_left() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    fleet.replicas[0].ahead = 400 * 86_400_000_000_000;
    fleet.replicas[1].ahead = 0;
    fleet.replicas[2].jumped_to = Some(Instant::from_millis(5_000));
    fleet.call(2, 0, 0, Success);
    fleet.trip_two();
    assert_eq!(fleet.states(0), [OPEN; 3]);
    let (_, left) = fleet.view(2, 0, 0).unwrap();
    assert!(left <= Duration::from_secs(10) && left > Duration::from_millis(9_900), "{left}");
    fleet.replicas[2].jumped_to = Some(Instant::from_millis(15_000));
    assert!(fleet.call(2, 0, 0, Success).is_some());
}

/// stella/stella#1210, ever-co/ever-gauzy#10194: the command reached Redis, its answer did not. The client
/// counted again; what it had queued meanwhile was replayed when the store came back, and grew until then.
#[test]
fn an_answer_that_is_lost_counts_nothing_twice_and_queues_nothing() {
    let trip = r#""trip": {"failure_rate": {"threshold": 1, "window": {"time": "1h"}, "minimum_calls": 1000}}"#;
    let mut fleet = Fleet::new(document(trip, 9), 2, 1, 1);
    for _ in 0..50 {
        fleet.call(0, 0, 0, Failure);
        fleet.tell(0, 0);
        // It arrives; the answer is lost, so after a while it is given back.
        while let Some(packet) = fleet.net.receive(fleet.time) {
            if let Packet::Tell { exchange, .. } = packet {
                fleet.store.exchange(fleet.time, &exchange);
                assert!(exchange.deltas.len() <= 1);
                // And once more, by somebody on the way.
                fleet.store.exchange(fleet.time, &exchange);
            }
        }
        fleet.time += 3_000_000_000;
    }
    let (time, key) = (fleet.time, fleet.key(0));
    assert_eq!(fleet.store.sum(time, &key).unwrap().failures.all.calls, 50);
    let totals = fleet.replicas[0].workers[0].engine.exchange_totals();
    assert_eq!(totals.given_back, 49, "{totals:?}");
}

/// spring-cloud/spring-cloud-gateway#2412: a command that was delayed on its way ran with its old time, behind
/// newer ones, and set the shared state back.
#[test]
fn what_comes_late_sets_nothing_back() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    fleet.call(2, 0, 0, Success);
    fleet.calls(3, 0, 0, Failure);
    fleet.calls(3, 1, 0, Failure);
    let late: Vec<_> = (0..2)
        .map(|replica| {
            let now = fleet.now(replica);
            fleet.replicas[replica].workers[0].engine.take_deltas(now)
        })
        .collect();
    fleet.round();
    fleet.round();
    fleet.wait(11_000);
    for _ in 0..2 {
        (0..3).for_each(|replica| fleet.calls(1, replica, 0, Success));
        fleet.round();
    }
    assert_eq!(fleet.states(0), [CLOSED; 3]);
    for exchange in &late {
        fleet.store.exchange(fleet.time, exchange);
    }
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [CLOSED; 3]);
}

/// ZiggyCreatures/FusionCache#329: one service was updated, and what it wrote made reading fail in all others.
#[test]
fn two_versions_share_a_store_and_do_not_read_each_other() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    // The third one writes version 2: under keys of its own, as a version does, and by mistake under ours.
    fleet.calls(3, 2, 0, Failure);
    let now = fleet.now(2);
    let exchange = fleet.replicas[2].workers[0].engine.take_deltas(now);
    for delta in &exchange.deltas {
        let (mut key, mut record) = (delta.key.clone(), delta.record.clone());
        record[1] = 2;
        assert!(fleet.store.add(fleet.time, &key, &record).is_err());
        key[0] = 2;
        assert!(fleet.store.add(fleet.time, &key, &record).is_err(), "our store keeps no other");
    }
    fleet.call(1, 0, 0, Success);
    fleet.calls(3, 0, 0, Failure);
    fleet.tell(0, 0);
    fleet.tell(1, 0);
    fleet.deliver();
    fleet.tell(1, 0);
    fleet.deliver();
    assert_eq!(fleet.state(1, 0), CLOSED, "one vote, not two");
    assert_eq!(fleet.store.refused, 2);
}
