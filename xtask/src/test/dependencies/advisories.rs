//! Known holes in the crates that we use, by the advisory database of RustSec.
//!
//! The database is no part of this repository and is not fetched: a check that depends on the
//! network would be red without a change of ours. `ADVISORY_DB` names a copy of it.

use crate::place;
use crate::test::tally::Counts;
use anyhow::{Context, Result, bail};
use rustsec::advisory::Informational;
use rustsec::report::Settings;
use rustsec::{Database, Lockfile, Report};
use std::path::Path;

/// The folder of the database: a copy of RustSec's `advisory-db`.
const VARIABLE: &str = "ADVISORY_DB";

/// Holds `Cargo.lock` against the database; skipped where none is named.
///
/// # Errors
/// A crate has a known hole, or the database cannot be read.
pub(super) fn check() -> Result<Counts> {
    let Some(folder) = std::env::var_os(VARIABLE) else {
        println!(
            "skipped: known holes in the crates: there is no data on this machine. Name a copy of \
             RustSec's advisory-db by {VARIABLE}=FOLDER"
        );
        return Ok(Counts::SKIPPED);
    };
    let wrong = judge(Path::new(&folder), &place::root().join("Cargo.lock"))?;
    if wrong.is_empty() { Ok(Counts::PASSED) } else { bail!("{}", wrong.join("\n")) }
}

/// The holes in the crates of a lock file. Crates that are no longer kept are told, not counted.
fn judge(database: &Path, lock: &Path) -> Result<Vec<String>> {
    let known = Database::open(database)
        .with_context(|| format!("cannot read the advisories in {}", database.display()))?;
    if known.iter().next().is_none() {
        bail!("there is no advisory in {}", database.display());
    }
    let lock = Lockfile::load(lock).context("cannot read Cargo.lock")?;
    let told = vec![Informational::Unmaintained, Informational::Unsound, Informational::Notice];
    let settings = Settings { informational_warnings: told, ..Settings::default() };
    let report = Report::generate(&known, &lock, &settings);
    for warning in report.warnings.values().flatten() {
        let title = warning.advisory.as_ref().map(|advisory| advisory.title.as_str());
        let (name, version) = (&warning.package.name, &warning.package.version);
        println!("note: {name} {version}: {}", title.unwrap_or("no longer to be had"));
    }
    let wrong = report.vulnerabilities.list.iter().map(|hole| {
        let (package, advisory) = (&hole.package, &hole.advisory);
        let (name, version) = (&package.name, &package.version);
        format!("{name} {version}: {}: {}", advisory.id, advisory.title)
    });
    Ok(wrong.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A database with one advisory: versions of serde below `patched` have a hole.
    fn database(patched: &str) -> PathBuf {
        let own = format!("xtask/tests/advisories-{patched}/crates/serde");
        let folder = place::made(&own).unwrap();
        let text = format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2020-0001\"\npackage = \"serde\"\n\
             date = \"2020-01-01\"\n[versions]\npatched = [\">= {patched}\"]\n```\n\n# A hole\n\nSo it is.\n"
        );
        std::fs::write(folder.join("RUSTSEC-2020-0001.md"), text).unwrap();
        folder.ancestors().nth(2).unwrap().to_path_buf()
    }

    #[test]
    fn a_known_hole_is_red_and_a_mended_one_is_not() {
        let lock = place::root().join("Cargo.lock");
        assert_eq!(judge(&database("0.1.0"), &lock).unwrap(), [""; 0]);
        let found = judge(&database("999.0.0"), &lock).unwrap();
        assert!(found.len() == 1 && found[0].contains("RUSTSEC-2020-0001: A hole"), "{found:?}");
    }

    #[test]
    fn a_database_without_advisories_is_an_error() {
        let empty = place::made("xtask/tests/advisories-none/crates").unwrap();
        let folder = empty.parent().unwrap();
        assert!(judge(folder, &place::root().join("Cargo.lock")).is_err());
    }
}
