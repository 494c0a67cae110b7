//! The echo server, run as a process and judged by the bytes a client gets.

mod echo_support;

use echo_support::{Echo, Ended, exchange, read_all, request, wait_for};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const ADMIN: [&str; 2] = ["--admin", "127.0.0.1:0"];

#[test]
fn echoes_and_says_what_is_wrong() {
    let echo = Echo::start(&ADMIN);
    let good = echo.post("");
    assert_eq!(good.status(), 200);
    assert!(good.has_header("content-type: application/json"), "{good:?}");
    assert_eq!(good.json()["message"], "Echo: hi");
    let seconds = good.json()["timestamp"].as_u64().expect("whole seconds");
    assert!(seconds > 1_600_000_000, "{seconds}");

    let ask = |method, path, body| exchange(echo.listen, &request(method, path, "", body));
    assert_eq!(ask("POST", "/echo", "{}").json()["message"], "Echo: ");
    assert_eq!(ask("POST", "/echo", "{").status(), 400);
    assert_eq!(ask("POST", "/echo", r#"{"message":null}"#).status(), 400);
    assert_eq!(ask("POST", "/echo", r#"{"message":7}"#).status(), 400);
    assert!(ask("POST", "/echo", "").json()["error"].is_string());
    assert_eq!(ask("POST", "/other", "{}").json(), json!({"error": "endpoint not found"}));
    assert_eq!(ask("POST", "/other", "{}").status(), 404);
    assert_eq!(ask("GET", "/healthz", "").json(), json!({"status": "ok"}));
    let wrong_method = ask("GET", "/echo", "");
    assert_eq!(wrong_method.status(), 405);
    assert!(wrong_method.has_header("allow: POST, OPTIONS"), "{wrong_method:?}");
    // With a listener of its own, the admin API is not served here.
    assert_eq!(ask("GET", "/faults", "").status(), 404);
}

#[test]
fn large_messages_come_back_whole() {
    let echo = Echo::start(&ADMIN);
    let message = "é\n".repeat(500_000);
    let body = json!({ "message": message }).to_string();
    let seen = exchange(echo.listen, &request("POST", "/echo", "", &body));
    let echoed = seen.json();
    // Not `assert_eq`: nobody reads a million letters.
    assert!(
        echoed["message"].as_str().and_then(|text| text.strip_prefix("Echo: ")) == Some(&message)
    );
}

#[test]
fn requests_ask_for_their_own_faults() {
    let echo = Echo::start(&ADMIN);
    let failed = echo.post("x-fault-status: 500\r\nx-fault-retry-after-s: 7\r\n");
    assert_eq!(failed.status(), 500);
    assert!(failed.json()["error"].is_string() && failed.has_header("retry-after: 7"));

    let grpc = echo.post("x-fault-grpc-status: 14\r\n");
    assert_eq!(grpc.status(), 200);
    assert!(
        grpc.has_header("grpc-status: 14") && grpc.has_header("content-type: application/grpc")
    );

    let aborted = echo.post("x-fault-abort: true\r\n");
    assert_eq!((aborted.bytes.len(), aborted.ended), (0, Ended::Reset));
    let late = echo.post("x-fault-reset: after_headers\r\n");
    assert_eq!((late.status(), late.body().as_str(), late.ended), (200, "", Ended::Reset));
    let cut = echo.post("x-fault-truncate-after: 5\r\n");
    assert_eq!((cut.body().as_str(), cut.ended), (r#"{"mes"#, Ended::Closed));
    let promised = format!("content-length: {}", echo.post("").body().len());
    assert!(cut.text().contains(&promised), "{cut:?}");

    let large = echo.post("x-fault-body-bytes: 200000\r\nx-fault-body-delay-ms: 1\r\n");
    assert_eq!((large.status(), large.body().len()), (200, 200_000));

    let wrong = echo.post("x-fault-status: soon\r\n");
    assert_eq!(wrong.status(), 400);
    assert!(wrong.json()["error"].as_str().unwrap().starts_with("x-fault-status: "));
}

#[test]
fn a_delay_is_waited_out() {
    let echo = Echo::start(&ADMIN);
    let start = Instant::now();
    assert_eq!(echo.post("x-fault-delay-ms: 120\r\n").status(), 200);
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[test]
fn the_plan_decides_and_a_wrong_one_changes_nothing() {
    let echo = Echo::start(&ADMIN);
    echo.plan(r#"[{"status":503,"count":2}]"#);
    assert_eq!([0; 3].map(|_| echo.post("").status()), [503, 503, 200]);

    echo.plan(r#"[{"status":503}]"#);
    let wrong = echo.admin("PUT", "/faults", r#"{"plan":[{"status":5},{"shar":1}]}"#);
    assert_eq!(wrong.status(), 400);
    let errors = wrong.json()["errors"].clone();
    assert_eq!(errors[0], "plan[0].status: 5 is not a whole number in 200–599");
    assert_eq!(errors[1], r#"plan[1].shar: unknown field; did you mean "share"?"#);
    assert_eq!(echo.admin("PUT", "/faults", "{").status(), 400);
    assert_eq!(echo.post("").status(), 503);
    assert_eq!(echo.admin("GET", "/faults", "").json()["plan"], json!([{"status": 503}]));

    assert_eq!(echo.admin("DELETE", "/faults", "").json()["plan"], json!([]));
    assert_eq!(echo.post("").status(), 200);
}

#[test]
fn flags_make_a_plan() {
    let echo = Echo::start(&["--fault", "count=1,status=500", "--fault", "status=404"]);
    assert_eq!([echo.post("").status(), echo.post("").status()], [500, 404]);
    // Without a listener of its own, the admin API is beside.
    assert_eq!(echo.admin, echo.listen);
    assert_eq!(echo.admin("DELETE", "/faults", "").status(), 200);
    assert_eq!(echo.post("").status(), 200);
}

#[test]
fn refuse_closes_the_port_and_opens_it_again() {
    let echo = Echo::start(&["--admin", "127.0.0.1:0", "--workers", "3"]);
    let mut idle = TcpStream::connect(echo.listen).unwrap();
    let ask = request("POST", "/echo", "", r#"{"message":"a"}"#).replace("close", "keep-alive");
    idle.write_all(ask.as_bytes()).unwrap();
    assert!(idle.read(&mut [0; 1024]).unwrap() > 0);

    echo.plan(r#"[{"refuse":true}]"#);
    // In force when the answer to the PUT is here: no waiting.
    for _ in 0..20 {
        assert_eq!(echo.post("").ended, Ended::Refused);
    }
    assert_eq!(read_all(&mut idle).ended, Ended::Closed, "idle connections end too");
    echo.plan("[]");
    assert_eq!(echo.post("").status(), 200);

    echo.plan(r#"[{"refuse":true,"to_s":0.2}]"#);
    assert_eq!(echo.post("").ended, Ended::Refused);
    wait_for("the port to open", || (echo.post("").ended != Ended::Refused).then_some(()));
    assert_eq!(echo.post("").status(), 200);
}

#[test]
fn held_requests_wait_for_their_release() {
    let echo = Echo::start(&ADMIN);
    let mut held = TcpStream::connect(echo.listen).unwrap();
    let ask = request("POST", "/echo", "x-fault-hold: gate\r\n", r#"{"message":"a"}"#);
    held.write_all(ask.as_bytes()).unwrap();
    let release = || {
        let seen = echo.admin("POST", "/release/gate", "");
        (seen.json()["released"] == 1).then_some(())
    };
    wait_for("the request to be held", release);
    assert_eq!(read_all(&mut held).status(), 200);
    assert_eq!(echo.admin("POST", "/release/gate", "").json()["released"], 0);
}

#[test]
fn tells_what_it_received_and_how_it_ended() {
    let echo = Echo::start(&ADMIN);
    echo.post("x-step: 1\r\n");
    echo.post("x-step: 2\r\nx-fault-abort: 1\r\n");
    let mut leaving = TcpStream::connect(echo.listen).unwrap();
    let ask = request("POST", "/echo", "x-step: 3\r\nx-fault-hold: x\r\n", r#"{"message":"a"}"#);
    leaving.write_all(ask.as_bytes()).unwrap();
    wait_for("the request", || (echo.received()["count"] == 3).then_some(()));
    drop(leaving);
    let received = wait_for("the client's leaving to be seen", || {
        let received = echo.received();
        (received["requests"][2]["end"] == "aborted").then_some(received)
    });
    let step = |at: usize| {
        (&received["requests"][at]["headers"]["x-step"], &received["requests"][at]["end"])
    };
    assert_eq!(step(0), (&json!("1"), &json!("answered")));
    assert_eq!(step(1), (&json!("2"), &json!("broken")));
    assert_eq!(received["requests"][0]["method"], "POST");
    assert_eq!(received["requests"][0]["body_bytes"], 16);

    echo.admin("DELETE", "/received", "");
    assert_eq!(echo.received(), json!({"count": 0, "requests": []}));
}

#[test]
fn ends_cleanly_on_a_signal_and_at_once_on_the_second() {
    let echo = Echo::start(&ADMIN);
    let mut idle = TcpStream::connect(echo.listen).unwrap();
    assert_eq!(echo.end_by("TERM").code(), Some(0));
    assert_eq!(read_all(&mut idle).ended, Ended::Closed);

    let echo = Echo::start(&ADMIN);
    let mut slow = TcpStream::connect(echo.listen).unwrap();
    let ask = request("POST", "/echo", "x-fault-delay-ms: 60000\r\n", r#"{"message":"a"}"#);
    slow.write_all(ask.as_bytes()).unwrap();
    wait_for("the request", || (echo.received()["count"] == 1).then_some(()));
    echo.signal("TERM");
    wait_for("the port to close", || (echo.post("").ended == Ended::Refused).then_some(()));
    assert_eq!(echo.end_by("TERM").code(), Some(1));
}

#[test]
fn wrong_starts_are_refused() {
    let run = |flags: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_bimetal")).arg("echo").args(flags).output();
        let out = out.unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, text) = run(&["--fault", "status=1,shar=2"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("plan[0].status: 1 is not") && text.contains("plan[0].shar: "), "{text}");

    let echo = Echo::start(&ADMIN);
    let (code, text) = run(&["--listen", &echo.listen.to_string()]);
    assert_eq!(code, Some(1));
    assert!(text.contains("is in use"), "{text}");
    assert_eq!(run(&["--listen", "nowhere"]).0, Some(2));
}

#[test]
fn the_ready_file_holds_the_real_ports() {
    let file = std::env::temp_dir().join(format!("bimetal-ready-{}", std::process::id()));
    let echo = Echo::start(&["--ready-file", file.to_str().unwrap()]);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let ports: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(ports["listen"], echo.listen.to_string());
}
