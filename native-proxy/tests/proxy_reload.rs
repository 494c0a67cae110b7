//! Reloads while clients send, and drains with connections that last.

mod proxy_support;

use proxy_support::metrics::Metrics;
use proxy_support::program::{Program, write};
use proxy_support::{Client, Upstream, file, get, ok, wait_for};
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// A metric of a program; none where it is absent.
fn metric(program: &Program, line: &str) -> Option<f64> {
    Metrics::of(program.admin).line(line)
}

/// How many calls of the policy `p` counted as `outcome`.
fn outcomes(program: &Program, outcome: &str) -> f64 {
    let labels = [("policy", "p"), ("outcome", outcome)];
    Metrics::of(program.admin).sum("bimetal_outcomes_total", &labels)
}

/// Puts a file in place at once, as an editor or Kubernetes does: nobody sees a part of it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[test]
fn no_call_is_lost_and_no_breaker_forgets_while_settings_change_under_load() {
    const ROUNDS: usize = 12;
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.send(&if head.starts_with("get /broken") {
                "HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_owned()
            } else {
                ok("fine")
            });
        }
    });
    // `broken` is the same in both; what is around it changes: a policy, an upstream, a route.
    let broken = "{name: broken, match: {path: /broken}, scope: policy, \
                  breaker: {trip: {consecutive_failures: 3}, open: {base: 60s, jitter: 0}}}";
    let with = |trip: usize, pool: usize| {
        let other = format!(
            "{{name: p, scope: policy, timeout: {{request: 10s}}, \
             breaker: {{trip: {{consecutive_failures: {trip}}}}}}}"
        );
        file(upstream.address, &format!("policies: [{broken}, {other}]"))
            .replace("workers: 1", "workers: 2")
            .replace("endpoints:", &format!("pool: {{max_connections: {pool}}}, endpoints:"))
    };
    let (one, other) = (with(3, 64), with(5, 32));
    let path = write("under-load.yaml", &one);
    let program = Program::start(&path, &[]);
    // An admission shows that it is open to both workers: it is shared.
    wait_for("an open breaker", || {
        let answer = Client::connect(program.listen).ask(&get("/broken"));
        answer.header("x-bimetal-rule").map(drop)
    });
    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(program.listen);
                while !over.load(Ordering::SeqCst) {
                    let answer = client.ask(&get("/x"));
                    assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
                    let post = "POST /y HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nbody";
                    assert_eq!(client.ask(post).status, 200);
                    sent.fetch_add(2, Ordering::SeqCst);
                }
            });
        }
        // A client that fails ends its thread; the others must not run for ever then.
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                let before = sent.load(Ordering::SeqCst);
                match round % 3 {
                    0 => replace(&path, &other),
                    1 => replace(&path, "policies: [{}]"),
                    _ => replace(&path, &one),
                }
                // Every other change is noticed by itself.
                if round % 2 == 0 {
                    program.signal("HUP");
                }
                program.log_with(match round % 3 {
                    1 => "is wrong and is not used",
                    _ => "is in force",
                });
                wait_for("calls", || (sent.load(Ordering::SeqCst) >= before + 40).then_some(()));
            }
        }));
        over.store(true, Ordering::SeqCst);
        changed.unwrap();
    });
    let answer = Client::connect(program.listen).ask(&get("/broken"));
    assert_eq!(answer.header("x-bimetal-rule"), Some("broken/breaker"), "{}", answer.head);
    // The file may also be noticed beside its signal: then the same is in force twice.
    let applied = metric(&program, "bimetal_reloads_total{result=\"applied\"}").unwrap();
    let refused = metric(&program, "bimetal_reloads_total{result=\"refused\"}").unwrap();
    assert!(applied >= 8.0 && refused >= 4.0, "{applied} applied, {refused} refused");
    wait_for("settlement", || {
        (metric(&program, "bimetal_calls_outstanding")? == 0.0).then_some(())
    });
    // All calls of `p` but those of `broken`, whose rows have another name.
    assert!(outcomes(&program, "success") >= 40.0 * ROUNDS as f64);
    for outcome in ["failure", "neutral", "slow"] {
        assert_eq!(outcomes(&program, outcome), 0.0, "{outcome}");
    }
}

