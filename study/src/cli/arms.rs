//! `bimetal-study arms`.

use anyhow::Result;
use bimetal_study::{arms, tools};
use std::path::PathBuf;

/// Where the arms of this repository are.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/arms");

/// Which arms.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folder of their files
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    folder: PathBuf,
}

/// Prints every arm, what it is, and what is missing for it.
///
/// # Errors
/// An arm's file is wrong.
pub fn run(options: &Options) -> Result<()> {
    for arm in arms::all(&options.folder)?.values() {
        println!("{:<28} {}", arm.name, arm.about);
        for missing in arm.tools().into_iter().filter_map(|tool| tools::find(tool).err()) {
            println!("{:<28} cannot run: {missing}", "");
        }
    }
    Ok(())
}
