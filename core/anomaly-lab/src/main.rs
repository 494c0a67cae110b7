//! Measures the detectors: `cargo run --profile fast -p bimetal-anomaly-lab -- --help`.

use anyhow::{Context, Result};
use bimetal_anomaly_lab::judges::Judge;
use bimetal_anomaly_lab::made::{self, Kind};
use bimetal_anomaly_lab::{fit, report, series};
use bimetal_core::anomaly::Setting;
use clap::{Parser, Subcommand};

/// How good the core's anomaly detectors are, and what they cost.
#[derive(Debug, Parser)]
#[command(name = "bimetal-anomaly-lab")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every table of `docs/anomalies.md`
    Report,
    /// CPU time of a sample and memory of a series
    Cost,
    /// Chooses a setting by all labelled series
    Fit {
        #[arg(long, default_value_t = 300)]
        steps: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// What such a choice is worth on series that it has not seen
    CrossValidate {
        #[arg(long, default_value_t = 5)]
        folds: usize,
        #[arg(long, default_value_t = 300)]
        steps: usize,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Report => {
            print_origin();
            print_mixed();
            match series::folder() {
                Some(folder) => print_labelled(&series::read(&folder)?),
                None => println!("without the labelled series"),
            }
        }
        Command::Cost => print_cost(),
        Command::Fit { steps, seed } => {
            let all = labelled()?;
            let all: Vec<_> = all.iter().collect();
            let (setting, height) = fit::climb(&all, fit::PLAIN, steps, seed);
            println!("{setting:#?}\nheight {height:.2}: {:?}", fit::result(&all, setting));
            println!("in force: {:?}", fit::result(&all, Setting::PRODUCT));
        }
        Command::CrossValidate { folds, steps, seed } => {
            let all = labelled()?;
            let begin = fit::result(&all.iter().collect::<Vec<_>>(), fit::PLAIN);
            println!("before: fixed {:.2} best {:.2}", begin.fixed, begin.best);
            let validated = fit::cross_validate(&all, fit::PLAIN, folds, steps, seed);
            let (chosen_by, held_back) = (validated.chosen_by, validated.held_back);
            println!("chosen by: fixed {:.2} best {:.2}", chosen_by.fixed, chosen_by.best);
            println!("held back: fixed {:.2} best {:.2}", held_back.fixed, held_back.best);
        }
    }
    Ok(())
}

fn print_origin() {
    println!(
        "Origin's kind: samples\njudge     accuracy  precision  recall  false alarms  (hits, misses, false, quiet)"
    );
    for judge in Judge::all() {
        let counts = report::origin(&judge);
        println!(
            "{:9} {:7.2} % {:8.2} % {:6.2} % {:9.3} %    ({}, {}, {}, {})",
            judge.name(),
            100.0 * counts.accuracy(),
            100.0 * counts.precision(),
            100.0 * counts.recall(),
            100.0 * counts.false_alarm_share(),
            counts.hits,
            counts.misses,
            counts.false_alarms,
            counts.quiet
        );
    }
}

fn print_mixed() {
    print!("\nAll kinds: recall by event\njudge    ");
    Kind::ALL.iter().for_each(|kind| print!(" {:>7}", kind.name()));
    println!("  precision  recall  by luck    F1  false/day");
    let days = (report::SEEDS.len() * (report::MIXED_DAYS - report::LEARNING / made::DAY)) as f64;
    for judge in Judge::all() {
        let (kinds, all) = report::mixed(&judge);
        print!("{:9}", judge.name());
        kinds.iter().for_each(|(_, counts)| print!(" {:5.0} %", 100.0 * counts.recall()));
        println!(
            " {:8.1} % {:5.1} % {:6.1} % {:5.2} {:10.2}",
            100.0 * all.precision(),
            100.0 * all.recall(),
            100.0 * all.recall_by_luck(),
            all.f1(),
            all.false_alarms as f64 / days
        );
    }
}

fn print_labelled(all: &[series::Series]) {
    let all: Vec<_> = all.iter().collect();
    println!("\n{} labelled series", all.len());
    println!("judge     standard  low FP  low FN  fixed");
    let rows: Vec<_> = Judge::all()
        .into_iter()
        .map(|judge| (judge.name(), report::labelled(&judge, &all)))
        .collect();
    for (name, row) in &rows {
        let [standard, few_alarms, few_misses] = row.best;
        println!("{name:9} {standard:8.1} {few_alarms:7.1} {few_misses:7.1} {:6.1}", row.fixed);
    }
    println!("judge     alarms  a day  precision  recall  by luck    F1  delay (rows)");
    for (name, row) in &rows {
        for (what, counts) in [("flag", &row.by_event), ("budget", &row.at_budget)] {
            println!(
                "{name:9} {:6} {:6.2} {:8.1} % {:5.1} % {:6.1} % {:5.2} {:8.0}   {what}",
                counts.alarms(),
                counts.alarms() as f64 / row.days,
                100.0 * counts.precision(),
                100.0 * counts.recall(),
                100.0 * counts.recall_by_luck(),
                counts.f1(),
                counts.mean_delay()
            );
        }
    }
}

fn print_cost() {
    for judge in Judge::all() {
        let nanos = report::nanos_per_sample(&judge);
        println!("{:9} {nanos:6.0} ns a sample, {} bytes a series", judge.name(), judge.bytes());
    }
}

fn labelled() -> Result<Vec<series::Series>> {
    series::read(&series::folder().context("no labelled series")?)
}
