//! The command line of `bimetal`: one file a command.
//!
//! Exit codes are the same everywhere: 0 fine, 1 failed, 2 wrong input.

mod anomalies;
mod check;
mod describe;
mod explain;
mod import;
mod input;
mod matching;
mod output;
mod proxy;
mod request;
mod samples;
mod schema;
mod upstream_filter;

use crate::analytics::{self, AnalyticsArgs};
use crate::board::{self, BoardArgs};
use crate::echo::{self, EchoArgs};
use crate::model::{self, ModelArgs};
use crate::top::{self, TopArgs};
use bimetal_core::policy::Host;
use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Circuit breaking that decides alike in Envoy and in a native proxy.
#[derive(Debug, Parser)]
#[command(name = "bimetal", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  bimetal proxy --config proxy.yaml
  bimetal echo --listen 127.0.0.1:5001
  bimetal model --work 20ms --slots 6
  bimetal analytics --listen 127.0.0.1:8080
  bimetal board --redis redis://127.0.0.1:6379
  bimetal check policy.yaml --host wasm
  bimetal explain --policy policy.yaml POST /echo
  bimetal anomalies requests.csv
  bimetal import istio destination-rule.yaml
  bimetal top --once

Exit codes: 0 fine, 1 failed, 2 wrong input.";

#[derive(Debug, Subcommand)]
enum Command {
    Proxy(proxy::ProxyArgs),
    Echo(EchoArgs),
    Model(ModelArgs),
    Analytics(AnalyticsArgs),
    Board(BoardArgs),
    Check(check::CheckArgs),
    Schema(schema::SchemaArgs),
    Explain(explain::ExplainArgs),
    Anomalies(anomalies::AnomaliesArgs),
    Import(import::ImportArgs),
    Top(TopArgs),
}

/// A host, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum HostName {
    /// The native proxy
    #[default]
    Native,
    /// The Wasm filter in Envoy
    Wasm,
}

impl From<HostName> for Host {
    fn from(name: HostName) -> Self {
        match name {
            HostName::Native => Self::Native,
            HostName::Wasm => Self::Wasm,
        }
    }
}

/// How a command answers.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Answer {
    /// Answer as one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Proxy(args) => proxy::run(args),
        Command::Echo(args) => match echo::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{error}"));
                error.exit_code()
            }
        },
        Command::Model(args) => match model::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{error}"));
                error.exit_code()
            }
        },
        Command::Analytics(args) => match analytics::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{error}"));
                error.exit_code()
            }
        },
        Command::Board(args) => match board::run(&args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{error}"));
                error.exit_code()
            }
        },
        Command::Check(args) => check::run(args),
        Command::Schema(args) => schema::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Anomalies(args) => anomalies::run(args),
        Command::Import(args) => import::run(args),
        Command::Top(args) => match top::run(&args) {
            Ok(Some(seen)) => output::print(&seen, ExitCode::SUCCESS),
            Ok(None) => ExitCode::SUCCESS,
            Err(error) => {
                output::complain(format_args!("{error}"));
                ExitCode::FAILURE
            }
        },
    }
}
