//! WebSocket through the proxy, by a client and a server that know it well.

mod proxy_support;

use proxy_support::program::{Program, write};
use proxy_support::{Running, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;
use tungstenite::{Error, Message, WebSocket};

type Socket = WebSocket<TcpStream>;

/// Echoes every message of every socket; other requests are answered well.
fn echo() -> Upstream {
    Upstream::start(|peer| {
        let Ok(mut socket) = tungstenite::accept(peer.stream) else { return };
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).unwrap();
            }
        }
        // The other side's closing handshake is answered by now.
        drop(socket.flush());
    })
}

fn open(address: SocketAddr) -> Socket {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    let (socket, answer) = tungstenite::client(format!("ws://{address}/chat"), stream).unwrap();
    assert_eq!(answer.status(), 101);
    socket
}

fn echoes(socket: &mut Socket, message: Message) {
    socket.send(message.clone()).unwrap();
    assert!(socket.read().unwrap() == message, "another message came back");
}

/// Reads until the other side has closed by the rules.
fn closes(mut socket: Socket) {
    socket.close(None).unwrap();
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn messages_of_every_kind_come_back() {
    let upstream = echo();
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 5s}"));
    let mut socket = open(proxy.listen);
    echoes(&mut socket, Message::text("hello"));
    echoes(&mut socket, Message::binary(Vec::new()));
    echoes(&mut socket, Message::binary(vec![0, 13, 10, 13, 10, 255]));
    for size in [125, 126, 65_535, 65_536, 4 << 20] {
        echoes(&mut socket, Message::binary(vec![7; size]));
    }
    socket.send(Message::Ping("are you there?".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("are you there?".into()));
    proxy.wait_for_outcomes("success", 1.0);
    closes(socket);
    wait_for("no connection", || (proxy.metric("bimetal_connections")? == 0.0).then_some(()));
    let upstreams = proxy.metric("bimetal_upstream_connections{upstream=\"echo\"}");
    assert_eq!(upstreams, Some(0.0));
}

#[test]
fn a_socket_may_be_silent_for_longer_than_any_limit() {
    let upstream = echo();
    let text = file(upstream.address, &policy("timeout: {request: 100ms}"))
        .replacen(
            "'127.0.0.1:0'}]",
            "'127.0.0.1:0', header_timeout: 100ms, idle: 100ms, max_body: 1KiB}]",
            1,
        )
        .replace("endpoints:", "idle: 100ms, pool: {idle: 100ms}, endpoints:");
    let proxy = Running::with(&text);
    let mut socket = open(proxy.listen);
    echoes(&mut socket, Message::text("before"));
    // Three times as long as each limit nothing comes, and the socket is not closed either.
    let stream = socket.get_mut();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = std::io::Read::read(stream, &mut [0; 1]);
    assert_eq!(silence.unwrap_err().kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    // Nor does a limit for bodies know messages.
    echoes(&mut socket, Message::binary(vec![7; 1 << 20]));
    closes(socket);
    proxy.wait_for_outcomes("success", 1.0);
    assert_eq!(proxy.outcomes("failure") + proxy.outcomes("neutral"), 0.0);
}

#[test]
fn a_server_that_declines_is_answered_as_any_other() {
    let upstream = Upstream::answering(ok("no sockets here"));
    let proxy = Running::start(upstream.address, &policy(""));
    let stream = TcpStream::connect(proxy.listen).unwrap();
    let failed = tungstenite::client("ws://t/chat", stream).unwrap_err();
    assert!(failed.to_string().contains("200"), "{failed}");
    // Its connection can be used again: it still speaks HTTP.
    assert_eq!(proxy.ask(&get("/")).text(), "no sockets here");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_drain_waits_for_a_socket_and_others_end_at_once() {
    let upstream = echo();
    let mut program = Program::start(&write("socket.yaml", &file(upstream.address, "")), &[]);
    let mut socket = open(program.listen);
    let mut idle = proxy_support::Client::connect(program.listen);
    echoes(&mut socket, Message::text("before"));
    program.signal("TERM");
    program.log_with("draining");
    idle.peer.closed();
    wait_for("a closed door", || TcpStream::connect(program.listen).err());
    echoes(&mut socket, Message::text("while it drains"));
    closes(socket);
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn a_socket_ends_with_the_drains_time() {
    let upstream = echo();
    let proxy = Running::start(upstream.address, "");
    let mut socket = open(proxy.listen);
    echoes(&mut socket, Message::text("before"));
    let (ended, end) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let broken = socket.read();
        ended.send(()).unwrap();
        broken.unwrap_err()
    });
    // Dropping it drains without any time at all.
    drop(proxy);
    end.recv_timeout(TEST_DEADLINE).unwrap();
    assert!(!matches!(reader.join().unwrap(), Error::ConnectionClosed));
}
