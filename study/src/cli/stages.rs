//! `bimetal-study stages`: the origin's loads by k6.

use super::arms::FOLDER;
use anyhow::{Context, Result, bail};
use bimetal_study::arms::{self, Place};
use bimetal_study::process::{self, Cores};
use bimetal_study::stages::{self, Stage, Staged};
use bimetal_study::{spans, store, tools};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Examples for `--help`.
pub const EXAMPLES: &str = "Examples:
  bimetal-study stages --out results/today
  bimetal-study stages --out results/today --arms native-policy --stages breaker
  bimetal-study stages --out /tmp/smoke --arms app --stages vus5 --scale 0.02";

/// The arms of the origin's configurations: without a breaker, with one in the program, with
/// Istio's, with ours in the sidecar. All write traces, as the origin's programs did.
const ORIGIN: [&str; 5] = [
    "traced",
    "traced-policy",
    "traced-envoy-outlier",
    "traced-envoy-destination-rule",
    "traced-envoy-filter",
];

/// What is run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folder of the study; what is there already is not run again
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The arms; without, the origin's configurations
    #[arg(long, value_delimiter = ',')]
    arms: Vec<String>,
    /// vus10, payload100, spike10, stress10, breaker; without, the origin's nine
    #[arg(long, value_delimiter = ',')]
    stages: Vec<Stage>,
    /// What every duration is multiplied by; below 1 it is a smoke test
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The folder of the arms' files
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    folder: PathBuf,
}

/// Runs k6 against each arm, each with processes of its own.
///
/// # Errors
/// A tool is missing, an arm does not start, or k6 fails.
pub fn run(options: &Options) -> Result<()> {
    let all = arms::all(&options.folder)?;
    let k6 = tools::find("k6")?;
    let names: Vec<String> = match options.arms.as_slice() {
        [] => ORIGIN.map(str::to_owned).into(),
        given => given.to_vec(),
    };
    let chosen = match options.stages.as_slice() {
        [] => Stage::ORIGIN.to_vec(),
        given => given.to_vec(),
    };
    if !(options.scale > 0.0 && options.scale <= 10.0) {
        bail!("--scale {}: it is above 0 and at most 10", options.scale);
    }
    if let Some(unknown) = names.iter().find(|name| !all.contains_key(*name)) {
        bail!("there is no arm {unknown}");
    }
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot make {}", options.out.display()))?;
    let place = Place {
        folder: std::path::absolute(options.out.join("work"))?,
        cores: Cores::take()?,
        policy: arms::policy(&options.folder)?,
    };
    let before = store::stages(&options.out)?;
    for stage in &chosen {
        for arm in names.iter().filter_map(|name| all.get(name)) {
            let same = |one: &Staged| {
                one.arm == arm.name && one.stage == *stage && one.scale == options.scale
            };
            if before.iter().any(same) {
                continue;
            }
            let server = arms::start_echo(&place)?;
            let started = arms::start(arm, &place, server.address)?;
            let summary = place.folder.join("k6.json");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("k6").join(stage.script());
            let mut command = process::command(&k6);
            command.args(["run", "--quiet", "--no-usage-report"]).arg(script);
            command.env("TARGET", format!("http://{}", started.address)).env("OUT", &summary);
            command.env("SCALE", options.scale.to_string()).envs(stage.told());
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let done = process::on(place.cores.load, || Ok(command.status()?));
            // A threshold that was not kept is a result; k6 then ends with 99.
            let status = done.context("k6 does not start")?;
            if !status.success() && status.code() != Some(99) {
                bail!("k6 ended ({status})");
            }
            let text = std::fs::read_to_string(&summary).context("k6 left no summary")?;
            let mut staged = stages::read(&arm.name, *stage, options.scale, &text)?;
            if arm.traced {
                // All of them: a ramp is a part of what the origin took its means over.
                staged.spans = spans::read(&started.end(), &(0..u128::MAX))?;
            }
            store::add_stage(&options.out, &staged)?;
            let kept =
                if staged.broken.is_empty() { "thresholds kept" } else { "THRESHOLDS MISSED" };
            eprintln!(
                "{stage} {}: median {:.2} ms, p95 {:.2} ms, {:.2} % failed; {kept} {}",
                arm.name,
                staged.median_ms,
                staged.p95_ms,
                staged.failed * 100.0,
                staged.broken.join(", ")
            );
        }
    }
    // Logs and files of the arms; what was measured is elsewhere.
    let _ = std::fs::remove_dir_all(&place.folder);
    Ok(())
}
