//! The rules of the house that a machine can check: what a room may use, how long a file may be,
//! and that every room says what it is.

use super::tally::Counts;
use crate::place;
use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use std::path::{Path, PathBuf};

/// Lines from which a file is named in the report.
const LONG: usize = 400;

/// Lines from which a file fails the check.
const TOO_LONG: usize = 600;

/// Each package and the packages of ours that its shipped code may use.
const MAY_USE: [(&str, &[&str]); 4] = [
    ("bimetal-core", &[]),
    ("bimetal-filter", &["bimetal-core"]),
    ("bimetal-proxy", &["bimetal-core"]),
    ("bimetal-study", &[]),
];

/// What the core must not get at: clocks, sockets, randomness, threads and logs.
const NOT_IN_CORE: [&str; 7] = ["tokio", "hyper", "rand", "getrandom", "tracing", "log", "libc"];

/// The rooms; each has a README.
const ROOMS: [&str; 12] = [
    "core",
    "wasm-filter",
    "native-proxy",
    "conformance",
    "study",
    "fuzz",
    "istio",
    "charts",
    "dashboards",
    "alerts",
    "xtask",
    "docs",
];

/// Checks all of it.
pub(super) fn check() -> Result<Counts> {
    let mut wrong = Vec::new();
    for room in ROOMS {
        if !place::root().join(room).join("README.md").is_file() {
            wrong.push(format!("{room} has no README.md"));
        }
    }
    for (file, lines) in long_files()? {
        let told = format!("{} has {lines} lines (aim: at most {LONG})", file.display());
        if lines > TOO_LONG { wrong.push(told) } else { println!("note: {told}") }
    }
    let metadata = MetadataCommand::new()
        .current_dir(place::root())
        .no_deps()
        .exec()
        .context("cannot read the workspace")?;
    wrong.extend(forbidden(&metadata));
    wrong.extend(dead_links()?);
    if wrong.is_empty() { Ok(Counts::PASSED) } else { bail!("{}", wrong.join("\n")) }
}

/// Dependencies that a room must not have.
fn forbidden(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<&str> = metadata.packages.iter().map(|one| one.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == package.name.as_str())
        else {
            continue;
        };
        let shipped = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in shipped {
            let name = dependency.name.as_str();
            let foreign = ours.contains(&name) && !allowed.contains(&name);
            let unclean = package.name.as_str() == "bimetal-core" && NOT_IN_CORE.contains(&name);
            if foreign || unclean {
                wrong.push(format!("{} must not use {name}", package.name));
            }
        }
    }
    wrong
}

/// Our source files over [`LONG`] lines.
fn long_files() -> Result<Vec<(PathBuf, usize)>> {
    let mut long = Vec::new();
    for room in ROOMS {
        visit(&place::root().join(room), "rs", &mut |file| {
            let lines = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read {}", file.display()))?
                .lines()
                .count();
            if lines > LONG {
                let shown = file.strip_prefix(place::root()).unwrap_or(file);
                long.push((shown.to_path_buf(), lines));
            }
            Ok(())
        })?;
    }
    Ok(long)
}

/// Links in our pages to files that are not there.
fn dead_links() -> Result<Vec<String>> {
    let mut dead = Vec::new();
    let mut look = |page: &Path| {
        let text = std::fs::read_to_string(page)
            .with_context(|| format!("cannot read {}", page.display()))?;
        let folder = page.parent().unwrap_or(page);
        for link in links(&text).filter(|link| !folder.join(link).exists()) {
            dead.push(format!("{} links to {link}, which is not there", page.display()));
        }
        Ok(())
    };
    for page in ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
        look(&place::root().join(page))?;
    }
    for room in ROOMS {
        visit(&place::root().join(room), "md", &mut look)?;
    }
    Ok(dead)
}

/// The relative links of a page, without what follows a `#`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains(':') && !link.contains(' '))
}

/// Calls `each` with every file below `folder` whose name ends in `end`.
fn visit(folder: &Path, end: &str, each: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("target") {
                visit(&path, end, each)?;
            }
        } else if path.extension().is_some_and(|own| own == end) {
            each(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_within_the_repository_are_followed() {
        let text = "[a](b.md#c) [d](#e) [f](https://example.com/) `x](` [g](h/)";
        assert_eq!(links(text).collect::<Vec<_>>(), ["b.md", "h/"]);
    }

    #[test]
    fn a_room_that_uses_too_much_is_found() {
        let mut metadata =
            MetadataCommand::new().current_dir(place::root()).no_deps().exec().unwrap();
        let tokio = metadata
            .packages
            .iter()
            .flat_map(|package| &package.dependencies)
            .find(|dependency| {
                dependency.name == "tokio" && dependency.kind == DependencyKind::Normal
            })
            .cloned()
            .unwrap();
        let core = metadata.packages.iter_mut().find(|one| one.name.as_str() == "bimetal-core");
        core.unwrap().dependencies.push(tokio);
        assert_eq!(forbidden(&metadata), ["bimetal-core must not use tokio"]);
    }
}
