//! `bimetal-study coverage`: the table by which the interval was chosen.

use anyhow::Result;
use bimetal_study::stats::coverage::coverage;
use bimetal_study::stats::synthetic::Shape;
use bimetal_study::stats::{LEVEL, Method};
use fastrand::Rng;

/// What is simulated.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Pairs of a sample
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(2..=60))]
    pairs: u16,
    /// Samples of each method and shape
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// Draws the samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Prints a row for each method: the share of intervals that held the truth, and their width.
///
/// # Errors
/// None.
pub fn run(options: &Options) -> Result<()> {
    let pairs = usize::from(options.pairs);
    println!(
        "{pairs} pairs, {} samples, {} % intervals: held %, width in deviations",
        options.samples,
        LEVEL * 100.0
    );
    print!("{:<22}", "");
    Shape::ALL.iter().for_each(|shape| print!("{:>14}", shape.name()));
    println!();
    for method in Method::ALL {
        print!("{:<22}", method.name());
        for shape in Shape::ALL {
            let mut rng = Rng::with_seed(options.seed);
            let samples = options.samples as usize;
            let seen = coverage(method, shape, pairs, LEVEL, samples, &mut rng);
            print!("{:>8.1} {:>5.2}", seen.held * 100.0, seen.width);
        }
        println!();
    }
    Ok(())
}
