//! Ports for programs that must be told theirs.

use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A port on loopback that the kernel gives nobody else for a minute, while a program that is told it
/// can listen there.
///
/// A connection through it was closed by its own side, so it is in TIME_WAIT: the kernel does not
/// choose such a port for others, and lets whoever names it bind it with SO_REUSEADDR, as every
/// server does.
///
/// # Errors
/// There is no free port.
pub fn hold() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    let address: SocketAddr = listener.local_addr()?;
    let client =
        TcpStream::connect(address).context("a port that was bound takes no connection")?;
    let (accepted, _) = listener.accept()?;
    // This side first: it is the one that waits.
    drop(accepted);
    drop(client);
    Ok(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn held_ports_are_given_to_nobody_else_and_can_be_bound() {
        let held: HashSet<u16> = (0..50).map(|_| hold().unwrap()).collect();
        assert_eq!(held.len(), 50);
        // So many draws would hit fifty free ports dozens of times.
        for _ in 0..20_000 {
            let other = TcpListener::bind("127.0.0.1:0").unwrap();
            assert!(!held.contains(&other.local_addr().unwrap().port()));
        }
        for port in held {
            TcpListener::bind(("127.0.0.1", port)).unwrap();
        }
    }
}
