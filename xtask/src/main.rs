//! Set-up, tests, demo and benchmarks of this repository: `cargo xtask --help`.

#![allow(unreachable_pub, reason = "a program has no callers from outside")]

mod place;
mod process;
mod say;
mod test;
mod tools;
mod wasm;

use anyhow::Result;
use clap::{Parser, Subcommand};
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
  cargo xtask test             run every test of this machine
  cargo xtask wasm             build the filter: target/bimetal_filter.wasm
  cargo xtask tools envoy      install Envoy into target/tools

Exit status: 0 fine, 1 failed, 2 wrong arguments.";

#[derive(Debug, Subcommand)]
enum Task {
    /// Run the tests; the last line is `N passed, N failed, N skipped`
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --full")]
    Test {
        /// Also what needs long builds
        #[arg(long)]
        full: bool,
    },
    /// Build the Wasm filter, and the filter that does nothing beside it
    #[command(after_help = "Example:\n  cargo xtask wasm\n\n\
        WASM_TOOLCHAIN=rustup|debian takes one toolchain and no other.")]
    Wasm,
    /// List the external tools, or install some
    #[command(after_help = "Examples:\n  cargo xtask tools\n  cargo xtask tools envoy k6")]
    Tools {
        /// Tools to install; without any, all are listed
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
    match task {
        Task::Test { full } => {
            let extent = if full {
                test::Extent::Full
            } else {
                test::Extent::Usual
            };
            if !test::run(extent)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Task::Wasm => wasm::build()?,
        Task::Tools { names } if names.is_empty() => tools::list(),
        Task::Tools { names } => {
            for name in names {
                println!("{}: {}", name, tools::named(&name)?.get()?.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
