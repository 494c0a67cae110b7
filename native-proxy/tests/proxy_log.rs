//! The log of a running proxy: its forms, what hostile clients can do to it, and that it holds
//! nobody up.

mod proxy_support;

use proxy_support::program::{Program, command, write};
use proxy_support::{Client, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Stdio};
use std::time::{Duration, Instant};

const DEBUG_JSON: [&str; 4] = ["--log", "debug", "--log-format", "json"];

/// Lines up to the one with `text`.
fn lines_to(program: &Program, text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = program.log.recv_timeout(TEST_DEADLINE);
        lines.push(line.unwrap_or_else(|_| panic!("no {text:?} in {lines:#?}")));
        if lines.last().is_some_and(|line| line.contains(text)) {
            return lines;
        }
    }
}

#[test]
fn as_json_every_line_is_an_object_and_each_request_is_one() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            match head.split(' ').nth(1).unwrap() {
                "/reset" => return peer.reset(),
                _ => peer.send(&ok("fine")),
            }
        }
    });
    let rest = "policies: [{name: q, match: {path: /q}, mode: forced_open}, \
                {name: p, match: {path_prefix: /p}, scope: policy, \
                breaker: {trip: {consecutive_failures: 100}}}]";
    let path = write("log-json.yaml", &file(upstream.address, rest));
    let mut command = command(&path);
    // `Program` reads the addresses from lines of text.
    let program = Program::spawn_json(command.args(DEBUG_JSON));
    let long = format!("/p/{}?secret=1", "x".repeat(5_000));
    for request in [
        get("/p/a?secret=1"),
        get("/q"),
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(),
        get("/reset"),
        get("/p/\"\\{\"event\":\"decision\"}"),
        get(&long).replace("GET", &"M".repeat(100)),
    ] {
        Client::connect(program.listen).ask(&request);
    }
    let lines = lines_to(&program, "MMM");
    let mut ended: Vec<Value> = Vec::new();
    for line in &lines {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let value = value.as_object().expect("an object").clone();
        if value.contains_key("event") {
            // The core's own form.
            assert!(line.starts_with("{\"event\":\"") && !line.contains("level"), "{line}");
            continue;
        }
        // Nobody finds an event where there is none.
        assert!(!line.contains("{\"event\":"), "{line}");
        assert!(value["time"].is_string() && value["message"].is_string(), "{line}");
        if value.contains_key("end") {
            ended.push(value.into());
        }
    }
    let wanted = [
        json!({"method": "GET", "path": "/p/a", "status": 200, "by": "upstream", "end": "answered",
            "route": "*/", "policy": "p", "decision": "admitted", "upstream": "echo", "attempts": 1}),
        json!({"method": "GET", "path": "/q", "status": 503, "by": "proxy", "end": "answered",
            "route": "*/", "policy": "q", "decision": "rejected", "rule": "breaker",
            "upstream": "echo", "attempts": 0}),
        json!({"status": 400, "by": "proxy", "end": "refused", "refused": "malformed",
            "decision": "none", "attempts": 0}),
        json!({"method": "GET", "path": "/reset", "status": 503, "by": "proxy", "end": "answered",
            "route": "*/", "decision": "none", "upstream": "echo", "attempts": 1,
            "failure": "reset"}),
        json!({"method": "GET", "path": "/p/\"\\{\"event\":\"decision\"}", "status": 200,
            "by": "upstream", "end": "answered", "route": "*/", "policy": "p",
            "decision": "admitted", "upstream": "echo", "attempts": 1}),
        json!({"method": "M".repeat(32), "path": long[..256], "status": 200, "by": "upstream",
            "end": "answered", "route": "*/", "policy": "p", "decision": "admitted",
            "upstream": "echo", "attempts": 1}),
    ];
    for one in &mut ended {
        let one = one.as_object_mut().unwrap();
        assert_eq!(one.remove("level"), Some("debug".into()));
        let took = one.remove("duration_s").and_then(|took| took.as_f64()).unwrap();
        assert!(took > 0.0 && took < 20.0, "{took}");
        one.remove("time");
        one.remove("message");
    }
    assert_eq!(ended, wanted);
}

