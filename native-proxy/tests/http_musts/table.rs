//! The table of demands (`docs/http-musts.md`) is true: each test that it names is there.

use std::collections::BTreeSet;
use std::path::Path;

const PAGE: &str = include_str!("../../../docs/http-musts.md");
const VERDICTS: [&str; 3] = ["kept: ", "not applicable: ", "not kept: "];

/// The rows of all tables of demands: section, demand, what becomes of it.
fn rows() -> Vec<[&'static str; 3]> {
    let lines =
        PAGE.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| section"));
    lines
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))
        })
        .collect()
}

/// The tests that a row names, each with its file: `` `name` (`file`) ``.
fn named(cell: &str) -> Vec<(&str, &str)> {
    let quoted: Vec<_> = cell.split('`').collect();
    quoted.windows(3).filter(|part| part[1] == " (").map(|part| (part[0], part[2])).collect()
}

/// Whether `text` has a test of this name.
fn has_test(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}("))
        .any(|(at, _)| text[..at].trim_end().ends_with("#[test]"))
}

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn each_demand_has_a_verdict_and_each_test_is_there() {
    let rows = rows();
    assert!(rows.len() > 150, "{} rows", rows.len());
    let mut seen = BTreeSet::new();
    for [section, demand, verdict] in rows {
        assert!(section.starts_with(|first: char| first.is_ascii_digit()), "{section}: {demand}");
        assert!(seen.insert((section, demand)), "twice: {section} {demand}");
        let is_one = |word: &str| verdict.starts_with(word) && verdict.len() > word.len();
        assert!(VERDICTS.iter().any(|word| is_one(word)), "{section} {demand}: {verdict}");
        let tests = named(verdict);
        assert!(!verdict.starts_with("kept") || !tests.is_empty(), "{demand}: kept by nothing");
        for (name, file) in tests {
            assert!(has_test(&source(file), name), "{demand}: no test {name} in {file}");
        }
    }
}

#[test]
fn every_test_of_this_room_holds_a_demand() {
    for file in ["answers", "connections", "fields", "lengths", "targets"] {
        let file = format!("tests/http_musts/{file}.rs");
        let text = source(&file);
        let tests: Vec<_> = text.split("#[test]\nfn ").skip(1).collect();
        assert!(!tests.is_empty(), "{file}");
        for test in tests {
            let name = test.split('(').next().unwrap();
            assert!(
                PAGE.contains(&format!("`{name}` (`{file}`)")),
                "{name} of {file} is in no row"
            );
        }
    }
}

#[test]
fn the_table_is_found() {
    for page in ["../docs/README.md", "../docs/proxy.md"] {
        assert!(source(page).contains("(http-musts.md)"), "{page}");
    }
}

#[test]
fn a_name_without_a_test_is_noticed() {
    let row = "kept: `a` (`x.rs`), `b` (`y.rs`). `c` may, `d` (not) `e` ( `f`)";
    assert_eq!(named(row), [("a", "x.rs"), ("b", "y.rs")]);
    let text = "fn a() {}\n\n#[test]\nfn b() {}\n\n#[cfg(test)]\nfn bb() {}\n";
    assert_eq!(["a", "b", "bb", "c"].map(|name| has_test(text, name)), [false, true, false, false]);
}
