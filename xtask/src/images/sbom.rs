//! What an image is made of, as a bill of materials: CycloneDX 1.5, without a time or a number of its own, so the
//! same sources give the same bytes.

use crate::{place, process};
use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The bill of a package of ours: itself and every crate that is compiled into it for a target.
///
/// # Errors
/// cargo does not tell, or there is no such package.
pub(super) fn of(package: &str, target: &str) -> Result<Vec<u8>> {
    let mut command = MetadataCommand::new();
    command.current_dir(place::root());
    command.other_options(["--locked".to_owned(), format!("--filter-platform={target}")]);
    let metadata = command.exec().context("cannot read the crates of Cargo.lock")?;
    let lock = place::root().join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).context("cannot read Cargo.lock")?;
    let bill = bill(&metadata, &checksums(&lock)?, package)?;
    Ok(serde_json::to_vec_pretty(&bill)?)
}

/// The host's target, as rustc names it.
///
/// # Errors
/// rustc does not answer.
pub(super) fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let told = process::answer(rustc, &["-vV"]).context("rustc does not answer")?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// Name and version → SHA-256 of the crate's archive.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: toml::Value = toml::from_str(lock).context("Cargo.lock")?;
    let packages =
        lock.get("package").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |package: &toml::Value, field: &str| {
        package.get(field).and_then(toml::Value::as_str).map(str::to_owned)
    };
    let sums = packages.iter().filter_map(|package| {
        Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?))
    });
    Ok(sums.collect())
}

fn bill(
    metadata: &Metadata,
    checksums: &BTreeMap<(String, String), String>,
    package: &str,
) -> Result<Value> {
    let packages: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|one| (&one.id, one)).collect();
    let resolve = metadata.resolve.as_ref().context("cargo resolves no crates")?;
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let own = metadata.packages.iter().find(|one| one.name.as_str() == package);
    let own = own.with_context(|| format!("there is no package {package}"))?;
    let mut used: BTreeSet<&PackageId> = BTreeSet::new();
    let mut open = vec![&own.id];
    let mut needs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    while let Some(id) = open.pop() {
        if !used.insert(id) {
            continue;
        }
        // What only builds or tests it is not in it.
        let is_in = |kinds: &[cargo_metadata::DepKindInfo]| {
            kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        };
        let below = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let below: Vec<_> = below.filter(|one| is_in(&one.dep_kinds)).map(|one| &one.pkg).collect();
        let names = below.iter().filter_map(|id| packages.get(*id)).map(|one| purl(one));
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        if let Some(one) = packages.get(id) {
            needs.insert(purl(one), names);
        }
        open.extend(below);
    }
    let mut crates: Vec<&Package> =
        used.iter().filter_map(|id| packages.get(*id).copied()).collect();
    crates.retain(|one| one.id != own.id);
    crates.sort_by_key(|one| (one.name.to_string(), one.version.to_string()));
    let components: Vec<_> =
        crates.iter().map(|one| component(one, checksums, "library")).collect();
    let dependencies: Vec<_> =
        needs.iter().map(|(of, on)| json!({ "ref": of, "dependsOn": on })).collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": component(own, checksums, "application") },
        "components": components,
        "dependencies": dependencies,
    }))
}

fn component(
    package: &Package,
    checksums: &BTreeMap<(String, String), String>,
    kind: &str,
) -> Value {
    let (name, version) = (package.name.to_string(), package.version.to_string());
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "purl": purl(package),
        "name": name,
        "version": version,
    });
    if let Some(license) = &package.license {
        // The old way to write "or", which CycloneDX does not take.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(sum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill_of(package: &str, target: &str) -> Value {
        serde_json::from_slice(&of(package, target).unwrap()).unwrap()
    }

    fn names(bill: &Value) -> BTreeSet<String> {
        let components = bill["components"].as_array().unwrap();
        components.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_bill_lists_what_is_compiled_in_and_nothing_else() {
        let bill = bill_of("bimetal-proxy", &host().unwrap());
        assert_eq!(bill["metadata"]["component"]["name"], "bimetal-proxy");
        let names = names(&bill);
        for used in ["bimetal-core", "tokio", "hyper", "clap"] {
            assert!(names.contains(used), "{used} is missing");
        }
        // What tests use, what tasks use, and what is for other systems.
        for other in ["allocation-counter", "xtask", "cargo_metadata", "windows-sys", "proxy-wasm"]
        {
            assert!(!names.contains(other), "{other} is listed");
        }
        let filter = super::tests::names(&bill_of("bimetal-filter", "wasm32-wasip1"));
        assert!(filter.contains("proxy-wasm") && !filter.contains("tokio"), "{filter:?}");
    }

    #[test]
    fn each_crate_of_others_has_a_licence_and_a_checksum() {
        let bill = bill_of("bimetal-proxy", &host().unwrap());
        for component in bill["components"].as_array().unwrap() {
            let name = component["name"].as_str().unwrap();
            if name.starts_with("bimetal") {
                continue;
            }
            assert!(component["licenses"][0]["expression"].is_string(), "{name}");
            assert_eq!(component["hashes"][0]["content"].as_str().unwrap().len(), 64, "{name}");
        }
        // Whatever is needed is listed.
        let listed = |name: &Value| {
            let components = bill["components"].as_array().unwrap();
            components.iter().any(|one| one["bom-ref"] == *name)
        };
        for need in bill["dependencies"].as_array().unwrap() {
            assert!(need["dependsOn"].as_array().unwrap().iter().all(listed), "{need}");
        }
    }

    #[test]
    fn the_same_sources_give_the_same_bill() {
        let target = host().unwrap();
        assert_eq!(of("bimetal-filter", &target).unwrap(), of("bimetal-filter", &target).unwrap());
        assert!(of("no-such-package", &target).is_err());
    }
}
