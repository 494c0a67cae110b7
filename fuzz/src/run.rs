//! The driver: mutates, calls, remembers, and saves what breaks a promise.

use crate::mutate::mutated;
use crate::{Behaviour, Target, home};
use fastrand::Rng;
use std::cell::Cell;
use std::collections::HashSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Most inputs that are remembered for a target.
const REMEMBERED: usize = 4096;
/// Threads draw so many inputs at a time.
const BATCH: u64 = 64;
/// A target that crashes so often is given up: it would find the same again and again.
const ENOUGH: usize = 20;
/// An input that takes longer than this hangs, however busy the machine is.
const HANGS: Duration = Duration::from_secs(120);
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(20);

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is fuzzed, side by side.
    pub targets: Vec<Target>,
    /// Inputs over all targets together. A fast target gets more of them, but at most half where
    /// there are several.
    pub inputs: u64,
    /// Fixes the row of inputs of each target.
    pub seed: u64,
}

/// What became of one target.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Its name.
    pub name: &'static str,
    /// Inputs it was given, the corpus included.
    pub inputs: u64,
    /// Ways of behaving that were seen.
    pub behaviours: usize,
    /// Inputs that broke a promise: where each is saved, and the message.
    pub crashes: Vec<(PathBuf, String)>,
}

/// A target at work. Its thread is watched for inputs that hang.
struct Lane {
    target: Target,
    begun: AtomicU64,
    current: Mutex<Vec<u8>>,
}

thread_local! {
    static MESSAGE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs the plan, one thread for each target, and prints progress to stderr.
///
/// A panic is an input's result here, so the process gets a panic hook that keeps the message. An
/// input that hangs is saved, and ends the process with status 1: a thread cannot be stopped.
///
/// # Errors
/// When a corpus cannot be read.
pub fn run(plan: &Plan) -> std::io::Result<Vec<RunSummary>> {
    panic::set_hook(Box::new(|info| {
        MESSAGE.set(Some(info.to_string()));
    }));
    let left = AtomicU64::new(plan.inputs);
    let most = match plan.targets.len() {
        1 => plan.inputs,
        _ => plan.inputs / 2,
    };
    let over = AtomicBool::new(false);
    let lanes: Vec<Lane> = plan.targets.iter().map(|target| lane(*target)).collect();
    let corpora: Vec<_> = plan.targets.iter().map(Target::corpus).collect::<Result<_, _>>()?;
    let summaries = std::thread::scope(|scope| {
        let workers: Vec<_> = lanes
            .iter()
            .zip(corpora)
            .map(|(lane, corpus)| scope.spawn(|| work(lane, corpus, plan.seed, most, &left)))
            .collect();
        let watch = scope.spawn(|| watch(&lanes, &over));
        let summaries = workers
            .into_iter()
            .map(|worker| worker.join().expect("the driver itself does not panic"))
            .collect();
        over.store(true, Ordering::Relaxed);
        watch.thread().unpark();
        summaries
    });
    let _ = panic::take_hook();
    Ok(summaries)
}

fn lane(target: Target) -> Lane {
    Lane { target, begun: AtomicU64::new(0), current: Mutex::default() }
}

fn work(lane: &Lane, corpus: Vec<Vec<u8>>, seed: u64, most: u64, left: &AtomicU64) -> RunSummary {
    let mut rng = Rng::with_seed(seed);
    let (mut known, mut fresh) = (corpus.clone(), corpus);
    let mut seen: HashSet<Behaviour> = HashSet::new();
    let (mut crashes, mut messages) = (Vec::new(), HashSet::new());
    while crashes.len() < ENOUGH && lane.begun() < most {
        let batch = take(left);
        if batch == 0 {
            break;
        }
        for _ in 0..batch {
            let is_corpus = !fresh.is_empty();
            let input = fresh.pop().unwrap_or_else(|| mutated(&mut rng, &known, lane.target.words));
            match lane.act(&input) {
                Ok(behaviour) => {
                    if seen.insert(behaviour) && !is_corpus {
                        remember(&mut rng, &mut known, input);
                    }
                }
                // The place of a panic is in its message: one saved input for each is enough.
                Err(message) => {
                    if messages.insert(short(&message)) {
                        crashes.push((save(lane.target.name, &input), message));
                    }
                }
            }
        }
    }
    lane.set_current(&[]);
    RunSummary { name: lane.target.name, inputs: lane.begun(), behaviours: seen.len(), crashes }
}

fn take(left: &AtomicU64) -> u64 {
    let draw = |left: u64| Some(left.saturating_sub(BATCH));
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, draw);
    before.unwrap_or_default().min(BATCH)
}

fn remember(rng: &mut Rng, known: &mut Vec<Vec<u8>>, input: Vec<u8>) {
    if known.len() < REMEMBERED {
        known.push(input);
    } else {
        let place = rng.usize(..known.len());
        known[place] = input;
    }
}

impl Lane {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn current(&self) -> Vec<u8> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the watch saves if it hangs; nothing where the lane is done.
    fn set_current(&self, input: &[u8]) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.extend_from_slice(input);
    }

    fn act(&self, input: &[u8]) -> Result<Behaviour, String> {
        self.set_current(input);
        self.begun.fetch_add(1, Ordering::Relaxed);
        panic::catch_unwind(AssertUnwindSafe(|| (self.target.act)(input)))
            .map_err(|_| MESSAGE.take().unwrap_or_default())
    }
}

/// Where a panic happened: the first line of its message.
fn short(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// Saves an input and prints where; the name says what is in it, so the same input has one file.
fn save(target: &str, input: &[u8]) -> PathBuf {
    let folder = home().join("crashes");
    let file = folder.join(format!("{target}-{:016x}", Behaviour::of(input).0));
    let saved = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, input));
    match saved {
        Ok(()) => eprintln!("{target}: saved {}", file.display()),
        Err(error) => eprintln!("{target}: cannot save {}: {error}", file.display()),
    }
    eprintln!("{target}: \"{}\"", input.escape_ascii());
    file
}

/// Says how far it is, and ends everything where an input hangs.
fn watch(lanes: &[Lane], over: &AtomicBool) {
    let begin = Instant::now();
    let mut last: Vec<(u64, Instant)> = lanes.iter().map(|_| (0, begin)).collect();
    let mut reported = begin;
    while !over.load(Ordering::Relaxed) {
        std::thread::park_timeout(Duration::from_secs(1));
        let now = Instant::now();
        let counts: Vec<u64> = lanes.iter().map(Lane::begun).collect();
        for ((lane, last), count) in lanes.iter().zip(&mut last).zip(&counts) {
            if *count != last.0 {
                *last = (*count, now);
            } else if now - last.1 > HANGS && !lane.current().is_empty() {
                save(&format!("{}-hang", lane.target.name), &lane.current());
                std::process::exit(1);
            }
        }
        if now - reported > REPORT {
            reported = now;
            let sum: u64 = counts.iter().sum();
            let rate = sum as f64 / begin.elapsed().as_secs_f64();
            eprintln!("{sum} inputs, {rate:.0}/s");
        }
    }
}
