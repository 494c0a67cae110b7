//! The load: wrk, which keeps connections open and asks as fast as it is answered.

use crate::{place, process};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Connections at a time.
const CONNECTIONS: &str = "32";

/// Makes wrk print its result as one line of JSON. Its status errors are answers of 400 and more.
const REPORT: &str = r#"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"#;

/// wrk with its script.
#[derive(Debug)]
pub struct Load {
    wrk: PathBuf,
    script: PathBuf,
}

/// What one stretch of load saw.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Seen {
    /// Requests answered.
    pub requests: u64,
    /// How long it took.
    pub seconds: f64,
    /// Median latency in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the latency in microseconds.
    pub p99_us: f64,
    /// Broken connections, timeouts, and answers of 400 and more.
    pub errors: u64,
}

impl Load {
    /// Takes wrk from `wrk` and writes its script.
    ///
    /// # Errors
    /// The script cannot be written.
    pub fn new(wrk: &Path) -> Result<Self> {
        let script = place::made("bench")?.join("report.lua");
        std::fs::write(&script, REPORT)
            .with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Self { wrk: wrk.to_path_buf(), script })
    }

    /// Asks `address` for `GET /echo` as fast as it answers, for whole seconds.
    ///
    /// # Errors
    /// wrk fails, or a request does: a number with failures in it would mean nothing.
    pub fn run(&self, arm: &str, address: SocketAddr, seconds: u64) -> Result<Seen> {
        let mut command = Command::new(&self.wrk);
        command
            .args(["-t", "1", "-c", CONNECTIONS, "-d", &format!("{seconds}s"), "-s"])
            .arg(&self.script)
            .arg(format!("http://{address}/echo"));
        let limit = Duration::from_secs(seconds + 30);
        let finished = process::succeed("wrk", &mut command, limit)?;
        let output = finished.output();
        let line = output.lines().find(|line| line.starts_with('{'));
        let seen: Seen = line
            .and_then(|line| serde_json::from_str(line).ok())
            .with_context(|| format!("wrk said nothing that can be read:\n{output}"))?;
        if seen.errors > 0 || seen.requests == 0 {
            bail!("{arm}: {} of {} requests failed", seen.errors, seen.requests);
        }
        Ok(seen)
    }
}
