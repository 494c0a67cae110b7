//! Calls that wait for tokens of a rate limit.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
#[path = "limits/queued.rs"]
mod queued;

use bimetal_core::Engine;
use bimetal_core::decision::Rule;
use bimetal_core::outcome::Outcome;
use proptest::prelude::*;
use queued::{Asked, Worker};
use std::sync::Arc;

/// Ten calls a second, one at once.
fn tens(queue: &str) -> Worker {
    Worker::new(&format!(
        r#""rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{queue}}}}}]"#
    ))
}

const FIVE: &str = r#""max": 5, "max_wait": "10s""#;

#[test]
fn calls_are_served_in_their_order_as_fast_as_tokens_come() {
    let mut worker = tens(FIVE);
    assert!(worker.ask(0, None).is_admitted());
    let waiting: Vec<_> = (0..5).map(|_| worker.ask(0, None)).collect();
    let turns: Vec<_> = waiting.iter().map(Asked::turn).collect();
    assert_eq!(turns, [100, 200, 300, 400, 500]);
    assert_eq!(worker.waiting(), 5);
    // No more may wait.
    assert_eq!(worker.ask(0, None).rejected(), Rule::RateLimit);
    for (call, turn) in waiting.into_iter().zip(turns) {
        // A timer that is early is told to wait on.
        let call = worker.again(turn - 1, call);
        assert_eq!(call.turn(), turn);
        assert!(worker.again(turn, call).is_admitted());
    }
    assert_eq!(worker.waiting(), 0);
    // Who comes before the next token waits for it, and who comes later does not.
    assert_eq!(worker.ask(550, None).turn(), 600);
    assert!(worker.ask(800, None).is_admitted());
}

/// Whoever could not have its token in time is told so at once (node-rate-limiter-flexible#212).
#[test]
fn nobody_waits_longer_than_may_be_or_in_vain() {
    let mut worker = tens(r#""max": 100, "max_wait": "250ms""#);
    assert!(worker.ask(0, None).is_admitted());
    assert_eq!([worker.ask(0, None).turn(), worker.ask(0, None).turn()], [100, 200]);
    assert_eq!(worker.ask(0, None).rejected(), Rule::RateLimit);
    // What was turned away took nothing.
    assert_eq!(worker.ask(60, None).turn(), 300);
}

#[test]
fn a_caller_without_the_time_is_turned_away_at_once() {
    let mut worker = Worker::new(&format!(
        r#""deadline": {{"margin": "0s"}}, "rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{FIVE}}}}}]"#
    ));
    assert!(worker.ask(0, None).is_admitted());
    let first = worker.ask(0, Some(150));
    assert_eq!(first.turn(), 100);
    assert_eq!(worker.ask(0, Some(150)).rejected(), Rule::RateLimit);
    assert_eq!(worker.ask(0, None).turn(), 200);
    // A host that is late finds the time over; the token is others'.
    assert_eq!(worker.again(151, first).rejected(), Rule::Deadline);
    assert_eq!(worker.ask(151, None).turn(), 200);
}

/// dotnet/runtime#77180: tokens went to calls that had been cancelled.
#[test]
fn who_leaves_gives_the_token_back() {
    let mut worker = tens(FIVE);
    assert!(worker.ask(0, None).is_admitted());
    let waiting: Vec<_> = (0..3).map(|_| worker.ask(0, None)).collect();
    for call in waiting {
        worker.forget(0, call);
    }
    assert_eq!(worker.waiting(), 0);
    assert_eq!(worker.ask(0, None).turn(), 100);
}

#[test]
fn who_is_behind_a_leaver_moves_up() {
    let mut worker = tens(FIVE);
    assert!(worker.ask(0, None).is_admitted());
    let mut waiting: Vec<_> = (0..4).map(|_| worker.ask(0, None)).collect();
    let first = waiting.remove(0);
    worker.forget(0, first);
    // One is woken, and is told of its new turn.
    assert!(worker.engine.take_woken().is_some() && worker.engine.take_woken().is_none());
    let second = worker.again(0, waiting.remove(0));
    assert_eq!(second.turn(), 100);
    assert!(worker.engine.take_woken().is_none());
    assert_eq!(worker.ask(0, None).turn(), 400);
    assert!(worker.engine.take_woken().is_none());
    // And wakes the next when it goes on.
    assert!(worker.again(100, second).is_admitted());
    assert!(worker.engine.take_woken().is_some() && worker.engine.take_woken().is_none());
    let third = worker.again(100, waiting.remove(0));
    assert_eq!(third.turn(), 200);
}

/// xen-api#7114: whoever came when a token did took it from those who waited.
#[test]
fn who_comes_when_a_token_does_takes_nobodys() {
    let mut worker = tens(FIVE);
    assert!(worker.ask(0, None).is_admitted());
    let first = worker.ask(0, None);
    // Its host is late.
    assert_eq!(worker.ask(105, None).turn(), 200);
    assert!(worker.again(106, first).is_admitted());
}

#[test]
fn an_open_breaker_turns_away_who_waited_and_keeps_no_token() {
    let mut worker = Worker::new(&format!(
        r#""breaker": {{"trip": {{"consecutive_failures": 1}}}}, "rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{FIVE}}}}}]"#
    ));
    let Asked::Admitted(ticket) = worker.ask(0, None) else { panic!() };
    let waits = worker.ask(0, None);
    worker.engine.settle(worker.now, ticket, Outcome::Failure.into());
    // It does not begin to wait for nothing.
    assert_eq!(worker.ask(50, None).rejected(), Rule::Breaker);
    assert_eq!(worker.again(100, waits).rejected(), Rule::Breaker);
    assert_eq!(worker.waiting(), 0);
}

#[test]
fn several_limits_are_waited_for_together() {
    let mut worker = Worker::new(
        r#""rate_limits": [
            {"rate": "10/s", "capacity": 2, "queue": {"max": 5, "max_wait": "10s"}},
            {"rate": "5/s", "capacity": 1, "queue": {"max": 5, "max_wait": "10s"}},
            {"rate": "1000/s"}]"#,
    );
    assert!(worker.ask(0, None).is_admitted());
    let [second, third] = [(), ()].map(|()| worker.ask(0, None));
    assert_eq!([second.turn(), third.turn()], [200, 400]);
    assert!(worker.again(200, second).is_admitted());
    assert!(worker.again(400, third).is_admitted());
}

