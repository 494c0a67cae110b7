//! What comes from outside: licences, sources and versions of every crate of `Cargo.lock`, against
//! `deny.toml`, and known holes in them where the data is at hand.

mod advisories;
mod rules;

use super::tally::{Counts, Tally};
use crate::{place, process};
use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use rules::{Level, Rules};
use spdx::{Expression, Licensee, ParseMode};
use std::collections::{BTreeMap, BTreeSet};

/// The two steps.
pub(super) fn check(tally: &Tally) {
    tally.step("dependencies", "licences, sources and versions of all crates", || {
        let found = judge(&Rules::read()?, &metadata()?)?;
        found.notes.iter().for_each(|note| println!("note: {note}"));
        if found.wrong.is_empty() {
            Ok(Counts::PASSED)
        } else {
            bail!("{}", found.wrong.join("\n"))
        }
    });
    tally.step("advisories", "known holes in the crates", advisories::check);
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// Breaches.
    wrong: Vec<String>,
    /// What a person may want to know.
    notes: Vec<String>,
}

impl Found {
    fn tell(&mut self, level: Level, text: String) {
        match level {
            Level::Deny => self.wrong.push(text),
            Level::Warn => self.notes.push(text),
            Level::Allow => {}
        }
    }
}

/// All crates of `Cargo.lock`. Where one for another system is not on this machine and cannot be
/// fetched, those for this system and for WebAssembly.
fn metadata() -> Result<Metadata> {
    let ask = |options: &[&str]| {
        let mut command = MetadataCommand::new();
        command.current_dir(place::root());
        command.other_options(options.iter().map(|&one| one.to_owned()).collect::<Vec<_>>());
        command.exec()
    };
    if let Ok(all) = ask(&["--locked", "--offline"]).or_else(|_| ask(&["--locked"])) {
        return Ok(all);
    }
    println!("note: crates for other systems are not here and cannot be fetched: not judged");
    let about = process::answer("rustc", &["-vV"]).unwrap_or_default();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let here = format!("--filter-platform={host}");
    ask(&["--locked", "--offline", &here, "--filter-platform=wasm32-wasip1"])
        .context("cannot read the crates of Cargo.lock")
}

/// Judges every crate.
fn judge(rules: &Rules, metadata: &Metadata) -> Result<Found> {
    let allowed: Vec<Licensee> = rules
        .licenses
        .allow
        .iter()
        .map(|name| Licensee::parse(name).with_context(|| format!("deny.toml: {name}")))
        .collect::<Result<_>>()?;
    let mut found = Found::default();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        versions.entry(name).or_default().insert(package.version.to_string());
        if let Err(why) = licence(package, &allowed) {
            found.wrong.push(format!("{name} {}: {why}", package.version));
        }
        source(rules, metadata, package, &mut found);
        if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == name) {
            found.wrong.push(format!("{name} is not taken: {}", ban.reason));
        }
        if metadata.workspace_members.contains(&package.id) {
            wildcards(rules, package, &mut found);
        }
    }
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let versions = versions.iter().cloned().collect::<Vec<_>>().join(", ");
        found.tell(rules.bans.multiple_versions, format!("{name} is there as {versions}"));
    }
    Ok(found)
}

/// Whether one of the ways in which a crate is licensed is taken.
fn licence(package: &Package, allowed: &[Licensee]) -> Result<(), String> {
    let Some(told) = &package.license else {
        return Err("it names no licence".to_owned());
    };
    // Lax: older crates write `MIT/Apache-2.0`.
    let expression = Expression::parse_mode(told, ParseMode::LAX)
        .map_err(|error| format!("its licence cannot be read: {told:?}: {}", error.reason))?;
    let fits = expression.evaluate(|one| allowed.iter().any(|licensee| licensee.satisfies(one)));
    if fits { Ok(()) } else { Err(format!("its licence is not allowed: {told}")) }
}

/// Whether it comes from where crates may come from: this workspace, or a registry that is named.
fn source(rules: &Rules, metadata: &Metadata, package: &Package, found: &mut Found) {
    let Some(source) = &package.source else {
        if !metadata.workspace_members.contains(&package.id) {
            found.wrong.push(format!("{} comes from a folder outside", package.name));
        }
        return;
    };
    let level = match source.repr.split_once('+') {
        Some(("registry" | "sparse", index))
            if rules.sources.allow_registry.iter().any(|known| known == index) =>
        {
            return;
        }
        Some(("git", _)) => rules.sources.unknown_git,
        _ => rules.sources.unknown_registry,
    };
    found.tell(level, format!("{} comes from {source}", package.name));
}