#[test]
fn as_text_each_request_is_a_line_that_people_can_read() {
    let upstream = Upstream::answering(ok("fine"));
    let path = write("log-text.yaml", &file(upstream.address, &policy("")));
    let program = Program::start(&path, &["--log", "debug"]);
    Client::connect(program.listen).ask(&get("/a?b"));
    let line = lines_to(&program, "GET ").pop().unwrap();
    let (begin, rest) = line.split_once(" in ").unwrap();
    assert_eq!(begin, "debug: GET \"/a\": 200 by upstream");
    let (_, rest) = rest.split_once(", ").unwrap();
    assert_eq!(rest, "answered, route */, policy p, admitted, 1 attempt");
    Client::connect(program.listen).ask("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n");
    let line = lines_to(&program, "request: ").pop().unwrap();
    assert!(line.starts_with("debug: request: 400 by proxy in "), "{line}");
    assert!(line.ends_with(", refused (more than one Host)"), "{line}");
}

#[test]
fn at_info_no_request_has_a_line() {
    let upstream = Upstream::answering(ok("fine"));
    let path = write("log-info.yaml", &file(upstream.address, &policy("")));
    let mut program = Program::start(&path, &[]);
    assert_eq!(program.status(program.listen, "/"), 200);
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(0));
    let rest: Vec<String> = program.log.iter().collect();
    assert_eq!(rest, ["info: draining for at most 30s", "info: worker 0 drained"]);
}

#[test]
fn an_error_at_the_start_is_json_where_lines_are() {
    let path = write("log-wrong.yaml", "worker: 2\npolicies: [{}]\n");
    let output = command(&path).args(["--log-format", "json"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]));
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 2, "{text}");
    for line in &lines {
        assert_eq!(line["level"], "error", "{text}");
    }
    let has =
        |text: &str| lines.iter().any(|line| line["message"].as_str().unwrap().contains(text));
    assert!(has("worker: ") && has("policies[0]"), "{text}");
}

#[test]
fn the_help_shows_the_format_with_an_example() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .args(["proxy", "--help"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("--log-format <FORMAT>"), "{text}");
    let example = "\n  bimetal proxy --config proxy.yaml --log-format json 2> proxy.log\n";
    assert!(text.contains(example), "{text}");
}

/// A proxy whose log the test reads itself, or not.
fn unread(name: &str, upstream: SocketAddr) -> (Child, BufReader<ChildStderr>, SocketAddr) {
    let path = write(name, &file(upstream, &policy("")));
    let mut command = command(&path);
    command.args(["--log", "debug"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut listen) = (String::new(), None);
    while !line.starts_with("info: admin on ") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        if let Some(address) = line.strip_prefix("info: listening on ") {
            listen = Some(address.trim().parse().unwrap());
        }
    }
    (child, log, listen.expect("an address"))
}

