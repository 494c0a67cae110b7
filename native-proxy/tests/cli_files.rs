//! What the commands make of files: `check` refuses what `proxy` would, and says what is odd.

use serde_json::Value;
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs `bimetal` with `args` and `input` on standard input; gives code, output and errors.
fn run(args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn check(input: &str) -> (i32, String, String) {
    run(&["check", "-"], input)
}

/// A file that is removed when the test ends.
struct Written(PathBuf);

impl Written {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bimetal-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = std::fs::remove_file(&self.0);
    }
}

const PROXY: &str = r#"
listeners: [{address: "127.0.0.1:8001"}]
upstreams: {echo: {endpoints: ["127.0.0.1:5001"]}}
routes: [{host: "*.example.com", path_prefix: /echo, upstream: echo}]
policies: [{name: all, breaker: {trip: {consecutive_failures: 3}}}]
"#;

#[test]
fn addresses_that_are_in_each_others_way_are_refused_by_both() {
    for (listeners, more, told) in [
        (
            "[{address: '127.0.0.1:8001'}, {address: '127.0.0.1:8001'}]",
            "",
            "listeners[1].address: 127.0.0.1:8001 is the address of listeners[0] too",
        ),
        (
            "[{address: '127.0.0.1:9000'}]",
            "",
            "admin.address: 127.0.0.1:9000 is the address of listeners[0] too",
        ),
        (
            "[{address: '0.0.0.0:8001'}]",
            "admin: {address: '127.0.0.1:8001'}",
            "admin.address: 127.0.0.1:8001 is within 0.0.0.0:8001, the address of listeners[0], or",
        ),
        (
            "[{address: '127.0.0.1:8001'}]",
            "health: {address: '[::]:8001'}",
            "health.address: [::]:8001 is within 127.0.0.1:8001, the address of listeners[0], or",
        ),
        (
            "[{address: '127.0.0.1:8001'}]",
            "admin: {address: '127.0.0.1:7000'}\nhealth: {address: '127.0.0.1:7000'}",
            "health.address: 127.0.0.1:7000 is the address of admin too",
        ),
    ] {
        let text = PROXY.replace("[{address: \"127.0.0.1:8001\"}]", listeners) + more;
        let (code, out, err) = check(&text);
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
        assert!(err.starts_with(&format!("-: {told}")), "{err}");
        let file = Written::new("addresses.yaml", &text);
        let (code, _, err) = run(&["proxy", "--config", file.path()], "");
        assert!(code == 2 && err.contains(told) && err.contains(file.path()), "{err}");
    }
    for fine in [
        "[{address: '127.0.0.1:8001'}, {address: '127.0.0.2:8001'}]",
        "[{address: '127.0.0.1:0'}, {address: '127.0.0.1:0'}]",
        "[{address: '0.0.0.0:8001'}, {address: '[::1]:8001'}]",
    ] {
        let (code, _, err) = check(&PROXY.replace("[{address: \"127.0.0.1:8001\"}]", fine));
        assert_eq!(code, 0, "{err}");
    }
}

#[test]
fn an_address_that_another_program_has_is_told_otherwise() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let file = Written::new("taken.yaml", &PROXY.replace("127.0.0.1:8001", &address));
    let (code, _, err) = run(&["proxy", "--config", file.path()], "");
    assert!(code == 1 && err.contains("another program listens there"), "{err}");
}

#[test]
fn an_endpoint_needs_a_port() {
    for wrong in ["127.0.0.1:0", "[::1]:0", "echo:0"] {
        let (code, _, err) = check(&PROXY.replace("127.0.0.1:5001", wrong));
        let told = format!("-: upstreams.echo.endpoints[0]: \"{wrong}\" is not an endpoint");
        assert!(code == 2 && err.starts_with(&told), "{err}");
    }
}

#[test]
fn routes_and_policies_that_nothing_comes_to_are_told() {
    let text = PROXY.replace(
        "upstream: echo}]",
        "upstream: echo}, {upstream: echo}, {path: /x, upstream: echo}]",
    );
    let text = text.replace("policies: [", "policies: [{name: first}, ");
    let (code, out, err) = check(&text);
    assert_eq!((code, err.as_str()), (0, ""));
    let warnings: Vec<_> = out.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(
        warnings,
        [
            "warning: routes[2] (*/x): it never matches: routes[1] (*/) comes first \
             and takes every such request",
            "warning: policies[1] (all): it never matches: policies[0] (first) comes first \
             and takes every such request",
        ]
    );
    let (_, out, _) = run(&["check", "-", "--json", "--host", "wasm"], &text);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["warnings"].as_array().unwrap().len(), 1, "{report}");
}

