//! Why tries fail: each reason has its name in the metrics and its cause in the log.

mod proxy_support;

use proxy_support::metrics::Metrics;
use proxy_support::program::{Program, command, write};
use proxy_support::{Client, TEST_DEADLINE, Upstream, file, get, ok, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};

const NAME: &str = "bimetal_upstream_failures_total";
const REASONS: [&str; 9] = [
    "overflow",
    "exhausted",
    "connect",
    "timeout",
    "reset",
    "closed",
    "not_http",
    "broke_off",
    "stalled",
];

/// Every failure that is counted, by `upstream reason`.
fn failures(program: &Program) -> BTreeMap<String, f64> {
    let metrics = Metrics::of(program.admin);
    let mut found = BTreeMap::new();
    for upstream in ["echo", "nowhere", "narrow"] {
        for reason in REASONS {
            // What did not happen is 0 and not absent.
            let count = metrics.sum(NAME, &[("upstream", upstream), ("reason", reason)]);
            found.insert(format!("{upstream} {reason}"), count);
        }
    }
    found.retain(|_, count| *count > 0.0);
    found
}

#[test]
fn each_reason_is_counted_and_told_with_its_cause() {
    let (arrived, arrivals) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let good = "HTTP/1.1 200 OK\r\n";
            match head.split(' ').nth(1).unwrap() {
                "/reset" => return peer.reset(),
                "/closed" => return,
                "/twice" => {
                    peer.send(&format!("{good}content-length: 1\r\ncontent-length: 2\r\n\r\nab"))
                }
                "/chunk" => {
                    peer.send(&format!("{good}transfer-encoding: chunked\r\n\r\n3\r\nabcX"));
                }
                "/short" => return peer.send(&format!("{good}content-length: 9\r\n\r\nshort")),
                "/stalled" => {
                    peer.send(&format!("{good}content-length: 9\r\n\r\nshort"));
                    return peer.closed();
                }
                "/hang" => return peer.closed(),
                "/narrow" => {
                    arrived.send(()).unwrap();
                    wait.lock().unwrap().recv().unwrap();
                    peer.send(&ok("done"));
                }
                _ => peer.send(&ok("fine")),
            }
        }
    });
    let nowhere = proxy_support::nowhere();
    let address = upstream.address;
    let rest = "policies: [{name: p, match: {path: /hang}, scope: policy, \
                timeout: {request: 200ms}, breaker: {trip: {consecutive_failures: 100}}}]";
    let text = file(address, rest)
        .replace(
            &format!("{{echo: {{endpoints: ['{address}']}}}}"),
            &format!(
                "{{echo: {{endpoints: ['{address}'], idle: 200ms}}, \
                 nowhere: {{endpoints: ['{nowhere}']}}, \
                 narrow: {{endpoints: ['{address}'], pool: {{max_connections: 1, max_pending: 0}}}}}}"
            ),
        )
        .replace(
            "[{upstream: echo}]",
            "[{path: /nowhere, upstream: nowhere}, {path: /narrow, upstream: narrow}, \
             {path: /short, upstream: narrow}, \
             {upstream: echo}]",
        );
    let mut command = command(&write("reasons.yaml", &text));
    let program = Program::spawn_json(command.args(["--log-format", "json"]));
    assert_eq!(failures(&program), BTreeMap::new());

    let mut expected = BTreeMap::new();
    for (path, upstream, reason, detail) in [
        ("/nowhere", "nowhere", "connect", format!("{nowhere}: Connection refused (os error 111)")),
        ("/reset", "echo", "reset", "Connection reset by peer (os error 104)".into()),
        ("/closed", "echo", "closed", "connection closed before message completed".into()),
        ("/twice", "echo", "not_http", "more than one Content-Length".into()),
        ("/short", "narrow", "broke_off", "end of file before message length reached".into()),
        // Within the body the rule is told as well: it is a body that broke off.
        ("/chunk", "echo", "broke_off", "a chunk ends without CR LF".into()),
        ("/stalled", "echo", "stalled", "no byte for too long".into()),
        ("/hang", "echo", "timeout", "no headers in time".into()),
    ] {
        let mut client = Client::connect(program.listen);
        client.peer.send(&get(path).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n"));
        client.peer.closed();
        expected.insert(format!("{upstream} {reason}"), 1.0);
        wait_for(path, || (failures(&program) == expected).then_some(()));
        let line = program.log.recv_timeout(TEST_DEADLINE).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        let wanted = format!("upstream {upstream}: {reason}: {detail}");
        assert_eq!(line["message"], wanted.as_str(), "{path}");
        let fields = (&line["upstream"], &line["reason"], &line["detail"], &line["failures"]);
        let wanted = (&upstream.into(), &reason.into(), &detail.as_str().into(), &1.into());
        assert_eq!(fields, wanted, "{path}");
    }

    // The only connection is in use, and nobody may wait for it.
    let mut first = Client::connect(program.listen);
    first.peer.send(&get("/narrow"));
    arrivals.recv_timeout(TEST_DEADLINE).unwrap();
    assert_eq!(Client::connect(program.listen).ask(&get("/narrow")).status, 503);
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().text(), "done");
    expected.insert("narrow overflow".into(), 1.0);
    assert_eq!(failures(&program), expected);
    let line = program.log.recv_timeout(TEST_DEADLINE).unwrap();
    let told = "upstream narrow: overflow: connections and queue are at their limits";
    assert!(line.contains(told), "{line}");

    // What a client does, and what an upstream answers well or badly, is no failed try.
    let before = failures(&program);
    let mut client = Client::connect(program.listen);
    client.peer.send("POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nwhat?\r\n");
    assert_eq!(client.answer().unwrap().status, 400);
    assert_eq!(Client::connect(program.listen).ask(&get("/fine")).status, 200);
    assert_eq!(failures(&program), before);
}
