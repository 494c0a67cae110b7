//! From end to end: real requests through real proxies, one core for the proxy.

use super::arms::{Arm, Kind, Parts};
use super::blocks::{self, Block};
use super::cores::Cores;
use super::load::Load;
use super::plan::{Aim, Interval, Plan, Ratio};
use super::stats::{Estimate, median};
use crate::{say, tools};
use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use fastrand::Rng;
use serde_json::{Value, json};
use std::time::Instant;

/// Below this share of its core an arm was not the limit of its run.
const SATURATED: f64 = 0.9;

/// Carries out `plan`, prints its tables on stdout and gives all of it as JSON.
///
/// # Errors
/// A program cannot be had or does not start, or a request fails.
pub fn run(plan: &Plan, seed: u64) -> Result<Value> {
    let mut rng = Rng::with_seed(seed);
    let cores = Cores::take()?;
    let parts = Parts::make(cores)?;
    let load = Load::new(&tools::named("wrk")?.get()?)?;
    say::begins("start", "one process per arm");
    let mut arms = vec![parts.backend()?];
    let server = arms[0].address;
    for (name, kind) in plan.arms.iter().filter(|(_, kind)| *kind != Kind::Direct) {
        arms.push(parts.start(name, *kind, server)?);
    }
    let since = Instant::now();
    let pace = plan.pace;
    say::begins(
        "measure",
        &format!(
            "{} rounds of {} arms in random order, {} s each, proxies on core {}, load on core {}",
            pace.rounds,
            arms.len(),
            pace.seconds,
            cores.proxy,
            cores.load
        ),
    );
    let blocks = blocks::measure(&arms, &load, cores, pace, &mut rng)?;
    say::ended("measure", "done", since.elapsed());
    let settled = settled(&arms)?;
    println!("{}", arms_table(&arms, &blocks));
    let ratios: Vec<(Ratio, Estimate)> = plan
        .ratios
        .iter()
        .map(|ratio| Ok((*ratio, estimate(ratio, plan.interval, &arms, &blocks, &mut rng)?)))
        .collect::<Result<_>>()?;
    println!("\n{}", ratios_table(&ratios, plan.interval));
    for line in remarks(&arms, &blocks) {
        println!("{line}");
    }
    let unlike = |(ratio, estimate): &(Ratio, Estimate)| {
        ratio.aim == Some(Aim::Same) && !Aim::Same.reached_by(*estimate)
    };
    if ratios.iter().any(unlike) {
        println!("The same program differs from itself: trust no small difference of this run.");
    }
    for (name, calls) in &settled {
        println!("{name}: {calls} calls admitted, every one settled exactly once");
    }
    Ok(json!({
        "seed": seed,
        "pace": pace,
        "machine": machine(),
        "arms": arms.iter().map(|arm| &arm.name).collect::<Vec<_>>(),
        "blocks": blocks,
        "ratios": ratios.iter().map(|(ratio, estimate)| json!({
            "arm": ratio.arm,
            "base": ratio.base,
            "of": ratio.of.name(),
            "median": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "aim": ratio.aim.map(|aim| aim.to_string()),
            "reached": ratio.aim.map(|aim| aim.reached_by(*estimate)),
        })).collect::<Vec<_>>(),
        "settled": settled.iter().cloned().collect::<serde_json::Map<_, _>>(),
    }))
}

fn settled(arms: &[Arm]) -> Result<Vec<(String, Value)>> {
    let mut settled = Vec::new();
    for arm in arms {
        if let Some(calls) = arm.check_settled()? {
            settled.push((arm.name.clone(), calls.into()));
        }
    }
    Ok(settled)
}

fn estimate(
    ratio: &Ratio,
    interval: Interval,
    arms: &[Arm],
    blocks: &[Block],
    rng: &mut Rng,
) -> Result<Estimate> {
    let place = |name: &str| {
        let found = arms.iter().position(|arm| arm.name == name);
        found.with_context(|| format!("no arm is called {name:?}"))
    };
    let (arm, base) = (place(ratio.arm)?, place(ratio.base)?);
    let ratios = blocks::ratios(blocks, arm, base, |block| ratio.of.of(block));
    Ok(match interval {
        Interval::Range => Estimate::spread(&ratios),
        Interval::Bootstrap => Estimate::bootstrap(&ratios, rng),
    })
}

fn arms_table(arms: &[Arm], blocks: &[Block]) -> Table {
    let mut table = plain_table();
    table.set_header(["arm", "requests/s", "CPU us/request", "busy", "p50 us", "p99 us"]);
    for (place, arm) in arms.iter().enumerate() {
        let series = |what: fn(&Block) -> f64| blocks::series(blocks, place, what);
        table.add_row([
            arm.name.clone(),
            shown(&series(|block| block.per_second), 0),
            shown(&series(|block| block.cpu_us), 1),
            format!("{:.0} %", median(&series(|block| block.busy)) * 100.0),
            shown(&series(|block| block.seen.p50_us), 0),
            shown(&series(|block| block.seen.p99_us), 0),
        ]);
    }
    right_aligned(table)
}

fn ratios_table(ratios: &[(Ratio, Estimate)], interval: Interval) -> Table {
    let mut table = plain_table();
    let interval = match interval {
        Interval::Range => "over the rounds",
        Interval::Bootstrap => "95 % interval",
    };
    table.set_header(["ratio", "of", "median", interval, "aim", ""]);
    for (ratio, estimate) in ratios {
        let Estimate { value, low, high } = estimate;
        table.add_row([
            format!("{} / {}", ratio.arm, ratio.base),
            ratio.of.name().to_owned(),
            format!("{value:.3}"),
            format!("{low:.3} - {high:.3}"),
            ratio.aim.map(|aim| aim.to_string()).unwrap_or_default(),
            ratio.aim.map_or("", |aim| verdict(aim.reached_by(*estimate))).to_owned(),
        ]);
    }
    table
}

/// How an aim is reported.
pub fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "NOT REACHED" }
}

/// What a reader must know to read the numbers rightly.
fn remarks(arms: &[Arm], blocks: &[Block]) -> Vec<String> {
    let mut remarks = Vec::new();
    for (place, arm) in arms.iter().enumerate().skip(1) {
        let busy = median(&blocks::series(blocks, place, |block| block.busy));
        if busy < SATURATED {
            remarks.push(format!(
                "{}: had only {:.0} % of its core; others or the load were the limit, so go by CPU \
                 per request",
                arm.name,
                busy * 100.0
            ));
        }
    }
    remarks
}

/// A table without lines, as all of them are printed.
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// The same with every column but the first to the right.
pub fn right_aligned(mut table: Table) -> Table {
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Median and range.
fn shown(values: &[f64], digits: usize) -> String {
    let Estimate { value, low, high } = Estimate::spread(values);
    format!("{value:.digits$} ({low:.digits$}-{high:.digits$})")
}

/// What it was measured on.
pub fn machine() -> Value {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    json!({
        "cpu": model.map(|model| model.trim_start_matches(['\t', ' ', ':'])),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_now": read("/proc/loadavg").trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_with_its_range() {
        assert_eq!(shown(&[1.0, 3.0, 2.04], 1), "2.0 (1.0-3.0)");
    }
}
