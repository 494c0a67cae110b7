//! Readiness: a request through each listener that ends in the proxy. No upstream is asked, and an
//! open breaker is not unready.

use crate::proxy::Shared;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long all listeners together may take to answer.
const LISTENER_REPLY_WAIT: Duration = Duration::from_secs(2);

/// Asks every listener.
///
/// # Errors
/// Which one is not ready, and why.
pub(super) async fn check(shared: &Shared) -> Result<(), String> {
    let every = async {
        for listener in &shared.listeners {
            let asked = ask(*listener, &shared.ready_path).await;
            asked.map_err(|why| format!("{listener} {why}"))?;
        }
        Ok(())
    };
    tokio::time::timeout(LISTENER_REPLY_WAIT, every)
        .await
        .unwrap_or_else(|_| Err(String::from("no answer in time")))
}

async fn ask(listener: SocketAddr, path: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("does not answer: {error}");
    let mut stream = TcpStream::connect(reachable(listener)).await.map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: bimetal\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(1024).read_to_end(&mut answer).await.map_err(failed)?;
    if answer.starts_with(b"HTTP/1.1 204") { Ok(()) } else { Err(String::from("is draining")) }
}

/// The address under which this machine reaches a listener on all addresses.
fn reachable(listener: SocketAddr) -> SocketAddr {
    let ip = match listener.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listener.port())
}
