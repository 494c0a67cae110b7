//! `bimetal-study run`: a whole study, or one more part of it.

use super::arms::FOLDER;
use anyhow::{Context, Result, bail};
use bimetal_study::arms::{self, AGAIN, Arm, Ground, Here, Place, program_of};
use bimetal_study::cluster::{Cluster, Site};
use bimetal_study::load::Load;
use bimetal_study::plan::{Extent, Plan};
use bimetal_study::process::Cores;
use bimetal_study::report;
use bimetal_study::run::{Ended, Means, Progress};
use bimetal_study::store::{Head, Store};
use bimetal_study::{machine, tools};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Examples for `--help`.
pub const EXAMPLES: &str = "Examples:
  bimetal-study run --quick --out /tmp/study
  bimetal-study run --quick --arms all --rounds 1 --out /tmp/every-arm-once
  bimetal-study run --out results/today --arms direct,native-policy,envoy-filter --loads 250,1000
  bimetal-study run --out results/today --resume --minutes 120
In a cluster: cargo xtask study --cluster";

/// Set by Ctrl-C, SIGTERM and SIGHUP.
static STOP: AtomicBool = AtomicBool::new(false);

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Smoke: three arms, seconds; take no figure from it
    #[arg(long)]
    quick: bool,
    /// More loads, longer blocks
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// The arms, by name; NAME@2 is NAME a second time; `all` is every one that can run here, which
    /// is also what is measured without this
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// The loads, in calls a second and KB: 500,200x100KB
    #[arg(long, value_delimiter = ',')]
    loads: Vec<Load>,
    /// Rounds: pairs of each comparison
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of a block that count
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds of a block before those that count
    #[arg(long)]
    warm_up: Option<f64>,
    /// Draws the order of the blocks
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The folder of the study
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on with the study in the folder
    #[arg(long, conflicts_with_all = ["quick", "full", "arms", "loads", "rounds", "seconds", "warm_up"])]
    resume: bool,
    /// Begin no new block after so many minutes; --resume goes on
    #[arg(long)]
    minutes: Option<u64>,
    /// The commit that is measured, for the record; another one cannot go on with a study
    #[arg(long)]
    commit: Option<String>,
    /// Arms are releases of the chart in a cluster, which stands ready as this file says
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// The folder of the arms' files; in a cluster those in `cluster` of it are the arms
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    folder: PathBuf,
}

/// Measures, and reports what there is, also when it is stopped.
///
/// # Errors
/// A wrong option, a missing tool, a folder that cannot be used, or a server that does not come up.
pub fn run(options: &Options) -> Result<()> {
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed)).context("cannot hear Ctrl-C")?;
    let site = options.cluster.as_deref().map(Site::read).transpose()?;
    let all = match site {
        Some(_) => arms::all(&options.folder.join("cluster"))?,
        None => arms::all(&options.folder)?,
    };
    let cores = Cores::take()?;
    let mut store = if options.resume {
        let store = Store::open(&options.out)?;
        same_commit(&store.head().machine.commit, options.commit.as_deref())?;
        store
    } else {
        let plan = plan(options, &all)?;
        let used = plan.arms.iter().filter_map(|name| all.get(program_of(name)));
        let used = std::iter::once("bimetal").chain(used.flat_map(Arm::tools));
        let commit = options.commit.as_deref().unwrap_or("unknown");
        let mut machine = machine::look(cores, commit, used);
        machine.cluster = site.as_ref().map(|site| site.seen.clone());
        Store::begin(&options.out, Head { plan, machine })?
    };
    if !cores.are_two() {
        eprintln!(
            "note: there is one core for arms and load: no figure of this run means anything"
        );
    }
    for (arm, why) in &store.head().plan.left_out {
        eprintln!("note: {arm} is left out: {why}");
    }
    let folder = std::path::absolute(options.out.join("work"))?;
    let policy = arms::policy(&options.folder)?;
    let cluster = site.map(|site| Cluster::new(site, &policy, folder.clone())).transpose()?;
    let here = Here {
        place: Place { folder: folder.clone(), cores, policy },
        generator: std::env::current_exe().context("cannot find this program")?,
    };
    let ground: &dyn Ground = match &cluster {
        Some(cluster) => cluster,
        None => &here,
    };
    let left = store.left().len();
    let about = store.head().plan.about(left, ground.around()).as_secs().div_ceil(60);
    eprintln!("{left} blocks are to be measured: about {about} min");
    let ended = bimetal_study::run::run(
        &mut store,
        &Means {
            arms: &all,
            ground,
            stop: &STOP,
            at_most: options.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            tell: &tell,
        },
    );
    if let (Some(cluster), Ok(Ended::Whole)) = (&cluster, &ended) {
        super::cluster::after(cluster, &store, &all, &STOP)?;
    }
    // Logs and files of the arms; what was measured is elsewhere.
    let _ = std::fs::remove_dir_all(&folder);
    // Also of a part: what was measured is worth reading.
    let (page, text) = report::write(&store, &all)?;
    print!("{text}");
    eprintln!("report: {}", page.display());
    match ended? {
        Ended::Whole => {}
        Ended::Stopped => eprintln!("stopped; --resume goes on with it"),
        Ended::TimeIsOver => eprintln!("the time is over; --resume goes on with it"),
    }
    Ok(())
}

/// Holds that a study goes on with the programs that it began with, as far as commits tell.
fn same_commit(begun: &str, now: Option<&str>) -> Result<()> {
    match now {
        Some(now) if now != begun => bail!(
            "the study began with commit {begun}, and this is {now}: one study cannot measure both. \
             Another --out begins a new one; --commit {begun} goes on with this one nevertheless"
        ),
        _ => Ok(()),
    }
}

