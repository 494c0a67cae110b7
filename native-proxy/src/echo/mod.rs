//! The test upstream: an echo server that fails on request.
//!
//! `POST /echo` with `{"message": m}` answers `{"message": "Echo: m", "timestamp": <unix s>}`. Every
//! other request gets a plain JSON error. Faults come from a plan ([`plan`]: flags or
//! `PUT /faults`) or from the request itself (`x-fault-*` headers); what arrived can be read back
//! (`GET /received`), so that a test judges a proxy by what its upstream saw.
//!
//! One thread a worker, each with its own listener and runtime: without a fault nothing is shared
//! on a request's path but the log of received requests.

mod admin;
mod answer;
mod body;
mod fault;
mod fields;
mod holds;
pub mod plan;
mod received;
mod server;
mod socket;
mod spans;
mod worker;

pub use server::{EchoError, run};

use crate::config::Exporter;
use std::net::SocketAddr;
use std::path::PathBuf;

/// How the echo server runs.
#[derive(Clone, Debug, clap::Args)]
#[command(
    about = "Run the test upstream: an echo server that fails on request",
    after_long_help = EXAMPLES
)]
pub struct EchoArgs {
    /// Address to serve on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5001", value_parser = address)]
    pub listen: SocketAddr,
    /// Address of the admin API; without it the API is served beside `/echo`
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub admin: Option<SocketAddr>,
    /// A fault rule, as `field=value,...`; times count from the start. May be repeated
    #[arg(long, value_name = "RULE")]
    pub fault: Vec<String>,
    /// Threads that serve
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: u16,
    /// How many received requests are remembered; 0 = none
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub remember: usize,
    /// Where traces go. The standard OTEL_* variables win
    #[arg(long, value_name = "EXPORTER", value_enum, default_value_t)]
    pub traces: Exporter,
    /// Write the addresses as one JSON line to standard error once they are open (and the ready
    /// file is there)
    #[arg(long)]
    pub print_ports: bool,
    /// Write the same JSON line to this file, whole at once
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| r#"allowed is an IP address and a port, such as "127.0.0.1:5001""#)
}

const EXAMPLES: &str = "\
Examples:
  bimetal echo --listen 127.0.0.1:5001
  bimetal echo --fault from_s=10,to_s=20,status=500 --fault from_s=30,to_s=40,refuse=true
  curl -d '{\"message\":\"hi\"}' http://127.0.0.1:5001/echo
  bimetal echo --traces otlp_stdout 2> echo.log > traces.jsonl
  curl -H 'x-fault-status: 503' -d '{\"message\":\"hi\"}' http://127.0.0.1:5001/echo
  curl -X PUT -d '{\"plan\":[{\"to_s\":5,\"reset\":\"before_headers\"}]}' http://127.0.0.1:5001/faults

Fields of a rule (the same in --fault and in PUT /faults):
  from_s, to_s        when it holds, in seconds from the start or the PUT
  share, count        which requests it takes: a share in 0-1, at most so many
  status              answer with this status, 200-599
  grpc_status         answer gRPC with HTTP 200 and this status in the headers
  retry_after_s       add this retry-after
  delay_ms            wait before the answer's headers
  hold                wait until POST /release/<name>
  abort, reset        reset the connection: before_headers (abort=true) or after_headers
  refuse              close the port: new connections are refused
  body_bytes          answer with so many bytes instead of the echo
  body_delay_ms       wait before each piece (64 KiB) of the body
  truncate_after      promise the whole body, close after so many bytes
Every field but from_s, to_s, share, count and refuse is also a request header:
  x-fault-status, x-fault-delay-ms, x-fault-abort, x-fault-reset, x-fault-hold, ...";
