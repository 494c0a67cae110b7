//! One part of the mutants: all of them take many hours, so each commit has another part of each
//! room tested.

use super::tally::Counts;
use crate::mutants::{self, Options, Room, Shard};
use crate::process;
use crate::tools::{self, Tool};
use anyhow::{Result, bail};

/// How many parts there are: one has about sixty mutants.
const PARTS: u64 = 48;

/// Tests the part that is due; skipped where the program that makes the changes cannot be had.
///
/// # Errors
/// No test notices a mutant that is not argued.
pub(super) fn check() -> Result<Counts> {
    if let Err(error) = tools::named("cargo-mutants").and_then(Tool::get) {
        println!("skipped: mutants: {error:#}");
        return Ok(Counts::SKIPPED);
    }
    // Sources without a history have the first part tested.
    let commits = process::answer("git", &["rev-list", "--count", "HEAD"]);
    let turn = commits.and_then(|count| count.parse().ok()).unwrap_or(0);
    let shard = Shard::at(turn, PARTS);
    let again = format!("cargo xtask mutants --shard {shard}");
    println!("part {shard} of the mutants, by the number of commits; again: {again}");
    let options = Options { rooms: Room::chosen(&[]), shard: Some(shard), only: None };
    if mutants::run(&options)? {
        Ok(Counts::PASSED)
    } else {
        bail!("what is to be done is told above; again: {again}")
    }
}