fn tell(progress: Progress<'_>) {
    let block = progress.block;
    let minutes = progress.left.as_secs().div_ceil(60);
    let seen = match block.invalid.first() {
        Some(flaw) => format!("INVALID: {flaw}"),
        None => {
            format!("p50 {:.0} us, p99 {:.0} us", block.seen.latency.p50, block.seen.latency.p99)
        }
    };
    eprintln!(
        "{}/{} round {} {} at {}: {seen}; {minutes} min left",
        progress.done,
        progress.all,
        block.round + 1,
        block.arm,
        block.load
    );
}

/// What the options ask for.
fn plan(options: &Options, all: &BTreeMap<String, Arm>) -> Result<Plan> {
    let extent = match (options.quick, options.full) {
        (true, _) => Extent::Quick,
        (_, true) => Extent::Full,
        _ => Extent::Usual,
    };
    let (rounds, seconds, warm_up, loads): (_, _, _, &[&str]) = match extent {
        // Pods that start cost more time than a block, and share two cores with all of Kubernetes.
        Extent::Quick if options.cluster.is_some() => (1, 2.0, 1.0, &["50"]),
        Extent::Usual if options.cluster.is_some() => (10, 5.0, 2.0, &["100"]),
        Extent::Quick => (2, 1.0, 0.5, &["200"]),
        Extent::Usual => (10, 6.0, 1.5, &["250", "1000"]),
        Extent::Full => {
            (12, 15.0, 3.0, &["100", "500", "1000", "2000", "100x5KB", "50x100KB", "10x1000KB"])
        }
    };
    let (arms, left_out) = chosen(options, extent, all)?;
    let loads: Vec<Load> = match options.loads.as_slice() {
        [] => loads.iter().map(|load| load.parse()).collect::<Result<_>>()?,
        given => given.to_vec(),
    };
    let twice = loads.iter().enumerate().find(|(place, load)| loads[..*place].contains(load));
    if let Some((_, load)) = twice {
        bail!("the load {load} is named twice");
    }
    let seconds = options.seconds.unwrap_or(seconds);
    if !(0.1..=3600.0).contains(&seconds) {
        bail!("--seconds {seconds}: a block takes 0.1 to 3600 seconds");
    }
    let warm_up = options.warm_up.unwrap_or(warm_up);
    if !(0.0..=600.0).contains(&warm_up) {
        bail!("--warm-up {warm_up}: it takes 0 to 600 seconds");
    }
    let rounds = options.rounds.unwrap_or(rounds);
    if rounds == 0 {
        bail!("--rounds 0: there is nothing to measure");
    }
    Ok(Plan {
        extent,
        seed: options.seed,
        rounds,
        seconds,
        warm_up,
        connections: 64,
        arms,
        loads,
        left_out,
    })
}

/// The arms, and those that are left out because something is missing. One that was asked for by
/// name must be there.
fn chosen(
    options: &Options,
    extent: Extent,
    all: &BTreeMap<String, Arm>,
) -> Result<(Vec<String>, BTreeMap<String, String>)> {
    let missing = |arm: &Arm| arm.tools().into_iter().find_map(|tool| tools::find(tool).err());
    let is_all = options.arms == [ALL];
    if !options.arms.is_empty() && !is_all {
        for (place, name) in options.arms.iter().enumerate() {
            let arm = all.get(program_of(name)).with_context(|| {
                format!(
                    "there is no arm {name}; there are {}",
                    all.keys().cloned().collect::<Vec<_>>().join(", ")
                )
            })?;
            if options.arms[..place].contains(name) {
                bail!("{name} is named twice; {name}{AGAIN} is a second one of the same program");
            }
            if let Some(error) = missing(arm) {
                return Err(error.context(format!("{name} cannot run")));
            }
        }
        return Ok((options.arms.clone(), BTreeMap::new()));
    }
    let mut chosen = Vec::new();
    let mut left_out = BTreeMap::new();
    // Each arm after the one below it, as reports show them.
    let mut ladder: Vec<(&String, &Arm)> = all.iter().collect();
    ladder.sort_by_key(|(name, _)| steps(all, name));
    let is_short = extent == Extent::Quick && !is_all && options.cluster.is_none();
    for (name, arm) in ladder {
        match missing(arm) {
            _ if is_short && !QUICK.contains(&name.as_str()) => {}
            Some(error) => {
                left_out.insert(name.clone(), error.to_string());
            }
            None => chosen.push(name.clone()),
        }
    }
    // A/A: what the same program differs from itself, natively and in Envoy.
    if extent != Extent::Quick || is_all {
        let again = ["native-policy", "envoy-filter", "proxy-policy", "mesh-filter"].into_iter();
        let again = again.filter(|name| chosen.iter().any(|one| one == name));
        let again: Vec<String> = again.map(|name| format!("{name}{AGAIN}")).collect();
        chosen.extend(again);
    }
    if chosen.is_empty() {
        bail!("no arm can run here: `bimetal-study arms` says what is missing");
    }
    Ok((chosen, left_out))
}

/// The arms from the lowest of a ladder up to one of them.
fn steps<'a>(all: &'a BTreeMap<String, Arm>, name: &'a str) -> Vec<&'a str> {
    let below = |name: &&'a str| all.get(*name)?.over.as_deref();
    let mut steps: Vec<&str> = std::iter::successors(Some(name), below).collect();
    steps.reverse();
    steps
}

/// The word for every arm that can run here.
const ALL: &str = "all";

/// The arms of a quick study.
const QUICK: [&str; 3] = ["direct", "native", "native-policy"];
