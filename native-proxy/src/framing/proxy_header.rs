//! The PROXY protocol of HAProxy, versions 1 and 2: what a balancer in front says of a connection before
//! its first byte of HTTP.
//!
//! A listener that expects it takes nobody's word but a header's: a connection that begins otherwise is
//! closed without an answer, as HAProxy's `accept-proxy` does. Where it was let pass, whoever reaches the
//! port could choose between his own address and one that he likes.

use proxy_header::{ParseConfig, ProxyHeader};
use std::fmt;
use std::io;
use std::net::IpAddr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The longest header that is read. An address takes 52 bytes; the rest is for the additional fields of
/// version 2, which are passed over (HAProxy and AWS write some hundred bytes of them).
const LONGEST: usize = 4096;

/// The longest line of version 1, with its end (`proxy-protocol.txt`, 2.1).
const LONGEST_LINE: usize = 107;

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Additional fields are passed over.
const CONFIG: ParseConfig = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// A header that is not whole yet, or nothing.
    Unfinished,
    /// No header, whatever comes behind.
    Wrong,
    /// A header of `length` bytes.
    Header {
        /// Its client's address; none where the balancer speaks for itself, or it is no IP address.
        client: Option<IpAddr>,
        /// How long it is.
        length: usize,
    },
}

/// What `bytes` are, as the first ones of a connection.
pub fn begins(bytes: &[u8]) -> Begins {
    // Where the header ends is found here: the parser takes some lines of version 1 for whole at one cut
    // and for wrong at another.
    let length = match bytes.first() {
        None => return Begins::Unfinished,
        Some(b'P') => line_length(bytes),
        Some(_) => binary_length(bytes),
    };
    let header = match length {
        Ok(Some(length)) => bytes.get(..length),
        Ok(None) => None,
        Err(NotOurs) => return Begins::Wrong,
    };
    match header.map(|header| (ProxyHeader::parse(header, CONFIG), header.len())) {
        None => Begins::Unfinished,
        Some((Ok((header, read)), length)) if read == length => {
            let client = header.proxied_address().map(|address| address.source.ip());
            Begins::Header { client, length }
        }
        Some(_) => Begins::Wrong,
    }
}

/// Not the protocol's bytes.
struct NotOurs;

/// How long the line of version 1 is that `bytes` begin with; none while its end is missing.
fn line_length(bytes: &[u8]) -> Result<Option<usize>, NotOurs> {
    let line = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    // The version is the first word.
    if !line.iter().zip(b"PROXY ").all(|(byte, expected)| byte == expected) {
        return Err(NotOurs);
    }
    match line.iter().position(|byte| byte.is_ascii_control()) {
        Some(end) => match line.get(end..end + 2) {
            Some(b"\r\n") => Ok(Some(end + 2)),
            None if line.len() < LONGEST_LINE && line.get(end) == Some(&b'\r') => Ok(None),
            _ => Err(NotOurs),
        },
        None if line.len() < LONGEST_LINE => Ok(None),
        None => Err(NotOurs),
    }
}

/// How long the header of version 2 is that `bytes` begin with; none while its length is missing.
fn binary_length(bytes: &[u8]) -> Result<Option<usize>, NotOurs> {
    if !bytes.iter().zip(SIGNATURE).all(|(byte, expected)| byte == expected) {
        return Err(NotOurs);
    }
    let Some([_, _, high, low]) = bytes.get(SIGNATURE.len()..SIGNATURE.len() + 4) else {
        return Ok(None);
    };
    let length = SIGNATURE.len() + 4 + usize::from(u16::from_be_bytes([*high, *low]));
    if length <= LONGEST { Ok(Some(length)) } else { Err(NotOurs) }
}

/// Why a connection does not begin.
#[derive(Debug)]
pub(crate) enum NoHeader {
    /// What came is no such header, or one without end.
    Wrong,
    /// The connection ended before it came whole.
    Gone(io::Error),
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong => f.write_str("it begins without a header of the PROXY protocol"),
            Self::Gone(why) => write!(f, "it ended within its PROXY header: {why}"),
        }
    }
}

