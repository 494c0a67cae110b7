//! `bimetal top --once`, as people and scripts run it.

mod proxy_support;

use proxy_support::{Running, Upstream, get, nowhere, policy};
use serde_json::Value;
use std::process::{Command, Output, Stdio};

fn top(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bimetal"));
    command.arg("top").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_seen_now_is_printed_once() {
    let upstream = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let proxy =
        Running::start(upstream.address, &policy("timeout: {request: 3s}, concurrency: {max: 8}"));
    for _ in 0..4 {
        proxy.ask(&get("/"));
    }
    let admin = proxy.admin.to_string();
    let output = top(&["--admin", &admin, "--once"]);
    let seen = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(seen.starts_with(&format!("{admin}: 1 open, 0 half-open, 0 closed\n")), "{seen}");
    for wanted in [
        "STATE ",
        "3 consecutive failures",
        "ADMITTED/S",
        "LIMIT ",
        "CALLER ",
        "127.0.0.1",
        "closed to open for 60 s",
    ] {
        assert!(seen.contains(wanted), "{wanted}:\n{seen}");
    }
    assert!(!seen.contains('\u{1b}'), "no colours in a pipe");
    let output = top(&["--admin", &format!("http://{admin}/"), "--once", "--policy", "other"]);
    assert!(!text(&output.stdout).contains("3 consecutive"), "{}", text(&output.stdout));
    let output = top(&["--admin", &admin, "--once", "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["tables"]["breakers"][0]["state"], "open");
    assert_eq!(object["history"][0]["cause"], "consecutive_failures");
}

#[test]
fn what_is_no_proxy_is_told_with_exit_code_1() {
    let nowhere = nowhere().to_string();
    let server = Upstream::answering("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n");
    for admin in
        [nowhere, server.address.to_string(), "no-such-host.invalid:1".into(), "nonsense".into()]
    {
        let output = top(&["--admin", &admin, "--once"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{admin}: {said}");
        assert!(
            said.starts_with(&format!("bimetal: {admin}: ")) && said.lines().count() == 1,
            "{said}"
        );
    }
    // Without a terminal there is nothing to draw on.
    let upstream = Upstream::answering(proxy_support::ok("fine"));
    let proxy = Running::start(upstream.address, "");
    let output = top(&["--admin", &proxy.admin.to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--once"), "{}", text(&output.stderr));
    assert_eq!(top(&["--json"]).status.code(), Some(2));
    assert!(text(&top(&["--help"]).stdout).contains("bimetal top --once"));
}
