//! Stores that are gone, forget, jump and hold what is not ours; and what it costs who shares nothing.

use super::fleet::{CLOSED, Fleet, OPEN, Request, document, streak};
use bimetal_core::board::far::{Gathered, Member, Refused};
use bimetal_core::engine::{ExchangeTotals, MAX_DELTAS};
use bimetal_core::outcome::Outcome::{Failure, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Host, Scope};
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A client by its number.
struct Client(u32);

impl Facts for Client {
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.to_le_bytes().to_vec().into())
    }
}

#[test]
fn without_the_store_each_decides_alone_and_nothing_grows() {
    let mut fleet = Fleet::new(streak(2), 2, 1, 1);
    fleet.is_store_gone = true;
    let hour = |fleet: &mut Fleet| {
        for tick in 0..3_600 {
            fleet.wait(1_000);
            let outcome = if tick % 60 < 20 { Failure } else { Success };
            fleet.call(0, 0, 0, outcome);
            fleet.tell(0, 0);
            fleet.tell(1, 0);
        }
        fleet.changes.clear();
        fleet.results.clear();
    };
    hour(&mut fleet);
    assert!(fleet.rejected > 60, "{}", fleet.rejected);
    let grown = allocation_counter::measure(|| hour(&mut fleet));
    // What the test itself keeps has its places by now.
    assert!(grown.bytes_current <= 0, "{grown:?}");
    assert_eq!(fleet.net.len(), 0);
    let totals = fleet.replicas[0].workers[0].engine.exchange_totals();
    assert!(totals.taken > 0 && totals.given_back > totals.taken - 10, "{totals:?}");
    fleet.is_store_gone = false;
    fleet.call(1, 0, 0, Success);
    fleet.trip_two();
    assert_eq!(fleet.states(0), [OPEN; 2]);
}

#[test]
fn clocks_at_the_end_of_time_open_nobody_for_longer_than_open_max() {
    let open = r#""trip": {"consecutive_failures": 3}, "open": {"base": "10s", "max": "20s", "jitter": 0}"#;
    let mut fleet = Fleet::new(document(open, 2), 3, 2, 1);
    for replica in 0..2 {
        fleet.replicas[replica].jumped_to = Some(Instant::FAR_FUTURE);
        fleet.calls(3, replica, 0, Failure);
        fleet.tell(replica, 0);
        fleet.deliver();
    }
    fleet.call(2, 0, 0, Success);
    fleet.replicas[2].jumped_to = Some(Instant::from_nanos(u64::MAX - 1));
    fleet.round();
    fleet.round();
    for replica in 0..3 {
        fleet.replicas[replica].jumped_to = None;
    }
    fleet.round();
    fleet.round();
    for replica in 0..3 {
        let (_, left) = fleet.view(replica, 0, 0).unwrap();
        assert!(left <= Duration::from_millis(20_001), "replica {replica}: {left}");
    }
    fleet.wait(21_000);
    (0..3).for_each(|replica| fleet.calls(1, replica, 0, Success));
    assert_eq!(fleet.states(0), [CLOSED; 3]);
}

/// What was counted while a clock was at its end would be of now for ever.
#[test]
fn what_a_clock_counted_at_the_end_of_time_gets_old() {
    let trip = r#""trip": {"failure_rate": {"threshold": 1, "window": {"time": "10s"}, "minimum_calls": 1000}}"#;
    let mut fleet = Fleet::new(document(trip, 9), 2, 2, 1);
    fleet.replicas[0].jumped_to = Some(Instant::FAR_FUTURE);
    fleet.calls(5, 0, 0, Failure);
    fleet.replicas[0].jumped_to = None;
    for calls in [0, 1, 2] {
        // The first exchange finds that the clock came back, and begins anew.
        fleet.wait(1_000);
        fleet.calls(1, 0, 0, Success);
        fleet.round();
        let (time, key) = (fleet.time, fleet.key(0));
        let counted = fleet.store.sum(time, &key).unwrap().failures.all;
        assert_eq!((counted.calls, counted.bad), (calls, 0));
    }
}

/// What a store's clock does is nobody's harm: it keeps nothing for ever, and is heard again.
#[test]
fn a_store_whose_clock_jumps_is_heard_again() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    fleet.round();
    fleet.store.ahead = u64::MAX;
    fleet.call(2, 0, 0, Success);
    fleet.calls(3, 0, 0, Failure);
    fleet.round();
    fleet.store.ahead = 0;
    fleet.calls(3, 1, 0, Failure);
    fleet.round();
    fleet.round();
    assert_eq!(fleet.states(0), [OPEN; 3]);
    (0..3).for_each(|_| fleet.round());
    fleet.wait(700_000);
    fleet.round();
    let key = fleet.key(0);
    let members = fleet.store.gathered.get(&key).map_or(0, |all| all.members().count());
    assert_eq!(members, 0, "nobody had anything to say for ten minutes");
}

