//! `bimetal-study load`: the generator, as a process of its own.

use anyhow::Result;
use bimetal_study::load::{self, BEGINS, ENDED, Load};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// What is asked.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where calls go
    #[arg(long)]
    address: SocketAddr,
    /// Calls a second and their size: 500, or 500x100KB
    #[arg(long)]
    load: Load,
    /// Seconds that count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before, which do not count
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Connections at most
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

/// Sends the calls; prints when those that count begin, when all have ended, and what was seen.
///
/// # Errors
/// The runtime cannot be had, or nobody reads the output.
pub fn run(options: &Options) -> Result<()> {
    let seen = load::run(
        &load::Options {
            address: options.address,
            load: options.load,
            warm_up: Duration::try_from_secs_f64(options.warm_up)?,
            measured: Duration::try_from_secs_f64(options.seconds)?,
            connections: options.connections,
        },
        || tell(BEGINS),
        || tell(ENDED),
    )?;
    println!("{}", serde_json::to_string(&seen)?);
    Ok(())
}

/// A line at once: whoever reads it looks at the arm's CPU time then.
fn tell(line: &str) {
    let mut out = std::io::stdout();
    // Where nobody reads, the result will say so.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
