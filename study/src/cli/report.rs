//! `bimetal-study report`: the report of a study that was measured before.

use super::arms::FOLDER;
use anyhow::{Context, Result};
use bimetal_study::store::Store;
use bimetal_study::{arms, report};
use std::path::PathBuf;

/// Of which study.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The folder of the study
    out: PathBuf,
    /// A document whose section of results is made anew, between its marks
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// The folder of the arms' files; of a study in a cluster those in `cluster` of it
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    folder: PathBuf,
}

/// Makes the report anew and prints its text.
///
/// # Errors
/// There is no study in the folder, or it cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let store = Store::open(&options.out)?;
    let folder = match store.head().machine.cluster {
        Some(_) => options.folder.join("cluster"),
        None => options.folder.clone(),
    };
    let arms = arms::all(&folder)?;
    let (page, text) = report::write(&store, &arms)?;
    print!("{text}");
    if let Some(document) = &options.into {
        let told = || format!("cannot write the results into {}", document.display());
        let before = std::fs::read_to_string(document).with_context(told)?;
        let folder = options.out.display().to_string();
        let after = report::within(&before, &folder, &store, &arms).with_context(told)?;
        std::fs::write(document, after).with_context(told)?;
        eprintln!("results: {}", document.display());
    }
    eprintln!("report: {}", page.display());
    Ok(())
}
