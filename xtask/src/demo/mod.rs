//! `cargo xtask demo`: one policy in two hosts, in front of the same failing server, under the
//! same load, for everyone to see.

mod chart;
mod incident;
mod load;
pub(crate) mod metrics;
pub mod overload;
mod page;
mod plain;
mod record;
pub(crate) mod scene;
mod script;
mod sheet;
pub mod storm;
pub mod terminal;
mod verdict;

use crate::{place, process, say};
use anyhow::{Context, Result, bail};
use metrics::Page;
use record::{Arm, Record, State, TICK};
use scene::{Parts, Scene};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use verdict::Verdict;

/// How the demo shows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// A picture that is drawn over itself, where stdout is a terminal.
    Live,
    /// One line a second.
    Plain,
}

/// What the demo tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Story {
    /// A server that fails, and the breaker before it.
    Failure,
    /// More calls than a server can serve.
    Overload,
    /// Hops that all try again before a dead service.
    RetryStorm,
    /// A slow error tracker that stops three tiers.
    Incident,
}

/// How often the hosts are asked for their state.
const GLANCE: Duration = Duration::from_millis(100);

/// How long the hosts may take to publish their last counts.
const LAST_COUNTS_WAIT: Duration = Duration::from_secs(10);

/// Runs a demo. True means that every claim holds.
///
/// # Errors
/// Something cannot be installed, built, started or written.
pub fn run(story: Story, look: Look) -> Result<bool> {
    let look = if std::io::stdout().is_terminal() { look } else { Look::Plain };
    match story {
        Story::Failure => failure(look),
        Story::Overload => overload::run(look),
        Story::RetryStorm => storm::run(look),
        Story::Incident => incident::run(look),
    }
}

/// The demo of the breaker.
fn failure(look: Look) -> Result<bool> {
    let parts = Parts::make()?;
    let mut scene = Scene::start(&parts)?;
    let record = play(&mut scene, look)?;
    let verdicts = Arm::ALL.map(|arm| Verdict::of(&record, arm));
    let mut claims = Vec::new();
    for verdict in verdicts.iter().filter(|verdict| Arm::HOSTS.contains(&verdict.arm)) {
        claims.extend(verdict::claims(verdict, &settled(&scene, verdict)?));
    }
    drop(scene);
    sheet::tell(&page::COLUMNS, &page::rows(&verdicts), page::EXPLAINED, &claims);
    let file = place::made("demo")?.join("index.html");
    sheet::write(&file, &page::page(&record, &verdicts, &claims))?;
    println!("the timeline, drawn: {}", file.display());
    Ok(claims.iter().all(|claim| claim.holds))
}

/// Lets the script run and notes all that is seen.
fn play(scene: &mut Scene, look: Look) -> Result<Record> {
    let mut record = Record::default();
    let (samples_in, samples) = channel();
    let (sightings_in, sightings) = channel();
    let targets = scene.targets();
    say::begins("demo", "about 50 seconds; Ctrl-C ends it");
    scene.begin()?;
    let start = Instant::now();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            // Owned by the thread: the channel closes with it.
            let samples_in = samples_in;
            load::run(targets, start, &samples_in)
        });
        scope.spawn(|| watch(scene, start, &over, sightings_in));
        let shown = show(&mut record, &samples, &sightings, start, look);
        let loaded = load.join();
        over.store(true, Ordering::Relaxed);
        match loaded {
            Ok(done) => done.and(shown),
            Err(_) => bail!("the load ended by itself"),
        }
    })?;
    scene.check_alive()?;
    Ok(record)
}

/// Asks the hosts for their state until it is over.
fn watch(scene: &Scene, start: Instant, over: &AtomicBool, out: Sender<(Arm, Duration, State)>) {
    while !over.load(Ordering::Relaxed) {
        for host in Arm::HOSTS {
            let at = start.elapsed();
            // A host that does not answer shows up in the calls.
            if let Some(state) = scene.metrics(host).ok().and_then(|page| page.state()) {
                let _ = out.send((host, at, state));
            }
        }
        std::thread::sleep(GLANCE);
    }
}

/// Shows what comes in until the load is done.
fn show(
    record: &mut Record,
    samples: &Receiver<record::Sample>,
    sightings: &Receiver<(Arm, Duration, State)>,
    start: Instant,
    look: Look,
) -> Result<()> {
    let mut screen = terminal::Screen::default();
    let mut next = TICK;
    loop {
        let wait = next.saturating_sub(start.elapsed());
        let ended = match samples.recv_timeout(wait) {
            Ok(sample) => {
                record.add(sample);
                false
            }
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => false,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => true,
        };
        let now = start.elapsed();
        if now < next && !ended {
            continue;
        }
        for (arm, at, state) in sightings.try_iter() {
            record.sighted(arm, at, state);
        }
        let shown = now.min(script::LENGTH);
        match look {
            _ if process::stopping() => {}
            Look::Live => {
                let picture = terminal::picture(record, shown, terminal::Screen::width());
                screen.draw(&picture).context("cannot draw on the terminal")?;
            }
            // In the second after the one it tells of, when its answers are there.
            Look::Plain if next.subsec_millis() == 0 && next <= script::LENGTH => {
                println!("{}", plain::line(record, next));
            }
            Look::Plain => {}
        }
        if ended {
            return Ok(());
        }
        next += TICK;
    }
}

/// A host's metrics once every call that went through is counted and settled, or what they are
/// when that does not come.
fn settled(scene: &Scene, verdict: &Verdict) -> Result<Page> {
    let went = (verdict.good + verdict.failed) as f64;
    let deadline = Instant::now() + LAST_COUNTS_WAIT;
    loop {
        let page = scene.metrics(verdict.arm)?;
        let admitted = page.sum("bimetal_requests_total", &[("decision", "admitted")]);
        let settled = page.sum("bimetal_outcomes_total", &[]);
        if (admitted == settled && admitted == went) || Instant::now() > deadline {
            return Ok(page);
        }
        std::thread::sleep(GLANCE);
    }
}
