//! The inference server, run as a process and judged by the bytes a client gets. Nothing here
//! judges a time: slots and queues are seen in the counts that the server tells.

#[allow(dead_code, reason = "its client is used here, its server is not")]
mod echo_support;

use echo_support::{TEST_DEADLINE, exchange, request, wait_for};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

const FLOWER: &str = r#"{"data":[[5.1,3.5,1.4,0.2]]}"#;

/// A running server; killed when dropped.
struct Model {
    child: Child,
    listen: SocketAddr,
    /// What it said before it listened.
    said: String,
}

impl Model {
    fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
            .args(["model", "--listen", "127.0.0.1:0", "--print-ports"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let listen = BufReader::new(child.stderr.take().unwrap()).lines().find_map(|line| {
            let line = line.unwrap();
            let ports = serde_json::from_str::<Value>(&line).ok();
            said.push_str(&line);
            ports?["listen"].as_str()?.parse().ok()
        });
        let listen = listen.unwrap_or_else(|| panic!("it ended after {said:?}"));
        Self { child, listen, said }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> echo_support::Seen {
        exchange(self.listen, &request(method, path, "", body))
    }

    /// Asks about a flower and does not wait for the answer.
    fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(self.listen).unwrap();
        stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
        stream.write_all(request("POST", "/predict", "", FLOWER).as_bytes()).unwrap();
        stream
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> Option<f64> {
        let page = self.ask("GET", "/metrics", "").body();
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    fn wait_for_metric(&self, name: &str, wanted: f64) {
        wait_for(&format!("{name} {wanted}"), || (self.metric(name) == Some(wanted)).then_some(()));
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status_on(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn names_the_species_of_a_flower() {
    let model = Model::start(&["--work", "1ms"]);
    assert!(model.said.contains("learnt from 120 flowers; of 30 others"), "{}", model.said);
    for (measures, species, place) in [
        ("5.1,3.5,1.4,0.2", "setosa", 0),
        ("5.7,2.8,4.1,1.3", "versicolor", 1),
        ("6.5,3.0,5.8,2.2", "virginica", 2),
    ] {
        let seen = model.ask("POST", "/predict", &format!(r#"{{"data":[[{measures}]]}}"#));
        assert_eq!(seen.status(), 200, "{seen:?}");
        assert!(seen.has_header("content-type: application/json"));
        let answer = seen.json();
        assert_eq!(answer["label"], species);
        let fields: Vec<_> = answer.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["label", "prediction"]);
        let shares: Vec<f64> = serde_json::from_value(answer["prediction"].clone()).unwrap();
        assert_eq!(shares.len(), 3);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9 && shares[place] > 0.5);
    }
    let accuracy = model.metric("bimetal_model_accuracy").unwrap();
    assert!((0.9..=1.0).contains(&accuracy), "{accuracy}");
    assert_eq!(model.metric("bimetal_model_done_total"), Some(3.0));
    assert_eq!(model.metric(r#"bimetal_model_answers_total{status="200"}"#), Some(3.0));
}

#[test]
fn what_is_wrong_is_said_and_costs_no_slot() {
    let model = Model::start(&[]);
    let post = |body: &str| model.ask("POST", "/predict", body);
    let faults = post(r#"{"data":[[5.1,"x",1.4,-1]]}"#);
    assert_eq!(faults.status(), 422);
    assert_eq!(
        faults.json()["errors"],
        json!(["data[0][1]: is a text, not a number", "data[0][3]: -1 is outside 0-100"])
    );
    assert_eq!(post("{").status(), 400);
    assert!(post("").json()["error"].as_str().unwrap().contains("the body must be"));
    let long = format!(r#"{{"data":[[5.1,3.5,1.4,0.2]],"x":"{}"}}"#, "x".repeat(70_000));
    // A client that still sends when the answer comes may see a reset in its place.
    let refused = exchange(model.listen, &request("POST", "/predict", "", &long));
    assert!(refused.bytes.is_empty() || refused.status() == 413, "{refused:?}");
    wait_for("the long body's refusal", || {
        model.metric(r#"bimetal_model_answers_total{status="413"}"#)
    });

    assert_eq!(model.ask("GET", "/predict", "").status(), 405);
    assert!(model.ask("GET", "/predict", "").has_header("allow: POST"));
    assert_eq!(model.ask("POST", "/healthz", "").status(), 405);
    assert_eq!(model.ask("GET", "/healthz", "").json(), json!({"status": "ok"}));
    assert_eq!(model.ask("POST", "/other", "").json(), json!({"error": "endpoint not found"}));
    assert_eq!(model.ask("POST", "/other", "").status(), 404);
    assert_eq!(model.metric("bimetal_model_done_total"), Some(0.0));
}

#[test]
fn serves_so_many_at_once_keeps_so_many_waiting_and_stays_alive() {
    // Longer than the test: nothing is done while it looks.
    let model = Model::start(&["--slots", "2", "--queue", "3", "--work", "60s"]);
    let _calls: Vec<TcpStream> = (0..5).map(|_| model.begin()).collect();
    model.wait_for_metric("bimetal_model_busy", 2.0);
    model.wait_for_metric("bimetal_model_waiting", 3.0);
    let full = model.ask("POST", "/predict", FLOWER);
    assert_eq!(full.status(), 503);
    assert_eq!(full.json(), json!({"error": "the queue is full: 3 calls wait"}));
    assert_eq!(model.ask("GET", "/healthz", "").status(), 200);
    assert_eq!(model.metric("bimetal_model_busy_max"), Some(2.0));
    assert_eq!(model.metric("bimetal_model_done_total"), Some(0.0));
}

#[test]
fn all_that_wait_are_answered() {
    let model = Model::start(&["--slots", "2", "--work", "1ms"]);
    let mut calls: Vec<TcpStream> = (0..50).map(|_| model.begin()).collect();
    for call in &mut calls {
        assert_eq!(status_on(call), "200");
    }
    assert_eq!(model.metric("bimetal_model_done_total"), Some(50.0));
    assert_eq!(model.metric("bimetal_model_wasted_total"), Some(0.0));
    assert!(model.metric("bimetal_model_busy_max").is_some_and(|most| most <= 2.0));
}

#[test]
fn work_for_clients_that_left_is_done_and_counted() {
    let model = Model::start(&["--slots", "1", "--work", "50ms"]);
    // On a slow machine a client may still be there when its work is done: then another one leaves.
    wait_for("wasted work", || {
        drop(model.begin());
        (model.metric("bimetal_model_wasted_total")? > 0.0).then_some(())
    });
    wait_for("the work of all", || {
        (model.metric("bimetal_model_busy")? + model.metric("bimetal_model_waiting")? == 0.0)
            .then_some(())
    });
    let (done, wasted) = ("bimetal_model_done_total", "bimetal_model_wasted_total");
    assert!(model.metric(done) >= model.metric(wasted));
}

#[test]
fn sigterm_answers_what_is_under_way_and_a_second_one_does_not_wait() {
    let ending = |flags: &[&str]| {
        let model = Model::start(flags);
        let call = model.begin();
        // On a slow machine it may be done before anybody looks.
        wait_for("the call's arrival", || {
            let seen = |name| model.metric(name) == Some(1.0);
            (seen("bimetal_model_busy") || seen("bimetal_model_done_total")).then_some(())
        });
        model.signal("TERM");
        wait_for("a closed port", || TcpStream::connect(model.listen).is_err().then_some(()));
        (model, call)
    };
    let (mut model, mut call) = ending(&["--work", "1s"]);
    assert_eq!(status_on(&mut call), "200");
    let status = wait_for("the end", || model.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));

    let (mut model, _call) = ending(&["--work", "60s"]);
    model.signal("TERM");
    let status = wait_for("the end", || model.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn wrong_flags_are_refused_with_exit_code_2() {
    for flags in [
        ["--work", "61s"],
        ["--work", "20"],
        ["--slots", "0"],
        ["--listen", "nowhere"],
        ["--queue", "-1"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal"));
        let output = command.arg("model").args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal"));
    let help = command.args(["model", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("0.0.0.0:8000") && help.contains("curl -d"), "{help}");
    assert_eq!(help.matches("bimetal model").count(), 3, "{help}");
}