#[test]
fn what_an_upstream_filter_loses_is_told_where_it_is_asked() {
    let text = "policies:
      - {name: a, match: {path: /a}, breaker: {trip: {consecutive_failures: 3}}, timeout: {request: 1s}}
      - {name: b, match: {path: /b}, breaker: {trip: {failure_rate:
          {threshold: 1, window: {calls: 10}}}}}
      - {name: c, match: {path: /c, direction: outbound}, breaker: {trip: {slow_rate:
          {threshold: 1, slower_than: 1s, window: {calls: 10}}}}}
      - {name: d, match: {path: /d}}
      - {name: e, match: {path: /d}}";
    let (code, out, err) = run(&["check", "-", "--upstream-filter"], text);
    assert_eq!((code, err.as_str()), (0, ""));
    let told: Vec<_> = out.lines().collect();
    let answers = "as an upstream filter it sees answers alone: no refused connection, reset or \
                   time-out opens it";
    assert_eq!(
        told,
        [
            "-: good policy document for wasm, 5 policies: a, b, c, d, e".to_owned(),
            "warning: policies[4] (e): it never matches: policies[3] (d) comes first \
             and takes every such request"
                .to_owned(),
            format!("warning: policies[0].breaker (a): {answers}"),
            "warning: policies[0].timeout.request (a): as an upstream filter it limits nothing: \
             the router has read its limits before"
                .to_owned(),
            format!("warning: policies[1].breaker (b): {answers}"),
        ]
    );
    let (_, out, _) = run(&["check", "-", "--upstream-filter", "--json"], text);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["host"], "wasm");
    assert_eq!(report["warnings"].as_array().unwrap().len(), 4, "{report}");
    let (_, out, _) = run(&["check", "-", "--host", "wasm"], text);
    assert_eq!(out.lines().count(), 2, "{out}");
}

#[test]
fn explain_knows_that_no_route_is_for_it() {
    let explain = |args: &[&str]| run(&[&["explain", "--policy", "-"], args].concat(), PROXY);
    for (args, told) in [
        (&["GET", "http://a.example.com/nope"][..], "404, endpoint not found: no route is for it"),
        (&["GET", "/echo"], "404, endpoint not found"),
        (&["CONNECT", "http://a.example.com/echo"], "405, this proxy makes no tunnels"),
        (&["GET", "http://a.example.com/echo"], "admit, its breaker is closed"),
    ] {
        let (code, out, _) = explain(args);
        let first = out.lines().next().unwrap();
        assert!(code == 0 && first.contains(told), "{first}");
        assert_eq!(
            out.contains("\n  route *.example.com/echo: to echo"),
            told.starts_with("admit")
        );
        assert_eq!(out.contains("policy all"), told.starts_with("admit"));
    }
    let (_, out, _) = explain(&["--json", "GET", "/"]);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["decision"], &told["way"]), (&"404".into(), &Value::Null));
    // The filter has no routes of ours.
    let (_, out, _) = explain(&["--host", "wasm", "GET", "/nope"]);
    assert!(out.starts_with("GET /nope on wasm: admit"), "{out}");
}

#[test]
fn explain_tells_of_limits_and_deadlines() {
    const POLICY: &str = "version: v1\npolicies:\n  - name: api\n    deadline: {}\n    connections: {per_client: 9, allow: ['::1']}\n    bandwidth: {per_connection: 10MiB/s, after: 64KiB}\n    rate_limits:\n      \
        - {rate: 100/m, capacity: 20, key: [client, 'header:x-a'], burst: {tokens: 1}, queue: {max: 5, max_wait: 1s}, enforced: 0.5, \
        allow: ['::1'], overrides: [{values: ['*', gold], rate: 1/s}]}\n      - {rate: 9/s, key: [policy]}\n";
    let explain = |rest: &[&str]| run(&[&["explain", "--policy", "-"], rest].concat(), POLICY);
    let (code, out, _) = explain(&["GET", "/", "grpc-timeout: 1S"]);
    assert!(code == 0 && out.starts_with("GET / on native: admit"), "{out}");
    for told in [
        "deadline: that of grpc-timeout and x-request-deadline-ms, less 5ms, is kept, and told to the upstream",
        "connections: at most 9 connections of a client with a call under way, but for those of 1 network",
        "bandwidth: 10MiB of an answer in a second, after the first 64KiB",
        "rate limit: 100 calls in 60s, 20 calls at once, 1 call more within 1s, and again 10s after the limit \
         was last exceeded, for each client and header:x-a",
        "rate limit: 1 call in 1s, 1 call at once, 1 call more within 1s, and again 10s after the limit \
         was last exceeded, for any and \"gold\"",
        "rate limit: 5 calls may wait for tokens in their order, none longer than 1s",
        "rate limit: clients of 1 network are not limited",
        "rate limit: 50% of what it would reject is rejected",
        "rate limit: 9 calls in 1s, 9 calls at once, for all calls together",
    ] {
        assert!(
            out.contains(&format!("\n  {told}\n")) || out.ends_with(&format!("\n  {told}\n")),
            "{out}"
        );
    }
    let (_, out, _) = explain(&["GET", "/", "x-request-deadline-ms: 3"]);
    assert!(out.starts_with("GET / on native: reject, of 3ms nothing is left\n"), "{out}");
}

