//! The core alone: criterion's benches in `core/bench`, read back and held against the aims.

use super::Extent;
use super::ends::{machine, plain_table, verdict};
use crate::{place, process, say, wasm};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// The rows, as the benches name their groups, in the order they are shown.
const ROWS: [&str; 10] = [
    "bare",
    "one in twenty bad",
    "with clock",
    "with scope",
    "every mechanism",
    "shareable",
    "two threads",
    "rejection",
    "layer",
    "layer rejection",
];

/// Nanoseconds by the bench's full name (`bare/bimetal/streak`).
type Times = BTreeMap<String, f64>;

/// Runs the benches, prints their tables on stdout and gives them as JSON.
///
/// # Errors
/// They do not build or run, or leave nothing to read.
pub fn run(extent: Extent) -> Result<Value> {
    let (began, since) = (SystemTime::now(), Instant::now());
    say::begins("core", "a decision's cost, beside other circuit breakers");
    let benches = ["peers", "scopes", "mechanisms", "layer"];
    bench(&benches.map(|name| ["--bench", name]).concat(), &pace(extent))?;
    let memory = bench(&["--bench", "memory"], &["--json"])?;
    say::ended("core", "measured", since.elapsed());
    let mut times = Times::new();
    read(&place::target().join("criterion"), began, &mut times)?;
    if times.is_empty() {
        bail!("the benches left no times below {}", place::target().join("criterion").display());
    }
    let bytes: BTreeMap<String, u64> = memory
        .lines()
        .find_map(|line| serde_json::from_str(line).ok())
        .context("the memory bench printed no JSON")?;
    show(&times, &bytes);
    let aims = aims(&times)?;
    let mut table = plain_table();
    table.set_header(["aim", "measured", ""]);
    for aim in &aims {
        table.add_row([&aim.text, &aim.measured, verdict(aim.reached)]);
    }
    println!("\n{table}");
    Ok(json!({
        "machine": machine(),
        "nanoseconds": times,
        "bytes": bytes,
        "aims": aims.iter().map(|aim| json!({
            "aim": aim.text, "measured": aim.measured, "reached": aim.reached,
        })).collect::<Vec<_>>(),
    }))
}

/// Criterion's arguments: a quick run only shows that everything works.
fn pace(extent: Extent) -> Vec<&'static str> {
    match extent {
        Extent::Usual => vec!["--noplot"],
        Extent::Quick => vec![
            "--noplot",
            "--warm-up-time",
            "0.05",
            "--measurement-time",
            "0.1",
            "--sample-size",
            "10",
        ],
    }
}

fn bench(targets: &[&str], arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(wasm::cargo());
    command.current_dir(place::root()).args(["bench", "--package", "bimetal-bench"]);
    command.args(targets).arg("--").args(arguments);
    let finished = process::succeed("core benches", &mut command, Duration::from_secs(1800))?;
    Ok(finished.output())
}

/// Reads the medians that criterion wrote since `began`.
fn read(folder: &Path, began: SystemTime, times: &mut Times) -> Result<()> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, began, times)?;
        } else if path.ends_with("new/estimates.json") && path.metadata()?.modified()? >= began {
            let name = value(&path.with_file_name("benchmark.json"))?["full_id"].clone();
            let nanos = value(&path)?["median"]["point_estimate"].as_f64();
            if let (Some(name), Some(nanos)) = (name.as_str(), nanos) {
                times.insert(name.to_owned(), nanos);
            }
        }
    }
    Ok(())
}

fn value(file: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", file.display()))
}

fn show(times: &Times, bytes: &BTreeMap<String, u64>) {
    let mut table = plain_table();
    table.set_header(["nanoseconds a call", "breaker", "rule", "time"]);
    for row in ROWS {
        for (name, nanos) in times.iter().filter(|(name, _)| group(name) == row) {
            let mut words = name.split('/').skip(1);
            let (breaker, rule) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            table.add_row([row, breaker, rule, &format!("{nanos:.1}")]);
        }
    }
    println!("{table}\n");
    let mut table = plain_table();
    table.set_header(["scopes", "engine ns", "bare array ns"]);
    for count in [1, 10, 100, 1_000, 10_000, 100_000] {
        let time = |what: &str| times.get(&format!("scopes/{what}/{count}")).copied();
        let shown = |what| time(what).map(|nanos| format!("{nanos:.1}")).unwrap_or_default();
        table.add_row([count.to_string(), shown("engine"), shown("array")]);
    }
    println!("{table}\n");
    let mut table = plain_table();
    table.set_header(["bytes of one breaker, size and heap", ""]);
    for (name, bytes) in bytes {
        table.add_row([name.clone(), bytes.to_string()]);
    }
    println!("{table}");
}

