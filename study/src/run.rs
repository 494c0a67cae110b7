//! Carrying a plan out.

use crate::arms::{self, Arm, AtWork, Ground};
use crate::load::{self, BEGINS, ENDED};
use crate::plan::{Next, Plan};
use crate::process::{self, Used};
use crate::record::{Block, Flaw, Seen, flaws};
use crate::spans;
use crate::store::Store;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often it is looked whether the study was told to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// How much longer than its block a generator may take.
const SLACK: Duration = Duration::from_secs(60);

/// What a study is carried out with.
#[expect(missing_debug_implementations, reason = "it holds a closure")]
pub struct Means<'a> {
    /// Every arm there is.
    pub arms: &'a BTreeMap<String, Arm>,
    /// Where arms are started.
    pub ground: &'a dyn Ground,
    /// Set when the study shall stop.
    pub stop: &'a AtomicBool,
    /// After so long no new block begins.
    pub at_most: Option<Duration>,
    /// Hears of every block.
    pub tell: &'a dyn Fn(Progress<'_>),
}

/// How far a study is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// The block that has just ended.
    pub block: &'a Block,
    /// Blocks that are done, of this part and of earlier ones.
    pub done: usize,
    /// Blocks in all.
    pub all: usize,
    /// How long the rest will take, by what this part took so far.
    pub left: Duration,
}

/// How a part of a study ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Everything is measured.
    Whole,
    /// It was told to stop; the rest can be resumed.
    Stopped,
    /// Its time was over; the rest can be resumed.
    TimeIsOver,
}

