//! The service as a process before a small server.

use bimetal_study::process::Running;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const POLICY: &str = r#"{"version": "v1", "policies": [{
    "name": "echo", "match": {"path_prefix": "/echo"}, "scope": "policy",
    "breaker": {"profile": "origin-study"}, "timeout": {"request": "3s"}}]}"#;

/// A server whose every answer has that status, and how often it was asked.
fn server(status: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), count.clone());
            std::thread::spawn(move || {
                let mut text = String::new();
                let mut bytes = [0; 4096];
                // A call may come in two pieces, its head and its body.
                while let Ok(length @ 1..) = stream.read(&mut bytes) {
                    text.push_str(&String::from_utf8_lossy(&bytes[..length]));
                    if text.ends_with("hello") {
                        text.clear();
                        count.fetch_add(1, Ordering::SeqCst);
                        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        stream.write_all(answer.as_bytes()).unwrap();
                    }
                }
            });
        }
    });
    (address, asked)
}

/// The service before `upstream`, with the arguments `more`.
fn app(upstream: SocketAddr, more: &[&str], folder: &std::path::Path) -> (Running, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], bimetal_study::ports::hold().unwrap()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal-study-app"));
    command.args(["--listen", &address.to_string(), "--upstream", &upstream.to_string()]);
    let mut running = Running::start(command.args(more), &folder.join("log")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        assert_eq!(running.status().unwrap(), None, "{}", running.last_words());
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::yield_now();
    }
    (running, address)
}

/// One call; the whole answer.
fn call(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let head =
        "POST /echo HTTP/1.1\r\nhost: app\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn calls_are_forwarded_and_failures_too() {
    let folder = tempfile::tempdir().unwrap();
    for status in ["200 OK", "500 No"] {
        let (upstream, asked) = server(status);
        let (_running, address) = app(upstream, &[], folder.path());
        for calls in 1..=5 {
            let answer = call(address);
            assert!(answer.starts_with(&format!("HTTP/1.1 {}", &status[..3])), "{answer}");
            assert!(answer.ends_with("ok"), "{answer}");
            assert_eq!(asked.load(Ordering::SeqCst), calls);
        }
    }
    let nobody = SocketAddr::from(([127, 0, 0, 1], bimetal_study::ports::hold().unwrap()));
    let (_running, address) = app(nobody, &[], folder.path());
    assert!(call(address).starts_with("HTTP/1.1 502"));
}

#[test]
fn with_a_policy_the_third_failure_opens_the_breaker() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.json");
    std::fs::write(&policy, POLICY).unwrap();
    let (upstream, asked) = server("500 No");
    let (_running, address) = app(upstream, &["--policy", policy.to_str().unwrap()], folder.path());
    for _ in 0..3 {
        assert!(call(address).starts_with("HTTP/1.1 500"));
    }
    let answer = call(address);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("echo/breaker"), "{answer}");
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}
