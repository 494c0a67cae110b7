//! The inference server: a real classifier behind HTTP that serves only so many calls at once.
//!
//! `POST /predict` with `{"data": [[5.1, 3.5, 1.4, 0.2]]}` answers the probability of each species
//! of iris. Each call holds one of a few slots for a while and burns no processor time, so that what
//! a load meets is the server's capacity and not the machine's. A call that finds no free slot
//! waits, and is worked on even when its client has left: so does a server that learns of a client's
//! departure only when it writes.

mod answer;
mod classifier;
mod iris;
mod metrics;
mod request;
mod server;
mod slots;

pub use server::{ModelError, run};

use crate::service::{Announced, address};
use bimetal_core::doc::units;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest work of one call.
const MAX_WORK: Duration = Duration::from_secs(60);

/// How the inference server runs.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run an inference server: a classifier of irises with a real limit of calls",
    after_long_help = EXAMPLES
)]
pub struct ModelArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8000", value_parser = address)]
    pub listen: SocketAddr,
    /// How long a call holds its slot, as in 20ms; up to 60s. It waits and burns no processor time
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = work)]
    pub work: Duration,
    /// Calls that are served at once
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub slots: u32,
    /// Calls that may wait for a slot; one more is answered 503
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub queue: u32,
    /// Whom it tells where it listens.
    #[command(flatten)]
    pub announced: Announced,
}

fn work(text: &str) -> Result<Duration, String> {
    match units::duration(text).map(Duration::from) {
        Ok(work) if work <= MAX_WORK => Ok(work),
        Ok(_) => Err("is more than 60s".to_owned()),
        Err(fault) => Err(format!("{}; allowed is a duration, such as 20ms", fault.text())),
    }
}

const EXAMPLES: &str = "\
Examples:
  bimetal model
  bimetal model --listen 127.0.0.1:8000 --work 20ms --slots 6    about 300 calls a second
  curl -d '{\"data\":[[5.1,3.5,1.4,0.2]]}' http://127.0.0.1:8000/predict
  curl http://127.0.0.1:8000/metrics

Measures are those of one flower in centimetres: sepal length, sepal width, petal length, petal width.";
