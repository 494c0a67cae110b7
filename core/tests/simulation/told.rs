//! A broken history as a scenario file of the conformance room: what a person reads, and what its
//! runner plays.
//!
//! A scenario has one host, calls whose upstream does one thing each, and times. So the history is
//! first made to fit where it still breaks then: one worker, one tenant, no two things at one time,
//! open times without jitter. What does not fit is named in the file.

use super::world::{DOCUMENTS, Documents, World, told_policies};
use super::{Rule, Step, play_in, play_with, shortest};
use bimetal_core::outcome::Outcome;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Milliseconds between two things that happen: five ticks of 1 ms.
const GAP: u64 = 5;

/// A scenario has one host.
const WORKERS: &str = "which worker a call came to";

/// A broken history, told.
#[derive(Debug)]
pub(crate) struct Told {
    /// The text of a scenario file.
    pub text: String,
    /// What it cannot tell; where that is nothing, a player sees what the simulation saw.
    pub left_out: BTreeSet<&'static str>,
    /// The steps that it tells.
    pub steps: Vec<Step>,
}

/// Tells a history that breaks `rule`, as short as it gets.
pub(crate) fn tell(seed: u64, steps: &[Step], rule: Rule) -> Told {
    let breaks = |steps: &[Step]| play_with(seed, steps, rule).is_err();
    let short = simpler(shortest(steps, breaks), breaks);
    let fits = spaced(&short);
    let played = play_in(&mut World::new(seed, Documents::Told), &fits, rule).err();
    let why = played.clone().or_else(|| play_with(seed, &short, rule).err());
    let mut story = Story::of(seed, &fits);
    if played.is_none() {
        story.left_out.insert("exact times and jitter, without which it does not break");
    }
    let text = story.text(seed, &why.unwrap_or_default());
    Told { text, left_out: story.left_out, steps: short }
}

/// One worker, then one tenant, where the rule stays broken.
fn simpler(steps: Vec<Step>, breaks: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let one_worker = |step: &Step| match *step {
        Step::Call { key, .. } => Step::Call { worker: 0, key },
        Step::Tick { .. } => Step::Tick { worker: 0 },
        other => other,
    };
    let one_tenant = |step: &Step| match *step {
        Step::Call { worker, .. } => Step::Call { worker, key: 0 },
        other => other,
    };
    let mut steps = steps;
    for change in [&one_worker as &dyn Fn(&Step) -> Step, &one_tenant] {
        let simpler: Vec<_> = steps.iter().map(change).collect();
        if breaks(&simpler) {
            steps = simpler;
        }
    }
    steps
}

/// The same history with a gap before all that happens, and one at the end.
pub(crate) fn spaced(steps: &[Step]) -> Vec<Step> {
    let gap = Step::Wait { millis: GAP };
    let apart = steps.iter().flat_map(|step| [gap, *step]);
    apart.chain([gap, Step::Tick { worker: 0 }]).collect()
}

/// One call of the history, and what became of it. Times in milliseconds from the start.
#[derive(Debug)]
struct SimulatedCall {
    at: u64,
    worker: usize,
    key: usize,
    admitted: bool,
    headers: Option<u64>,
    end: Option<(u64, Outcome, u64)>,
    /// Latency beyond which the policy in force calls an answer slow.
    slower_than: Option<u64>,
}

#[derive(Debug)]
enum Line {
    Call(usize),
    Load { at: u64, document: usize },
}

/// A history with what became of each call in it.
#[derive(Debug)]
pub(crate) struct Story {
    lines: Vec<Line>,
    calls: Vec<SimulatedCall>,
    end: u64,
    pub left_out: BTreeSet<&'static str>,
}

