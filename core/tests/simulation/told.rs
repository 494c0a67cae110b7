//! A broken history as a scenario file of the conformance room: what a person reads, and what its
//! runner plays.
//!
//! A scenario has one host, calls whose upstream does one thing each, and times. So the history is
//! first made to fit where it still breaks then: one worker, one tenant, no two things at one time,
//! open times without jitter. What does not fit is named in the file.

use super::documents::{DOCUMENTS, Documents, told_policies};
use super::{Input, Rule, Start, Step, World, play_in, play_with, shortest};
use bimetal_core::Duration;
use bimetal_core::call::Upload;
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
        Step::Call { key, start, .. } => Step::Call { worker: 0, key, start },
        Step::Tick { .. } => Step::Tick { worker: 0 },
        Step::Restart { .. } => Step::Restart { worker: 0 },
        other => other,
    };
    let one_tenant = |step: &Step| match *step {
        Step::Call { worker, start, .. } => Step::Call { worker, key: 0, start },
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

/// How many scopes a document has room for.
fn most_scopes(document: usize) -> usize {
    let policies = told_policies(document);
    policies[0]["scopes"]["max"].as_u64().map_or(usize::MAX, |most| most as usize)
}

/// What a scenario cannot tell of a step. It tells the result in its place.
fn untellable(step: &Step) -> Option<&'static str> {
    match *step {
        Step::ClockBack { .. } => Some("a clock that jumps back"),
        Step::Restart { .. } => Some("a worker that dies"),
        Step::Call { start, .. } => (start != Start::HandedOver(Upload::Complete))
            .then_some("a request that waits, or is sent bit by bit"),
        Step::See { input, .. } => match input {
            Input::Headers(reply) if reply.is_plain() => None,
            Input::Ended | Input::Informational => None,
            Input::Queued | Input::HandedOver(_) | Input::Upload(_) => {
                Some("how far a request is, and its tries")
            }
            _ => Some("how a call was answered, or broke"),
        },
        Step::Wait { .. } | Step::Lose { .. } | Step::Tick { .. } | Step::Load { .. } => None,
    }
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
        let mut keys = BTreeSet::new();
        let (lines, calls, left_out) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut story = Self { lines, calls, end: 0, left_out };
        for step in steps {
            let at = world.now.since(start).as_nanos() / 1_000_000;
            story.left_out.extend(untellable(step));
            if let Step::Load { document: next } = *step {
                if next != document && !loaded.insert(next) {
                    story.left_out.insert("what a board keeps of a policy that comes back");
                }
                document = next;
                keys.clear();
                story.lines.push(Line::Load { at, document });
            }
            if let Step::Call { key, .. } = *step
                && keys.insert(key)
                && keys.len() > most_scopes(document)
            {
                story.left_out.insert("what a board keeps of a scope that comes back");
            }
            let admitted = world.coverage.admitted;
            // A step that breaks a rule is the last one: what it did is still told.
            let _ = world.take(*step);
            if let Step::Call { worker, key, .. } = *step {
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
            for (number, report) in world.reports.drain(..) {
                let retry_after = report.retry_after.map_or(0, Duration::as_millis);
                story.calls[number].end = Some((at, report.outcome, retry_after));
            }
            for call in world.calls.iter().filter(|call| call.happened.answered.is_some()) {
                story.calls[call.number].headers.get_or_insert(at);
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
