//! Plays conformance scenarios and prints how they went.

use bimetal_conformance::batch::{Limits, PlayResult, in_the_core, run};
use bimetal_conformance::limits::HostName;
use bimetal_conformance::real::tools::{self, Tools};
use bimetal_conformance::report::Verdict;
use bimetal_conformance::scenario::{ReadError, Scenario, read_all, read_file};
use clap::{Parser, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Play scenarios through the core alone, the native proxy or a real Envoy, and compare logs.
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  cargo run -p bimetal-conformance
  cargo run -p bimetal-conformance -- --host native conformance/scenarios/late-success.yaml
  ENVOY=/usr/bin/envoy cargo run -p bimetal-conformance -- --host envoy

BIMETAL, ENVOY and BIMETAL_FILTER name the programs and the filter to use.
Exit codes: 0 all equal, 1 a log differs or a host does not start, 2 a scenario cannot be read.")]
struct Args {
    /// Who plays them
    #[arg(long, value_enum, default_value = "core")]
    host: Host,
    /// Scenario files; without any, all of this room
    files: Vec<PathBuf>,
    /// Where real hosts put their files
    #[arg(long, value_name = "FOLDER", default_value = "target/conformance")]
    folder: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Host {
    Core,
    Native,
    Envoy,
}

impl From<Host> for HostName {
    fn from(host: Host) -> Self {
        match host {
            Host::Core => Self::Core,
            Host::Native => Self::Native,
            Host::Envoy => Self::Envoy,
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let scenarios = match scenarios(&args.files) {
        Ok(scenarios) => scenarios,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let host = HostName::from(args.host);
    let folder = args.folder.join(host.to_string());
    if host == HostName::Core {
        return print(&in_the_core(&scenarios));
    }
    let missing = match host {
        HostName::Envoy => tools::envoy().err(),
        HostName::Core | HostName::Native => None,
    };
    match missing.map_or_else(Tools::find, Err) {
        Ok(tools) => print(&run(host, &tools, &scenarios, Limits::Respected, &folder)),
        Err(error) => {
            eprintln!("{host}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn scenarios(files: &[PathBuf]) -> Result<Vec<Scenario>, ReadError> {
    match files {
        [] => read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")),
        files => files.iter().map(|file| read_file(file)).collect(),
    }
}

fn print(results: &[PlayResult<'_>]) -> ExitCode {
    let mut red = 0_usize;
    for PlayResult { scenario, verdict, plays } in results {
        let result = match verdict {
            Verdict::Equal if *plays > 1 => format!("equal (play {plays})"),
            Verdict::Equal => "equal".to_owned(),
            Verdict::Different(_) => "DIFFERENT".to_owned(),
            Verdict::Failed(why) => format!("FAILED: {why}"),
            Verdict::Unseen(what) => format!("not seen: {what}"),
        };
        println!("{:34} {result}", scenario.name);
        red += usize::from(matches!(verdict, Verdict::Different(_) | Verdict::Failed(_)));
        if let Verdict::Different(difference) = verdict {
            println!("  {}\n  - expected, + seen\n{difference}", scenario.title);
        }
    }
    let equal = results.iter().filter(|outcome| outcome.verdict == Verdict::Equal).count();
    println!("{equal} equal, {red} red, {} not seen", results.len() - equal - red);
    ExitCode::from(u8::from(red != 0))
}
