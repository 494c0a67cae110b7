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
    /// Show how often intervals of each method hold the truth, on made samples
    #[command(after_help = "Example:\n  bimetal-study coverage --pairs 10 --samples 20000")]
    Coverage(cli::coverage::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Coverage(options) => cli::coverage::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
