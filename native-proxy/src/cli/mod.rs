//! The command line of `bimetal`: one file a command.
//!
//! Exit codes are the same everywhere: 0 fine, 1 failed, 2 wrong input.

use crate::echo::{self, EchoArgs};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Circuit breaking that decides alike in Envoy and in a native proxy.
#[derive(Debug, Parser)]
#[command(name = "bimetal", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Echo(EchoArgs),
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Echo(args) => match echo::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bimetal echo: {error}");
                error.exit_code()
            }
        },
    }
}