/// Requirements of ours that any version meets.
fn wildcards(rules: &Rules, package: &Package, found: &mut Found) {
    let any = package.dependencies.iter().filter(|one| one.req.comparators.is_empty());
    for dependency in any.filter(|one| one.path.is_none() || !rules.bans.allow_wildcard_paths) {
        let text = format!("{} takes any version of {}", package.name, dependency.name);
        found.tell(rules.bans.wildcards, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cargo_metadata::Source;

    fn sources(metadata: &mut Metadata, name: &str, repr: &str) {
        let package = metadata.packages.iter_mut().find(|one| one.name.as_str() == name).unwrap();
        let told = format!("{repr:?}");
        package.source = Some(serde_json::from_str::<Source>(&told).unwrap());
    }

    fn wrong(change: impl FnOnce(&mut Metadata)) -> Vec<String> {
        let mut metadata = metadata().unwrap();
        change(&mut metadata);
        judge(&Rules::read().unwrap(), &metadata).unwrap().wrong
    }

    #[test]
    fn our_own_crates_are_in_order() {
        assert_eq!(wrong(|_| {}), [""; 0]);
    }

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        let with = |licence: Option<&str>| {
            let licence = licence.map(str::to_owned);
            wrong(|all| {
                let serde = all.packages.iter_mut().find(|one| one.name.as_str() == "serde");
                serde.unwrap().license = licence;
            })
        };
        for fine in ["MIT", "MIT/Apache-2.0", "GPL-3.0-only OR MIT", "ISC AND (MIT OR MPL-2.0)"] {
            assert_eq!(with(Some(fine)), [""; 0], "{fine}");
        }
        for (bad, why) in [
            (Some("GPL-3.0-only"), "not allowed"),
            (Some("MIT AND LGPL-2.1-or-later"), "not allowed"),
            (Some("GPL-2.0-only WITH Classpath-exception-2.0"), "not allowed"),
            (Some("Ours"), "cannot be read"),
            (None, "names no licence"),
        ] {
            let found = with(bad);
            assert!(found.len() == 1 && found[0].contains(why), "{bad:?}: {found:?}");
        }
    }

    #[test]
    fn a_crate_from_elsewhere_is_found() {
        for (repr, red) in [
            ("registry+https://github.com/rust-lang/crates.io-index", false),
            ("registry+https://example.com/index", true),
            ("sparse+https://example.com/index/", true),
            ("git+https://example.com/serde.git#0123456789", true),
        ] {
            let found = wrong(|all| sources(all, "serde", repr));
            assert_eq!(found.len(), usize::from(red), "{repr}: {found:?}");
        }
        let found = wrong(|all| {
            let serde = all.packages.iter_mut().find(|one| one.name.as_str() == "serde");
            serde.unwrap().source = None;
        });
        assert_eq!(found, ["serde comes from a folder outside"]);
    }

    #[test]
    fn banned_crates_and_wildcards_are_found() {
        let found = wrong(|all| {
            let mut banned = all.packages.iter().find(|one| one.name.as_str() == "serde").cloned();
            let renamed = serde_json::from_str("\"openssl-sys\"").unwrap();
            banned.as_mut().unwrap().name = renamed;
            all.packages.extend(banned);
        });
        assert!(
            found.len() == 1 && found[0].starts_with("openssl-sys is not taken: "),
            "{found:?}"
        );
        let found = wrong(|all| {
            let core = all.packages.iter_mut().find(|one| one.name.as_str() == "bimetal-core");
            let serde = core.unwrap().dependencies.iter_mut().find(|one| one.name == "serde");
            serde.unwrap().req = "*".parse().unwrap();
        });
        assert_eq!(found, ["bimetal-core takes any version of serde"]);
        let mut strict = Rules::read().unwrap();
        strict.bans.allow_wildcard_paths = false;
        let found = judge(&strict, &metadata().unwrap()).unwrap().wrong;
        let ours = "bimetal-filter takes any version of bimetal-core".to_owned();
        assert!(found.contains(&ours), "{found:?}");
    }
}
