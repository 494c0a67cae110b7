//! Listening sockets that can be closed and opened again on the same port.

use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Length of the accept queue.
const BACKLOG: i32 = 1024;

/// A port that is ours, whether anybody listens on it or not.
///
/// A bound socket that does not listen refuses connections, and keeps the port from being given
/// away while the listeners are closed.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _reserved: Socket,
}

impl Port {
    /// Takes `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address is in use or not ours.
    pub(super) fn reserve(address: SocketAddr) -> io::Result<Self> {
        // Shared ports would let two servers run on one address without a word. So the port must
        // be free for a socket that does not share.
        let exclusive = unbound(address)?;
        exclusive.set_reuse_address(true)?;
        exclusive.bind(&address.into())?;
        exclusive.listen(1)?;
        let address = local_address(&exclusive)?;
        drop(exclusive);
        let reserved = unbound(address)?;
        share(&reserved)?;
        reserved.bind(&address.into())?;
        Ok(Self { address, _reserved: reserved })
    }

    /// The address, with the real port.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens one listener; every worker has its own.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        let socket = unbound(self.address)?;
        share(&socket)?;
        socket.bind(&self.address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    }
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))
}

fn share(socket: &Socket) -> io::Result<()> {
    // The address too, or closed connections that still linger would block the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)
}

fn local_address(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.ok_or_else(|| io::Error::other("the socket has no IP address"))
}
