//! `bimetal-study report`: the report of a study that was measured before.

use super::arms::FOLDER;
use anyhow::Result;
use bimetal_study::store::Store;
use bimetal_study::{arms, report};
use std::path::PathBuf;

/// Of which study.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folder of the study
    out: PathBuf,
    /// The folder of the arms' files
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    folder: PathBuf,
}

/// Makes the report anew and prints its text.
///
/// # Errors
/// There is no study in the folder, or it cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let (page, text) = report::write(&Store::open(&options.out)?, &arms::all(&options.folder)?)?;
    print!("{text}");
    eprintln!("report: {}", page.display());
    Ok(())
}
