//! The command line of the driver.

use bimetal_fuzz::run::{Plan, run};
use bimetal_fuzz::{TARGETS, Target, find};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Feeds mutated inputs to the fuzz targets. Inputs that break a promise are printed and saved in
/// fuzz/crashes/; then it ends with 1.
#[derive(Debug, Parser)]
#[command(after_help = "Example: bimetal-fuzz --inputs 10000000 --seed 1")]
struct Args {
    /// Inputs over all targets together.
    #[arg(long, default_value_t = 100_000)]
    inputs: u64,
    /// Only this target; can be given several times.
    #[arg(long)]
    target: Vec<String>,
    /// Fixes the row of inputs of each target.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Gives this file to the target, once, and nothing else: a saved input again.
    #[arg(long)]
    replay: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let targets = match chosen(&args.target) {
        Ok(targets) => targets,
        Err(unknown) => {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            eprintln!("no target {unknown}; there are {}", names.join(", "));
            return ExitCode::from(2);
        }
    };
    let done = match &args.replay {
        Some(file) => replay(file, &targets),
        None => fuzz(&args, targets),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn chosen(names: &[String]) -> Result<Vec<Target>, String> {
    if names.is_empty() {
        return Ok(TARGETS.to_vec());
    }
    let named = names.iter().map(|name| find(name).ok_or_else(|| name.clone()));
    named.collect()
}

/// A panic shows as ever here: it is what one wants to look at.
fn replay(file: &PathBuf, targets: &[Target]) -> std::io::Result<ExitCode> {
    let input = std::fs::read(file)?;
    for target in targets {
        let behaviour = (target.act)(&input);
        println!("{}: {behaviour:?}", target.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn fuzz(args: &Args, targets: Vec<Target>) -> std::io::Result<ExitCode> {
    let begin = Instant::now();
    let reports = run(&Plan { targets, inputs: args.inputs, seed: args.seed })?;
    let (mut inputs, mut crashes) = (0, 0);
    for report in &reports {
        inputs += report.inputs;
        crashes += report.crashes.len();
        println!(
            "{:<12} {:>9} inputs, {:>5} behaviours, {} crashes",
            report.name,
            report.inputs,
            report.behaviours,
            report.crashes.len()
        );
        for (file, message) in &report.crashes {
            println!("  {}: {message}", file.display());
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let rate = inputs as f64 / seconds;
    println!(
        "{inputs} inputs in {seconds:.1} s, {rate:.0}/s; {crashes} crashes; seed {}",
        args.seed
    );
    Ok(match crashes {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
