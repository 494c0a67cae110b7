//! The load-analytics service, run as a process. Nothing here judges a time.

#[allow(dead_code, reason = "its client is used here, its server is not")]
#[path = "../echo_support/mod.rs"]
mod echo_support;
#[path = "../redis_support/mod.rs"]
mod redis;
mod replicas;
mod service;

use echo_support::{exchange, wait_for};
use serde_json::json;
use service::{Kept, Service, batch};
use std::net::TcpStream;
use std::process::Command;

#[test]
fn samples_in_statistics_out() {
    let service = Service::start(&[]);
    let empty = service.analyze();
    for (field, wanted) in [("count", 0.0), ("window", 0.0), ("mean_rps", 0.0), ("z_score", 0.0)] {
        assert_eq!(empty[field].as_f64(), Some(wanted), "{field}");
    }
    // By hand: 1, 2, 3, 4, 10 has mean 4 and deviation √12.5. They come in no order of time.
    let one = r#"{"timestamp":"1970-01-01T00:00:05Z","cpu":20,"rps":10}"#;
    let answer = service.ingest(one);
    assert_eq!((answer.status(), answer.json()), (202, json!({"accepted": 1})));
    let answer = service.ingest(&batch(1, [1.0, 2.0, 3.0, 4.0]));
    assert_eq!((answer.status(), answer.json()), (202, json!({"accepted": 4})));
    let told = service.analyze();
    let figure = |name: &str| told[name].as_f64().unwrap();
    assert_eq!((figure("count"), figure("window"), figure("mean_rps")), (5.0, 5.0, 4.0));
    assert!((figure("stddev_rps") - 12.5_f64.sqrt()).abs() < 1e-9);
    assert!((figure("z_score") - 6.0 / 12.5_f64.sqrt()).abs() < 1e-9);
    assert_eq!((figure("mean_cpu"), figure("anomaly_count")), (44.0, 0.0));
    assert_eq!(told["latest"].as_array().unwrap().len(), 5);
    assert_eq!(told["latest"][0]["timestamp"], 5.0);
    assert_eq!(
        (&told["latest"][0]["cpu"], &told["latest"][0]["rps"]),
        (&json!(20.0), &json!(10.0))
    );
    assert_eq!(told["store"], json!({"kind": "memory"}));
}

#[test]
fn a_window_of_fifty_and_peaks_beyond_two_deviations() {
    let service = Service::start(&[]);
    let quiet = (0..100).map(|number| 100.0 + f64::from(number % 2));
    assert_eq!(service.ingest(&batch(1000, quiet)).status(), 202);
    assert_eq!(service.ingest(&batch(1100, [500.0, 100.0])).status(), 202);
    let told = service.analyze();
    assert_eq!((&told["count"], &told["window"]), (&json!(102), &json!(50)));
    assert_eq!(told["anomaly_count"], 1);
    assert_eq!(service.metric("anomalies_total"), Some(1.0));
    // A clock that went backwards: counted, but it changes nothing of the latest.
    assert_eq!(service.ingest(&batch(1, [9e9])).status(), 202);
    let later = service.analyze();
    assert_eq!((&later["count"], &later["anomaly_count"]), (&json!(103), &json!(1)));
    assert_eq!((&later["mean_rps"], &later["latest"]), (&told["mean_rps"], &told["latest"]));
    assert_eq!(later["replica"]["too_old"], 1);
}

#[test]
fn a_named_sample_counts_once() {
    let service = Service::start(&[]);
    let named = r#"{"timestamp":7,"cpu":1,"rps":1,"id":"web-1/7"}"#;
    for _ in 0..3 {
        assert_eq!(service.ingest(named).json(), json!({"accepted": 1}));
    }
    let told = service.analyze();
    assert_eq!((&told["count"], &told["replica"]["duplicates"]), (&json!(1), &json!(2)));
}

