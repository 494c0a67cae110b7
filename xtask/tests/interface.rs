//! The core's public interface, item by item, against the list in `core/api.txt`: nobody changes
//! it without meaning to. `BIMETAL_UPDATE=1 cargo test -p xtask --test interface` writes the list
//! anew, unless something went away without a new minor version.
//!
//! rustdoc tells the items in a form that is not stable yet. A compiler that tells another form than
//! the one that is read here skips the check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The form of rustdoc's JSON that the `public-api` crate of our version reads.
const FORMAT: u64 = 57;

#[test]
fn the_interface_is_the_one_that_is_listed() {
    let told = documentation();
    let text = std::fs::read_to_string(&told).unwrap();
    let form = serde_json::from_str::<serde_json::Value>(&text).unwrap()["format_version"].as_u64();
    if form != Some(FORMAT) {
        println!(
            "skipped: the core's interface: this rustdoc tells it in form {form:?}, read is {FORMAT}"
        );
        return;
    }
    let interface = public_api::Builder::from_rustdoc_json(&told)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .unwrap();
    let now = Interface {
        version: version(env!("CARGO_PKG_VERSION")),
        items: interface.items().map(ToString::to_string).collect(),
    };
    let file = root().join("core/api.txt");
    let before = Interface::parse(&std::fs::read_to_string(&file).unwrap_or_default());
    let difference = difference(&before, &now).unwrap_or_else(|error| panic!("{error}"));
    if std::env::var_os("BIMETAL_UPDATE").is_some() {
        std::fs::write(&file, now.to_string()).unwrap();
    } else {
        assert!(
            difference.is_empty(),
            "the core's interface changed:\n{difference}if it shall: BIMETAL_UPDATE=1 cargo test -p \
             xtask --test interface"
        );
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Has rustdoc tell the core's items; gives the file.
fn documentation() -> PathBuf {
    // A folder of its own: the same crates, but told that no stability is asked for.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interface");
    let output = Command::new(env!("CARGO"))
        .args(["rustdoc", "--package", "bimetal-core", "--lib", "--features", "std"])
        .args(["--", "-Zunstable-options", "--output-format", "json"])
        .current_dir(root())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join("doc/bimetal_core.json")
}

/// Public items of one version.
#[derive(Debug, PartialEq, Eq)]
struct Interface {
    /// What has to rise before something may go away: `0.1`, or from version 1 on `1`.
    version: String,
    items: BTreeSet<String>,
}

impl Interface {
    fn parse(text: &str) -> Self {
        let (comments, items): (Vec<&str>, Vec<&str>) =
            text.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with("# "));
        let version = comments.iter().find_map(|line| line.strip_prefix("# version "));
        Self {
            version: version.unwrap_or_default().to_owned(),
            items: items.into_iter().map(str::to_owned).collect(),
        }
    }
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "# The public interface of bimetal-core; held by xtask/tests/interface.rs.")?;
        writeln!(f, "# version {}", self.version)?;
        self.items.iter().try_for_each(|item| writeln!(f, "{item}"))
    }
}

/// The part of a version within which nothing may go away.
fn version(full: &str) -> String {
    let mut parts = full.split('.');
    match (parts.next(), parts.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (Some(major), _) => major.to_owned(),
        (None, _) => String::new(),
    }
}

/// What came and went, a line each.
///
/// # Errors
/// Something went away, or is another now, and the version is the same.
fn difference(before: &Interface, now: &Interface) -> Result<String, String> {
    let gone: Vec<_> =
        before.items.difference(&now.items).map(|item| format!("- {item}\n")).collect();
    let new = now.items.difference(&before.items).map(|item| format!("+ {item}\n"));
    let text: String = gone.iter().cloned().chain(new).collect();
    if !gone.is_empty() && before.version == now.version {
        return Err(format!(
            "the core's interface lost or changed items:\n{text}that breaks who uses them: it needs \
             a version above {} and a line in CHANGELOG.md",
            now.version
        ));
    }
    Ok(text)
}

fn interface(version: &str, items: &[&str]) -> Interface {
    let items = items.iter().map(|&item| item.to_owned()).collect();
    Interface { version: version.to_owned(), items }
}

#[test]
fn what_comes_is_told_and_what_goes_needs_a_version() {
    let before = interface("0.1", &["pub fn a()", "pub fn b()"]);
    assert_eq!(difference(&before, &before).unwrap(), "");
    let more = interface("0.1", &["pub fn a()", "pub fn b()", "pub fn c()"]);
    assert_eq!(difference(&before, &more).unwrap(), "+ pub fn c()\n");
    let other = ["pub fn a()", "pub fn b(u8)"];
    let error = difference(&before, &interface("0.1", &other)).unwrap_err();
    assert!(error.contains("- pub fn b()\n+ pub fn b(u8)\n"), "{error}");
    let told = difference(&before, &interface("0.2", &other)).unwrap();
    assert_eq!(told, "- pub fn b()\n+ pub fn b(u8)\n");
}

#[test]
fn the_list_is_read_as_it_is_written() {
    let list = interface("0.1", &["#[non_exhaustive] pub enum e", "pub fn a()"]);
    assert_eq!(Interface::parse(&list.to_string()), list);
    assert_eq!(["0.1.0", "0.12.3", "1.4.2"].map(version), ["0.1", "0.12", "1"]);
}
