//! Plays many scenarios on one host, several side by side.

use crate::core_host::{Shift, play, sharpness};
use crate::limits::{HostName, in_the_way};
use crate::real::envoy_host::EnvoyHost;
use crate::real::native::NativeHost;
use crate::real::tools::Tools;
use crate::real::{Play, Ready, RealHost, prepare};
use crate::report::{Verdict, judge};
use crate::scenario::Scenario;
use std::io;
use std::path::Path;
use std::thread;

/// How many real hosts run side by side. They wait most of the time; starting them is the work,
/// so a whole batch starts before any of it plays.
const SIDE_BY_SIDE: usize = 12;
/// How often a play that the machine spoilt is repeated.
const ATTEMPTS: u32 = 4;

/// How one scenario went.
#[derive(Clone, Debug)]
pub struct PlayResult<'a> {
    /// Which.
    pub scenario: &'a Scenario,
    /// How.
    pub verdict: Verdict,
    /// Plays it took: more than one where the machine stood still meanwhile.
    pub plays: u32,
}

/// Which scenarios of a host's limits are played all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// None: they count as unseen.
    Respected,
    /// All: a test of the table wants to see them fail.
    Ignored,
}

/// Plays `scenarios` on `host`. Real hosts are started from `tools`, their files go to `folder`. A
/// host that cannot be started or told what to do is a [`Verdict::Failed`].
pub fn run<'a>(
    host: HostName,
    tools: &Tools,
    scenarios: &'a [Scenario],
    limits: Limits,
    folder: &Path,
) -> Vec<PlayResult<'a>> {
    let mut results = Vec::new();
    let mut left: Vec<&Scenario> = Vec::new();
    for scenario in scenarios {
        match in_the_way(scenario, host).filter(|_| limits == Limits::Respected) {
            Some(limit) => {
                let verdict = Verdict::Unseen(limit.what);
                results.push(PlayResult { scenario, verdict, plays: 0 });
            }
            None => left.push(scenario),
        }
    }
    let played = match host {
        HostName::Core => left.into_iter().map(play_in_core).collect(),
        HostName::Native => in_real_time::<NativeHost>(left, tools, folder),
        HostName::Envoy => in_real_time::<EnvoyHost>(left, tools, folder),
    };
    results.extend(played);
    results.sort_by(|one, other| one.scenario.name.cmp(&other.scenario.name));
    results
}

/// Plays `scenarios` in the core alone, exactly and shifted.
pub fn in_the_core(scenarios: &[Scenario]) -> Vec<PlayResult<'_>> {
    scenarios.iter().map(play_in_core).collect()
}

fn play_in_core(scenario: &Scenario) -> PlayResult<'_> {
    let verdict = match judge(scenario, &play(scenario, &Shift::default(), None)) {
        Verdict::Equal => match sharpness::check(scenario) {
            Ok(()) => Verdict::Equal,
            Err(why) => Verdict::Different(why),
        },
        other => other,
    };
    PlayResult { scenario, verdict, plays: 1 }
}

fn in_real_time<'a, H: RealHost>(
    mut left: Vec<&'a Scenario>,
    tools: &Tools,
    folder: &Path,
) -> Vec<PlayResult<'a>> {
    // Those of about one length together: a batch lasts as long as its longest.
    left.sort_by_key(|scenario| scenario.end);
    let mut results = Vec::new();
    for attempt in 1..=ATTEMPTS {
        let mut again = Vec::new();
        for batch in left.chunks(SIDE_BY_SIDE) {
            let folder = folder.join(format!("attempt-{attempt}"));
            for (scenario, verdict, repeat) in play_batch::<H>(batch, tools, &folder) {
                if repeat && attempt < ATTEMPTS {
                    again.push(scenario);
                } else {
                    results.push(PlayResult { scenario, verdict, plays: attempt });
                }
            }
        }
        left = again;
    }
    results
}

/// Plays a batch; `true` where a difference may be the machine's fault.
fn play_batch<'a, H: RealHost>(
    batch: &[&'a Scenario],
    tools: &Tools,
    folder: &Path,
) -> Vec<(&'a Scenario, Verdict, bool)> {
    let ready =
        side_by_side(batch, |scenario| prepare::<H>(tools, scenario, &folder.join(&scenario.name)));
    let plays = side_by_side(ready, |ready: io::Result<Ready<'_, H>>| ready?.play());
    let judged = |(scenario, play): (&&'a Scenario, io::Result<Play>)| {
        let (verdict, spoilt) = match play {
            Ok(play) => (judge(scenario, &play.recording), play.spoilt),
            Err(error) => (Verdict::Failed(error.to_string()), None),
        };
        let verdict = match (verdict, spoilt) {
            (Verdict::Different(diff), Some(late)) => {
                Verdict::Different(format!("{diff}  (the machine stood still for {late:?})\n"))
            }
            (verdict, _) => verdict,
        };
        let repeat = verdict != Verdict::Equal && spoilt.is_some();
        (*scenario, verdict, repeat)
    };
    batch.iter().zip(plays).map(judged).collect()
}

fn side_by_side<T: Send, R: Send>(
    jobs: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = jobs.into_iter().map(|job| scope.spawn(move || work(job))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, R>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}