#[test]
fn what_is_not_ours_is_counted_and_never_believed() {
    let mut fleet = Fleet::new(streak(1), 2, 1, 1);
    fleet.call(0, 0, 0, Success);
    fleet.calls(3, 1, 0, Failure);
    fleet.tell(1, 0);
    fleet.deliver();
    let (time, key, now) = (fleet.time, fleet.key(0), fleet.now(0));
    let good = fleet.store.gathered.get_mut(&key).unwrap().merged(Instant::from_nanos(time));
    let mut newer = good.clone();
    newer[1] += 1;
    let mut broken = good.clone();
    broken[20] ^= 1;
    let engine = &mut fleet.replicas[0].workers[0].engine;
    assert_eq!(engine.merge(now, &key, &newer), Err(Refused::Version));
    assert_eq!(engine.merge(now, &key, &broken), Err(Refused::Foreign));
    assert_eq!(engine.merge(now, &key, b"+OK"), Err(Refused::Foreign));
    // Another scope's record, and a record for a scope that nobody called.
    let other = fleet.key(1);
    let engine = &mut fleet.replicas[0].workers[0].engine;
    assert_eq!(engine.merge(now, &other, &good), Err(Refused::Foreign));
    let empty = Gathered::new(&other).merged(now);
    assert_eq!(engine.merge(now, &other, &empty), Ok(()));
    let strange = Gathered::new(b"").merged(now);
    assert_eq!(engine.merge(now, b"", &strange), Ok(()));
    let totals = engine.exchange_totals();
    assert_eq!(totals, ExchangeTotals { refused: 4, unknown: 2, ..ExchangeTotals::default() });
    assert_eq!((fleet.state(0, 0), fleet.view(0, 0, 1)), (CLOSED, None));
    let engine = &mut fleet.replicas[0].workers[0].engine;
    engine.merge(now, &key, &good).unwrap();
    assert_eq!(fleet.state(0, 0), OPEN, "the record itself would have opened it");
}

#[test]
fn an_old_answer_says_nothing() {
    let mut fleet = Fleet::new(streak(2), 3, 1, 1);
    fleet.call(2, 0, 0, Success);
    fleet.wait(5);
    fleet.calls(1, 0, 0, Failure);
    fleet.calls(2, 1, 0, Failure);
    fleet.tell(0, 0);
    fleet.tell(1, 0);
    fleet.deliver();
    let (key, now) = (fleet.key(0), fleet.now(2));
    let time = Instant::from_nanos(fleet.time);
    let old = fleet.store.gathered.get_mut(&key).unwrap().merged(time);
    fleet.wait(5);
    fleet.call(2, 0, 0, Success);
    fleet.tell(2, 0);
    fleet.deliver();
    fleet.replicas[2].workers[0].engine.merge(now, &key, &old).unwrap();
    assert_eq!(fleet.state(2, 0), CLOSED, "it heard a newer one before");
}

#[test]
fn who_shares_nothing_far_away_tells_nothing() {
    for share in ["process", "none"] {
        let text = format!(
            r#"{{"policies": [{{"name": "echo", "breaker": {{"trip": {{"consecutive_failures": 3}}, "share": "{share}"}}}}]}}"#
        );
        let mut engine = Engine::new(1);
        let policies = engine.load(&Document::parse(text.as_bytes(), Host::Native).unwrap());
        engine.join_mesh(Member::default(), 0);
        let Verdict::Admit(admission) = engine.admit(Instant::ZERO, &policies, &Request(0)) else {
            panic!("not admitted");
        };
        let ticket = admission.ticket;
        engine.settle(Instant::ZERO, ticket, Report::from(Failure));
        assert!(engine.take_deltas(Instant::ZERO).deltas.is_empty());
    }
}

#[test]
fn an_exchange_is_bounded_and_all_have_their_turn() {
    let mut document = streak(2);
    let policy = Arc::make_mut(&mut document.policies[0]);
    policy.scope = Scope::Client;
    let mut engine = Engine::new(1);
    let policies = engine.load(&document);
    engine.join_mesh(Member::default(), 0);
    let scopes = 2 * MAX_DELTAS as u32 + 100;
    let mut told = BTreeSet::new();
    for client in 0..scopes {
        let Verdict::Admit(admission) = engine.admit(Instant::ZERO, &policies, &Client(client))
        else {
            panic!("not admitted");
        };
        let ticket = admission.ticket;
        engine.settle(Instant::ZERO, ticket, Report::from(Success));
    }
    // All have something to say again before each exchange: nobody's turn is lost to those before it.
    for _ in 0..3 {
        let exchange = engine.take_deltas(Instant::ZERO);
        assert_eq!(exchange.deltas.len(), MAX_DELTAS);
        engine.give_back(exchange.clone());
        told.extend(exchange.deltas.into_iter().map(|one| one.key));
    }
    assert_eq!(told.len(), scopes as usize);
}
