//! Instructions of a call of the core: the program `bimetal-instructions` of `core/bench`.

use super::super::Extent;
use super::super::arms;
use super::callgrind::{self, Callgrind};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A measured call.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in tables and files.
    pub name: &'static str,
    /// What the program calls it.
    pub word: &'static str,
}

const fn row(name: &'static str, word: &'static str) -> Row {
    Row { name, word }
}

/// What is measured. Each call is an admission and, where that is given, a settlement.
pub const ROWS: [Row; 5] = [
    row("breaker alone", "breaker"),
    row("breaker alone, rejection", "breaker-rejection"),
    row("engine, one scope", "engine"),
    row("engine, 1,000 scopes by a header", "engine-scopes"),
    row("engine, rejection", "engine-rejection"),
];

/// The program: the one that `BIMETAL_CALLS` names, else built.
///
/// # Errors
/// The build fails.
pub fn program() -> Result<PathBuf> {
    arms::given_or_built("BIMETAL_CALLS", "bimetal-bench", "bimetal-instructions")
}

/// Counts `row` by `program`.
///
/// # Errors
/// The program fails.
pub fn count(callgrind: &Callgrind, program: &Path, row: Row, extent: Extent) -> Result<f64> {
    let calls = match extent {
        Extent::Usual => 50_000,
        Extent::Quick => 5_000,
    };
    let run = |calls: u64| {
        let counted = callgrind.whole(program, &[row.word, &calls.to_string()])?;
        Ok((calls, counted))
    };
    let counted = run(calls).and_then(|fewer| callgrind::per_call(fewer, run(2 * calls)?));
    counted.with_context(|| row.name.to_owned())
}