#[test]
fn a_token_is_kept_while_its_call_waits_for_a_slot() {
    let mut worker = Worker::new(&format!(
        r#""concurrency": {{"max": 1, "queue": {{{FIVE}}}}},
           "rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{FIVE}}}}}]"#
    ));
    let Asked::Admitted(ticket) = worker.ask(0, None) else { panic!() };
    let [second, third] = [(), ()].map(|()| worker.ask(0, None));
    let second = worker.again(100, second);
    // It waits for a slot now, and its token is spent.
    assert_eq!(worker.waiting(), 1);
    assert_eq!(worker.slots_waiting(), 1);
    assert_eq!(worker.ask(100, None).turn(), 300);
    worker.at(150);
    worker.engine.settle(worker.now, ticket, Outcome::Success.into());
    let Asked::Admitted(ticket) = worker.again(150, second) else { panic!() };
    let third = worker.again(200, third);
    worker.forget(250, third);
    worker.at(260);
    worker.engine.settle(worker.now, ticket, Outcome::Success.into());
    // The token of the one that left and the slot of the one that is done are here.
    assert_eq!(worker.ask(260, None).turn(), 300);
}

#[test]
fn calls_that_come_to_the_slots_out_of_order_are_found() {
    let mut worker = Worker::new(&format!(
        r#""concurrency": {{"max": 1, "queue": {{{FIVE}}}}},
           "rate_limits": [{{"rate": "10/s", "key": ["client"], "capacity": 1, "queue": {{{FIVE}}}}}]"#
    ));
    let Asked::Admitted(ticket) = worker.ask_as("a", 0) else { panic!() };
    let late = worker.ask_as("a", 0);
    let [b, c, d] = ["b", "c", "d"].map(|client| worker.ask_as(client, 0));
    let late = worker.again_as("a", 100, late);
    let e = worker.ask_as("e", 100);
    assert_eq!(worker.slots_waiting(), 5);
    let mut ticket = ticket;
    for (client, call) in [("b", b), ("c", c), ("d", d), ("a", late), ("e", e)] {
        worker.engine.settle(worker.now, ticket, Outcome::Success.into());
        ticket = match worker.again_as(client, 100, call) {
            Asked::Admitted(ticket) => ticket,
            other => panic!("{client}: {other:?}"),
        };
    }
}

