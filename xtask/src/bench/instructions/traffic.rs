//! Both ends around a proxy: a client that makes an exact number of calls, and the server behind.
//!
//! Calls go in waves. All connections ask, and only when all have been heard does the server answer
//! all; before each half of a wave the proxy comes to rest; both ends and the proxy have one core, and
//! the proxy does not take it from them when it is woken. So the proxy finds a whole wave at one look
//! for events, always. Where each call goes at its own pace, how many it finds at one look depends on
//! the machine's other work, and with it the proxy's instructions, by one percent and more.
//! wrk can do nothing of that: it stops at a time and not after a number.
//!
//! The server answers as nginx does in the end-to-end half, but with a date that stands still.

use super::super::cores;
use super::super::servers::BODY;
use super::wire::Reader;
use crate::say;
use anyhow::{Context, Result, bail, ensure};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// Connections, as in the end-to-end half, and so calls of a wave.
pub const CONNECTIONS: u64 = 32;

/// How long a wave may take to come through. A program under callgrind needs about fifty times its
/// usual time.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the proxy is looked at.
const GLANCE: Duration = Duration::from_micros(200);

/// A call that is made again and again.
#[derive(Clone, Debug)]
pub struct Call {
    /// The request as it goes out.
    pub request: Vec<u8>,
    /// The same in a form that is always answered with 200, whatever time that takes: for the first
    /// wave.
    pub warm_up: Vec<u8>,
    /// The status that the request must be answered with. With 200 it must have come to the server,
    /// with another one it must not.
    pub status: u16,
}

/// The proxy between both ends.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    /// Id of its process.
    pub process: u32,
}

impl Proxy {
    /// Waits until it has done all that it has to do.
    fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !cores::rests(self.process)? {
            ensure!(Instant::now() < deadline, "the proxy is still busy");
            thread::sleep(GLANCE);
        }
        Ok(())
    }
}

/// The server behind the proxies.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    answer: Vec<u8>,
    /// Every request that came, by number and stream of its connection.
    came: Receiver<(usize, Arc<TcpStream>)>,
}

impl Origin {
    /// Starts it; it listens as long as this program lives.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
        let address = listener.local_addr()?;
        let (sender, came) = mpsc::channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let sender = sender.clone();
                thread::spawn(move || {
                    // How a connection ends, the client's side sees.
                    let _ = listen(number, &Arc::new(stream), &sender);
                });
            }
        });
        let answer = format!(
            "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 01 Nov 2025 12:00:00 GMT\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n{BODY}",
            BODY.len()
        );
        Ok(Self { address, answer: answer.into_bytes(), came })
    }

    /// Waits for a whole wave of requests, then answers all of them.
    fn answer_wave(&self, proxy: &Proxy) -> Result<()> {
        let next = || {
            self.came.recv_timeout(PATIENCE).context(
                "a request did not come to the server: it is on its way, or the proxy answered it",
            )
        };
        let mut wave = (0..CONNECTIONS).map(|_| next()).collect::<Result<Vec<_>>>()?;
        // In one order, whichever thread was the first to tell.
        wave.sort_by_key(|(number, _)| *number);
        proxy.settle()?;
        for (_, stream) in wave {
            (&*stream).write_all(&self.answer).context("an answer could not be sent")?;
        }
        Ok(())
    }
}

fn listen(
    number: usize,
    stream: &Arc<TcpStream>,
    sender: &Sender<(usize, Arc<TcpStream>)>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut requests = Reader::new(&**stream);
    while requests.next()?.is_some() {
        sender.send((number, stream.clone()))?;
    }
    Ok(())
}

/// Makes one wave to warm up and exactly `calls` calls, a multiple of [`CONNECTIONS`], through the
/// proxy at `proxy` to `origin`.
///
/// # Errors
/// A connection fails, or an answer is another than the expected one.
pub fn send(proxy: &Proxy, origin: &Origin, call: &Call, calls: u64) -> Result<()> {
    ensure!(calls.is_multiple_of(CONNECTIONS), "{calls} calls are no whole number of waves");
    // What an earlier run that failed has left.
    origin.came.try_iter().for_each(drop);
    let streams = (0..CONNECTIONS)
        .map(|_| connect(proxy.address))
        .collect::<Result<Vec<TcpStream>>>()
        .with_context(|| format!("cannot connect to {}", proxy.address))?;
    let mut answers: Vec<_> = streams.iter().map(Reader::new).collect();
    wave(&streams, &mut answers, proxy, origin, &call.warm_up, 200).context("warming up")?;
    let since = Instant::now();
    let mut told = since;
    for done in 0..calls / CONNECTIONS {
        if told.elapsed() >= say::BEAT {
            told = Instant::now();
            say::works("count", since, &format!("{} of {calls} calls", done * CONNECTIONS));
        }
        wave(&streams, &mut answers, proxy, origin, &call.request, call.status)?;
    }
    ensure!(origin.came.try_recv().is_err(), "more requests came to the server than expected");
    Ok(())
}

/// One call on each connection.
fn wave(
    streams: &[TcpStream],
    answers: &mut [Reader<&TcpStream>],
    proxy: &Proxy,
    origin: &Origin,
    request: &[u8],
    status: u16,
) -> Result<()> {
    proxy.settle()?;
    for mut stream in streams {
        stream.write_all(request).context("a request could not be sent")?;
    }
    if status == 200 {
        origin.answer_wave(proxy)?;
    }
    for answers in answers {
        let answer = answers.next()?.context("the connection was closed within the run")?;
        if answer.status() != Some(status) {
            bail!("expected an answer of {status}, had {}", answer.head);
        }
        if status == 200 && answer.body != BODY.as_bytes() {
            bail!("an answer with another body: {}", String::from_utf8_lossy(&answer.body));
        }
    }
    Ok(())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;
    use crate::process::Running;
    use std::process::Command;

    fn get(status: u16) -> Call {
        let request = b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
        Call { warm_up: request.clone(), request, status }
    }

    /// What stands for the proxy's process: it does nothing.
    fn sleeper(name: &str) -> Running {
        let log = place::made("xtask/tests").unwrap().join(format!("{name}.log"));
        Running::start(name, Command::new("sleep").arg("300"), &log).unwrap()
    }

    /// Client and server without a proxy between them.
    fn straight(name: &str, call: &Call, calls: u64) -> Result<()> {
        let origin = Origin::start().unwrap();
        let process = sleeper(name);
        let proxy = Proxy { address: origin.address, process: process.id() };
        send(&proxy, &origin, call, calls)
    }

    #[test]
    fn the_client_is_answered_by_the_server() {
        straight("answered", &get(200), 3 * CONNECTIONS).unwrap();
    }

    #[test]
    fn only_whole_waves_are_sent() {
        let error = straight("waves", &get(200), CONNECTIONS + 1).unwrap_err().to_string();
        assert!(error.contains("33 calls"), "{error}");
    }

    #[test]
    fn an_answer_with_another_status_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let process = sleeper("status");
        let proxy = Proxy { address: listener.local_addr().unwrap(), process: process.id() };
        let stream = connect(proxy.address).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").unwrap();
        let origin = Origin::start().unwrap();
        let mut answers = [Reader::new(&stream)];
        let streams = std::slice::from_ref(&stream);
        let error = wave(streams, &mut answers, &proxy, &origin, b"", 503).unwrap_err().to_string();
        assert!(error.contains("expected an answer of 503, had HTTP/1.1 500"), "{error}");
    }
}