#[test]
fn explain_tells_of_retries() {
    let explain = |retry: &str| {
        let policy = format!(
            "policies: [{{name: a, timeout: {{per_try: 1s}}, retry: {{on: [timeout], {retry}}}}}]"
        );
        let (code, out, _) = run(&["explain", "--policy", "-", "GET", "/"], &policy);
        assert_eq!(code, 0, "{out}");
        out
    };
    let out = explain("tries: 3, budget: {share: 0.2, floor: 3/s}");
    for told in [
        "retries: up to 3 tries of a call, for 0.2 of the calls and 3 per 1s, never into a breaker that is not closed",
        "each try's timeout: 1000 ms",
    ] {
        assert!(out.contains(&format!("\n  {told}\n")), "{out}");
    }
    assert!(explain("").contains("\n  retries: up to 2 tries of a call, without a budget, never"));
}

#[test]
fn what_kubectl_reads_otherwise_is_no_good_policy_for_envoy() {
    let text =
        "policies:\n  - name: a\n    match: {headers: {no: x}}\n    fallback: {on: [rejected]}\n";
    let told = "-: policies[0].match.headers: the key no has no quotes: kubectl and helm read YAML 1.1, \
                which makes it false; write \"no\"\n";
    assert_eq!(run(&["check", "-", "--host", "wasm"], text), (2, String::new(), told.into()));
    assert_eq!(run(&["check", "-"], text).0, 0);
    // A value is read as kubectl reads it, by both.
    let value = "policies: [{name: a, match: {hosts: [no]}}]";
    let (code, _, err) = check(value);
    assert!(code == 2 && err.contains("false is not a host") && err.contains("in quotes"), "{err}");
    // As JSON it is what it is, and so is what arrives of the fallback.
    let json = r#"{"policies": [{"name": "a", "match": {"headers": {"no": "x"}}, "fallback": {"true": ["rejected"]}}]}"#;
    assert_eq!(run(&["check", "-", "--host", "wasm"], json).0, 0);
    let yaml = "policies: [{name: a, fallback: {true: [rejected]}}]";
    assert_eq!(run(&["check", "-", "--host", "wasm"], yaml).0, 0);
}

#[test]
fn messages_are_ours_and_name_the_file() {
    // Words of the libraries' callers, and of Rust.
    let foreign = [
        "Option",
        "deserialize",
        "from_str",
        "Policy in",
        "serde",
        "saphyr",
        "Error",
        "ident",
        "invalid type",
        "weak",
        "EOF",
        "panicked",
        "SocketAddr",
        "syntax",
    ];
    for (name, text) in [
        ("twice.yaml", "a: 1\na: 2"),
        ("two.yaml", "---\na: 1\n---\nb: 2"),
        ("null.yaml", "~: x"),
        ("list.yaml", "? [a]\n: b"),
        ("loop.yaml", "a: &x [*x]"),
        ("alias.yaml", "a: *x"),
        ("nan.yaml", "a: .nan"),
        ("binary.yaml", "a: !!binary xx"),
        ("bracket.yaml", "a: ["),
        ("empty.yaml", ""),
        ("word.yaml", "hello"),
        ("end.json", "{\"a\":"),
        ("word.json", "{\"a\": tru}"),
        ("more.json", "{} x"),
        ("wrong.yaml", "policies: [{name: [], match: 3}]"),
    ] {
        let file = Written::new(name, text);
        for args in [
            &["check", file.path()][..],
            &["check", "--host", "wasm", file.path()],
            &["explain", "--policy", file.path(), "GET", "/"],
            &["proxy", "--config", file.path()],
        ] {
            let (code, out, err) = run(args, "");
            assert_eq!((code, out.as_str()), (2, ""), "{name}: {err}");
            for line in err.lines() {
                assert!(line.contains(file.path()), "{name}: {line}");
            }
            assert!(!err.is_empty() && !foreign.iter().any(|word| err.contains(word)), "{err}");
        }
    }
    let same = run(&["echo", "--listen", "127.0.0.1:7001", "--admin", "127.0.0.1:7001"], "");
    assert_eq!(same.0, 2);
    assert!(same.2.contains("--listen and --admin both take 127.0.0.1:7001"), "{}", same.2);
    let (code, _, err) = run(&["echo", "--listen", "x"], "");
    assert!(code == 2 && err.contains("an IP address and a port"), "{err}");
}
