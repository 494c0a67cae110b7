//! A server in virtual time, with a limit before it: what a limit does to it is what the tests judge.

use bimetal_core::concurrency::Concurrency;
use bimetal_core::concurrency::adaptive::{Adaptive, AdaptivePolicy};
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// How long a call takes where it need not wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    /// Always as long.
    Even,
    /// Exponential: most are short, some long.
    Mixed,
    /// One in ten takes ten times as long as the others: more than an average of few calls shows.
    Rare,
}

/// What a server can do from some moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Power {
    pub(crate) from: f64,
    /// Calls that it works on at once. Further ones wait in it.
    pub(crate) slots: usize,
    /// Seconds that a call takes on average.
    pub(crate) seconds: f64,
}

impl Power {
    /// Calls a second.
    pub(crate) fn capacity(&self) -> f64 {
        self.slots as f64 / self.seconds
    }
}

impl Service {
    /// What 99 of 100 calls keep where none has to wait, as a multiple of the average.
    pub(crate) fn p99(self) -> f64 {
        match self {
            Self::Even => 1.0,
            // The logarithm of 100.
            Self::Mixed => 4.605,
            Self::Rare => 10.0 / 1.9,
        }
    }
}

/// A run: the server's life, and what is offered to it.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    pub(crate) policy: AdaptivePolicy,
    pub(crate) service: Service,
    pub(crate) powers: Vec<Power>,
    /// Offered calls a second from some second on.
    pub(crate) offered: Vec<(f64, f64)>,
    pub(crate) seconds: f64,
}

/// One call that was let through, by when it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) at: f64,
    pub(crate) latency: f64,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) answered: Vec<Answered>,
    /// When, and whether it was let through.
    pub(crate) offered: Vec<(f64, bool)>,
    /// The limit over time.
    pub(crate) limits: Vec<(f64, u32)>,
}

impl Came {
    /// Answers a second between two moments.
    pub(crate) fn goodput(&self, from: f64, to: f64) -> f64 {
        self.answered.iter().filter(|call| (from..to).contains(&call.at)).count() as f64
            / (to - from)
    }

    /// The latency that so much of the answered calls kept.
    pub(crate) fn percentile(&self, share: f64, from: f64, to: f64) -> f64 {
        let within = self.answered.iter().filter(|call| (from..to).contains(&call.at));
        let mut all: Vec<_> = within.map(|call| call.latency).collect();
        all.sort_by(f64::total_cmp);
        all[((all.len() - 1) as f64 * share) as usize]
    }

    /// Calls that were turned away.
    pub(crate) fn rejected(&self, from: f64, to: f64) -> usize {
        self.offered.iter().filter(|(at, passes)| !passes && (from..to).contains(at)).count()
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Drawn by comparisons alone (von Neumann, 1951): the same on every machine, as a logarithm is not.
pub(crate) fn exponential(rng: &mut Rng) -> f64 {
    let mut whole = 0.0;
    loop {
        let first = rng.next_share();
        let (mut last, mut falls) = (first, 1);
        loop {
            let next = rng.next_share();
            if next >= last {
                break;
            }
            (last, falls) = (next, falls + 1);
        }
        if falls % 2 == 1 {
            return whole + first;
        }
        whole += 1.0;
    }
}

struct Server<'a> {
    run: &'a Run,
    rng: Rng,
    /// When each call that is worked on ends, and when it came.
    works: BinaryHeap<Reverse<(u64, u64)>>,
    /// When calls came that wait in the server.
    waits: VecDeque<u64>,
}

impl Server<'_> {
    fn power(&self, now: u64) -> Power {
        let mut begun = self.run.powers.iter().filter(|power| nanos(power.from) <= now);
        *begun.next_back().unwrap()
    }

    fn takes(&mut self, now: u64) -> u64 {
        let mean = self.power(now).seconds;
        let seconds = match self.run.service {
            Service::Even => mean,
            Service::Mixed => exponential(&mut self.rng) * mean,
            Service::Rare if self.rng.next_share() < 0.1 => mean * 10.0 / 1.9,
            Service::Rare => mean / 1.9,
        };
        nanos(seconds).max(1)
    }

    fn works_on(&mut self, now: u64) {
        while self.works.len() < self.power(now).slots
            && let Some(came) = self.waits.pop_front()
        {
            let ends = now + self.takes(now);
            self.works.push(Reverse((ends, came)));
        }
    }
}

/// Plays a run.
pub(crate) fn play(run: &Run) -> Came {
    let (works, waits) = (BinaryHeap::new(), VecDeque::new());
    let mut server = Server { run, rng: Rng::new(run.seed), works, waits };
    let (mut slots, mut adaptive) = (Concurrency::new(), Adaptive::new());
    let mut arrivals = Rng::new(run.seed ^ 0xA11);
    let mut came = Came::default();
    let mut next = 0;
    while next < nanos(run.seconds) {
        match server.works.peek() {
            Some(Reverse((ends, began))) if *ends <= next => {
                let (now, began) = (*ends, *began);
                server.works.pop();
                slots.give_back();
                adaptive.answered(Duration::from_nanos(now - began));
                let (at, latency) = (now as f64 / 1e9, (now - began) as f64 / 1e9);
                came.answered.push(Answered { at, latency });
                server.works_on(now);
            }
            _ => {
                let now = Instant::from_nanos(next);
                let limit = adaptive.limit(now, &run.policy);
                let passes = match slots.take_one(limit) {
                    Ok(taken) => {
                        adaptive.took(taken, limit);
                        server.waits.push_back(next);
                        server.works_on(next);
                        true
                    }
                    Err(_) => {
                        adaptive.denied();
                        false
                    }
                };
                let at = next as f64 / 1e9;
                came.offered.push((at, passes));
                came.limits.push((at, limit));
                let mut rates = run.offered.iter().filter(|(from, _)| *from <= at);
                let rate = rates.next_back().unwrap().1;
                next += nanos(exponential(&mut arrivals) / rate).max(1);
            }
        }
    }
    came
}
