//! `bimetal-study ship`: what a tail on each node does, such as Fluent Bit.

use anyhow::Result;
use bimetal_study::ship;
use std::path::PathBuf;

/// From where to where.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The node's folder of containers' outputs
    #[arg(long, value_name = "DIR", default_value = "/var/log/pods")]
    from: PathBuf,
    /// Only pods whose folder begins so: namespace and name
    #[arg(long, default_value = "")]
    only: String,
    /// The collector: OTLP over HTTP
    #[arg(long, value_name = "URL")]
    to: String,
}

/// Ships until it is ended.
///
/// # Errors
/// The folder cannot be read.
pub fn run(options: &Options) -> Result<()> {
    ship::run(&options.from, &options.only, &options.to)
}
