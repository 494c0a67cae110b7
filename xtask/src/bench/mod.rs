//! `cargo xtask bench`: what a decision costs, and what a request through a proxy costs, each beside
//! others in the same run. How to read it is in `docs/performance.md`.

mod arms;
mod blocks;
mod cores;
mod decisions;
mod ends;
mod instructions;
mod load;
mod plan;
mod servers;
mod stats;

use crate::say;
use anyhow::{Context, Result, bail};
use serde_json::{Map, json};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// How long the benchmark takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Long enough for figures that mean something.
    Usual,
    /// Shows that everything works; its figures mean little.
    Quick,
}

/// What is measured: one of two halves, or instructions, which only run when they are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Half {
    /// Decisions of the core, beside other circuit breakers.
    Core,
    /// Requests through proxies, beside other proxies.
    E2e,
    /// Instructions of a request and of a decision, beside the last release's.
    Instructions,
}

/// What a run from end to end is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Every proxy beside every other.
    Compare,
    /// To judge one difference: the same arm twice, without, and with, by an interval.
    Judge,
}

/// What the command was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long.
    pub extent: Extent,
    /// One part alone; both halves where none is named.
    pub half: Option<Half>,
    /// What the end-to-end half is for.
    pub purpose: Purpose,
    /// Whether the instructions counted are to be those of the last release from now on, and the
    /// commit that was measured; empty for the work tree's.
    pub save: Option<String>,
    /// Where the figures go as JSON.
    pub json: Option<PathBuf>,
    /// Fixes the order of the blocks and the bootstrap.
    pub seed: u64,
}

/// Measures, prints tables on stdout, and writes the JSON file.
///
/// # Errors
/// Something needed cannot be had, a request failed, or the file cannot be written. An aim that is
/// not reached is no error: it is printed.
pub fn bench(options: &Options) -> Result<()> {
    if options.save.is_some() && options.half != Some(Half::Instructions) {
        bail!("--save keeps instructions: cargo xtask bench instructions --save");
    }
    // Before minutes of measuring, not after.
    let mut file = options.json.as_deref().map(create).transpose()?;
    let mut all = Map::new();
    all.insert("quick".into(), (options.extent == Extent::Quick).into());
    let wanted = |half| options.half.is_none_or(|named| named == half);
    if options.half == Some(Half::Instructions) {
        let counted = instructions::run(options.extent, options.save.as_deref())?;
        all.insert("instructions".into(), counted);
    }
    if wanted(Half::Core) && options.purpose == Purpose::Compare {
        all.insert("core".into(), decisions::run(options.extent)?);
        println!();
    }
    if wanted(Half::E2e) {
        let plan = match options.purpose {
            Purpose::Compare => plan::compare(options.extent),
            Purpose::Judge => plan::ab(options.extent, plan::Before::named()),
        };
        all.insert("e2e".into(), ends::run(&plan, options.seed)?);
    }
    if options.extent == Extent::Quick {
        println!("\nA quick run is a smoke test: take no figure from it.");
    }
    if let (Some(file), Some(path)) = (&mut file, &options.json) {
        let text = format!("{:#}\n", json!(all));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.with_context(|| format!("cannot write {}", path.display()))?;
        say::line(format!("figures: {}", path.display()));
    }
    Ok(())
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot write {}", path.display()))
}