/// What each connection of a drain's test does.
fn upstream(go: mpsc::Receiver<()>) -> Upstream {
    let go = std::sync::Mutex::new(go);
    Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /stream") {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
                go.lock().unwrap().recv().unwrap();
                peer.send("3\r\ndef\r\n0\r\n\r\n");
            } else {
                peer.send(&ok("fine"));
            }
        }
    })
}

#[test]
fn a_drain_ends_what_is_idle_and_finishes_streams_and_uploads() {
    let (go, wait) = mpsc::channel();
    let upstream = upstream(wait);
    let path = write("long.yaml", &file(upstream.address, ""));
    let mut program = Program::start(&path, &[]);
    let connect = || Client::connect(program.listen);
    let (mut fresh, mut kept, mut stream, mut upload) =
        (connect(), connect(), connect(), connect());
    assert_eq!(kept.ask(&get("/")).text(), "fine");
    stream.peer.send(&get("/stream"));
    stream.peer.head().unwrap();
    assert_eq!(stream.peer.line(), "3\r\n");
    upload.peer.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhello");
    wait_for("the upload", || (metric(&program, "bimetal_connections")? == 4.0).then_some(()));
    program.signal("TERM");
    program.log_with("draining");
    // Nothing is under way on these.
    fresh.peer.closed();
    kept.peer.closed();
    // These are not hurried.
    assert!(is_open(&mut stream) && is_open(&mut upload));
    upload.peer.send("world");
    let answer = upload.answer().unwrap();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("fine", Some("close")));
    upload.peer.closed();
    go.send(()).unwrap();
    let rest: String = (0..5).map(|_| stream.peer.line()).collect();
    assert_eq!(rest, "abc\r\n3\r\ndef\r\n0\r\n\r\n".to_owned());
    stream.peer.closed();
    assert_eq!(program.exit_code(), Some(0));
}

#[test]
fn whoever_waits_to_be_let_in_when_a_drain_begins_is_answered() {
    let upstream = Upstream::answering(ok("fine"));
    let text = file(upstream.address, "").replacen("0'}]", "0', max_connections: 1}]", 1);
    let mut program = Program::start(&write("queued.yaml", &text), &[]);
    let mut first = Client::connect(program.listen);
    assert_eq!(first.ask(&get("/")).text(), "fine");
    // The kernel has let them in, the proxy has not.
    let mut queued = [Client::connect(program.listen), Client::connect(program.listen)];
    for client in &mut queued {
        client.peer.send(&get("/"));
    }
    program.signal("TERM");
    for client in &mut queued {
        let answer = client.answer().expect("an answer");
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("fine", Some("close")));
    }
    assert_eq!(program.exit_code(), Some(0));
}

/// Whether a connection is still there, as far as the kernel has told by now.
fn is_open(client: &mut Client) -> bool {
    let stream = &mut client.peer.stream;
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0; 1]);
    stream.set_nonblocking(false).unwrap();
    match seen {
        Ok(size) => size > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn a_stream_is_cut_off_by_a_second_signal() {
    let (_go, wait) = mpsc::channel();
    let upstream = upstream(wait);
    let path = write("cut.yaml", &file(upstream.address, ""));
    let mut program = Program::start(&path, &[]);
    let mut stream = Client::connect(program.listen);
    stream.peer.send(&get("/stream"));
    stream.peer.head().unwrap();
    program.signal("TERM");
    program.log_with("draining");
    assert!(is_open(&mut stream));
    program.signal("INT");
    assert_eq!(program.exit_code(), Some(1));
    let mut rest = Vec::new();
    match stream.peer.stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "it is still open"),
    }
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it seems whole");
}
