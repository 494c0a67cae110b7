//! Calls of which each makes something happen, as long as they are wanted.

use super::programs::Hosts;
use anyhow::{Result, anyhow};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Headers of a call.
type Headers = &'static [(&'static str, &'static str)];

const GOOD: Headers = &[("x-case", "trips")];
const BAD: Headers = &[("x-case", "trips"), ("x-fault-status", "500")];
const SHADOW: Headers = &[("x-case", "shadow"), ("x-fault-status", "500")];
const SLOW: Headers = &[("x-case", "limit"), ("x-fault-delay-ms", "1000")];
const RETRY: Headers = &[("x-case", "retry"), ("x-fault-status", "500")];

/// Traffic under way.
#[derive(Debug)]
pub(super) struct Traffic {
    goes_on: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Traffic {
    /// Begins it, through both hosts and into the analytics service.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(hosts: &Hosts) -> Result<Self> {
        let goes_on = Arc::new(AtomicBool::new(true));
        let mut threads = Vec::new();
        let mut also = |act: fn(&ureq::Agent, SocketAddr) -> Result<()>, at: SocketAddr| {
            let goes_on = goes_on.clone();
            let thread = move || {
                let agent = agent();
                while goes_on.load(Ordering::Relaxed) {
                    act(&agent, at)?;
                }
                Ok(())
            };
            threads.push(std::thread::spawn(thread));
        };
        for host in [hosts.proxy, hosts.envoy()] {
            also(breakers, host);
            also(others, host);
            // One is under way, one waits, others are turned away.
            (0..4).for_each(|_| also(limits, host));
        }
        also(samples, hosts.analytics);
        Ok(Self { goes_on, threads })
    }

    /// Ends it.
    ///
    /// # Errors
    /// A call could not even be made.
    pub(super) fn end(self) -> Result<()> {
        self.goes_on.store(false, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a thread of the traffic died"))??;
        }
        Ok(())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(30)))
        .http_status_as_error(false)
        .build()
        .new_agent()
}

fn call(agent: &ureq::Agent, at: SocketAddr, headers: Headers) -> Result<()> {
    let mut request = agent.post(format!("http://{at}/echo"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.send(r#"{"message":"hi"}"#)?;
    answer.body_mut().read_to_string()?;
    Ok(())
}

/// Good seconds, and failures that trip the breaker or do not.
fn breakers(agent: &ureq::Agent, at: SocketAddr) -> Result<()> {
    for round in 0..4 {
        for _ in 0..10 {
            call(agent, at, GOOD)?;
            std::thread::sleep(Duration::from_millis(100));
        }
        let failures = if round == 3 { 4 } else { 2 };
        (0..failures).try_for_each(|_| call(agent, at, BAD))?;
    }
    Ok(())
}

fn others(agent: &ureq::Agent, at: SocketAddr) -> Result<()> {
    call(agent, at, SHADOW)?;
    call(agent, at, RETRY)?;
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

fn limits(agent: &ureq::Agent, at: SocketAddr) -> Result<()> {
    call(agent, at, SLOW)?;
    std::thread::sleep(Duration::from_millis(50));
    Ok(())
}

/// Usual load with a peak in every twenty samples.
fn samples(agent: &ureq::Agent, at: SocketAddr) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let sample = |index: u32| {
        let rps = if index % 20 == 19 { 900 } else { 200 + index % 7 };
        json!({"timestamp": now - 1.0 + f64::from(index) / 100.0, "cpu": 50, "rps": rps})
    };
    let batch: Vec<_> = (0..100).map(sample).collect();
    let url = format!("http://{at}/ingest");
    let request = agent.post(url).header("content-type", "application/json");
    request.send(json!(batch).to_string())?.body_mut().read_to_string()?;
    let _ = agent.get(format!("http://{at}/analyze")).call()?.body_mut().read_to_string()?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(())
}
