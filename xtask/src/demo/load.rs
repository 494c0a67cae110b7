//! The load: an open loop. Calls go out when they are due, whatever became of the ones before; so
//! a slow host cannot slow down its own test.

use super::record::{Arm, Sample, Seen};
use super::script::LENGTH;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Time between two calls of one arm: 100 calls a second.
const PERIOD: Duration = Duration::from_millis(10);

/// When a call without an answer counts as failed.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// The timer's grain: a call that goes out later than due by no more than this is counted from
/// when it went out. All that is later than that is the load's own delay, and counted.
const GRAIN: Duration = Duration::from_millis(2);

type Http = Client<HttpConnector, Full<Bytes>>;

/// Sends the demo's load from `start` on to every arm, and every answer to `out`. Returns when the
/// last answer is there.
///
/// # Errors
/// The runtime cannot be made.
pub fn run(targets: [(Arm, SocketAddr); 3], start: Instant, out: &Sender<Sample>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the load")?;
    runtime.block_on(async {
        let mut arms = JoinSet::new();
        for (place, (arm, address)) in (0_u32..).zip(targets) {
            // The arms take turns, three milliseconds apart.
            let first = Duration::from_millis(3) * place;
            arms.spawn(one_arm(arm, address, start, first, out.clone()));
        }
        arms.join_all().await;
    });
    Ok(())
}

async fn one_arm(
    arm: Arm,
    address: SocketAddr,
    start: Instant,
    first: Duration,
    out: Sender<Sample>,
) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Http =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
    let mut calls = JoinSet::new();
    let mut due = first;
    while due < LENGTH {
        tokio::time::sleep_until((start + due).into()).await;
        let now = start.elapsed();
        let from = if now.saturating_sub(due) <= GRAIN { now } else { due };
        let (client, out) = (client.clone(), out.clone());
        calls.spawn(async move {
            let call = tokio::time::timeout(ANSWER_WAIT, call(&client, address));
            let seen = call.await.unwrap_or(Seen::Failed);
            let latency = start.elapsed().saturating_sub(from);
            // The receiver leaves only when the demo ends.
            let _ = out.send(Sample { arm, due: from, latency, seen });
        });
        due += PERIOD;
        // Finished calls are let go of now and then, not all at the end.
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
}

/// One call, judged by what comes back.
async fn call(client: &Http, address: SocketAddr) -> Seen {
    let request = Request::post(format!("http://{address}/echo"))
        .header("content-type", "application/json")
        .body(Full::from(r#"{"message":"demo"}"#));
    let Ok(request) = request else {
        return Seen::Failed;
    };
    let Ok(answer) = client.request(request).await else {
        return Seen::Failed;
    };
    let (head, body) = answer.into_parts();
    let whole = body.collect().await;
    if head.headers.contains_key("x-bimetal-rule") {
        Seen::Rejected
    } else if head.status.is_success() && whole.is_ok() {
        Seen::Good
    } else {
        Seen::Failed
    }
}
