//! `bimetal proxy`: the native proxy.

use super::output::complain;
use crate::log::{self, Format, Level};
use crate::proxy::{self, Options};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bimetal proxy
  bimetal proxy --config proxy.yaml --log debug
  bimetal proxy --config proxy.yaml --log-format json 2> proxy.log
  SERVER_SERVICE=echo-server bimetal proxy

Without a file: listens on 0.0.0.0:8001 and forwards /echo to port 5001 of $SERVER_SERVICE (or of
127.0.0.1), with one circuit breaker. SIGHUP or a changed file reloads; SIGTERM drains.";

#[derive(Debug, clap::Args)]
#[command(about = "Run the native proxy", after_help = EXAMPLES)]
pub(super) struct ProxyArgs {
    /// Proxy file, YAML or JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged; `debug` adds a line for each request, and each decision as a line of JSON
    #[arg(long, value_name = "LEVEL", value_enum, default_value_t, env = "BIMETAL_LOG")]
    log: LevelName,
    /// What a line of the log looks like
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, env = "BIMETAL_LOG_FORMAT")]
    log_format: FormatName,
}

/// A log level, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum LevelName {
    #[default]
    Info,
    Debug,
}

/// A form of the log, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FormatName {
    #[default]
    Text,
    Json,
}

pub(super) fn run(args: ProxyArgs) -> ExitCode {
    let level = match args.log {
        LevelName::Info => Level::Info,
        LevelName::Debug => Level::Debug,
    };
    let format = match args.log_format {
        FormatName::Text => Format::Text,
        FormatName::Json => Format::Json,
    };
    log::start(level, format);
    match proxy::run(Options { config: args.config, level }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            match format {
                Format::Text => complain(format_args!("{error}")),
                Format::Json => {
                    error.to_string().lines().for_each(|line| tracing::error!("{line}"));
                }
            }
            ExitCode::from(error.exit_code())
        }
    }
}
