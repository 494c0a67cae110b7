//! The importer's table against the page about it, against the policy language, and against what Istio itself has.

use super::fields::{FIELDS, Field, Kind};
use serde_json::Value;
use std::fmt::Write;
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/istio-fields.md";

const KINDS: [Kind; 2] = [Kind::DestinationRule, Kind::VirtualService];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The table of a kind, as the page has it.
fn table(kind: Kind) -> String {
    let mut table =
        format!("## {}\n\n| field of `spec` | policy | |\n|---|---|---|\n", kind.name());
    for field in FIELDS.iter().filter(|field| field.kind == kind) {
        let to = match field.to {
            "" => "–".to_owned(),
            to => format!("`{}`", to.replace(", ", "`, `")),
        };
        writeln!(table, "| `{}` | {to} | {} |", field.path, field.said).unwrap();
    }
    table
}

/// `BIMETAL_UPDATE=1 cargo test -p bimetal-proxy --lib import` takes the tables over into the page.
#[test]
fn the_page_has_the_importers_tables() {
    let file = root().join(PAGE);
    let mut page = std::fs::read_to_string(&file).unwrap();
    for kind in KINDS {
        let (before, after) = section(&page, kind);
        let wanted = table(kind);
        if std::env::var_os("BIMETAL_UPDATE").is_some() {
            page = format!("{before}{wanted}{after}");
            std::fs::write(&file, &page).unwrap();
        }
        assert!(page.contains(&wanted), "{PAGE} has another table of {}", kind.name());
    }
}

/// What stands before and after a kind's table.
fn section(page: &str, kind: Kind) -> (String, String) {
    let head = format!("## {}\n", kind.name());
    let (before, rest) = page.split_once(&head).unwrap_or_else(|| panic!("{PAGE} has no {head}"));
    let end = rest.find("\n## ").unwrap_or(rest.len());
    (before.to_owned(), rest[end..].to_owned())
}

/// In each of the page's tables, what stands in the column of policies are fields of the language.
#[test]
fn every_policy_field_of_the_page_is_one() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let schema = bimetal_core::policy::schema();
    let policy = &schema["properties"]["policies"]["items"];
    let mut seen = 0;
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").nth(1).unwrap();
        for path in cell.split('`').skip(1).step_by(2) {
            seen += 1;
            let found = path.split('.').try_fold(policy, |part, name| part_of(part, name));
            assert!(found.is_some(), "there is no policy field {path}, as {PAGE} says");
        }
    }
    assert!(seen > 25, "{seen}");
}

/// A field of an object, also where the object is one of several forms or an item of a list.
fn part_of<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let forms = ["anyOf", "oneOf"].into_iter().filter_map(|list| schema[list].as_array()).flatten();
    let inside = forms.chain([&schema["items"]]).filter(|form| form.is_object());
    schema["properties"]
        .get(name)
        .or_else(|| inside.into_iter().find_map(|form| part_of(form, name)))
}

#[test]
fn no_field_is_listed_twice_or_hidden_by_another() {
    for field in FIELDS {
        let same = FIELDS.iter().filter(|one| one.kind == field.kind && one.path == field.path);
        assert_eq!(same.count(), 1, "{}", field.path);
        // The walk ends at the first row: what lies below one is never asked for.
        assert!(!Field::is_above(field.kind, field.path), "{} has rows below it", field.path);
        assert!(!field.said.is_empty(), "{}", field.path);
    }
}

/// Every field of Istio's own definitions has a row, where they are here (`cargo xtask schemas`).
#[test]
fn every_field_of_istio_has_a_row() {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| root().join("target"));
    for kind in KINDS {
        let name = format!("tools/schemas/{}-networking-v1.json", kind.name().to_lowercase());
        let Ok(bytes) = std::fs::read(target.join(&name)) else {
            println!("skipped: {name} is not here (cargo xtask schemas)");
            return;
        };
        let schema: Value = serde_json::from_slice(&bytes).unwrap();
        let mut unknown = Vec::new();
        walk(kind, &schema["properties"]["spec"], "", &mut unknown);
        assert!(unknown.is_empty(), "{}: {unknown:?}", kind.name());
    }
}

fn walk(kind: Kind, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    if Field::of(kind, path).is_some() {
        return;
    }
    if !path.is_empty() && !Field::is_above(kind, path) {
        unknown.push(path.to_owned());
        return;
    }
    if schema["type"] == "array" {
        return walk(kind, &schema["items"], &format!("{path}[]"), unknown);
    }
    for (name, part) in schema["properties"].as_object().into_iter().flatten() {
        let under = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(kind, part, &under, unknown);
    }
}
