//! `bimetal proxy`: the native proxy.

use super::output::complain;
use crate::log::Level;
use crate::proxy::{self, Options};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bimetal proxy
  bimetal proxy --config proxy.yaml --log debug
  SERVER_SERVICE=echo-server bimetal proxy

Without a file: listens on 0.0.0.0:8001 and forwards /echo to port 5001 of $SERVER_SERVICE (or of
127.0.0.1), with one circuit breaker. SIGHUP or a changed file reloads; SIGTERM drains.";

#[derive(Debug, clap::Args)]
#[command(about = "Run the native proxy", after_help = EXAMPLES)]
pub(super) struct ProxyArgs {
    /// Proxy file, YAML or JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged; `debug` adds each decision as a line of JSON
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t, env = "BIMETAL_LOG")]
    log: LevelName,
}

/// A log level, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LevelName {
    #[default]
    Info,
    Debug,
}

pub(super) fn run(args: ProxyArgs) -> ExitCode {
    let level = match args.log {
        LevelName::Info => Level::Info,
        LevelName::Debug => Level::Debug,
    };
    match proxy::run(Options { config: args.config, level }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
