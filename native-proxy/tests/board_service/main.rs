//! `bimetal board`: members that exchange by HTTP, over a store in memory and over a real Redis.

mod member;
#[path = "../proxy_support/mod.rs"]
mod proxy_support;
#[path = "../redis_support/mod.rs"]
mod redis;

use member::{Member, POLICIES};
use proxy_support::{Answer, Client, Running, Upstream, get, metrics::Metrics, wait_for};
use redis::Redis;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A running board; killed when dropped.
struct Board {
    child: Child,
    listen: SocketAddr,
}

impl Board {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
            .args(["board", "--listen", "127.0.0.1:0", "--print-ports"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listen = lines.by_ref().find_map(|line| {
            let ports = serde_json::from_str::<Value>(&line.unwrap()).ok()?;
            ports["listen"].as_str()?.parse().ok()
        });
        // Nobody else reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, listen: listen.expect("an address") }
    }

    fn over(redis: &Redis) -> Self {
        Self::start(&["--redis", &redis.url()])
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        let mut client = Client::connect(self.listen);
        let length = body.len();
        client
            .peer
            .send(&format!("POST {path} HTTP/1.1\r\nhost: b\r\ncontent-length: {length}\r\n\r\n"));
        client.peer.send_bytes(body);
        client.answer().expect("an answer")
    }

    fn exchange(&self, body: &[u8]) -> Answer {
        self.post("/v1/exchange/bimetal", body)
    }

    fn errors(&self, reason: &str) -> f64 {
        Metrics::of(self.listen).sum("bimetal_board_errors_total", &[("reason", reason)])
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_one_tells_the_others_hear() {
    let board = Board::start(&[]);
    let [mut one, mut other, mut late] = [1, 2, 3].map(Member::new);
    one.call(true);
    other.call(true);
    assert!(one.exchange(&board) && other.exchange(&board));
    for _ in 0..3 {
        one.call(false);
    }
    assert!(one.exchange(&board) && other.exchange(&board));
    assert!(one.is_open() && other.is_open());
    // Who comes later hears it with its first exchange, of a scope that it has.
    late.call(true);
    assert!(late.exchange(&board));
    assert!(late.is_open());
    let metrics = Metrics::of(board.listen);
    assert_eq!(metrics.line("bimetal_board_records"), Some(3.0));
    assert_eq!(metrics.line("bimetal_board_keys"), Some(1.0));
    assert_eq!(metrics.line("bimetal_board_exchange_seconds_count"), Some(5.0));
}

#[test]
fn nothing_is_told_twice() {
    let board = Board::start(&[]);
    let [mut one, mut other] = [1, 2].map(Member::new);
    one.call(true);
    other.call(true);
    assert!(one.exchange(&board) && other.exchange(&board));
    assert_eq!((one.heard_of, other.heard_of), (1, 1));
    assert!(one.exchange(&board) && other.exchange(&board));
    assert_eq!((one.heard_of, other.heard_of), (1, 0), "one did not hear of the other's yet");
    assert!(one.exchange(&board) && other.exchange(&board));
    assert_eq!((one.heard_of, other.heard_of), (0, 0));
}

#[test]
fn several_boards_and_a_proxy_over_one_redis_are_one() {
    let Some(redis) = Redis::start("boards") else { return };
    let boards = [(); 2].map(|()| Board::over(&redis));
    let [mut one, mut other] = [1, 2].map(Member::new);
    one.call(true);
    other.call(true);
    assert!(one.exchange(&boards[0]) && other.exchange(&boards[1]));
    for _ in 0..3 {
        one.call(false);
    }
    assert!(one.exchange(&boards[0]) && other.exchange(&boards[1]));
    assert!(other.is_open());
    // Numbers of changes are the server's: each board goes on where the other ended.
    assert!(other.exchange(&boards[0]) && other.exchange(&boards[1]) && other.exchange(&boards[0]));
    // The same policy in a proxy.
    let upstream = Upstream::answering(proxy_support::ok("good"));
    let file = format!("board: {{redis: '{}'}}\npolicies: {POLICIES}", redis.url());
    let proxy = Running::start(upstream.address, &file);
    wait_for("a proxy that follows", || (proxy.ask(&get("/")).status == 503).then_some(()));
}

#[test]
fn a_store_that_is_away_is_said_and_waited_for() {
    let Some(mut redis) = Redis::start("away") else { return };
    let board = Board::over(&redis);
    let [mut one, mut other] = [1, 2].map(Member::new);
    one.call(true);
    other.call(true);
    assert!(one.exchange(&board));
    redis.kill();
    for _ in 0..3 {
        one.call(false);
    }
    assert!(!one.exchange(&board) && !other.exchange(&board));
    assert!(one.is_open() && !other.is_open());
    assert!(board.errors("store") >= 2.0);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Client::connect(board.listen).ask(&get(path)).status, 200);
    }
    redis.restart();
    assert!(one.exchange(&board) && other.exchange(&board));
    assert!(other.is_open());
}

#[test]
fn what_is_not_for_a_board_is_refused() {
    let board = Board::start(&["--prefix", "ours"]);
    let ask = |path: &str, body: &[u8]| {
        let answer = board.post(path, body);
        (answer.status, answer.text())
    };
    let (status, text) = ask("/v1/exchange/theirs", b"");
    assert_eq!(status, 404);
    assert!(text.contains("for the prefix ours"), "{text}");
    for body in [&b""[..], b"garbage", b"\xb1\x01q"] {
        assert_eq!(ask("/v1/exchange/ours", body).0, 400);
    }
    let (status, text) = ask("/v1/exchange/ours", b"\xb1\x09q and so on");
    assert_eq!(status, 400);
    assert!(text.contains("another version"), "{text}");
    assert_eq!(ask("/", b"").0, 404);
    let mut client = Client::connect(board.listen);
    assert_eq!(client.ask(&get("/v1/exchange/ours")).status, 405);
    client
        .peer
        .send("POST /v1/exchange/ours HTTP/1.1\r\nhost: b\r\ncontent-length: 99999999\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 413);
    // A question that is one, with records that are none.
    let mut member = Member::new(1);
    member.call(true);
    let mut question = member.question();
    question.exchange.deltas[0].record[20] ^= 1;
    assert_eq!(board.post("/v1/exchange/ours", &question.encode()).status, 200);
    assert_eq!(board.errors("foreign"), 1.0);
}

#[test]
fn it_says_how_it_is_used_and_ends_when_it_is_told() {
    let bimetal = || Command::new(env!("CARGO_BIN_EXE_bimetal"));
    let help = bimetal().args(["board", "--help"]).output().unwrap();
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(text.contains("Examples:\n  bimetal board"), "{text}");
    let wrong = bimetal().args(["board", "--redis", "http://u:secret@h"]).output().unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said.contains("--redis: ") && !said.contains("secret"), "{said}");
    let mut board = Board::start(&[]);
    let id = board.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
    assert_eq!(board.child.wait().unwrap().code(), Some(0));
}
