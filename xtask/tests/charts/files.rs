//! What the chart has a copy of, since helm reads no file outside of it.
//!
//! `BIMETAL_UPDATE=1 cargo test -p xtask --test charts` copies anew.

use super::root;
use std::collections::BTreeSet;
use std::path::Path;

/// Folder of the chart ← where the originals are, and which.
const COPIES: [(&str, &str, &str); 5] = [
    ("k6", "study/k6", "stages.js"),
    ("k6", "study/k6", "breaker.js"),
    ("k6", "native-proxy/k6", "analytics.js"),
    ("dashboards", "dashboards", "*.json"),
    ("alerts", "alerts", "*.yaml"),
];

#[test]
fn copies_are_equal_to_their_originals() {
    let chart = root().join("charts/bimetal/files");
    let update = std::env::var_os("BIMETAL_UPDATE").is_some();
    let mut known = BTreeSet::new();
    for (folder, from, which) in COPIES {
        for name in names(&root().join(from), which) {
            let original = std::fs::read(root().join(from).join(&name)).unwrap();
            let copy = chart.join(folder).join(&name);
            if update {
                std::fs::create_dir_all(chart.join(folder)).unwrap();
                std::fs::write(&copy, &original).unwrap();
            }
            let told = format!("{} is not {from}/{name}", copy.display());
            assert!(std::fs::read(&copy).is_ok_and(|copy| copy == original), "{told}");
            known.insert(format!("{folder}/{name}"));
        }
    }
    for folder in ["k6", "dashboards", "alerts"] {
        for name in names(&chart.join(folder), "*.") {
            let copy = format!("{folder}/{name}");
            assert!(known.contains(&copy), "files/{copy} has no original");
        }
    }
}

/// The names in a folder, of one file or of all that end so (`*.` is every file); none where there is no folder.
fn names(folder: &Path, which: &str) -> Vec<String> {
    let Some(end) = which.strip_prefix('*') else { return vec![which.to_owned()] };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| end == "." || name.ends_with(end)).collect();
    names.sort_unstable();
    names
}
