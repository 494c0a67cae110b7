//! The command line: what it answers, where, and with what exit code.

use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Runs `bimetal` with `args` and `input` on standard input.
fn run(args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A directory of its own for one test; removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bimetal-cli-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const POLICY: &str = r#"
policies:
  - name: reads
    match: {path_prefix: /echo, methods: [GET]}
    breaker: {trip: {consecutive_failures: 5}}
  - name: gold
    match: {path_prefix: /echo, headers: {x-tenant: gold}}
    scope: "header:x-tenant"
    timeout: {request: 3s}
    breaker: {trip: {consecutive_failures: 3}, open: {base: 7s}}
    fallback: {when: [rejected], status: 429}
"#;

const PROXY: &str = r#"
listeners: [{address: "127.0.0.1:0"}]
upstreams: {echo: {endpoints: ["127.0.0.1:5001"]}}
routes: [{path_prefix: /echo, upstream: echo}]
policies: [{name: all, breaker: {trip: {consecutive_failures: 3}}}]
"#;

#[test]
fn every_command_has_help_with_an_example() {
    for command in ["proxy", "echo", "check", "schema", "explain"] {
        let (code, out, _) = run(&[command, "--help"], b"");
        assert_eq!(code, 0, "{command}");
        assert!(out.contains("Example") && out.contains(&format!("bimetal {command}")), "{out}");
    }
    assert_eq!(run(&["no-such-command"], b"").0, 2);
    assert_eq!(run(&[], b"").0, 2);
}

#[test]
fn a_good_document_is_named() {
    let folder = Folder::new("good");
    let file = folder.file("policy.yaml", POLICY.as_bytes());
    for host in ["native", "wasm"] {
        let (code, out, err) = run(&["check", &file, "--host", host], b"");
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(
            out.ends_with(&format!("good policy document for {host}, 2 policies: reads, gold\n"))
        );
    }
    let (code, out, _) = run(&["check", "-", "--json"], POLICY.as_bytes());
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["valid"], &report["policies"][1]), (0, &true.into(), &"gold".into()));
}

#[test]
fn every_problem_is_a_line_and_the_code_is_two() {
    let wrong =
        POLICY.replace("consecutive_failures: 5", "consecutive_failures: 0").replace("7s", "7");
    let (code, out, err) = run(&["check", "-"], wrong.as_bytes());
    assert_eq!((code, out.as_str()), (2, ""));
    let lines: Vec<_> = err.lines().collect();
    assert_eq!(lines.len(), 2, "{err}");
    assert!(lines[0].starts_with("-: policies[0].breaker.trip.consecutive_failures: 0 is outside"));
    assert!(lines[1].starts_with("-: policies[1].breaker.open.base: 7 has no unit"));

    let (code, out, _) = run(&["check", "-", "--json"], wrong.as_bytes());
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["valid"]), (2, &false.into()));
    assert_eq!(report["problems"][1]["path"], "policies[1].breaker.open.base");
}

#[test]
fn json_reads_like_yaml() {
    let json =
        br#"{"policies": [{"name": "a",	"breaker": {"trip": {"consecutive_failures": 3}}}]}"#;
    assert_eq!(run(&["check", "-"], json).0, 0);
    let folder = Folder::new("json");
    let (code, _, err) = run(&["check", &folder.file("a.json", b"policies: []")], b"");
    assert!(code == 2 && err.contains("not readable as JSON"), "{err}");
}

#[test]
fn what_a_host_cannot_do_is_refused_or_named() {
    let later = "policies: [{name: a, match: {direction: inbound}}]";
    let (code, _, err) = run(&["check", "-"], later.as_bytes());
    assert!(code == 2 && err.contains("policies[0].match.direction: "), "{err}");
    let skip = format!("unsupported: skip\n{later}");
    let (code, out, _) = run(&["check", "-"], skip.as_bytes());
    assert!(code == 0 && out.contains("\nskipped: policies[0].match.direction"), "{out}");
}

#[test]
fn a_proxy_file_is_checked_as_one() {
    assert!(run(&["check", "-"], PROXY.as_bytes()).1.contains("good proxy file for native"));
    // The filter would see the policies alone.
    assert!(run(&["check", "-", "--host", "wasm"], PROXY.as_bytes()).1.contains("for wasm"));
    let wrong = PROXY.replace("upstream: echo", "upstream: ech");
    let (code, _, err) = run(&["check", "-"], wrong.as_bytes());
    assert!(code == 2 && err.starts_with("-: routes[0].upstream: "), "{err}");
}

