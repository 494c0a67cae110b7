//! Set-up, tests, demo and benchmarks of this repository: `cargo xtask --help`.

#![allow(unreachable_pub, reason = "a program has no callers from outside")]

mod bench;
mod cluster;
mod demo;
mod images;
mod mutants;
mod place;
mod process;
mod say;
mod schemas;
mod signals;
mod soak;
mod study;
mod test;
mod tools;
mod traces;
mod wasm;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Set-up, tests, demo and benchmarks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

const EXAMPLES: &str = "Examples:
  cargo xtask demo             watch both hosts trip and recover, about a minute
  cargo xtask demo --overload  watch a model stand more calls than it can serve
  cargo xtask test             run every test of this machine
  cargo xtask soak             a million calls with random faults through each host
  cargo xtask bench --quick    a short look at the ratios
  cargo xtask study --quick    shows that the study works
  cargo xtask wasm             build the filter: target/bimetal_filter.wasm
  cargo xtask mutants config   see which changes of the proxy's file no test notices
  cargo xtask tools envoy      install Envoy into target/tools

Exit status: 0 fine, 1 failed, 2 wrong arguments.";

#[derive(Debug, Subcommand)]
enum Task {
    /// Watch both hosts trip and recover in front of one failing server
    #[command(after_help = "Examples:\n  cargo xtask demo\n  \
        cargo xtask demo --plain | tee demo.txt\n  cargo xtask demo --overload\n  \
        cargo xtask demo --retry-storm\n  cargo xtask demo --incident")]
    Demo {
        /// More calls than three replicas of a model can serve: without protection, with Istio's
        /// limits and with a policy, about three minutes. Needs Go, to build vegeta
        #[arg(long, group = "story")]
        overload: bool,
        /// Three hops with three tries each before a dead service: how many tries reach it, half a
        /// minute
        #[arg(long, group = "story")]
        retry_storm: bool,
        /// A slow error tracker that stops three tiers, and what is left of it where every way is
        /// protected, about two minutes
        #[arg(long, group = "story")]
        incident: bool,
        /// One line a second instead of a picture (the default in a pipe)
        #[arg(long)]
        plain: bool,
    },
    /// Run the tests; the last line is `N passed, N failed, N skipped`
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --full")]
    Test {
        /// Also what needs long builds
        #[arg(long)]
        full: bool,
    },
    /// Measure a decision's cost and a request's, each beside others in the same run
    #[command(after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick\n  \
        cargo xtask bench --json figures.json e2e\n  cargo xtask bench --ab\n  \
        cargo xtask bench instructions\n  \
        BIMETAL_BEFORE=/path/to/bimetal cargo xtask bench instructions\n\n\
        BIMETAL_BEFORE=/path/to/bimetal and BIMETAL_FILTER_BEFORE=/path/to/filter.wasm add\n\
        arms of the time before a change to --ab. Beside instructions, BIMETAL_BEFORE and\n\
        BIMETAL_CALLS_BEFORE=/path/to/bimetal-instructions are counted in the same run.")]
    Bench {
        /// Short: shows that everything works, its figures mean little
        #[arg(long)]
        quick: bool,
        /// Write all figures to this file
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Judge one difference: the same arm twice, without and with the policy, by 95 % intervals
        #[arg(long, conflicts_with = "half")]
        ab: bool,
        /// Fixes the order of the blocks and the bootstrap
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Keep the instructions as those of the last release (docs/instructions.json); COMMIT is
        /// what was built, where it is not the work tree's
        #[arg(long, value_name = "COMMIT", num_args = 0..=1, require_equals = true,
              default_missing_value = "", conflicts_with = "quick")]
        save: Option<String>,
        /// One part alone; without, both halves (core and e2e)
        half: Option<bench::Half>,
    },
    /// Send many calls with random faults through each host; every one must be accounted for
    #[command(after_help = "Examples:\n  cargo xtask soak\n  \
        cargo xtask soak --calls 20000 --host native --seed 7")]
    Soak {
        /// Calls through each host
        #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
        calls: u64,
        /// Draws the faults
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// One host alone
        #[arg(long)]
        host: Option<soak::Kind>,
    },
    /// Measure what each way of protecting a call costs, side by side, by intervals
    #[command(after_help = "Examples:\n  cargo xtask study --quick\n  \
        cargo xtask study prepare                         builds and fetches, measures nothing\n  \
        cargo xtask study --quick --arms all --rounds 1   every arm once\n  \
        cargo xtask study --arms direct,native-policy,envoy-filter --loads 250,1000\n  \
        cargo xtask study --full --minutes 120 --out results/today\n  \
        cargo xtask study --out results/today --resume\n  \
        cargo xtask study stages --out results/today      the origin's loads by k6\n  \
        cargo xtask study translate                       Istio's rules anew, by a real istiod\n  \
        cargo xtask study --cluster --quick               in Kubernetes: KUBECONFIG or BIMETAL_CLUSTER\n\n\
        What else can be said: bimetal-study run --help. Without --out a study goes to\n\
        target/study.")]
    Study {
        /// Handed to the study's program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<String>,
    },
    /// Change the code in one place at a time; a test must notice each change
    #[command(after_help = "Examples:\n  cargo xtask mutants config\n  \
        cargo xtask mutants worker framing --shard 0/8\n  \
        cargo xtask mutants call --re 'call/hop\\.rs'\n\n\
        All rooms together take many hours; docs/mutants.md says how many mutants each has and\n\
        what came of it. Changes that no test can notice are argued in .cargo/mutants/argued.toml.\n\n\
        Exit status: 0 each is noticed or argued, 1 one is not, 2 wrong arguments.")]
    Mutants {
        /// The parts of the code; without any, all of them
        #[arg(value_name = "ROOM", value_parser = clap::builder::PossibleValuesParser::new(mutants::Room::names()))]
        rooms: Vec<String>,
        /// Part K of N of each room's mutants, K from 0 to N-1
        #[arg(long, value_name = "K/N")]
        shard: Option<mutants::Shard>,
        /// Only changes whose line `FILE:LINE:COLUMN: CHANGE` matches this regular expression, and
        /// fields that are left out
        #[arg(long, value_name = "REGEX")]
        re: Option<String>,
    },
    /// Ask a real Prometheus every expression of dashboards and alerts, while breakers trip
    #[command(after_help = "Example:\n  cargo xtask signals --alertmanager")]
    Signals {
        /// An alert shall reach a real Alertmanager as well
        #[arg(long)]
        alertmanager: bool,
    },
    /// Follow traces from standard output into a real Jaeger and back
    #[command(after_help = "Example:\n  cargo xtask traces target/debug/bimetal")]
    Traces {
        /// The bimetal program
        program: PathBuf,
    },
    /// Build the Wasm filter, and the filter that does nothing beside it
    #[command(after_help = "Example:\n  cargo xtask wasm\n\n\
        WASM_TOOLCHAIN=rustup|debian takes one toolchain and no other.")]
    Wasm,
    /// Write the container images to target/images
    #[command(after_help = "Example:\n  cargo xtask images")]
    Images {
        /// The Cargo profile of the program in them
        #[arg(long, default_value = "release")]
        profile: String,
    },
    /// Fetch what Kubernetes, Istio, the Gateway API and the Prometheus operator know of their kinds
    #[command(after_help = "Example:\n  cargo xtask schemas\n\n\
        The chart's tests hold every rendered object to them, by kubeconform.")]
    Schemas,
    /// Install the chart in each mode on a real cluster with Istio, and show what it does
    #[command(after_help = "Examples:\n  KUBECONFIG=~/.kube/config cargo xtask cluster-test\n  \
        BIMETAL_CLUSTER=../shared/cluster cargo xtask cluster-test\n  \
        cargo xtask cluster-test updates failures")]
    ClusterTest {
        /// The Cargo profile of the images
        #[arg(long, default_value = "release")]
        profile: String,
        /// Parts of it; without any, all of them
        #[arg(value_name = "PART")]
        parts: Vec<cluster::Part>,
    },
    /// List the external tools, or install some
    #[command(after_help = "Examples:\n  cargo xtask tools\n  cargo xtask tools envoy k6")]
    Tools {
        /// Tools to install; without any, all are listed
        #[arg(value_parser = clap::builder::PossibleValuesParser::new(tools::names()))]
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let task = Arguments::parse().task;
    match process::end_all_when_told().and_then(|()| carry_out(task)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(task: Task) -> Result<ExitCode> {
    let good = match task {
        Task::Demo { overload, retry_storm, incident, plain } => demo::run(
            match (overload, retry_storm, incident) {
                (true, ..) => demo::Story::Overload,
                (_, true, _) => demo::Story::RetryStorm,
                (.., true) => demo::Story::Incident,
                (false, false, false) => demo::Story::Failure,
            },
            if plain { demo::Look::Plain } else { demo::Look::Live },
        )?,
        Task::Test { full } => {
            test::run(if full { test::Extent::Full } else { test::Extent::Usual })?
        }
        Task::Bench { quick, json, ab, seed, save, half } => bench::bench(&bench::Options {
            extent: if quick { bench::Extent::Quick } else { bench::Extent::Usual },
            purpose: if ab { bench::Purpose::Judge } else { bench::Purpose::Compare },
            json,
            seed,
            save,
            half,
        })
        .map(|()| true)?,
        Task::Soak { calls, seed, host } => soak::run(&soak::Options {
            calls,
            seed,
            hosts: host.map_or_else(|| soak::Kind::ALL.to_vec(), |one| vec![one]),
        })?,
        Task::Study { arguments } => study::study(&arguments).map(|()| true)?,
        Task::Mutants { rooms, shard, re } => mutants::run(&mutants::Options {
            rooms: mutants::Room::chosen(&rooms),
            shard,
            only: re,
        })?,
        Task::Signals { alertmanager } => signals::signals(alertmanager).map(|()| true)?,
        Task::Traces { program } => {
            let jaeger = tools::named("jaeger")?.get()?;
            traces::check(&program.canonicalize()?, &jaeger).map(|()| true)?
        }
        Task::Images { profile } => images::images(&profile).map(|_| true)?,
        Task::Schemas => schemas::schemas().map(|_| true)?,
        Task::ClusterTest { profile, parts } => return cluster::cluster_test(&profile, &parts),
        Task::Wasm => wasm::build().map(|()| true)?,
        Task::Tools { names } => tools(&names).map(|()| true)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Installs the tools of these names; lists all where there is none.
fn tools(names: &[String]) -> Result<()> {
    if names.is_empty() {
        tools::list();
    }
    for name in names {
        println!("{name}: {}", tools::named(name)?.get()?.display());
    }
    Ok(())
}
