//! Slots of a limit of calls under way that are leased.

use super::accounts::Ledger;
use super::limits::{Worker, from};
use super::{below, workers};
use bimetal_core::concurrency::leased::{LIFE, batch};
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::rng::Rng;
use bimetal_core::{Ticket, Verdict};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;

fn limited(count: u64, max: u32) -> (Arc<Ledger>, Vec<Worker>) {
    workers(count, &format!(r#""concurrency": {{"max": {max}}}"#))
}

fn end(worker: &mut Worker, ticket: Ticket) {
    worker.engine.settle(worker.now, ticket, Report::from(Outcome::Success));
}

proptest! {
    /// Never more than may be; and who is turned away finds no more unused than the others' leases hold, now
    /// or when it looked last.
    #[test]
    fn no_more_than_may_be_and_no_fewer_than_the_leases_leave(
        seed in any::<u64>(),
        max in prop::sample::select(vec![1_u32, 2, 5, 8, 20, 64, 100, 300]),
        count in 1_u64..5,
    ) {
        let (_, mut workers) = limited(count, max);
        let mut rng = Rng::new(seed);
        let mut held: Vec<(usize, Ticket)> = Vec::new();
        let (mut now, mut polled) = (0, 0);
        // When how many were under way, for the patience of a worker that found none.
        let mut lately: VecDeque<(u64, usize)> = VecDeque::new();
        let unused = (count as u32 - 1) * batch(max);
        for _ in 0..1_500 {
            now += below(&mut rng, 3);
            while polled + 100 <= now {
                polled += 100;
                workers.iter_mut().for_each(|worker| worker.at(polled).engine.poll(super::limits_at(polled)));
            }
            // Loads that come and go.
            let wanted = if now / 400 % 2 == 0 { 80 } else { 30 };
            if below(&mut rng, 100) < wanted {
                let worker = below(&mut rng, count) as usize;
                match workers[worker].at(now).ask(from("a")) {
                    Ok(ticket) => held.push((worker, ticket)),
                    Err(_) => {
                        // Who has its part leaves the rest to those who had none.
                        let own = held.iter().filter(|(other, _)| *other == worker).count();
                        let has_part = count > 1 && own as u32 >= max.div_ceil(count as u32);
                        let most = lately.iter().map(|(_, under_way)| *under_way).max();
                        let most = most.unwrap_or(0).max(held.len());
                        prop_assert!(
                            has_part || most as u32 + unused >= max,
                            "{most} of {max}, {unused} unused",
                        );
                    }
                }
            } else if !held.is_empty() {
                let at = below(&mut rng, held.len() as u64) as usize;
                let (worker, ticket) = held.swap_remove(at);
                end(workers[worker].at(now), ticket);
            }
            prop_assert!(held.len() <= max as usize, "{} of {max}", held.len());
            lately.push_back((now, held.len()));
            while lately.front().is_some_and(|(then, _)| then + 5 < now) {
                lately.pop_front();
            }
        }
    }
}

/// While calls come and go at much the same number, nearly none asks the account.
#[test]
fn few_calls_pay() {
    let (ledger, mut workers) = limited(4, 200);
    let mut rng = Rng::new(5);
    let mut held: Vec<VecDeque<Ticket>> = (0..4).map(|_| VecDeque::new()).collect();
    let mut admitted = 0;
    for step in 0..20_000_u64 {
        let now = step / 20;
        if step % 2_000 == 0 {
            workers.iter_mut().for_each(|worker| worker.at(now).engine.poll(super::limits_at(now)));
        }
        let worker = below(&mut rng, 4) as usize;
        if held[worker].len() >= 30
            && let Some(ticket) = held[worker].pop_front()
        {
            end(workers[worker].at(now), ticket);
        }
        admitted += workers[worker]
            .at(now)
            .ask(from("a"))
            .map(|ticket| held[worker].push_back(ticket))
            .is_ok() as u64;
    }
    let counts = ledger.counts();
    assert!(admitted > 19_000, "{admitted}");
    assert!(counts.writes < admitted / 50, "{counts:?}, {admitted} admitted");
}

/// A worker that trapped says nothing any more: its slots are others' after a while, and not before.
#[test]
fn a_dead_workers_slots_come_back() {
    let (_, mut workers) = limited(2, 40);
    let mut dead = workers.remove(0);
    let lost: Vec<Ticket> = (0..40).map(|_| dead.at(0).ask(from("a")).unwrap()).collect();
    let dead = Box::leak(Box::new(dead));
    let alive = &mut workers[0];
    let life = LIFE.as_millis();
    let mut ask = |millis: u64| {
        let worker = alive.at(millis);
        let now = worker.now;
        worker.engine.poll(now);
        let taken: Vec<Ticket> = (0..50).map_while(|_| worker.ask(from("a")).ok()).collect();
        let count = taken.len();
        taken.into_iter().for_each(|ticket| end(worker, ticket));
        count
    };
    assert_eq!((ask(0), ask(life - 100), ask(life)), (0, 0, 40));
    // It was only busy: its calls are under way all the same, and nobody else gets more than the rest.
    dead.at(life + 10).engine.poll(super::limits_at(life + 10));
    assert!(ask(life + 100) <= batch(40) as usize, "what it has leased meanwhile");
    lost.into_iter().for_each(|ticket| end(dead, ticket));
    for millis in [300, 400] {
        dead.at(life + millis).engine.poll(super::limits_at(life + millis));
    }
    assert_eq!(ask(life + 500), 40);
}

/// A worker whose configuration is gone leaves nothing behind.
#[test]
fn a_worker_that_ends_gives_all_back() {
    let (ledger, mut workers) = limited(2, 40);
    let held: Vec<Ticket> = (0..40).map(|_| workers[0].at(0).ask(from("a")).unwrap()).collect();
    assert!(workers[1].at(1).ask(from("a")).is_err());
    drop((workers.remove(0), held));
    assert!(workers[0].at(10).ask(from("a")).is_ok());
    drop(workers);
    ledger.forget_idle(super::limits_at(10 + LIFE.as_millis()));
    assert_eq!(ledger.len(), 0);
}

/// A worker that came late has its part as soon as the calls of the others end.
#[test]
fn who_comes_late_does_not_starve() {
    let (_, mut workers) = limited(2, 40);
    let mut first: VecDeque<Ticket> =
        (0..40).map(|_| workers[0].at(0).ask(from("a")).unwrap()).collect();
    let mut second = VecDeque::new();
    for now in 0..2_000_u64 {
        if now % 100 == 0 {
            workers.iter_mut().for_each(|worker| worker.at(now).engine.poll(super::limits_at(now)));
        }
        // A call of the first worker ends, and the next one comes at once; both have more than they can do.
        if let Some(ticket) = first.pop_front() {
            end(workers[0].at(now), ticket);
        }
        if second.len() > 19
            && let Some(ticket) = second.pop_front()
        {
            end(workers[1].at(now), ticket);
        }
        first.extend(workers[0].at(now).ask(from("a")).ok());
        second.extend(workers[1].at(now).ask(from("a")).ok());
    }
    assert!(second.len() >= 10, "{} and {}", first.len(), second.len());
}

/// Calls that wait get what others gave back with the next poll.
#[test]
fn a_call_that_waits_is_served_by_a_poll() {
    let fields = r#""concurrency": {"max": 1, "queue": {"max": 5, "max_wait": "10s"}}"#;
    let (_, mut workers) = workers(2, fields);
    let ticket = workers[0].at(0).ask(from("a")).unwrap();
    let waiting = &mut workers[1];
    waiting.engine.set_can_wait(true);
    let now = waiting.at(0).now;
    let verdict = waiting.engine.admit(now, &waiting.policies, &from("a"));
    let Verdict::Wait(wait) = verdict else { panic!("{verdict:?}") };
    let name = wait.waiting;
    waiting.engine.poll(super::limits_at(100));
    assert_eq!(waiting.engine.take_woken(), None);
    end(workers[0].at(150), ticket);
    let waiting = &mut workers[1];
    waiting.engine.poll(super::limits_at(200));
    assert_eq!(waiting.engine.take_woken(), Some(name));
}