impl Story {
    /// Plays a history that is [`spaced`] and takes down what happens.
    pub(crate) fn of(seed: u64, steps: &[Step]) -> Self {
        let mut world = World::new(seed, Documents::Told);
        let start = world.now;
        let mut document = seed as usize % DOCUMENTS.len();
        let mut loaded = BTreeSet::from([document]);
        let (lines, calls, left_out) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut story = Self { lines, calls, end: 0, left_out };
        for step in steps {
            let at = world.now.since(start).as_nanos() / 1_000_000;
            let picked = |world: &World, call| world.pick(call).map(|at| world.calls[at].number);
            match *step {
                Step::Headers { call } => {
                    if let Some(number) = picked(&world, call) {
                        story.calls[number].headers.get_or_insert(at);
                    }
                }
                Step::End { call, outcome, retry_after } => {
                    if let Some(number) = picked(&world, call) {
                        story.calls[number].end = Some((at, outcome, retry_after));
                    }
                }
                Step::Load { document: next } => {
                    if next != document && !loaded.insert(next) {
                        story.left_out.insert("what a board keeps of a policy that comes back");
                    }
                    document = next;
                    story.lines.push(Line::Load { at, document });
                }
                Step::ClockBack { .. } => {
                    story.left_out.insert("a clock that jumps back");
                }
                Step::Call { .. } | Step::Wait { .. } | Step::Lose { .. } | Step::Tick { .. } => {}
            }
            let admitted = world.coverage.admitted;
            // A step that breaks a rule is the last one: what it did is still told.
            let _ = world.take(*step);
            if let Step::Call { worker, key } = *step {
                story.lines.push(Line::Call(story.calls.len()));
                story.calls.push(SimulatedCall {
                    at,
                    worker,
                    key,
                    admitted: world.coverage.admitted > admitted,
                    headers: None,
                    end: None,
                    slower_than: DOCUMENTS[document].contains("slow_rate").then_some(1_000),
                });
            }
            story.end = at;
        }
        if story.calls.iter().any(|call| call.worker != 0) {
            story.left_out.insert(WORKERS);
        }
        for index in 0..story.calls.len() {
            let _ = story.upstream(index);
        }
        story
    }

    /// What the upstream does with an admitted call.
    fn upstream(&mut self, index: usize) -> String {
        let call = &self.calls[index];
        let since = |at: u64| at - call.at;
        let (end, outcome, retry_after) = match (call.headers, call.end) {
            (None, None) => return "hangs, client: waiting".to_owned(),
            (Some(headers), None) => {
                let after = since(headers);
                return format!("{{after: {after}ms, body: 3600s}}, client: waiting");
            }
            (_, Some(end)) => end,
        };
        let (mut after, mut body) = (since(end), 0);
        if let Some(headers) = call.headers {
            (after, body) = (since(headers), end - headers);
        }
        let late = call.slower_than.is_some_and(|limit| after > limit);
        let status = match outcome {
            Outcome::Failure => 500,
            Outcome::Neutral => 404,
            Outcome::Success | Outcome::Slow => 200,
        };
        if outcome == Outcome::Failure && body > 0 {
            (after, body) = (since(end), 0);
            self.left_out.insert("good headers long before a failure");
        } else if outcome == Outcome::Slow && !late {
            self.left_out.insert("a slow answer that came in time");
        } else if outcome == Outcome::Success && late {
            self.left_out.insert("a late answer that was not slow");
        }
        let mut text = format!("{{status: {status}, after: {after}ms");
        if body > 0 {
            let _ = write!(text, ", body: {body}ms");
        }
        if retry_after > 0 {
            let _ = write!(text, ", retry_after: {}", retry_after / 1_000);
        }
        text + "}"
    }

    /// The file.
    pub(crate) fn text(&mut self, seed: u64, why: &str) -> String {
        let mut text = format!("# Seed {seed} of core/tests/simulation.rs, made short: {why}\n");
        for what in &self.left_out {
            let _ = writeln!(text, "# The form of a scenario cannot tell: {what}.");
        }
        text += "# `expect` is what the simulation saw. Write into `log` what must come of it.\n";
        let policies = told_policies(seed as usize % DOCUMENTS.len());
        let _ = write!(
            text,
            "title: Seed {seed} breaks a rule.\ntick: 1ms\npolicies: {policies}\nsteps:\n"
        );
        for (number, line) in (1..).zip(std::mem::take(&mut self.lines)) {
            let _ = match &line {
                Line::Load { at, document } => {
                    let policies = told_policies(*document);
                    writeln!(text, "  - {{step: {number}, at: {at}ms, load: {policies}}}")
                }
                Line::Call(index) => {
                    let (doing, expect) = if self.calls[*index].admitted {
                        (format!("upstream: {}, ", self.upstream(*index)), "admitted")
                    } else {
                        (String::new(), "rejected by p/breaker")
                    };
                    let SimulatedCall { at, key, worker, .. } = &self.calls[*index];
                    let workers = self.left_out.contains(WORKERS);
                    let note = if workers { format!("  # worker {worker}") } else { String::new() };
                    writeln!(
                        text,
                        "  - {{step: {number}, at: {at}ms, call: POST /echo, headers: {{x-tenant: \
                         k{key}}}, {doing}expect: {expect}}}{note}"
                    )
                }
            };
            self.lines.push(line);
        }
        let _ = write!(text, "end: {}ms\nlog: ''\n", self.end);
        text
    }
}
