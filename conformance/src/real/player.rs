//! Plays a scenario on a real host: each step at its time, and everything written down.

use super::tail::Tail;
use super::tools::Tools;
use super::upstream::Upstream;
use super::{RealHost, client};
use crate::log::{CallSeen, LoadSeen, Recording};
use crate::scenario::{Answer, Call, Scenario, Step, StepKind, call_name};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// From the last preparation to the scenario's start.
const LEAD: Duration = Duration::from_millis(300);
/// How long the last events may take to appear in the log.
const LAST_LINES: Duration = Duration::from_millis(500);

/// A host that is ready to play a scenario.
pub struct Ready<'a, H> {
    scenario: &'a Scenario,
    host: H,
    upstream: Upstream,
    tail: Tail,
}

/// One play.
#[derive(Debug)]
pub struct Play {
    /// What happened.
    pub recording: Recording,
    /// Why it may say nothing: by how much the machine was late, where that is half a tick or more.
    pub spoilt: Option<Duration>,
}

/// Starts an upstream and a host for `scenario`, their files in `folder`.
///
/// # Errors
/// When one of them does not start.
pub fn prepare<'a, H: RealHost>(
    tools: &Tools,
    scenario: &'a Scenario,
    folder: &Path,
) -> io::Result<Ready<'a, H>> {
    std::fs::create_dir_all(folder)?;
    let upstream = Upstream::start(scenario)?;
    let host = H::start(tools, scenario, upstream.address(), folder)?;
    let tail = Tail::follow(&host.log_file())?;
    Ok(Ready { scenario, host, upstream, tail })
}

impl<H: RealHost> Ready<'_, H> {
    /// Plays the scenario and ends the processes.
    ///
    /// # Errors
    /// When the host cannot be told what to do.
    pub fn play(mut self) -> io::Result<Play> {
        let scenario = self.scenario;
        self.tail.begin();
        let start = Instant::now() + LEAD;
        self.upstream.plan(scenario, start);
        let end = start + scenario.end;
        let (sender, receiver) = mpsc::channel();
        let mut loads = Vec::new();
        let mut latest = Duration::ZERO;
        for step in &scenario.steps {
            let due = start + step.at;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            latest = latest.max(due.elapsed());
            match &step.kind {
                StepKind::Call(call) => {
                    let job = Job { address: self.host.address(), start, end };
                    let (step, call, sender) = (step.clone(), call.clone(), sender.clone());
                    thread::spawn(move || job.calls(&step, &call, &sender));
                }
                StepKind::Load(document) => {
                    let at = start.elapsed();
                    let result = self.host.load(document)?;
                    loads.push(LoadSeen { step: step.name.clone(), at, result });
                }
            }
        }
        thread::sleep(end.saturating_duration_since(Instant::now()));
        let received = self.upstream.received();
        // Clients that still wait leave only after this.
        thread::sleep(LAST_LINES);
        let quiet = Instant::now();
        drop(sender);
        // Every call ends by itself, at the latest a moment after the scenario.
        let mut calls: Vec<CallSeen> = receiver.iter().collect();
        calls.sort_by_key(|call| call.sent);
        for call in &mut calls {
            call.received = received.get(&call.name).copied().unwrap_or(0);
        }
        let (events, stall) = self.tail.finish();
        let events = events.into_iter().filter(|(at, _)| *at <= quiet);
        let events = events.map(|(at, line)| (at.saturating_duration_since(start), line)).collect();
        let late = latest.max(stall);
        let recording = Recording { calls, events, loads, complaints: Vec::new() };
        Ok(Play { recording, spoilt: (late >= scenario.tick / 2).then_some(late) })
    }
}

#[derive(Clone, Copy)]
struct Job {
    address: SocketAddr,
    start: Instant,
    end: Instant,
}

impl Job {
    /// The calls of one step, one after the other.
    fn calls(self, step: &Step, call: &Call, sender: &mpsc::Sender<CallSeen>) {
        for nth in 1..=call.times {
            let name = call_name(step, call, nth);
            let sent = self.start.elapsed();
            // Long enough that nobody leaves before the log was read.
            let rest = self.end.saturating_duration_since(Instant::now()) + LAST_LINES * 2;
            let (patience, left) = match call.abort {
                Some(abort) => (abort, Answer::Gone),
                None => (rest, Answer::Waiting),
            };
            let answer = client::make(self.address, &name, call, patience, &left);
            // Nobody listens only when the play was given up.
            let _ = sender.send(CallSeen { name, sent, answer, received: 0 });
        }
    }
}