fn group(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}

/// An aim and what became of it.
#[derive(Debug)]
struct Aim {
    text: String,
    measured: String,
    reached: bool,
}

fn aims(times: &Times) -> Result<Vec<Aim>> {
    let time = |name: &str| {
        let found = times.get(name).copied();
        found.with_context(|| format!("the bench {name:?} left no time"))
    };
    let mut aims = Vec::new();
    for rule in ["streak", "rate"] {
        for (row, most) in [("bare", 10.0), ("one in twenty bad", 10.0), ("rejection", 3.0)] {
            let nanos = time(&format!("{row}/bimetal/{rule}"))?;
            aims.push(Aim {
                text: format!("{row}, {rule}: <= {most} ns"),
                measured: format!("{nanos:.1} ns"),
                reached: nanos <= most,
            });
        }
        let ours = time(&format!("shareable/bimetal replica/{rule}"))?;
        let (peer, theirs) = fastest_peer(times, "shareable", rule)
            .with_context(|| format!("no peer was measured with the rule {rule:?}"))?;
        let times_faster = theirs / ours;
        aims.push(Aim {
            text: format!("shareable, {rule}: >= 3 times faster than the fastest peer"),
            measured: format!("{times_faster:.1} times ({peer}: {theirs:.1} ns)"),
            reached: times_faster >= 3.0,
        });
    }
    let nanos = time("every mechanism/bimetal/all")?;
    aims.push(Aim {
        text: "every mechanism: <= 60 ns".into(),
        measured: format!("{nanos:.1} ns"),
        reached: nanos <= 60.0,
    });
    Ok(aims)
}

fn fastest_peer<'a>(times: &'a Times, row: &str, rule: &str) -> Option<(&'a str, f64)> {
    let others = times.iter().filter_map(|(name, nanos)| {
        let (peer, own_rule) = name.strip_prefix(row)?.strip_prefix('/')?.split_once('/')?;
        (own_rule == rule && !peer.starts_with("bimetal")).then_some((peer, *nanos))
    });
    others.min_by(|(_, one), (_, other)| one.total_cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        [
            ("bare/bimetal/streak", 4.0),
            ("bare/bimetal/rate", 11.0),
            ("one in twenty bad/bimetal/streak", 8.0),
            ("one in twenty bad/bimetal/rate", 12.0),
            ("rejection/bimetal/streak", 2.0),
            ("rejection/bimetal/rate", 2.0),
            ("shareable/bimetal replica/streak", 4.0),
            ("shareable/bimetal replica/rate", 5.0),
            ("shareable/bimetal mutex/rate", 1.0),
            ("shareable/slow/streak", 40.0),
            ("shareable/fast/streak", 10.0),
            ("shareable/fast/rate", 20.0),
            ("bare/fast/streak", 1.0),
            ("every mechanism/bimetal/all", 61.0),
        ]
        .map(|(name, nanos)| (name.to_owned(), nanos))
        .into()
    }

    #[test]
    fn aims_are_held_against_the_fastest_peer_of_the_same_rule() {
        let reached: Vec<bool> = aims(&times()).unwrap().iter().map(|aim| aim.reached).collect();
        // streak: 4 and 8 <= 10, 2 <= 3, 10 / 4 < 3; rate: 11 and 12 > 10, 2 <= 3, 20 / 5 >= 3; 61 > 60.
        assert_eq!(reached, [true, true, true, false, false, false, true, true, false]);
    }

    #[test]
    fn a_bench_that_left_nothing_is_an_error() {
        let error = aims(&Times::new()).unwrap_err().to_string();
        assert!(error.contains("bare/bimetal/streak"), "{error}");
    }
}
