//! The program `bimetal proxy`: its start, its signals, its files and its end.

mod proxy_support;

use proxy_support::metrics::Metrics;
use proxy_support::program::{Program, command, write};
use proxy_support::{Client, Upstream, file, get, ok, policy, wait_for};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc;
use std::time::Duration;

/// Runs a program that is to end by itself.
fn fails(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(stdout, b"");
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_wrong_file_names_every_mistake() {
    let path = write(
        "wrong.yaml",
        "listeners: [{address: here}]\nworker: 2\nadmin: {address: '127.0.0.1:9000'}\n\
         upstreams: {echo: {endpoints: ['echo'], tls: {}}}\n\
         routes: [{path: /a, path_prefix: /b, upstream: eco}]\n\
         policies: [{name: p, breaker: {trip: {consecutive_failures: 0}}}]\n",
    );
    let (code, text) = fails(&mut command(&path));
    assert_eq!(code, 2, "{text}");
    for wanted in [
        "listeners[0].address: \"here\"",
        "worker: ",
        "upstreams.echo.endpoints[0]: \"echo\"",
        "routes[0]",
        "routes[0].upstream: \"eco\" is no upstream; known are \"echo\"",
        "upstreams.echo.tls: not supported yet by host native",
        "policies[0].breaker.trip.consecutive_failures: 0",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in:\n{text}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_wrong_input() {
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing.yaml");
    for path in [missing, PathBuf::from(env!("CARGO_TARGET_TMPDIR")), write("bad.yaml", "a: [")] {
        let (code, text) = fails(&mut command(&path));
        assert_eq!(code, 2, "{text}");
        assert!(text.contains(&format!("bimetal: {}: ", path.display())), "{text}");
    }
}

#[test]
fn what_is_unsupported_is_skipped_where_the_file_says_so() {
    let upstream = Upstream::answering(ok("fine"));
    let rest = "unsupported: skip\n\
                policies: [{name: p, match: {direction: outbound}, breaker: {profile: origin-study, share: mesh}}]";
    let path = write("skip.yaml", &file(upstream.address, rest));
    let program = Program::spawn(&mut command(&path));
    let page = Client::connect(program.admin).ask(&get("/policies"));
    let page: serde_json::Value = serde_json::from_slice(&page.body).unwrap();
    let skipped = page["skipped"].as_array().unwrap();
    assert_eq!(skipped.len(), 2, "{page}");
    assert_eq!(page["policies"][0]["name"], "p");
    assert_eq!(page["policies"][0]["hash"].as_str().unwrap().len(), 16);
    let metrics = Client::connect(program.health).ask(&get("/metrics")).text();
    assert!(metrics.contains("\nbimetal_unsupported_skipped 2\n"), "{metrics}");
}

#[test]
fn a_port_in_use_is_said_plainly() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = file(address, "");
    for (name, key) in
        [("listener", "listeners: [{"), ("admin", "admin: {"), ("health", "health: {")]
    {
        let from = format!("{key}address: '127.0.0.1:0'");
        let path = write(
            &format!("{name}.yaml"),
            &text.replace(&from, &format!("{key}address: '{address}'")),
        );
        let (code, text) = fails(&mut command(&path));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(&format!("{name}: {address} is in use")), "{text}");
    }
}

/// A port that nobody asked for stops nobody: two files that say nothing of it run side by side. It takes the
/// defaults' own ports, or finds them taken already; both ways the second proxy has others.
#[test]
fn a_default_port_in_use_is_another_one() {
    let upstream = Upstream::answering(ok("fine"));
    let _taken = ["127.0.0.1:9000", "0.0.0.0:9001"].map(TcpListener::bind);
    let text = file(upstream.address, "")
        .replace("admin: {address: '127.0.0.1:0'}\n", "")
        .replace("health: {address: '127.0.0.1:0'}\n", "");
    assert!(!text.contains("admin") && !text.contains("health"), "{text}");
    let mut program = command(&write("defaults.yaml", &text));
    let program = Program::spawn(&mut program);
    for own in [program.admin, program.health] {
        assert!(own.ip().is_loopback() && ![9000, 9001].contains(&own.port()), "{own}");
    }
    assert_eq!(program.status(program.listen, "/"), 200);
    assert_eq!(program.status(program.health, "/livez"), 200);
}

#[test]
fn two_proxies_do_not_share_a_port() {
    let upstream = Upstream::answering(ok("fine"));
    let first = Program::start(&write("first.yaml", &file(upstream.address, "")), &[]);
    let text = file(upstream.address, "").replace(
        "listeners: [{address: '127.0.0.1:0'",
        &format!("listeners: [{{address: '{}'", first.listen),
    );
    let (code, text) = fails(&mut command(&write("second.yaml", &text)));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("is in use"), "{text}");
    assert_eq!(first.status(first.listen, "/"), 200);
}

#[test]
fn a_drain_finishes_what_is_under_way() {
    let (go, wait) = mpsc::channel::<()>();
    let (arrived, arrivals) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            arrived.send(()).unwrap();
            wait.lock().unwrap().recv().unwrap();
            peer.send(&ok("late"));
        }
    });
    let mut program = Program::start(&write("drain.yaml", &file(upstream.address, "")), &[]);
    assert_eq!(program.status(program.health, "/readyz"), 200);
    let mut idle = Client::connect(program.listen);
    let mut busy = Client::connect(program.listen);
    busy.peer.send(&get("/"));
    arrivals.recv_timeout(proxy_support::TEST_DEADLINE).unwrap();
    program.signal("TERM");
    program.log_with("draining");
    idle.peer.closed();
    wait_for("an unready probe", || {
        (program.status(program.health, "/readyz") == 503).then_some(())
    });
    assert_eq!(program.status(program.health, "/livez"), 200);
    go.send(()).unwrap();
    let answer = busy.answer().unwrap();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("late", Some("close")));
    assert_eq!(program.exit_code(), Some(0));
    let mut stdout = String::new();
    program.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "");
}

