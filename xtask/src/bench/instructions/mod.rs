//! `cargo xtask bench instructions`: instructions of a proxied request and of a call of the core,
//! beside those of the last release. They do not depend on what else the machine does.

mod callgrind;
mod calls;
mod record;
mod requests;
mod traffic;
mod wire;

use super::Extent;
use super::arms;
use super::cores;
use super::ends::{plain_table, right_aligned, verdict};
use crate::{say, tools};
use anyhow::{Result, bail};
use callgrind::Callgrind;
use comfy_table::Table;
use record::{Figure, Record, Source};
use requests::Setting;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;
use traffic::Origin;

/// Instructions of a request with traces at a sampling of 0 over one without, at most.
const TRACES_MOST: f64 = 1.01;

/// A counted row.
#[derive(Debug)]
struct Counted {
    row: &'static str,
    now: f64,
    before: Option<f64>,
}

/// Counts every row, prints the table on stdout and gives it as JSON. With `save` the figures
/// become those of the last release, built from the commit it names.
///
/// # Errors
/// A program cannot be had, does not start or fails, or the figures cannot be read or written.
pub fn run(extent: Extent, save: Option<&str>) -> Result<Value> {
    if save == Some("") && named("BIMETAL").is_some() {
        bail!("BIMETAL names the program: name its commit too, --save=COMMIT");
    }
    let since = Instant::now();
    let callgrind = Callgrind::get()?;
    let bimetal = arms::bimetal()?;
    let source = Source::of(&bimetal, save.unwrap_or_default(), callgrind.version());
    let mut counted = {
        // Both ends and the program between them: see `traffic`.
        cores::on(cores::last()?, || requests(&callgrind, bimetal, extent))?
    };
    counted.extend(calls(&callgrind, extent)?);
    say::ended("instructions", "counted", since.elapsed());
    let last = Record::read();
    if let Some(error) = last.as_ref().err().filter(|_| save.is_none()) {
        say::line(format!("no last release to compare with: {error:#}"));
    }
    let last = last.ok();
    println!("{}", table(&counted, last.as_ref()));
    let traces = traces(&counted);
    if let Some(ratio) = traces {
        let verdict = verdict(ratio <= TRACES_MOST);
        println!(
            "\ntraces at 0 over none: {ratio:.4}; the aim is {TRACES_MOST} at most: {verdict}"
        );
    }
    if let Some(last) = &last {
        println!("\nlast release: {} ({})", last.source.version, last.source.commit);
        let unlike = last.source.unlike(&source);
        unlike.iter().for_each(|what| println!("{what}"));
        if !unlike.is_empty() {
            println!("So its figures are not quite comparable: name its binary in BIMETAL_BEFORE.");
        }
    }
    let figures = json!({
        "counted": source,
        "last_release": last.as_ref().map(|last| &last.source),
        "traces_at_0": traces,
        "rows": counted.iter().map(|one| json!({
            "row": one.row,
            "instructions": one.now,
            "last_release": last.as_ref().and_then(|last| last.of(one.row)),
            "before": one.before,
        })).collect::<Vec<_>>(),
    });
    if save.is_some() {
        let rows = counted.iter().map(|one| Figure {
            row: one.row.to_owned(),
            instructions: (one.now * 10.0).round() / 10.0,
        });
        Record { source, rows: rows.collect() }.write()?;
        say::line(format!("the last release's figures: {}", record::file().display()));
    }
    Ok(figures)
}

/// What traces of which none is recorded add to a request, as a ratio.
fn traces(counted: &[Counted]) -> Option<f64> {
    let of = |row| counted.iter().find(|one| one.row == row).map(|one| one.now);
    Some(of(requests::UNSAMPLED)? / of(requests::POLICY)?)
}

fn requests(callgrind: &Callgrind, bimetal: PathBuf, extent: Extent) -> Result<Vec<Counted>> {
    let before = named("BIMETAL_BEFORE");
    let origin = Origin::start()?;
    let mut counted = Vec::new();
    for row in requests::rows() {
        // HAProxy is a neighbour where it is at hand, and not worth an installation.
        let (program, before) = match row.setting {
            Setting::Haproxy => (tools::named("haproxy")?.find(), None),
            _ => (Some(bimetal.clone()), before.as_deref()),
        };
        let Some(program) = program else {
            say::line(format!("    {}: left out, it is not installed", row.name));
            continue;
        };
        say::begins("count", row.name);
        let count = |program| requests::count(callgrind, program, &row, &origin, extent);
        let now = count(program.as_path())?;
        counted.push(Counted { row: row.name, now, before: before.map(count).transpose()? });
    }
    Ok(counted)
}

fn calls(callgrind: &Callgrind, extent: Extent) -> Result<Vec<Counted>> {
    let program = calls::program()?;
    let before = named("BIMETAL_CALLS_BEFORE");
    let mut counted = Vec::new();
    for row in calls::ROWS {
        say::begins("count", row.name);
        let count = |program| calls::count(callgrind, program, row, extent);
        let now = count(program.as_path())?;
        let before = before.as_deref().map(count).transpose()?;
        counted.push(Counted { row: row.name, now, before });
    }
    Ok(counted)
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

fn table(counted: &[Counted], last: Option<&Record>) -> Table {
    let mut table = plain_table();
    let compared = counted.iter().any(|one| one.before.is_some());
    let mut header = vec!["instructions of one", "now", "last release", "ratio"];
    header.extend(compared.then_some(["before", "ratio"]).into_iter().flatten());
    table.set_header(header);
    for one in counted {
        let last = last.and_then(|last| last.of(one.row));
        let mut cells = vec![one.row.to_owned(), grouped(one.now)];
        cells.extend(beside(one.now, last));
        if compared {
            cells.extend(beside(one.now, one.before));
        }
        table.add_row(cells);
    }
    right_aligned(table)
}

/// Another count and the ratio to it; empty where there is none.
fn beside(now: f64, other: Option<f64>) -> [String; 2] {
    other.map_or_else(Default::default, |other| [grouped(other), format!("{:.3}", now / other)])
}

/// A whole number with its thousands apart: `37,060`.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let shown = [0.0, 61.4, 999.0, 1_000.0, 37_059.6, 1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "61", "999", "1,000", "37,060", "1,234,567"]);
    }

    #[test]
    fn traces_are_held_against_a_request_without_them() {
        let of = |row, now| Counted { row, now, before: None };
        let both = [of(requests::POLICY, 200.0), of(requests::UNSAMPLED, 201.0)];
        assert_eq!(traces(&both), Some(1.005));
        assert_eq!(traces(&both[..1]), None);
    }

    #[test]
    fn a_row_is_shown_beside_the_last_release_and_the_binary_before() {
        let counted = [
            Counted { row: "GET with policy", now: 30_000.0, before: Some(40_000.0) },
            Counted { row: "a new row", now: 7.0, before: None },
        ];
        let mut last = Record::read().unwrap();
        let figure = last.rows.iter_mut().find(|figure| figure.row == "GET with policy");
        figure.unwrap().instructions = 60_000.0;
        let shown = table(&counted, Some(&last)).to_string();
        let words: Vec<Vec<&str>> =
            shown.lines().map(|line| line.split_whitespace().collect()).collect();
        assert!(words[1].ends_with(&["30,000", "60,000", "0.500", "40,000", "0.750"]), "{shown}");
        assert!(words[2].ends_with(&["row", "7"]), "{shown}");
    }
}