/// Reads the header and not a byte more. Gives the client's address; none where the balancer speaks for
/// itself (`LOCAL`, `UNKNOWN`) or the client has no IP address: then it is the connection's.
///
/// # Errors
/// [`NoHeader`]
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Option<IpAddr>, NoHeader> {
    let mut seen = vec![0; LONGEST];
    let mut length = 0;
    loop {
        // All that was seen before belongs to the header: it was not whole.
        let (before, rest) = seen.split_at_mut(length);
        let count = stream.peek(rest).await.map_err(NoHeader::Gone)?;
        if count == 0 {
            return Err(NoHeader::Gone(io::ErrorKind::UnexpectedEof.into()));
        }
        let before = before.len();
        let whole = seen.get(..before + count).unwrap_or_default();
        let (read, client) = match begins(whole) {
            Begins::Header { client, length } => (length.saturating_sub(before), Some(client)),
            Begins::Unfinished => (count, None),
            Begins::Wrong => return Err(NoHeader::Wrong),
        };
        let taken = seen.get_mut(before..before + read).unwrap_or_default();
        stream.read_exact(taken).await.map_err(NoHeader::Gone)?;
        match client {
            Some(client) => return Ok(client),
            None => length += read,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, NoHeader, read};
    use std::net::IpAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::Builder;

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    /// What is read of these pieces, each sent once the one before was read, and what is left of them.
    fn told(pieces: &[&[u8]]) -> (Result<Option<IpAddr>, NoHeader>, Vec<u8>) {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            client.set_nodelay(true).unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            let sends = async {
                for piece in pieces {
                    client.write_all(piece).await.unwrap();
                    // Whoever reads has its turn.
                    tokio::task::yield_now().await;
                }
                client.shutdown().await.unwrap();
            };
            let (header, ()) = tokio::join!(read(&mut server), sends);
            let mut left = Vec::new();
            server.read_to_end(&mut left).await.unwrap();
            (header, left)
        })
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn each_version_tells_the_client() {
        let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 1, 1, 0, 80];
        let v6 = [&[0x20, 1, 0xd, 0xb8], &[0; 11][..], &[9], &[0; 16], &[1, 1, 0, 80]].concat();
        let with_more = [&v4[..], &[4, 0, 2, 0, 0]].concat();
        let unix = [0; 216];
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 257 80\r\n".to_vec(), address("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::9 ::1 257 80\r\n".to_vec(), address("2001:db8::9")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff::1 ff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), address("192.0.2.7")),
            (v2(0x21, 0x21, &v6), address("2001:db8::9")),
            (v2(0x21, 0x11, &with_more), address("192.0.2.7")),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x20, 0, &[]), None),
            (v2(0x21, 0x31, &unix), None),
        ] {
            let whole = [&header[..], b"GET / HTTP/1.1"].concat();
            let (read, left) = told(&[&whole]);
            assert_eq!(read.unwrap(), client, "{header:?}");
            assert_eq!(left, b"GET / HTTP/1.1", "{header:?}");
            // Byte by byte.
            let bytes: Vec<_> = whole.chunks(1).collect();
            let (read, left) = told(&bytes);
            assert_eq!(read.unwrap(), client, "{header:?}");
            assert_eq!(left, b"GET / HTTP/1.1", "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..],
            b"POST / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"PROXY TCP4 192.0.2.256 10.0.0.1 257 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 65536 80\r\n",
            b"PROXY TCP4 2001:db8::9 ::1 257 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 257 80\r\n",
            b"\x16\x03\x01",
            &endless,
            b"PROXY:UNKNOWN ff::1 ff::2 1 2\r\n",
            b"PROXY UNKNOWN ff::1 ff::\n0\r\n 1 2\r\n",
            &[&b"PROXY UNKNOWN "[..], &[b'x'; 92], b"\r\n"].concat(),
            &v2(0x31, 0x11, &[0; 12]),
            // Its length is less than its addresses take.
            &[&v2(0x21, 0x11, &[0; 8])[..], b"GET / HTTP/1.1"].concat(),
            &v2(0x21, 0x77, &[0; 12]),
            &v2(0x21, 0x11, &[0; LONGEST]),
        ] {
            let (read, _) = told(&[bytes]);
            assert!(matches!(read, Err(NoHeader::Wrong)), "{bytes:?}: {read:?}");
        }
    }

    #[test]
    fn one_that_is_cut_in_half_is_told_so() {
        for bytes in
            [&b""[..], b"PROXY", b"PROXY TCP4 192.0.2.7 10.0", V2, &v2(0x21, 0x11, &[0; 12])[..20]]
        {
            let (read, _) = told(&[bytes]);
            assert!(matches!(read, Err(NoHeader::Gone(_))), "{bytes:?}: {read:?}");
        }
    }
}
