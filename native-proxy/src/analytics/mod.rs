//! The load-analytics service: samples of processor load and requests a second come in by HTTP, and
//! their mean, deviation and anomalies come out.
//!
//! `POST /ingest` takes one sample or an array of them, whole or not at all. What is accepted goes
//! through a bounded queue to the one owner of the statistics. `GET /analyze` tells them: the window
//! is the 50 latest samples by their own time, in whatever order they came.

mod analysis;
mod answer;
mod ingest;
mod memory;
mod metrics;
mod owner;
mod profile;
mod sample;
mod server;
mod statistics;
mod store;
mod window;

pub use server::{AnalyticsError, run};

use crate::service::{Announced, address};
use bimetal_core::doc::units;
use std::net::SocketAddr;
use std::time::Duration;

/// How the load-analytics service runs.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run the load-analytics service: samples in, mean, deviation and anomalies out",
    after_help = EXAMPLES
)]
pub struct AnalyticsArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", env = "BIMETAL_ANALYTICS_LISTEN", default_value = "0.0.0.0:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Redis or Valkey server where samples are kept and replicas meet, as in redis://127.0.0.1:6379;
    /// without one samples are kept in memory
    #[arg(long, value_name = "URL", env = "BIMETAL_ANALYTICS_REDIS", hide_env_values = true)]
    pub redis: Option<String>,
    /// How the keys of this service begin there
    #[arg(
        long,
        value_name = "TEXT",
        env = "BIMETAL_ANALYTICS_REDIS_PREFIX",
        default_value = "bimetal:analytics"
    )]
    pub redis_prefix: String,
    /// How long samples and names are kept there; from 1s on
    #[arg(long, value_name = "DURATION", env = "BIMETAL_ANALYTICS_REDIS_TTL", default_value = "10m", value_parser = ttl)]
    pub redis_ttl: Duration,
    /// Requests that may wait for the statistics; one more is answered 429
    #[arg(long, value_name = "N", env = "BIMETAL_ANALYTICS_QUEUE", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub queue: u32,
    /// Whom it tells where it listens.
    #[command(flatten)]
    pub announced: Announced,
}

fn ttl(text: &str) -> Result<Duration, String> {
    match units::duration(text).map(Duration::from) {
        Ok(ttl) if ttl >= Duration::from_secs(1) => Ok(ttl),
        Ok(_) => Err("is less than 1s".to_owned()),
        Err(fault) => Err(format!("{}; allowed is a duration, such as 10m", fault.text())),
    }
}

const EXAMPLES: &str = "\
Examples:
  bimetal analytics
  bimetal analytics --listen 127.0.0.1:8080 --queue 100
  bimetal analytics --redis redis://127.0.0.1:6379    several replicas tell the same
  curl -d '{\"timestamp\":1732250000.25,\"cpu\":41.5,\"rps\":120}' http://127.0.0.1:8080/ingest
  curl -d '[{\"timestamp\":\"2026-03-01T12:00:00Z\",\"cpu\":40,\"rps\":118,\"id\":\"web-1/17\"}]' http://127.0.0.1:8080/ingest
  curl http://127.0.0.1:8080/analyze

A sample's time is seconds since 1970 or RFC 3339, not more than a minute ahead of this machine's clock. A
sample with an id is counted once, however often it is sent.";