#[test]
fn what_is_wrong_is_said_and_nothing_of_it_is_taken() {
    let service = Service::start(&[]);
    let good = r#"{"timestamp":1,"cpu":1,"rps":1}"#;
    let answer = service.ingest(&format!(r#"[{good},{{"timestamp":-1,"cpu":"x","rps":2}}]"#));
    assert_eq!(answer.status(), 422);
    let wanted = json!(["[1].timestamp: -1 is before 1970", "[1].cpu: is a text, not a number"]);
    assert_eq!(answer.json()["errors"], wanted);
    for body in ["", "{", r#"{"timestamp":1,"cpu":1,"rps":NaN}"#, "[1e999]"] {
        let answer = service.ingest(body);
        assert_eq!(answer.status(), 400, "{body}");
        assert!(answer.json()["error"].as_str().unwrap().contains("the body must be"));
    }
    let ahead = r#"{"timestamp":"2999-01-01T00:00:00Z","cpu":1,"rps":1}"#;
    assert_eq!(service.ingest(ahead).status(), 422);
    let many = format!("[{}]", vec!["0"; 25_001].join(","));
    let answer = service.ingest(&many);
    assert_eq!(answer.status(), 413);
    assert!(answer.json()["error"].as_str().unwrap().contains("25001 samples"));
    // The head is enough: nothing of the body is waited for.
    let head =
        "POST /ingest HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4194305\r\n\r\n";
    assert_eq!(exchange(service.listen, head).status(), 413);
    let mut chunked = Kept::open(service.listen).unwrap();
    chunked
        .send("POST /ingest HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n400001\r\n")
        .unwrap();
    // The service may have answered and closed before all of it is written.
    let _ = chunked.send(&" ".repeat(0x40_0001));
    if let Ok((status, _)) = chunked.answer() {
        assert_eq!(status, 413);
    }
    let refused = r#"http_requests_total{method="POST",path="/ingest",status="413"}"#;
    wait_for("the third refusal", || (service.metric(refused) == Some(3.0)).then_some(()));

    assert_eq!(service.ask("GET", "/ingest", "").status(), 405);
    assert!(service.ask("GET", "/ingest", "").has_header("allow: POST"));
    assert_eq!(service.ask("POST", "/analyze", "").status(), 405);
    assert_eq!(service.ask("GET", "/healthz", "").json(), json!({"status": "ok"}));
    assert_eq!(service.ask("GET", "/readyz", "").status(), 200);
    assert_eq!(service.ask("GET", "/other", "").json(), json!({"error": "endpoint not found"}));
    assert_eq!(service.analyze()["count"], 0);
}

#[test]
fn requests_are_counted_by_names_that_clients_cannot_choose() {
    let service = Service::start(&[]);
    service.ingest(&batch(1, [1.0]));
    service.ask("GET", "/one\"thing", "");
    service.ask("BREW", "/other", "");
    for (line, wanted) in [
        (r#"http_requests_total{method="POST",path="/ingest",status="202"}"#, 1.0),
        (r#"http_requests_total{method="GET",path="other",status="404"}"#, 1.0),
        (r#"http_requests_total{method="other",path="other",status="404"}"#, 1.0),
        (r#"http_request_duration_seconds_count{path="/ingest"}"#, 1.0),
        (r#"http_request_duration_seconds_bucket{path="/ingest",le="+Inf"}"#, 1.0),
        ("anomalies_total", 0.0),
    ] {
        assert_eq!(service.metric(line), Some(wanted), "{line}");
    }
    let sum = service.metric(r#"http_request_duration_seconds_sum{path="/ingest"}"#).unwrap();
    assert!(sum > 0.0);
}

#[test]
fn twenty_thousand_samples_in_batches_are_all_counted() {
    let service = Service::start(&[]);
    const BATCHES: u64 = 10;
    const EACH: u64 = 500;
    let senders: Vec<_> = (0..5_u64)
        .map(|sender| {
            let address = service.listen;
            std::thread::spawn(move || {
                let mut connection = Kept::open(address).unwrap();
                for number in 0..BATCHES {
                    let first = 1 + (sender * BATCHES + number) * EACH;
                    let body = batch(first, (0..EACH).map(|place| (place % 7) as f64));
                    let (status, answer) = connection.ingest(&body).unwrap();
                    assert_eq!((status, &*answer), (202, r#"{"accepted":500}"#));
                }
            })
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    let told = service.analyze();
    assert_eq!(told["count"], 25_000);
    assert_eq!(told["replica"]["accepted"], 25_000);
    assert_eq!(told["latest"][0]["timestamp"], 25_000.0);
}

#[test]
fn sigterm_answers_what_is_under_way_and_ends_in_peace() {
    let mut service = Service::start(&[]);
    let mut begun = Kept::open(service.listen).unwrap();
    let body = batch(1, [1.0, 2.0]);
    let head = format!("POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n", body.len());
    // The service asks for the body: the request is under way.
    begun.send(&format!("{head}expect: 100-continue\r\n\r\n")).unwrap();
    assert_eq!(begun.answer().unwrap().0, 100);
    service.signal("TERM");
    wait_for("a closed port", || TcpStream::connect(service.listen).is_err().then_some(()));
    begun.send(&body).unwrap();
    assert_eq!(begun.answer().unwrap(), (202, r#"{"accepted":2}"#.to_owned()));
    assert_eq!(service.end().code(), Some(0));
}

#[test]
fn a_second_sigterm_does_not_wait() {
    let mut service = Service::start(&[]);
    let mut begun = Kept::open(service.listen).unwrap();
    let head =
        "POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    begun.send(head).unwrap();
    assert_eq!(begun.answer().unwrap().0, 100);
    service.signal("TERM");
    wait_for("a closed port", || TcpStream::connect(service.listen).is_err().then_some(()));
    service.signal("TERM");
    assert_eq!(service.end().code(), Some(1));
}

#[test]
fn bodies_that_do_not_come_hold_memory_for_so_many_and_no_more() {
    let service = Service::start(&[]);
    let head = "POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: 4194304\r\nexpect: 100-continue\r\n\r\n";
    let mut held: Vec<Kept> = (0..16)
        .map(|_| {
            let mut one = Kept::open(service.listen).unwrap();
            one.send(head).unwrap();
            assert_eq!(one.answer().unwrap().0, 100);
            one
        })
        .collect();
    let refused = service.ingest(&batch(1, [1.0]));
    assert_eq!(refused.status(), 503);
    assert!(refused.has_header("retry-after: 1"));
    assert_eq!(service.ask("GET", "/healthz", "").status(), 200);
    // One leaves, and there is room.
    held.pop();
    wait_for("room", || (service.ingest(&batch(1, [1.0])).status() == 202).then_some(()));
}

#[test]
fn flags_variables_and_help() {
    let bimetal = || Command::new(env!("CARGO_BIN_EXE_bimetal"));
    for flags in [["--listen", "nowhere"], ["--queue", "0"], ["--queue", "many"]] {
        let output = bimetal().arg("analytics").args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let wrong = bimetal().arg("analytics").env("BIMETAL_ANALYTICS_LISTEN", "nowhere").output();
    assert_eq!(wrong.unwrap().status.code(), Some(2));
    let help = bimetal().args(["analytics", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("0.0.0.0:8080") && help.contains("curl -d"), "{help}");
    assert!(help.contains("BIMETAL_ANALYTICS_LISTEN"), "{help}");
    let service = Service::start(&[]);
    let taken =
        bimetal().args(["analytics", "--listen", &service.listen.to_string()]).output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("is in use"));
}

#[test]
fn a_profile_is_taken_one_at_a_time() {
    let service = Service::start(&[]);
    for wrong in ["0", "61", "x", "-1", ""] {
        let answer = service.ask("GET", &format!("/debug/pprof/profile?seconds={wrong}"), "");
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    // The first one takes long enough for the second to come meanwhile, or to be the first itself.
    let profile = || service.ask("GET", "/debug/pprof/profile?seconds=2", "");
    let answers = std::thread::scope(|scope| {
        let both = [scope.spawn(profile), scope.spawn(profile)];
        both.map(|one| one.join().unwrap())
    });
    let mut statuses = answers.each_ref().map(echo_support::Seen::status);
    statuses.sort_unstable();
    assert!(statuses == [200, 503] || statuses == [200, 200], "{statuses:?}");
    let good = answers.iter().find(|answer| answer.status() == 200).unwrap();
    assert!(good.has_header("content-type: application/octet-stream"));
    // Field 1, wire type 2: the kinds of values come first.
    let head = good.bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    assert_eq!(good.bytes[head + 4], 0x0a);
    assert!(service.metric("process_resident_memory_bytes").unwrap() > 1e6);
    assert!(service.metric("process_heap_resident_bytes").unwrap() > 1e5);
}
