//! Clients that open streams only to reset them.

use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Log;
use h2::Reason;
use http::Request;
use serde_json::json;
use std::error::Error;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Connections, and streams in each; Envoy ends a connection when 250 of its streams were reset
/// young.
const CONNECTIONS: usize = 6;
const STREAMS: usize = 200;

pub(super) fn a_flood_of_resets_settles_every_call(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.concurrency = 4;
        config.log = Log::Quiet;
    })?;
    let address = rig.envoy.address();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut floods = tokio::task::JoinSet::new();
        for _ in 0..CONNECTIONS {
            floods.spawn(flood(address));
        }
        while let Some(flood) = floods.join_next().await {
            flood?.map_err(|error| error.to_string())?;
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    same(rig.get("/status/200")?.status, 200)?;
    // Every stream's headers were there before its reset: each was decided.
    let all = (CONNECTIONS * STREAMS + 1) as f64;
    rig.until("decision for every stream", || {
        Ok((rig.envoy.metric("bimetal_requests_total", &[])? == all).then_some(()))
    })?;
    rig.until("outcome for every stream", || {
        Ok((rig.envoy.metric("bimetal_outcomes_total", &[])? == all).then_some(()))
    })?;
    // That clients leave is nothing against the upstream.
    same(rig.envoy.metric("bimetal_outcomes_total", &["outcome=\"failure\""])?, 0.0)?;
    let neutral = rig.envoy.metric("bimetal_outcomes_total", &["outcome=\"neutral\""])?;
    println!("{neutral} of {all} streams were reset before their answer");
    same(neutral > 0.0, true)?;
    rig.finish()
}

/// Opens streams on one connection, and resets each at once.
async fn flood(envoy: SocketAddr) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut send, connection) = h2::client::handshake(TcpStream::connect(envoy).await?).await?;
    let connection = tokio::spawn(connection);
    for _ in 0..STREAMS {
        send = send.ready().await?;
        let request = Request::get("http://echo/status/200").body(())?;
        let (answer, mut body) = send.send_request(request, true)?;
        // The headers go out before the reset: one that is still queued would never be sent.
        tokio::task::yield_now().await;
        body.send_reset(Reason::CANCEL);
        drop(answer);
    }
    drop(send);
    // All was sent when the connection has ended.
    let _ = connection.await;
    Ok(())
}