#[test]
fn unusable_files_say_what_to_do() {
    let folder = Folder::new("unusable");
    let missing = folder.0.join("missing").to_str().unwrap().to_owned();
    let cases = [
        (missing.clone(), "no such file"),
        (folder.0.to_str().unwrap().to_owned(), "is a directory"),
        (folder.file("latin1.yaml", b"name: caf\xe9"), "byte 9 is not UTF-8"),
        (folder.file("open.yaml", b"a: ["), "not readable as YAML: line 1"),
        (folder.file("long.yaml", &vec![b'#'; (4 << 20) + 1]), "longer than 4 MiB"),
    ];
    for (file, expected) in &cases {
        for args in [&["check", file][..], &["explain", "--policy", file, "POST", "/echo"]] {
            let (code, out, err) = run(args, b"");
            assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
            assert!(
                err.contains(expected) && err.contains(file) && err.lines().count() == 1,
                "{err}"
            );
        }
    }
    let (code, out, _) = run(&["check", &missing, "--json"], b"");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 2 && report["valid"] == false && report["error"].is_string());
    assert_eq!(run(&["proxy", "--config", &missing], b"").0, 2);
}

#[test]
fn the_schema_is_json_and_a_reader_may_leave() {
    let (code, out, _) = run(&["schema"], b"");
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert!(code == 0 && schema["properties"]["policies"].is_object());

    let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before the first byte: more is written than a pipe holds, or the pipe is gone.
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn explain_says_which_policy_and_why_not_the_others() {
    let ask = |args: &[&str]| {
        let args = [&["explain", "--policy", "-", "--json"], args].concat();
        let (code, out, err) = run(&args, POLICY.as_bytes());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    let gold = ask(&["POST", "http://echo.demo/echo?x=1", "X-Tenant: gold"]);
    assert_eq!((&gold["decision"], &gold["policy"]), (&"admit".into(), &"gold".into()));
    assert_eq!(gold["scope"]["key"], "gold");
    assert_eq!(gold["plan"]["request_timeout_ms"], 3000);
    assert_eq!(gold["considered"][0]["why"], "is not for it: the method is not GET");
    assert!(
        gold["when_open"].as_str().unwrap().starts_with("status 429, x-bimetal-rule: gold/breaker")
    );

    let none = ask(&["POST", "/echo"]);
    assert_eq!((&none["decision"], &none["policy"]), (&"pass".into(), &Value::Null));
    assert_eq!(none["considered"][1]["why"], "is not for it: the header x-tenant is not gold");
    let elsewhere = ask(&["GET", "/echoes"]);
    let why = "is not for it: the path is not /echo or below it";
    assert_eq!(elsewhere["considered"][0]["why"], why);

    let forced = POLICY.replace("name: reads", "name: reads\n    mode: forced_open");
    let (_, text, _) = run(&["explain", "--policy", "-", "GET", "/echo"], forced.as_bytes());
    assert!(text.starts_with("GET /echo on native: reject, forced open by the policy\n"), "{text}");

    assert_eq!(run(&["explain", "--policy", "-", "GET", "echo"], POLICY.as_bytes()).0, 2);
    assert_eq!(run(&["explain", "--policy", "-", "GET", "/", "x"], POLICY.as_bytes()).0, 2);
}

#[test]
fn explain_follows_a_proxy_files_routes() {
    let (code, out, _) =
        run(&["explain", "--policy", "-", "--json", "POST", "/echo"], PROXY.as_bytes());
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &told["scope"]["by"], &told["scope"]["key"]),
        (0, &"destination".into(), &"echo".into())
    );
}

#[test]
fn explain_and_check_know_a_path_in_every_spelling() {
    let ask = |host: &str, path: &str| {
        let args = ["explain", "--policy", "-", "--json", "--host", host, "POST", path];
        let (code, out, err) = run(&args, PROXY.as_bytes());
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<Value>(&out).unwrap()
    };
    for path in ["/echo", "//echo", "/x/../echo", "/%65cho?x", "/x//../echo"] {
        let told = ask("wasm", path);
        assert_eq!(told["request"], format!("POST {path}"), "as it was asked");
        let plain = ask("wasm", "/echo");
        assert_eq!(told["considered"], plain["considered"], "{path}");
        assert_eq!(told["policy"], plain["policy"], "{path}");
    }
    // The proxy follows its routes by what goes upstream, and refuses some.
    assert_eq!(ask("native", "/x/%2e%2e/echo")["scope"]["key"], "echo");
    let refused = ask("native", "/echo/..%2Fadmin");
    assert_eq!((&refused["decision"], &refused["policy"]), (&"refuse".into(), &Value::Null));
    let why = refused["why"].as_str().unwrap();
    assert!(why.starts_with("the proxy answers 400: the path hides a dot segment"), "{why}");
    assert_ne!(ask("wasm", "/echo/..%2Fadmin")["decision"], "refuse");
}