/// Measures what is left of a study, block by block.
///
/// # Errors
/// The server behind the arms does not come up, or a block cannot be kept. An arm that does not
/// come up is a block with a flaw.
pub fn run(store: &mut Store, means: &Means<'_>) -> Result<Ended> {
    let began = Instant::now();
    let left = store.left();
    let all = store.blocks().len() + left.len();
    let mut shared: Option<(u32, Box<dyn AtWork + '_>)> = None;
    for (number, next) in left.iter().enumerate() {
        if means.at_most.is_some_and(|most| began.elapsed() >= most) {
            return Ok(Ended::TimeIsOver);
        }
        if shared.as_ref().is_none_or(|(round, _)| *round != next.round) {
            // A server of its own for each round: the old one first, or both would share the core.
            drop(shared.take());
            shared = Some((next.round, means.ground.begin_round()?));
        }
        let Some((_, server)) = &mut shared else { continue };
        server.lives().context("what the arms share has ended")?;
        let plan = &store.head().plan;
        let Some(block) = measure(plan, next, server.as_ref(), means)? else {
            return Ok(Ended::Stopped);
        };
        store.add(block)?;
        let (now, rest) = (number + 1, left.len() - number - 1);
        if let Some(block) = store.blocks().last() {
            let left = began.elapsed().mul_f64(rest as f64 / now as f64);
            (means.tell)(Progress { block, done: all - rest, all, left });
        }
    }
    Ok(Ended::Whole)
}

/// One block; none where the study was told to stop meanwhile.
fn measure(
    plan: &Plan,
    next: &Next,
    server: &dyn AtWork,
    means: &Means<'_>,
) -> Result<Option<Block>> {
    let name = arms::program_of(&next.arm);
    let arm = means.arms.get(name).with_context(|| format!("there is no arm {name}"))?;
    let mut block = empty(next);
    let mut started = match means.ground.start(arm, server) {
        Ok(started) => started,
        Err(_) if means.stop.load(Ordering::Relaxed) => return Ok(None),
        Err(error) => {
            block.invalid.push(Flaw::ArmDied { told: format!("{error:#}") });
            return Ok(Some(block));
        }
    };
    let Some(watched) = watch(plan, next, started.as_ref(), server, means)? else {
        return Ok(None);
    };
    block.invalid = flaws(&watched.seen);
    if let Err(error) = after(&mut block, started.as_mut(), &watched) {
        block.invalid.push(Flaw::ArmDied { told: format!("{error:#}") });
    }
    if arm.traced {
        let read = started.end().and_then(|files| spans::read(&files, &watched.while_measured));
        match read {
            Ok(spans) => block.spans = spans,
            Err(error) => block.invalid.push(Flaw::ArmDied { told: format!("{error:#}") }),
        }
    }
    block.others = watched.others;
    block.seen = watched.seen;
    Ok(Some(block))
}

/// What the arm says when the load is over.
fn after(block: &mut Block, started: &mut dyn AtWork, watched: &Watched) -> Result<()> {
    started.lives()?;
    block.rss_kib = started.resident_kib()?;
    // Calls that failed may never have been settled: that flaw is told already.
    if watched.seen.bad.is_empty() {
        block.invalid.extend(started.unsettled()?);
    }
    let per_call = |time: Duration| time.as_secs_f64() * 1e6 / watched.seen.good.max(1) as f64;
    block.cpu_us_per_call = watched.cpu.map(|cpu| per_call(cpu.own));
    let apart = watched.cpu.map(|cpu| cpu.apart).filter(|apart| !apart.is_zero());
    block.apart_us_per_call = apart.map(per_call);
    Ok(())
}

fn empty(next: &Next) -> Block {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Block {
        arm: next.arm.clone(),
        load: next.load.to_string(),
        round: next.round,
        place: next.place,
        began_s: now.as_secs_f64(),
        seen: Seen::default(),
        cpu_us_per_call: None,
        apart_us_per_call: None,
        rss_kib: None,
        spans: spans::Spans::new(),
        others: 0.0,
        invalid: Vec::new(),
    }
}

/// What was seen while the generator was at work.
struct Watched {
    seen: Seen,
    cpu: Option<Used>,
    /// From when to when calls counted, in nanoseconds of unix time.
    while_measured: Range<u128>,
    others: f64,
}

/// The generator's process; ended when dropped.
struct Generator {
    child: Child,
    lines: Receiver<String>,
}

impl Drop for Generator {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(
    plan: &Plan,
    next: &Next,
    started: &dyn AtWork,
    server: &dyn AtWork,
    means: &Means<'_>,
) -> Result<Option<Watched>> {
    let mut generator = generator(plan, next, started, means)?;
    let deadline = Instant::now() + Duration::from_secs_f64(plan.warm_up + plan.seconds) + SLACK;
    let id = generator.child.id();
    let (mut before, mut after) = (None, None);
    // An arm that ended in between has no time; that is told by its flaw.
    let look = |started: &dyn AtWork| Look {
        arm: started.time_used().ok().flatten(),
        ours: process::time_used(id, &[]).unwrap_or_default().whole()
            + server.time_used().ok().flatten().unwrap_or_default().whole()
            + started.server_time(),
        machine_s: crate::machine::busy_s(),
        at: Instant::now(),
        unix_ns: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
    };
    loop {
        match generator.lines.recv_timeout(GLANCE) {
            Ok(line) if line == BEGINS => before = Some(look(started)),
            Ok(line) if line == ENDED => after = Some(look(started)),
            Ok(line) => {
                let seen = serde_json::from_str(&line)
                    .with_context(|| format!("the generator says {line:?}"))?;
                let (Some(before), Some(after)) = (before, after) else {
                    bail!("the generator did not tell when it began");
                };
                return Ok(Some(Watched {
                    seen,
                    cpu: before.arm.zip(after.arm).map(|(old, new)| new.since(old)),
                    while_measured: before.unix_ns..after.unix_ns,
                    others: after.others_since(&before),
                }));
            }
            Err(_) if means.stop.load(Ordering::Relaxed) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
            Err(RecvTimeoutError::Timeout) => bail!("the generator does not come to an end"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = generator.child.wait()?;
                // The terminal's Ctrl-C reaches the generator too, and maybe first.
                std::thread::sleep(GLANCE);
                if means.stop.load(Ordering::Relaxed) {
                    return Ok(None);
                }
                bail!("the generator ended ({status})");
            }
        }
    }
}

/// Times at one moment.
struct Look {
    arm: Option<Used>,
    ours: Duration,
    machine_s: f64,
    at: Instant,
    unix_ns: u128,
}

impl Look {
    /// The share of one core that others than the arm, the server and the generator had.
    fn others_since(&self, before: &Self) -> f64 {
        let own = |look: &Self| (look.arm.unwrap_or_default().whole() + look.ours).as_secs_f64();
        let others = (self.machine_s - before.machine_s) - (own(self) - own(before));
        (others / (self.at - before.at).as_secs_f64()).max(0.0)
    }
}

fn generator(
    plan: &Plan,
    next: &Next,
    started: &dyn AtWork,
    means: &Means<'_>,
) -> Result<Generator> {
    let asked = load::Options {
        address: started.address(),
        load: next.load,
        warm_up: Duration::try_from_secs_f64(plan.warm_up)?,
        measured: Duration::try_from_secs_f64(plan.seconds)?,
        connections: plan.connections,
    };
    let mut child = means.ground.generate(&load::arguments(&asked))?;
    let output = child.stdout.take().context("the generator has no output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(Generator { child, lines })
}
