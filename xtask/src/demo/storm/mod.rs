//! `cargo xtask demo --retry-storm`: three hops with three tries each before a dead service, and how
//! many tries it gets for one call.

mod hops;
mod page;
mod verdict;

use super::{Look, sheet};
use crate::demo::scene::{Parts, delete, echo, get, put};
use crate::{place, process, say};
use anyhow::{Context, Result, bail};
use hops::{Arm, Hops};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use verdict::Block;

/// Calls of one arm. The dead service remembers ten thousand requests, and naive hops make 27 of one.
pub const CALLS: u32 = 300;

/// Time between two calls: a hundred a second.
const PERIOD: Duration = Duration::from_millis(10);

/// How long a call may take: a machine that is busy is not what is judged.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Runs the demo. True means that every claim holds.
///
/// # Errors
/// Something cannot be installed, built, started or written.
pub fn run(look: Look) -> Result<bool> {
    let parts = Parts::make()?;
    let blocks = play(&parts, look)?;
    let claims = verdict::claims(&blocks);
    let rows: Vec<_> = blocks.iter().map(verdict::row).collect();
    sheet::tell(&verdict::COLUMNS, &rows, verdict::EXPLAINED, &claims);
    let file = place::made("demo/retry-storm")?.join("index.html");
    sheet::write(&file, &page::page(&blocks, &claims))?;
    println!("the timelines, drawn: {}", file.display());
    Ok(claims.iter().all(|claim| claim.holds))
}

/// The demo as a test: true means that every claim holds. They are counts alone.
///
/// # Errors
/// A program cannot be started, or a call has no answer at all.
pub fn check(parts: &Parts) -> Result<bool> {
    let claims = verdict::claims(&play(parts, Look::Plain)?);
    for claim in &claims {
        say::line(format!("    {} {}", if claim.holds { "kept:" } else { "FAIL:" }, claim.text));
    }
    Ok(claims.iter().all(|claim| claim.holds))
}

/// Sends the same calls through every arm.
fn play(parts: &Parts, look: Look) -> Result<Vec<Block>> {
    let folder = place::made("demo/retry-storm")?;
    let (_dead, address, admin) = echo(&parts.bimetal, &folder)?;
    put(admin, "/faults", &json!({"plan": [{"status": 503}]}))
        .context("the service does not die")?;
    say::begins("retry storm", "about twenty seconds; Ctrl-C ends it");
    let mut blocks = Vec::new();
    for arm in Arm::ALL {
        delete(admin, "/received").context("the service does not forget")?;
        let hops = Hops::start(arm, parts, &folder, address)?;
        let statuses = calls(arm, hops.address(), admin, look)?;
        let received: Value = serde_json::from_str(&get(admin, "/received")?)
            .context("the service does not tell what it received")?;
        let at_s = received["requests"].as_array().into_iter().flatten();
        let tries: Vec<f64> = at_s.filter_map(|request| request["at_s"].as_f64()).collect();
        blocks.push(Block { arm, statuses, tries });
    }
    Ok(blocks)
}

/// Sends [`CALLS`] calls when they are due, whatever became of the ones before; gives their statuses.
fn calls(arm: Arm, address: SocketAddr, admin: SocketAddr, look: Look) -> Result<Vec<u16>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the load")?;
    runtime.block_on(async {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
        let mut under_way = JoinSet::new();
        let start = Instant::now();
        for number in 0..CALLS {
            tokio::time::sleep_until((start + PERIOD * number).into()).await;
            if process::stopping() {
                bail!("stopped");
            }
            let request = Request::get(format!("http://{address}/echo")).body(Full::default())?;
            let call = client.request(request);
            under_way.spawn(async move {
                let call = async {
                    let answer = call.await.ok()?;
                    let status = answer.status().as_u16();
                    answer.into_body().collect().await.ok()?;
                    Some(status)
                };
                tokio::time::timeout(ANSWER_WAIT, call).await.ok().flatten()
            });
            if look == Look::Plain && (number + 1).is_multiple_of(100) {
                told(arm, number + 1, admin).await?;
            }
        }
        if look == Look::Live {
            told(arm, CALLS, admin).await?;
        }
        let statuses = under_way.join_all().await;
        statuses.into_iter().map(|status| status.context("a call has no answer")).collect()
    })
}

/// One line of what the dead service got so far.
async fn told(arm: Arm, calls: u32, admin: SocketAddr) -> Result<()> {
    let page = tokio::task::spawn_blocking(move || get(admin, "/received")).await??;
    let received: Value = serde_json::from_str(&page).unwrap_or_default();
    let tries = received["count"].as_u64().unwrap_or(0);
    println!("{:<28} {calls:>4} calls, {tries:>5} tries reached the dead service", arm.name());
    Ok(())
}

/// The path of an arm's files.
fn within(folder: &Path, hop: usize) -> Result<std::path::PathBuf> {
    let folder = folder.join(format!("hop-{hop}"));
    std::fs::create_dir_all(&folder).context("cannot make a folder for a hop")?;
    Ok(folder)
}
