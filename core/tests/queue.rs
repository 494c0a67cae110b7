//! Calls that wait for a slot: who is served, who is dropped, and that nothing is lost.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
#[path = "queue/histories.rs"]
mod histories;
#[path = "adaptive/picture.rs"]
#[allow(dead_code)]
mod picture;
#[path = "adaptive/server.rs"]
#[allow(dead_code)]
mod server;
#[path = "queue/picture.rs"]
mod waits_picture;
#[path = "queue/worker.rs"]
mod worker;

use bimetal_core::decision::Rule;
use bimetal_core::outcome::Outcome::{Failure, Success};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Engine, Rejection};
use server::Power;
use worker::{Answer, Worker, at, left, of};

const ONE: &str = r#""concurrency": {"max": 1, "queue": {"max": 3, "max_wait": "100ms"}}"#;

fn waits(answer: Answer) -> worker::Waits {
    match answer {
        Answer::Waits(waits) => waits,
        other => panic!("{other:?}"),
    }
}

fn reason(answer: &Answer) -> String {
    match answer {
        Answer::Rejected(rejection) => rejection.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_that_finds_no_slot_waits_and_has_the_next_one() {
    let mut worker = Worker::new(ONE);
    let first = worker.ask(0).admitted();
    let second = waits(worker.ask(10));
    let third = waits(worker.ask(20));
    assert_eq!((second.until, third.until, worker.waiting()), (at(110), at(120), 2));
    // Nobody has to ask before.
    assert!(worker.woken().is_empty());
    worker.settle(30, first, Success);
    assert_eq!(worker.woken(), [second.waiting]);
    let second = worker.again(31, second).admitted();
    worker.settle(40, second, Success);
    let third = worker.again(41, third).admitted();
    worker.settle(50, third, Success);
    assert!(worker.is_idle(50));
}

/// The slot is kept: whoever comes meanwhile cannot take it.
#[test]
fn nobody_comes_before_a_call_that_was_called() {
    let mut worker = Worker::new(ONE);
    let first = worker.ask(0).admitted();
    let second = waits(worker.ask(10));
    worker.settle(20, first, Success);
    let third = waits(worker.ask(21));
    let second = worker.again(22, second).admitted();
    worker.settle(30, second, Success);
    assert!(matches!(worker.again(31, third), Answer::Admitted(_)));
}

#[test]
fn who_waited_in_vain_is_rejected_with_how_long() {
    let mut worker = Worker::new(ONE);
    let _first = worker.ask(0).admitted();
    let second = waits(worker.ask(10));
    // Asked too early, it goes on waiting.
    let second = waits(worker.again(60, second));
    assert_eq!(second.until, at(110));
    let answer = worker.again(110, second);
    assert_eq!(reason(&answer), "1 call under way, and no more may be; waited 100ms");
    assert!(matches!(answer, Answer::Rejected(rejection) if rejection.rule() == Rule::Concurrency));
    assert_eq!(worker.waiting(), 0);
}

#[test]
fn a_full_queue_drops_the_oldest_for_the_newest() {
    let mut worker = Worker::new(ONE);
    let first = worker.ask(0).admitted();
    let mut calls: Vec<_> = (1..=4).map(|millis| waits(worker.ask(millis))).collect();
    assert_eq!((worker.woken(), worker.waiting()), (vec![calls[0].waiting], 3));
    let answer = worker.again(5, calls.remove(0));
    assert_eq!(reason(&answer), "1 call under way, and no more may be; waited 4ms");
    worker.settle(6, first, Success);
    assert_eq!(worker.woken(), [calls[2].waiting]);
    assert!(matches!(worker.again(7, calls.remove(2)), Answer::Admitted(_)));
}

/// failsafe-lib/failsafe#393 and #400: a slot that was given to somebody who had left was lost for good.
#[test]
fn who_leaves_is_forgotten_and_a_slot_that_was_kept_goes_to_the_next() {
    let mut worker = Worker::new(ONE);
    let first = worker.ask(0).admitted();
    let [second, third, fourth] = [10, 20, 30].map(|millis| waits(worker.ask(millis)));
    worker.engine.forget(at(35), third.waiting);
    worker.settle(40, first, Success);
    assert_eq!(worker.woken(), [second.waiting]);
    worker.engine.forget(at(41), second.waiting);
    assert_eq!(worker.woken(), [fourth.waiting]);
    worker.engine.forget(at(42), fourth.waiting);
    assert!(worker.woken().is_empty() && worker.is_idle(42));
    assert!(matches!(worker.ask(43), Answer::Admitted(_)));
}

/// failsafe-lib/failsafe#365: three calls on one slot, and the third was never called.
#[test]
fn each_of_many_has_its_turn() {
    let mut worker = Worker::new(&ONE.replace("\"max\": 3", "\"max\": 50").replace("100ms", "1h"));
    let mut under_way = worker.ask(0).admitted();
    let mut calls: Vec<_> = (1..=50).map(|millis| waits(worker.ask(millis))).collect();
    for step in 0..50 {
        worker.settle(100 + step, under_way, Success);
        assert_eq!(worker.woken(), [calls[0].waiting]);
        under_way = worker.again(100 + step, calls.remove(0)).admitted();
    }
    worker.settle(200, under_way, Success);
    assert!(worker.is_idle(200));
}

/// haproxy/haproxy#3290: calls stuck in a queue though the server was idle. A limit that rises serves all
/// whom it has room for.
#[test]
fn a_limit_that_rises_serves_those_who_wait() {
    let mut worker = Worker::new(ONE);
    let _first = worker.ask(0).admitted();
    let calls = [10, 20, 30].map(|millis| waits(worker.ask(millis)));
    worker.load(&ONE.replace("\"max\": 1", "\"max\": 9"));
    // Whoever comes next brings the new limit; those before it come first.
    assert!(matches!(worker.ask(40), Answer::Admitted(_)));
    assert_eq!(worker.woken(), calls.each_ref().map(|call| call.waiting));
    for call in calls {
        assert!(matches!(worker.again(41, call), Answer::Admitted(_)));
    }
}

#[test]
fn a_limit_that_fell_gives_no_slot_beyond_it() {
    let mut worker = Worker::new(&ONE.replace("\"max\": 1", "\"max\": 3"));
    let tickets = [0, 1, 2].map(|millis| worker.ask(millis).admitted());
    worker.load(ONE);
    let waiting = waits(worker.ask(10));
    let [one, two, three] = tickets;
    worker.settle(20, one, Success);
    worker.settle(21, two, Success);
    assert!(worker.woken().is_empty());
    worker.settle(22, three, Success);
    assert_eq!(worker.woken(), [waiting.waiting]);
}

/// A call starts over: with the breaker, the deadline and the rate limits. What was kept for it goes on.
#[test]
fn a_call_that_waited_starts_over() {
    let breaker = r#""breaker": {"trip": {"consecutive_failures": 1}}"#;
    let mut worker = Worker::new(&format!("{ONE}, {breaker}"));
    let first = worker.ask(0).admitted();
    let calls = [10, 20].map(|millis| waits(worker.ask(millis)));
    worker.settle(30, first, Failure);
    for call in calls {
        let answer = worker.again(31, call);
        assert!(matches!(answer, Answer::Rejected(Rejection::Breaker(_))), "{answer:?}");
    }
    assert!(worker.woken().len() == 2 && worker.is_idle(31));

    let mut worker = Worker::new(&format!(r#"{ONE}, "rate_limits": [{{"rate": "2/h"}}]"#));
    let first = worker.ask(0).admitted();
    // Who waits has no token: the second is still there, for the first of them who is served.
    let calls = [10, 20].map(|millis| waits(worker.ask(millis)));
    worker.settle(30, first, Success);
    let [second, third] = calls;
    let second = worker.again(31, second).admitted();
    worker.settle(32, second, Success);
    let answer = worker.again(33, third);
    assert!(matches!(answer, Answer::Rejected(Rejection::RateLimit { .. })), "{answer:?}");
    assert!(worker.is_idle(33));
}

#[test]
fn nobody_waits_longer_than_its_caller_does() {
    let mut worker = Worker::new(&format!(r#"{ONE}, "deadline": {{"margin": "5ms"}}"#));
    let first = worker.ask_by(0, left("60")).admitted();
    let second = waits(worker.ask_by(10, left("60")));
    assert_eq!(second.until, at(65));
    let third = waits(worker.ask_by(11, left("500")));
    assert_eq!(third.until, at(111));
    // A slot that comes free in time is no use to a call that is late with it.
    worker.settle(20, first, Success);
    assert_eq!(worker.woken(), [second.waiting]);
    let answer = worker.again(66, second);
    assert_eq!(reason(&answer), "of 60ms nothing is left");
    assert_eq!(worker.woken(), [third.waiting]);
    assert!(matches!(worker.again(67, third), Answer::Admitted(_)));
}

#[test]
fn a_host_that_cannot_have_calls_wait_has_no_queue() {
    let mut worker = Worker::new(ONE);
    worker.engine.set_can_wait(false);
    let _first = worker.ask(0).admitted();
    assert_eq!(reason(&worker.ask(1)), "1 call under way, and no more may be");
    let mut shadow = Worker::new(&format!(r#"{ONE}, "mode": "shadow""#));
    let _first = shadow.ask(0).admitted();
    assert!(matches!(shadow.ask(1), Answer::Passed));
}

#[test]
fn where_calls_wait_the_scope_stays_in_the_table() {
    let mut worker = Worker::new(&format!(r#"{ONE}, "scopes": {{"max": 1, "when_full": "pass"}}"#));
    let first = worker.ask_by(0, of("a")).admitted();
    let second = waits(worker.ask_by(1, of("a")));
    worker.settle(2, first, Success);
    // A slot is kept, though nobody has one.
    assert!(matches!(worker.ask_by(3, of("b")), Answer::Passed));
    let second = worker.again_by(4, second, of("a")).admitted();
    worker.settle(5, second, Success);
    assert!(matches!(worker.ask_by(6, of("b")), Answer::Admitted(_)));
}

/// Waits of a policy that is gone leave nothing behind.
#[test]
fn a_policy_that_goes_takes_its_queue_along() {
    let mut worker = Worker::new(ONE);
    let first = worker.ask(0).admitted();
    let second = waits(worker.ask(1));
    worker.settle(2, first, Success);
    worker.load(r#""mode": "disabled""#);
    assert!(matches!(worker.again(3, second), Answer::Passed));
    assert!(worker.is_idle(4));
}

/// What the workers of a process learn of their upstream they learn together.
#[test]
fn workers_learn_one_limit_together() {
    let board = std::sync::Arc::new(board::TestBoard::default());
    let limit = r#""concurrency": {"adaptive": {"min": 1, "max": 9}, "share": "process"}"#;
    for (share, seen) in [("process", true), ("none", false)] {
        let fields = limit.replace("process", share);
        let mut workers = [1, 2].map(|seed| Worker::on(board.clone(), seed, &fields));
        for step in 0..400 {
            let ticket = workers[0].ask(step * 2).admitted();
            workers[0].settle_in(step * 2 + 1, ticket, 5);
        }
        // It has not seen one call.
        let other = workers[1].ask(800).admitted();
        let limits = workers.each_ref().map(|one| one.engine.limits().next().unwrap().view.limit);
        assert!(limits[0] > 1 && (limits[1] == limits[0]) == seen, "{limits:?} for {share}");
        workers[1].settle(801, other, Success);
    }
}

/// A limit that measures its floor lets those go who came before. Where calls always wait, no slot is ever
/// free: each goes from hand to hand, and that counts as a call let through. Else it would stay at half.
#[test]
fn a_limit_that_measures_comes_back_under_a_lasting_overload() {
    let fields = r#""concurrency": {"adaptive": {"min": 4, "max": 40}, "queue": {"max": 50, "max_wait": "1s"}}"#;
    let mut worker = Worker::new(fields);
    let (mut waiting, mut under_way) = (std::collections::HashMap::new(), Vec::new());
    let mut limits = Vec::new();
    // A server of 20 at once, 20 ms each: so long beyond it calls wait there too.
    for now in 0..30_000 {
        for _ in 0..2 {
            match worker.ask(now) {
                Answer::Admitted(ticket) => under_way.push((now, ticket)),
                Answer::Waits(call) => drop(waiting.insert(call.waiting, call)),
                _ => {}
            }
        }
        let served = u64::from(now % 2 == 0) * 2;
        for _ in 0..served.min(under_way.len() as u64) {
            let (since, ticket) = under_way.remove(0);
            worker.settle_in(now, ticket, (now - since).max(20));
            for called in worker.woken() {
                if let Some(call) = waiting.remove(&called)
                    && let Answer::Admitted(ticket) = worker.again(now, call)
                {
                    under_way.push((now, ticket));
                }
            }
        }
        limits.push(worker.engine.limits().next().map_or(0, |limit| limit.view.limit));
    }
    // From time to time it measures, by half of what it is.
    let halves = limits[5_000..].iter().filter(|limit| **limit < 20).count();
    assert!((1..2_500).contains(&halves), "half for {halves} of 25000 ms");
}

#[test]
fn waiting_allocates_nothing_once_the_queue_has_grown() {
    let mut worker = Worker::new(ONE);
    let mut play = |from: u64| {
        let mut under_way = worker.ask(from).admitted();
        for step in 1..1_000 {
            let call = waits(worker.ask(from + step));
            worker.settle(from + step, under_way, Success);
            assert!(worker.engine.take_woken().is_some());
            under_way = worker.again(from + step, call).admitted();
        }
        worker.settle(from + 1_000, under_way, Success);
    };
    play(0);
    assert_eq!(allocation_counter::measure(|| play(10_000)).count_total, 0);
}

/// What the documentation's picture shows: so many calls a second for ten seconds, of which the middle is
/// more than the server can do. When each was served, and how long it had waited.
fn waits_over_time() -> Vec<(f64, Option<f64>)> {
    let mut worker =
        Worker::new(r#""concurrency": {"max": 10, "queue": {"max": 50, "max_wait": "100ms"}}"#);
    let (mut rng, mut calls, mut told) = (bimetal_core::rng::Rng::new(5), Vec::new(), Vec::new());
    let mut works: Vec<(u64, bimetal_core::Ticket)> = Vec::new();
    let mut next = 0.0;
    for now in 0..6_000_u64 {
        let rate = if (2_000..4_000).contains(&now) { 1_500.0 } else { 850.0 };
        let mut answers: Vec<(u64, Answer)> = Vec::new();
        let done = works.extract_if(.., |(ends, _)| *ends <= now).collect::<Vec<_>>();
        for (_, ticket) in done {
            worker.settle(now, ticket, Success);
        }
        while next <= now as f64 {
            answers.push((now, worker.ask(now)));
            next += server::exponential(&mut rng) * 1_000.0 / rate;
        }
        loop {
            for (begun, answer) in answers.drain(..) {
                match answer {
                    Answer::Admitted(ticket) => {
                        told.push((begun as f64 / 1e3, Some((now - begun) as f64)));
                        // Ten milliseconds, more or less.
                        works.push((now + 5 + rng.next_u64() % 11, ticket));
                    }
                    Answer::Waits(call) => calls.push((begun, call)),
                    _ => told.push((begun as f64 / 1e3, None)),
                }
            }
            let woken = worker.woken();
            let is_due = |(_, call): &mut (u64, worker::Waits)| {
                call.until <= at(now) || woken.contains(&call.waiting)
            };
            let due: Vec<_> = calls.extract_if(.., is_due).collect();
            if due.is_empty() {
                break;
            }
            for (begun, call) in due {
                answers.push((begun, worker.again(now, call)));
            }
        }
    }
    told
}

#[test]
fn the_picture_is_drawn_by_this() {
    let told = waits_over_time();
    let within = |from: f64, to: f64| told.iter().filter(move |call| (from..to).contains(&call.0));
    // While load comes and goes next to nobody is turned away.
    let lost = within(0.0, 2.0).filter(|call| call.1.is_none()).count();
    assert!(lost * 100 <= within(0.0, 2.0).count(), "{lost}");
    // Under overload nine of ten of those who are served have waited for less than a third of the time.
    let mut waits: Vec<_> = within(2.3, 4.0).filter_map(|call| call.1).collect();
    waits.sort_by(f64::total_cmp);
    assert!(waits.len() >= 1_500 && waits[waits.len() * 9 / 10] <= 33.0, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 100.0));
    picture::is_drawn("queue.svg", &waits_picture::of_waits(&told, 6.0, 100.0));
}