#[test]
fn a_second_signal_ends_at_once() {
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        arrived.send(()).unwrap();
        peer.closed();
    });
    let mut program = Program::start(&write("twice.yaml", &file(upstream.address, "")), &[]);
    let mut busy = Client::connect(program.listen);
    busy.peer.send(&get("/"));
    arrivals.recv_timeout(proxy_support::TEST_DEADLINE).unwrap();
    program.signal("TERM");
    program.log_with("draining");
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(1));
}

#[test]
fn a_reload_keeps_breakers_and_a_wrong_one_changes_nothing() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    let text = file(upstream.address, &policy(""));
    let path = write("reload.yaml", &text);
    let program = Program::start(&path, &[]);
    let mut client = Client::connect(program.listen);
    for _ in 0..3 {
        assert_eq!(client.ask(&get("/")).status, 500);
    }
    program.log_with("closed to open");
    let rejected = |client: &mut Client| {
        let answer = client.ask(&get("/"));
        answer.header("x-bimetal-rule").map(str::to_owned)
    };
    assert_eq!(rejected(&mut client).as_deref(), Some("p/breaker"));

    write("reload.yaml", "policies: [{}]");
    program.signal("HUP");
    program.log_with("is wrong and is not used");
    assert_eq!(rejected(&mut client).as_deref(), Some("p/breaker"));

    // The same breaker, and a route less. The file is noticed without a signal.
    write("reload.yaml", &text.replace("{upstream: echo}", "{path_prefix: /a, upstream: echo}"));
    program.log_with("is in force");
    wait_for("the new route", || (client.ask(&get("/b")).status == 404).then_some(()));
    let answer = client.ask(&get("/a/x"));
    assert_eq!(answer.header("x-bimetal-rule"), Some("p/breaker"));
    let metrics = Client::connect(program.admin).ask(&get("/metrics")).text();
    assert!(metrics.contains("\nbimetal_reloads_total{result=\"applied\"} 1\n"), "{metrics}");
    // The file may be noticed beside its signal: then it is refused twice.
    let refused = Metrics::of(program.admin).sum("bimetal_reloads_total", &[("result", "refused")]);
    assert!((1.0..=2.0).contains(&refused), "{refused}");

    // Another breaker begins anew.
    write("reload.yaml", &text.replace("consecutive_failures: 3", "consecutive_failures: 4"));
    program.signal("HUP");
    program.log_with("is in force");
    wait_for("the new breaker", || (client.ask(&get("/")).status == 500).then_some(()));
}

#[test]
fn debug_writes_each_event_as_a_line_of_json() {
    let upstream = Upstream::answering(ok("fine"));
    let path = write("debug.yaml", &file(upstream.address, &policy("")));
    let program = Program::start(&path, &["--log", "debug"]);
    assert_eq!(program.status(program.listen, "/"), 200);
    for kind in ["decision", "settled"] {
        let line = wait_for(kind, || {
            let line = program.log.recv_timeout(Duration::from_millis(1)).ok()?;
            line.starts_with('{').then_some(line)
        });
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&event["event"], &event["policy"]), (&kind.into(), &"p".into()), "{line}");
    }
}

#[test]
fn the_admin_interface_shows_breakers_and_the_health_one_does_not() {
    let upstream = Upstream::answering(ok("fine"));
    let path = write("admin.yaml", &file(upstream.address, &policy("")));
    let program = Program::start(&path, &[]);
    assert_eq!(program.status(program.listen, "/"), 200);
    let rows = Client::connect(program.admin).ask(&get("/breakers"));
    let rows: serde_json::Value = serde_json::from_slice(&rows.body).unwrap();
    let row = &rows.as_array().unwrap()[0];
    assert_eq!(
        (&row["policy"], &row["state"], &row["worker"], &row["cause"], &row["generation"]),
        (&"p".into(), &"closed".into(), &0.into(), &serde_json::Value::Null, &0.into()),
        "{rows}"
    );
    for path in ["/livez", "/readyz", "/startupz", "/metrics"] {
        assert_eq!(program.status(program.health, path), 200, "{path}");
    }
    for path in ["/breakers", "/policies", "/"] {
        assert_eq!(program.status(program.health, path), 404, "{path}");
    }
}

#[test]
fn what_a_client_chose_cannot_write_lines_or_colours_into_the_log() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    let rest = "policies: [{name: p, scope: 'header:x-key', \
                breaker: {trip: {consecutive_failures: 2}}}]";
    // What a header may hold, and a terminal may obey: quotes, and control codes beyond ASCII.
    let request = "GET / HTTP/1.1\r\nhost: t\r\nx-key: a\"\\b \u{9b}31m\u{2028}c\u{202e}d\r\n\r\n";
    for flags in [&[][..], &["--log", "debug"]] {
        let program = Program::start(&write("hostile.yaml", &file(upstream.address, rest)), flags);
        let mut client = Client::connect(program.listen);
        for _ in 0..3 {
            client.ask(request);
        }
        let lines = wait_for("the breaker's line", || {
            let lines: Vec<String> = program.log.try_iter().collect();
            lines.iter().any(|line| line.contains("open")).then_some(lines)
        });
        for line in lines {
            let is_plain = |letter: char| !letter.is_control() && letter != '\u{2028}';
            assert!(line.chars().all(is_plain), "{line:?}");
        }
    }
}
