//! The echo server's own traces.

use crate::lines::tree;
use crate::proxy_support::Client;
use crate::traced::{EchoServer, post};

fn request(body: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_message_is_parsed_processed_and_answered() {
    let echo = EchoServer::start(&["--traces", "otlp_stdout"]);
    let mut client = Client::connect(echo.listen);
    let answer = client.ask(&request(r#"{"message":"héé"}"#));
    let trace = echo.lines.next();
    let attribute = |name: &str, key: &str| trace.span(name).attribute(key).to_owned();
    assert_eq!(attribute("parse_request_server", "message.length"), "3");
    assert_eq!(attribute("process_message_server", "message.logged"), "true");
    let size = answer.body.len().to_string();
    assert_eq!(attribute("construct_response_server", "response.size"), size);
    let total = attribute("echo_request_server", "total.duration");
    assert!(total.parse::<f64>().unwrap() > 0.0);
    // A message that is not there is an empty one.
    assert!(client.ask(&request("{}")).text().starts_with(r#"{"message":"Echo: ","#));
    assert_eq!(echo.lines.next().span("parse_request_server").attribute("message.length"), "0");
}

#[test]
fn faults_and_other_requests_have_their_traces_too() {
    let echo = EchoServer::start(&["--traces", "otlp_stdout"]);
    let ask = |request: &str| {
        let mut client = Client::connect(echo.listen);
        client.peer.send(request);
        client.answer().map(|answer| answer.status)
    };
    assert_eq!(ask(&post("/echo", "x-fault-status: 500\r\n")), Some(500));
    let failed = "POST /echo (server) !\n  echo_request_server (internal) ! 500\n    \
                  construct_response_server (internal)\n";
    assert_eq!(tree(&[&echo.lines.next()]), failed);
    assert_eq!(ask(&post("/other", "")), Some(404));
    assert_eq!(tree(&[&echo.lines.next()]), "POST /other (server)\n");
    assert_eq!(ask(&post("/echo", "x-fault-abort: true\r\n")), None);
    let broken = "POST /echo (server)\n  echo_request_server (internal) ! broken\n";
    assert_eq!(tree(&[&echo.lines.next()]), broken);
    assert_eq!(ask(&request("{")), Some(400));
    let wrong = "POST /echo (server)\n  echo_request_server (internal) ! 400\n    \
                 construct_response_server (internal)\n";
    assert_eq!(tree(&[&echo.lines.next()]), wrong);
    // Neither its health nor its admin API is anybody's call.
    for request in
        ["GET /healthz HTTP/1.1\r\nhost: t\r\n\r\n", "GET /faults HTTP/1.1\r\nhost: t\r\n\r\n"]
    {
        assert_eq!(ask(request), Some(200));
    }
    assert_eq!(ask(&post("/other", "")), Some(404));
    assert_eq!(tree(&[&echo.lines.next()]), "POST /other (server)\n");
}
