//! Random calls to a breaker, and what an original has to answer to the same calls.

use bimetal_core::breaker::{Breaker, Permit, State};
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// How an original differs in what it is told and shows, though not in what it decides.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    /// What it is told of calls.
    pub outcomes: &'static [Outcome],
    /// Whether it heeds results of calls that another state of it admitted. They are kept from it then:
    /// here they change nothing.
    pub heeds_late_results: bool,
    /// Whether it calls itself half-open once its open time is over, and not only when a call comes.
    pub shows_half_open_early: bool,
}

/// Histories in the words of an original, with the answers that are expected.
#[derive(Default)]
pub(crate) struct Script {
    steps: Vec<Step>,
    /// How often which state was reached: a script that reaches none proves little.
    pub openings: usize,
    pub closings: usize,
}

struct Step {
    line: String,
    expected: Option<String>,
}

/// A number below `bound`.
pub(crate) fn below(rng: &mut Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

impl Script {
    /// Adds a random history of `length` steps: `new` begins it for the original, `breaker` is the same
    /// in the policy language. `wait_ms` is the open time.
    pub(crate) fn add(
        &mut self,
        rng: &mut Rng,
        habits: Habits,
        (new, breaker): (String, &Value),
        (wait_ms, length): (u64, usize),
    ) {
        let document =
            json!({"version": "v1", "policies": [{"name": "oracle", "breaker": breaker}]});
        let document = Document::parse(document.to_string().as_bytes(), Host::Native)
            .unwrap_or_else(|problems| panic!("{breaker}: {problems}"));
        let policy = document.policies[0].breaker.clone().unwrap();
        let mut history = History {
            breaker: Breaker::new(policy, 1),
            open: Vec::new(),
            now: 0,
            calls: 0,
            habits,
        };
        self.steps.push(Step { line: new, expected: None });
        for _ in 0..length {
            // Even times, and an open time that is odd: at its very end the originals differ.
            history.now += match below(rng, 20) {
                0 => 2 * below(rng, wait_ms),
                _ => 2 * below(rng, 20),
            };
            let before = history.breaker.state();
            self.steps.extend(history.step(rng));
            match (before, history.breaker.state()) {
                (State::HalfOpen, State::Closed) => self.closings += 1,
                (from, State::Open) if from != State::Open => self.openings += 1,
                _ => {}
            }
        }
    }

    /// Runs the original over it and compares every answer.
    pub(crate) fn check(&self, mut original: Command) {
        let mut child = original.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let lines: String = self.steps.iter().map(|step| format!("{}\n", step.line)).collect();
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success(), "the original ended with {}", output.status);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut answers = text.lines().filter_map(|line| line.strip_prefix("> "));
        let mut compared = 0;
        for (index, step) in self.steps.iter().enumerate() {
            if let Some(expected) = &step.expected {
                let answer = answers.next();
                assert!(answer == Some(expected), "{}", self.told(index, answer));
                compared += 1;
            }
        }
        assert_eq!(answers.next(), None, "more answers than questions");
        println!("{compared} decisions equal");
        assert!(compared >= 50_000, "too few: {compared}");
    }

    /// The history up to a difference.
    fn told(&self, index: usize, answer: Option<&str>) -> String {
        let begin = self.steps[..index].iter().rposition(|step| step.expected.is_none());
        let steps = &self.steps[begin.unwrap_or(0)..=index];
        let told = steps.iter().map(|step| {
            format!("{}  {}\n", step.line, step.expected.as_deref().unwrap_or_default())
        });
        format!("{}the original: {answer:?}", told.collect::<String>())
    }
}

struct History {
    breaker: Breaker,
    open: Vec<(usize, Permit)>,
    now: u64,
    calls: usize,
    habits: Habits,
}

impl History {
    /// One step, if the original is told of it.
    fn step(&mut self, rng: &mut Rng) -> Option<Step> {
        let at = Instant::from_millis(self.now);
        if self.open.is_empty() || below(rng, 2) == 0 {
            self.calls += 1;
            let call = self.calls;
            let admitted = self.breaker.admit(at);
            let is_admitted = admitted.is_ok();
            self.open.extend(admitted.map(|permit| (call, permit)));
            return Some(Step {
                line: format!("admit {} {call}", self.now),
                expected: Some(self.answer(is_admitted)),
            });
        }
        let index = below(rng, self.open.len() as u64) as usize;
        let (call, permit) = self.open.swap_remove(index);
        let outcome = self.habits.outcomes[below(rng, self.habits.outcomes.len() as u64) as usize];
        let is_late = self.breaker.settle(at, permit, Report::from(outcome));
        (!is_late || !self.habits.heeds_late_results).then(|| Step {
            line: format!("settle {} {call} {}", self.now, outcome.name()),
            expected: Some(self.answer(true)),
        })
    }

    fn answer(&self, is_admitted: bool) -> String {
        let view = self.breaker.view(Instant::from_millis(self.now));
        let is_over = view.next_probe.is_some_and(|at| at <= Instant::from_millis(self.now));
        let state = match view.state {
            State::Open if is_over && self.habits.shows_half_open_early => State::HalfOpen,
            state => state,
        };
        format!("{} {}", u8::from(is_admitted), state.name())
    }
}

/// For leases: longer than every history.
pub(crate) const LONG: Duration = Duration::from_secs(86_000);