/// Ends it as its operator would; it must have served to the end and said nothing on stdout.
fn ends_well(mut child: Child) {
    let kill = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let status = wait_for("its end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "");
}

#[test]
fn a_log_that_nobody_reads_holds_nobody_up_and_tells_what_was_lost() {
    let upstream = Upstream::answering(ok("fine"));
    let (child, log, listen) = unread("log-full.yaml", upstream.address);
    let mut client = Client::connect(listen);
    // Three lines each, of about 300 bytes together: many times what a pipe holds.
    for _ in 0..1_500 {
        assert_eq!(client.ask(&get("/")).status, 200);
    }
    let lines = std::thread::spawn(move || log.lines().map(Result::unwrap).collect::<Vec<_>>());
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(client.ask(&get("/")).status, 200);
    drop(client);
    ends_well(child);
    let lines = lines.join().unwrap();
    let is_whole = |line: &String| {
        line.starts_with("debug: ")
            || line.starts_with("info: ")
            || line.starts_with("warning: ")
            || line.starts_with('{') && line.ends_with('}')
    };
    assert_eq!(lines.iter().find(|line| !is_whole(line)), None);
    let lost = |line: &String| {
        let count = line.strip_prefix("warning: ")?.strip_suffix(" lines of the log were lost")?;
        count.parse::<usize>().ok()
    };
    let told: usize = lines.iter().filter_map(lost).sum();
    let notices = lines.iter().filter_map(lost).count();
    assert!(notices > 0, "nothing was lost");
    let written = lines.len() - notices;
    // 1,501 requests with three lines each, and the two of its end.
    assert_eq!(written + told, 3 * 1_501 + 2);
}

#[test]
fn a_closed_log_stops_nobody() {
    let upstream = Upstream::answering(ok("fine"));
    let (child, log, listen) = unread("log-closed.yaml", upstream.address);
    drop(log);
    let mut client = Client::connect(listen);
    for _ in 0..10 {
        assert_eq!(client.ask(&get("/")).status, 200);
    }
    drop(client);
    ends_well(child);
}

#[test]
fn a_trip_is_logged_once_with_its_scopes_name_however_many_workers_follow() {
    const WORKERS: usize = 3;
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    let rest = "policies: [{name: p, scope: 'header:x-tenant', \
                breaker: {trip: {consecutive_failures: 3}, open: {base: 60s}}}]";
    let text = file(upstream.address, rest).replace("workers: 1", &format!("workers: {WORKERS}"));
    let program = Program::start(&write("log-trip.yaml", &text), &[]);
    let tenant = format!("a\"\\ \u{9b}31m\u{2028}{}", "x".repeat(1_000));
    let request = format!("GET / HTTP/1.1\r\nhost: t\r\nx-tenant: {tenant}\r\n\r\n");
    // The kernel spreads connections: until every worker has the breaker, and has it open.
    let mut clients = Vec::new();
    wait_for("an open breaker at each worker", || {
        clients.push(Client::connect(program.listen));
        for client in &mut clients {
            client.ask(&request);
        }
        let rows = Client::connect(program.admin).ask(&get("/breakers"));
        let rows: Vec<Value> = serde_json::from_slice(&rows.body).unwrap();
        let open = rows.iter().filter(|row| row["state"] == "open");
        let workers: BTreeSet<_> = open.map(|row| row["worker"].as_u64().unwrap()).collect();
        (workers.len() == WORKERS).then_some(())
    });
    // A worker that would tell of it later does so by its next tick.
    std::thread::sleep(Duration::from_millis(300));
    let lines: Vec<String> = program.log.try_iter().collect();
    let [line] = lines.as_slice() else {
        panic!("{lines:#?}");
    };
    let line = line.strip_prefix("info: breaker p, scope ").unwrap();
    let (scope, rest) = line.split_once(": closed to open for ").unwrap();
    // What follows the beginning of a long key is its hash.
    assert!(scope.starts_with(r#"a\"\\ \xc2\x9b31m\xe2\x80\xa8xxx"#), "{scope}");
    assert!(scope.len() <= 4 * 128 && scope.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    assert!(rest.ends_with(" after 3 consecutive failures"), "{rest}");
}

#[test]
fn failures_are_logged_once_a_second_however_many_workers_see_them() {
    let nowhere = proxy_support::nowhere();
    let text = file(nowhere, "").replace("workers: 1", "workers: 3");
    let mut command = command(&write("log-flood.yaml", &text));
    let program = Program::spawn_json(command.args(["--log-format", "json"]));
    let begun = Instant::now();
    const CALLS: u64 = 60;
    for _ in 0..CALLS {
        assert_eq!(Client::connect(program.listen).ask(&get("/")).status, 503);
    }
    let (mut told, mut lines) = (0, 0_u64);
    while told < CALLS {
        let line = program.log.recv_timeout(TEST_DEADLINE).expect("what was held back is told");
        let line: Value = serde_json::from_str(&line).unwrap();
        let named = (&line["level"], &line["upstream"], &line["reason"]);
        assert_eq!(named, (&"warning".into(), &"echo".into(), &"connect".into()), "{line}");
        if lines == 0 {
            let text = line["message"].as_str().unwrap();
            let wanted = format!("upstream echo: connect: {nowhere}: Connection refused (os error");
            assert!(text.starts_with(&wanted), "{text}");
        }
        told += line["failures"].as_u64().unwrap();
        lines += 1;
    }
    assert_eq!(told, CALLS);
    let seconds = begun.elapsed().as_secs();
    assert!(lines >= 2 && lines <= seconds + 1, "{lines} lines in {seconds} s");
}
