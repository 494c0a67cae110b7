//! The schema's patterns take time with the length of a value and not with a power of it, in engines
//! that try one way after another: Python's and V8's. An engine of that kind counts its steps here.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::policy::schema;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::Value;
use std::collections::BTreeSet;

fn patterns(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(entries) => {
            if let Some(Value::String(pattern)) = entries.get("pattern") {
                found.insert(pattern.clone());
            }
            entries.values().for_each(|value| patterns(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| patterns(item, found)),
        _ => {}
    }
}

/// No more is counted: a bad pattern would not end.
const ENOUGH: u64 = 50_000;

/// Tries a pattern as such engines do, and counts what it tries.
struct Tries<'a> {
    text: &'a [char],
    steps: u64,
}

/// What is to match behind.
type Rest<'r> = &'r mut dyn FnMut(&mut Tries<'_>, usize) -> bool;

impl Tries<'_> {
    fn count(pattern: &Hir, text: &str) -> (bool, u64) {
        let text: Vec<char> = text.chars().collect();
        let mut tries = Tries { text: &text, steps: 0 };
        let mut found = false;
        for start in 0..=text.len() {
            found = found || tries.at(pattern, start, &mut |_, _| true);
        }
        (found, tries.steps)
    }

    fn at(&mut self, pattern: &Hir, at: usize, rest: Rest<'_>) -> bool {
        self.steps += 1;
        if self.steps > ENOUGH {
            return false;
        }
        match pattern.kind() {
            HirKind::Empty => rest(self, at),
            HirKind::Literal(literal) => {
                let literal: Vec<char> = str::from_utf8(&literal.0).unwrap().chars().collect();
                let fits = self.text.get(at..).is_some_and(|rest| rest.starts_with(&literal));
                fits && rest(self, at + literal.len())
            }
            HirKind::Class(Class::Unicode(class)) => {
                let next = self.text.get(at).copied();
                let takes = |letter: char| {
                    class.iter().any(|range| (range.start()..=range.end()).contains(&letter))
                };
                next.is_some_and(takes) && rest(self, at + 1)
            }
            HirKind::Look(Look::Start) => at == 0 && rest(self, at),
            HirKind::Look(Look::End) => at == self.text.len() && rest(self, at),
            HirKind::Capture(capture) => self.at(&capture.sub, at, rest),
            HirKind::Concat(parts) => self.row(parts, at, rest),
            HirKind::Alternation(ways) => ways.iter().any(|way| self.at(way, at, rest)),
            HirKind::Repetition(many) => {
                let max = many.max.unwrap_or(u32::MAX);
                self.many(&many.sub, many.min, max, at, rest)
            }
            other => panic!("the patterns have no {other:?}"),
        }
    }

    fn row(&mut self, parts: &[Hir], at: usize, rest: Rest<'_>) -> bool {
        match parts {
            [] => rest(self, at),
            [first, others @ ..] => {
                self.at(first, at, &mut |tries, at| tries.row(others, at, rest))
            }
        }
    }

    fn many(&mut self, one: &Hir, min: u32, max: u32, at: usize, rest: Rest<'_>) -> bool {
        let more = max > 0
            && self.at(one, at, &mut |tries, next| {
                // One that takes nothing again and again is left by all of them.
                next > at && tries.many(one, min.saturating_sub(1), max - 1, next, rest)
            });
        more || (min == 0 && rest(self, at))
    }
}

/// Letters from the edges of each class and from each literal of a pattern.
fn letters(pattern: &Hir, found: &mut BTreeSet<char>) {
    match pattern.kind() {
        HirKind::Literal(literal) => found.extend(str::from_utf8(&literal.0).unwrap().chars()),
        HirKind::Class(Class::Unicode(class)) => {
            found.extend(class.iter().flat_map(|range| [range.start(), range.end()]));
        }
        HirKind::Capture(capture) => letters(&capture.sub, found),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().for_each(|part| letters(part, found));
        }
        HirKind::Repetition(many) => letters(&many.sub, found),
        _ => {}
    }
}

/// A text for which twice the length takes more than about twice the steps.
fn worse_than_linear(pattern: &str) -> Option<String> {
    let hir = regex_syntax::parse(pattern).unwrap();
    let mut seen = BTreeSet::from([' ', '/', '.', '0', 'a', '\u{e9}']);
    letters(&hir, &mut seen);
    for one in &seen {
        for other in &seen {
            for begin in ["", "/", "!", "1"] {
                for end in ["", " ", "?", "\n", "\u{e9}"] {
                    let long =
                        |count| format!("{begin}{}{end}", format!("{one}{other}").repeat(count));
                    let (fits, steps) = Tries::count(&hir, &long(16));
                    // What fits is found at once; a longest length may lie between the two.
                    let (longer_fits, more) = Tries::count(&hir, &long(32));
                    if more > ENOUGH || (fits == longer_fits && more > 2 * steps + 100) {
                        return Some(long(16));
                    }
                }
            }
        }
    }
    None
}

#[test]
fn twice_the_length_takes_twice_the_steps() {
    let mut found = BTreeSet::new();
    patterns(&schema(), &mut found);
    assert!(found.len() >= 6, "{found:?}");
    for pattern in &found {
        assert_eq!(worse_than_linear(pattern), None, "{pattern}");
    }
}

#[test]
fn what_takes_more_is_noticed() {
    for bad in [
        "^([!-~]([\\t -~]{0,1000}[\\t -~]{0,94}[!-~])?)?$",
        "^[^?#]{0,1000}[^?#]{0,47}$",
        "^(a+)+$",
        "^(a|[a-z])*$",
        "^[0-9]*[0-9]+s$",
        "a*b",
    ] {
        // Nothing longer is tried: some of them would not end.
        assert!(worse_than_linear(bad).is_some(), "{bad}");
    }
}

#[test]
fn the_counting_engine_matches_what_others_match() {
    let pattern = regex_syntax::parse("^/[!\"$->@-~]*$").unwrap();
    for (text, fits) in [("/", true), ("/a/b", true), ("", false), ("a", false), ("/a?b", false)] {
        assert_eq!(Tries::count(&pattern, text).0, fits, "{text}");
    }
}