#[test]
fn in_shadow_and_where_the_host_cannot_nobody_waits() {
    let rest = r#""mode": "shadow", "rate_limits": [{"rate": "10/s", "capacity": 1, "queue": {"max": 5, "max_wait": "10s"}}]"#;
    let mut worker = Worker::new(rest);
    assert!(worker.ask(0, None).is_admitted());
    assert!((0..3).all(|_| matches!(worker.ask(0, None), Asked::Passed)));
    assert_eq!(worker.waiting(), 0);
    // Nor did they overdraw it.
    assert!(worker.ask(100, None).is_admitted());
    let mut worker = tens(FIVE);
    worker.engine.set_can_wait(false);
    assert!(worker.ask(0, None).is_admitted());
    assert_eq!(worker.ask(0, None).rejected(), Rule::RateLimit);
}

#[test]
fn a_share_that_is_not_enforced_does_not_wait() {
    let rest = r#""rate_limits": [{"rate": "10/s", "capacity": 1, "enforced": 0.5, "queue": {"max": 5, "max_wait": "10s"}}]"#;
    let mut worker = Worker::new(rest);
    assert!(worker.ask(0, None).is_admitted());
    assert!(worker.ask(0, None).is_admitted());
    assert_eq!(worker.ask(0, None).turn(), 100);
}

