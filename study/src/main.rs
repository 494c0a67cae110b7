//! The program of the study: `cargo xtask study` starts it.

#![allow(unreachable_pub, reason = "a program has no callers from outside")]

mod cli;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// What each way of protecting a call costs, measured side by side.
#[derive(Debug, Parser)]
#[command(name = "bimetal-study", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Measure arms under loads, and report
    #[command(after_help = cli::run::EXAMPLES)]
    Run(cli::run::Options),
    /// Run the origin's own loads by k6, once
    #[command(after_help = cli::stages::EXAMPLES)]
    Stages(cli::stages::Options),
    /// Make the report of a study anew, from what was measured
    #[command(after_help = "Examples:\n  bimetal-study report results/today\n  \
        bimetal-study report study/results/2026-11-26 --into docs/study.md")]
    Report(cli::report::Options),
    /// List the arms, and what each needs
    Arms(cli::arms::Options),
    /// Show how often intervals of each method hold the truth, on made samples
    #[command(after_help = "Example:\n  bimetal-study coverage --pairs 10 --samples 20000")]
    Coverage(cli::coverage::Options),
    /// Send calls at a constant rate, whether or not they are answered, and tell what was seen
    #[command(after_help = "Example:\n  bimetal-study load --address 127.0.0.1:8001 --load 500")]
    Load(cli::load::Options),
    /// Send the traces in containers' outputs on to a collector, until it is ended
    #[command(
        after_help = "Example:\n  bimetal-study ship --from /var/log/pods --only shop_ \\\n    \
        --to http://jaeger.observability:4318/v1/traces"
    )]
    Ship(cli::ship::Options),
    /// Do nothing until it is ended: a pod in which loads are started needs a program meanwhile
    Wait,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Run(options) => cli::run::run(&options),
        Task::Stages(options) => cli::stages::run(&options),
        Task::Report(options) => cli::report::run(&options),
        Task::Arms(options) => cli::arms::run(&options),
        Task::Coverage(options) => cli::coverage::run(&options),
        Task::Load(options) => cli::load::run(&options),
        Task::Ship(options) => cli::ship::run(&options),
        Task::Wait => loop {
            std::thread::park();
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