#[test]
fn workers_have_one_queue() {
    let memory = Arc::new(board::TestBoard::default());
    let rest =
        format!(r#""rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{FIVE}}}}}]"#);
    let new = |seed| Worker::with(Engine::with_board(seed, memory.clone()), &rest);
    let mut workers = [new(1), new(2)];
    assert!(workers[0].ask(0, None).is_admitted());
    let waiting: Vec<_> = (0..5).map(|call| workers[call % 2].ask(0, None)).collect();
    let turns: Vec<_> = waiting.iter().map(Asked::turn).collect();
    assert_eq!(turns, [100, 200, 300, 400, 500]);
    assert!(workers.iter_mut().all(|one| one.ask(0, None).rejected() == Rule::RateLimit));
    for (call, waits) in waiting.into_iter().enumerate() {
        assert!(workers[call % 2].again(turns[call], waits).is_admitted());
    }
}

/// A token that came back from another worker is for those who wait; found by the property below.
#[test]
fn nobody_comes_before_those_who_wait_when_another_workers_call_leaves() {
    let memory = Arc::new(board::TestBoard::default());
    let rest =
        format!(r#""rate_limits": [{{"rate": "10/s", "capacity": 1, "queue": {{{FIVE}}}}}]"#);
    let new = |seed| Worker::with(Engine::with_board(seed, memory.clone()), &rest);
    let mut workers = [new(1), new(2)];
    assert!(workers[0].ask(0, None).is_admitted());
    let leaves = [workers[1].ask(0, None), workers[1].ask(0, None)];
    let waits = workers[0].ask(0, None);
    assert_eq!(waits.turn(), 300);
    leaves.into_iter().for_each(|call| workers[1].forget(10, call));
    // Two of three tokens that were owed came back: there is one at 200.
    let newest = workers[0].ask(200, None);
    assert_eq!(newest.turn(), 300, "it has the last turn of all");
    let called = workers[0].engine.take_woken().expect("the first one is called");
    assert!(matches!(waits, Asked::Waits(waiting, ..) if waiting == called));
    assert!(workers[0].again(200, waits).is_admitted());
    assert!(workers[0].again(300, newest).is_admitted());
}

/// A call that waits at a worker, and its turn as it was told.
struct Called {
    worker: usize,
    turn: u64,
    call: Asked,
}

/// Has those ask again that were woken, and notes who is admitted by that.
fn wake(
    one: &mut Worker,
    worker: usize,
    now: u64,
    (waiting, admitted): (&mut Vec<Called>, &mut Vec<u64>),
) {
    while let Some(woken) = one.engine.take_woken() {
        let is_it = |called: &Called| {
            called.worker == worker
                && matches!(&called.call, Asked::Waits(waiting, ..) if *waiting == woken)
        };
        if let Some(place) = waiting.iter().position(is_it) {
            let call = one.again(now, waiting.remove(place).call);
            if call.is_admitted() {
                assert!(waiting[..place].iter().all(|one| one.worker != worker), "before others");
                admitted.push(now);
            } else {
                waiting.insert(place, Called { worker, turn: call.turn(), call });
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Ask { worker: usize },
    Leave { which: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0_u64..300).prop_map(Step::Wait),
        5 => (0_usize..2).prop_map(|worker| Step::Ask { worker }),
        1 => (0_usize..8).prop_map(|which| Step::Leave { which }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever comes when, over two workers: in any time no more is admitted than the bucket, the rate
    /// and the tokens that leavers gave back say, of which there are no more than may wait; calls go on in their order and at their turn; at the
    /// end nothing is owed.
    #[test]
    fn no_token_is_lost_or_invented(
        steps in prop::collection::vec(step(), 1..120),
        capacity in 1_u64..4,
        max in 1_u64..8,
        used in 1_usize..3,
    ) {
        let memory = Arc::new(board::TestBoard::default());
        let rest = format!(
            r#""rate_limits": [{{"rate": "10/s", "capacity": {capacity}, "queue": {{"max": {max}, "max_wait": "1h"}}}}]"#
        );
        let new = |seed| Worker::with(Engine::with_board(seed, memory.clone()), &rest);
        let mut workers = [new(1), new(2)];
        let (mut now, mut leavers) = (0_u64, 0);
        let mut waiting: Vec<Called> = Vec::new();
        // Those of another worker do not move up.
        let slack = |leavers: u64| if used == 1 { 0 } else { leavers.min(max) };
        let mut admitted: Vec<u64> = Vec::new();
        let all = steps.into_iter().chain([Step::Wait(10_000)]);
        for step in all {
            match step {
                Step::Wait(millis) => {
                    let end = now + millis;
                    loop {
                        let due = waiting.iter().enumerate().filter(|(_, one)| one.turn <= end);
                        let first = due.min_by_key(|(_, one)| one.turn).map(|(place, _)| place);
                        let Some(place) = first else { break };
                        // Its worker serves them in the order of their coming.
                        let worker = waiting[place].worker;
                        let is_first = waiting[..place].iter().all(|one| one.worker != worker);
                        prop_assert!(is_first, "before others");
                        let Called { turn, call, .. } = waiting.remove(place);
                        let answer = workers[worker].again(turn, call);
                        prop_assert!(answer.is_admitted(), "not at its turn");
                        admitted.push(turn);
                        wake(&mut workers[worker], worker, turn, (&mut waiting, &mut admitted));
                    }
                    now = end;
                }
                Step::Ask { worker } => match workers[worker % used].ask(now, None) {
                    Asked::Admitted(_) => {
                        let is_alone = waiting.iter().all(|one| one.worker != worker % used);
                        prop_assert!(is_alone, "before those who wait");
                        admitted.push(now);
                    }
                    waits @ Asked::Waits(..) => {
                        let turn = waits.turn();
                        prop_assert!(turn - now <= max * 100, "too late a turn");
                        waiting.push(Called { worker: worker % used, turn, call: waits });
                        prop_assert!(waiting.len() as u64 <= max + slack(leavers));
                        let worker = worker % used;
                        wake(&mut workers[worker], worker, now, (&mut waiting, &mut admitted));
                    }
                    Asked::Rejected(rule) => {
                        prop_assert_eq!(rule, Rule::RateLimit);
                        let is_full = waiting.len() as u64 >= max || slack(leavers) > 0;
                        prop_assert!(is_full, "turned away beside a free place");
                    }
                    Asked::Passed => prop_assert!(false),
                },
                Step::Leave { which } => {
                    if which < waiting.len() {
                        let Called { worker, call, .. } = waiting.remove(which);
                        workers[worker].forget(now, call);
                        leavers += 1;
                        wake(&mut workers[worker], worker, now, (&mut waiting, &mut admitted));
                    }
                }
            }
        }
        admitted.sort_unstable();
        for (first, from) in admitted.iter().enumerate() {
            for (last, to) in admitted.iter().enumerate().skip(first) {
                let most = capacity + (to - from) / 100 + slack(leavers);
                prop_assert!((last - first + 1) as u64 <= most, "{first}..{last}");
            }
        }
        prop_assert_eq!(workers.iter().map(Worker::waiting).sum::<u64>(), 0);
        let full = (0..capacity).filter(|_| workers[0].ask(now, None).is_admitted()).count();
        prop_assert_eq!(full as u64, capacity);
        prop_assert!(!workers[1].ask(now, None).is_admitted());
    }
}

#[test]
fn wrong_queues_are_refused_with_their_path() {
    for (queue, field) in [
        (r#"{"max": 0, "max_wait": "1s"}"#, "max"),
        (r#"{"max": 10001, "max_wait": "1s"}"#, "max"),
        (r#"{"max": 5, "max_wait": "0s"}"#, "max_wait"),
        (r#"{"max": 5}"#, "max_wait"),
        (r#"{"max": 5, "max_wait": "1s", "min": 1}"#, "min"),
    ] {
        let told =
            queued::refused(&format!(r#""rate_limits": [{{"rate": "1/s", "queue": {queue}}}]"#));
        let path = format!("policies[0].rate_limits[0].queue.{field}: ");
        assert!(told.starts_with(&path), "{queue}: {told}");
    }
}
