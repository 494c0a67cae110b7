//! Endpoints that fail, calls and checks: who is left out, for how long, and who is told.

mod proxy_support;

use bimetal_proxy::config::{self, Syntax};
use proxy_support::program::{Program, write};
use proxy_support::{Client, Running, Upstream, file_of, get, nowhere, ok, policy, wait_for};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BAD: &str = "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n";

/// An upstream that fails calls, and checks, while it is told to; and how many of either it got.
struct Server {
    upstream: Upstream,
    fails: Arc<AtomicBool>,
    calls: Arc<AtomicUsize>,
    checks: Arc<AtomicUsize>,
}

impl Server {
    fn start(fails: bool) -> Self {
        let fails = Arc::new(AtomicBool::new(fails));
        let (calls, checks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (is_bad, seen, checked) = (fails.clone(), calls.clone(), checks.clone());
        let upstream = Upstream::start(move |mut peer| {
            while let Some((head, _)) = peer.request() {
                let count = if head.starts_with("get /healthz") { &checked } else { &seen };
                count.fetch_add(1, Ordering::SeqCst);
                let answer = if is_bad.load(Ordering::SeqCst) { BAD.into() } else { ok("fine") };
                peer.send(&answer);
            }
        });
        Self { upstream, fails, calls, checks }
    }

    fn address(&self) -> SocketAddr {
        self.upstream.address
    }

    fn calls_are(&self, count: usize) -> bool {
        self.calls() >= count
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn servers(bad: [bool; 3]) -> ([Server; 3], [SocketAddr; 3]) {
    let servers = bad.map(Server::start);
    let addresses = [0, 1, 2].map(|place| servers[place].address());
    (servers, addresses)
}

fn rows(proxy: &Running) -> Vec<Value> {
    let answer = Client::connect(proxy.admin).ask(&get("/endpoints"));
    serde_json::from_str(&answer.text()).unwrap()
}

fn states(proxy: &Running) -> Vec<String> {
    rows(proxy).iter().map(|row| row["state"].as_str().unwrap().into()).collect()
}

fn ejections(proxy: &Running) -> f64 {
    proxy.metric("bimetal_ejections_total{upstream=\"echo\"}").unwrap()
}

#[test]
fn one_that_fails_is_ejected_by_all_workers_and_returns() {
    let (servers, addresses) = servers([false, true, false]);
    let outlier = "balance: round_robin, slow_start: 0s, outlier: {base_ejection: 1500ms}";
    // Neither a policy nor one that does not act is needed for that.
    for policies in ["", "policies: [{name: p, mode: disabled, timeout: {request: 9s}}]"] {
        servers[1].fails.store(true, Ordering::SeqCst);
        let text = file_of(&addresses, outlier, policies).replace("workers: 1", "workers: 2");
        let proxy = Running::with(&text);
        let before = servers[1].calls();
        let mut statuses = Vec::new();
        wait_for("an ejection", || {
            statuses.push(proxy.ask(&get("/")).status);
            (ejections(&proxy) == 1.0).then_some(())
        });
        let failed = statuses.iter().filter(|status| **status == 500).count();
        assert_eq!((failed, servers[1].calls() - before), (3, 3), "{statuses:?}");
        let ejected = rows(&proxy).remove(1);
        assert_eq!(ejected["endpoint"], addresses[1].to_string());
        if ejected["ejected_for_s"].as_f64() > Some(0.5) {
            // No call on any worker, while it is out.
            assert_eq!(
                (&ejected["state"], &ejected["gets_calls"]),
                (&"ejected".into(), &false.into())
            );
            let gauge = "bimetal_endpoints{upstream=\"echo\",state=\"ejected\"}";
            assert_eq!(proxy.metric(gauge), Some(1.0));
        }
        servers[1].fails.store(false, Ordering::SeqCst);
        let at = servers[1].calls();
        // Who is back gets calls, and the proxy is not asked for anything but calls.
        wait_for("its return", || {
            assert_eq!(proxy.ask(&get("/")).status, 200);
            (servers[1].calls() > at).then_some(())
        });
        assert_eq!((states(&proxy), ejections(&proxy)), (vec!["in".to_string(); 3], 1.0));
    }
}

#[test]
fn while_it_is_out_it_gets_no_call_and_a_reload_keeps_it_out() {
    let (servers, addresses) = servers([false, true, false]);
    let file = |more: &str| {
        let outlier = format!("outlier: {{base_ejection: 60s}}{more}");
        // Without a breaker: the three failures may come one after another.
        let rest = "policies: [{name: p, timeout: {request: 60s}}]";
        file_of(&addresses, &outlier, rest).replace("workers: 1", "workers: 2")
    };
    let proxy = Running::with(&file(""));
    let ask = || proxy.ask(&get("/")).status;
    wait_for("an ejection", || {
        ask();
        (ejections(&proxy) == 1.0).then_some(())
    });
    assert_eq!(servers[1].calls(), 3);
    for more in [", pool: {max_connections: 9}", ", balance: random"] {
        assert!((0..20).all(|_| ask() == 200));
        proxy.reload(&file(more));
        let reloads = "bimetal_reloads_total{result=\"applied\"}";
        wait_for("the reload", || (proxy.metric(reloads)? >= 1.0).then_some(()));
        assert!((0..20).all(|_| ask() == 200));
    }
    assert_eq!((servers[1].calls(), ejections(&proxy)), (3, 1.0));
    // What the policy calls a failure is one here as well.
    proxy.wait_for_outcomes("failure", 3.0);
}

#[test]
fn what_is_no_failure_to_the_policy_ejects_nobody() {
    let (servers, addresses) = servers([true; 3]);
    let outlier = "outlier: {consecutive_failures: 1}";
    let rules = "breaker: {trip: {consecutive_failures: 3}, failure: {statuses: [502]}}";
    let text = file_of(&addresses, outlier, &format!("policies: [{{name: p, {rules}}}]"));
    let proxy = Running::with(&text);
    assert!((0..20).all(|_| proxy.ask(&get("/")).status == 500));
    assert_eq!((ejections(&proxy), states(&proxy)), (0.0, vec!["in".to_string(); 3]));
    assert!(servers.iter().map(Server::calls).sum::<usize>() == 20);
}

/// istio/istio 20135, envoyproxy/envoy 3263 and nginx-proxy 1495: where all fail, calls go on to all that may
/// not be ejected, and the upstream's own answer reaches the client.
#[test]
fn where_all_fail_most_stay_and_answers_come_through() {
    let (_servers, addresses) = servers([true; 3]);
    let outlier = "outlier: {consecutive_failures: 1, max_ejection: 1.0, min_healthy: 0}";
    let proxy = Running::with(&file_of(&addresses, outlier, ""));
    assert!((0..30).all(|_| proxy.ask(&get("/")).status == 500));
    assert_eq!(ejections(&proxy), 2.0);
    let out = states(&proxy).iter().filter(|state| *state == "ejected").count();
    assert_eq!(out, 2);
    // A single endpoint is never ejected.
    let alone = Running::with(&file_of(&addresses[..1], outlier, ""));
    assert!((0..9).all(|_| alone.ask(&get("/")).status == 500));
    assert_eq!((ejections(&alone), states(&alone)), (0.0, vec!["in".to_string()]));
}

#[test]
fn one_that_refuses_connections_is_ejected_though_no_call_fails() {
    let (servers, live) = servers([false; 3]);
    let addresses = [live[0], nowhere(), live[2]];
    let proxy = Running::with(&file_of(&addresses, "outlier: {}", &policy("")));
    wait_for("an ejection", || {
        assert_eq!(proxy.ask("GET / HTTP/1.0\r\n\r\n").status, 200);
        (ejections(&proxy) == 1.0).then_some(())
    });
    assert_eq!(states(&proxy), ["in", "ejected", "in"]);
    assert!(servers[0].calls() + servers[2].calls() > 0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

/// An endpoint that takes connections and says nothing.
#[test]
fn one_that_hangs_is_ejected_by_the_limit_of_its_calls() {
    let hung = Upstream::start(|mut peer| peer.closed());
    let live = Server::start(false);
    let addresses = [hung.address, live.address()];
    let outlier = "balance: round_robin, outlier: {base_ejection: 60s}";
    let limits = "policies: [{name: p, timeout: {request: 100ms}}]";
    let proxy = Running::with(&file_of(&addresses, outlier, limits));
    wait_for("an ejection", || {
        proxy.ask(&get("/"));
        (ejections(&proxy) == 1.0).then_some(())
    });
    assert_eq!(hung.connections(), 3);
    assert!((0..9).all(|_| proxy.ask(&get("/")).status == 200));
    assert_eq!(hung.connections(), 3);
}

/// A process that dies and is started anew: its connections are reset, and calls under way with them.
#[test]
fn one_that_dies_is_ejected_and_gets_calls_when_it_lives_again() {
    let lives = Arc::new(AtomicBool::new(true));
    let is_alive = lives.clone();
    let mortal = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            if !is_alive.load(Ordering::SeqCst) {
                return peer.reset();
            }
            peer.send(&ok("mortal"));
        }
    });
    let other = Server::start(false);
    let addresses = [mortal.address, other.address()];
    let outlier = "balance: round_robin, slow_start: 0s, outlier: {base_ejection: 300ms}";
    let proxy = Running::with(&file_of(&addresses, outlier, ""));
    let mut client = proxy.client();
    let mut ask = || client.ask(&get("/"));
    assert!((0..6).all(|_| ask().status == 200));
    lives.store(false, Ordering::SeqCst);
    let mut failed = 0;
    wait_for("an ejection", || {
        failed += usize::from(ask().status == 503);
        (ejections(&proxy) == 1.0).then_some(())
    });
    assert_eq!(failed, 3);
    lives.store(true, Ordering::SeqCst);
    wait_for("its return", || {
        let answer = ask();
        assert_eq!(answer.status, 200);
        (answer.text() == "mortal").then_some(())
    });
}

const CHECKS: &str = "health: {path: /healthz, interval: 20ms, timeout: 2s}";

#[test]
fn one_that_fails_its_checks_gets_no_calls_until_it_passes() {
    let (servers, addresses) = servers([false, false, true]);
    let proxy = Running::with(&file_of(&addresses, CHECKS, ""));
    wait_for("a check", || (states(&proxy) == ["in", "in", "unhealthy"]).then_some(()));
    let before = servers[2].calls();
    assert!((0..20).all(|_| proxy.ask(&get("/")).status == 200));
    assert_eq!(servers[2].calls(), before);
    // One checker, however many workers: each endpoint is asked alike.
    servers[2].fails.store(false, Ordering::SeqCst);
    wait_for("a check", || (states(&proxy) == ["in"; 3]).then_some(()));
    wait_for("a call", || {
        assert_eq!(proxy.ask(&get("/")).status, 200);
        (servers[2].calls() > before).then_some(())
    });
    // Where none passes, whoever there is gets calls.
    servers.iter().for_each(|server| server.fails.store(true, Ordering::SeqCst));
    wait_for("checks", || (states(&proxy) == ["unhealthy"; 3]).then_some(()));
    servers.iter().for_each(|server| server.fails.store(false, Ordering::SeqCst));
    assert_eq!(proxy.ask(&get("/")).status, 200);
}

#[test]
fn a_reload_keeps_what_checks_said_and_checks_go_on() {
    let (servers, addresses) = servers([false, true, false]);
    let file = |more: &str| file_of(&addresses, &format!("{CHECKS}{more}"), "");
    let proxy = Running::with(&file(""));
    wait_for("a check", || (states(&proxy)[1] == "unhealthy").then_some(()));
    for more in [", balance: random", ", balance: round_robin"] {
        proxy.reload(&file(more));
        // It never becomes healthy in between.
        assert_eq!(states(&proxy)[1], "unhealthy");
        let at = servers[1].checks.load(Ordering::SeqCst);
        wait_for("a check", || (servers[1].checks.load(Ordering::SeqCst) > at + 2).then_some(()));
    }
    assert_eq!(servers[1].calls(), 0);
    proxy.reload(&file_of(&addresses, "", ""));
    assert_eq!(states(&proxy), ["in"; 3]);
}

#[test]
fn a_checker_that_gets_no_answers_harms_no_call() {
    let silent = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            if !head.starts_with("get /healthz") {
                peer.send(&ok("fine"));
            }
        }
    });
    let slow = CHECKS.replace("timeout: 2s", "timeout: 200ms, unhealthy_after: 1");
    let proxy = Running::with(&file_of(&[silent.address, nowhere()], &slow, &policy("")));
    wait_for("checks", || (states(&proxy) == ["unhealthy"; 2]).then_some(()));
    for _ in 0..9 {
        assert_eq!(proxy.ask(&get("/")).text(), "fine");
    }
    proxy.wait_for_outcomes("success", 9.0);
}

#[test]
fn what_cannot_be_is_refused_by_its_path() {
    let told = |upstream: &str| {
        let text = format!("upstreams: {{echo: {{endpoints: ['a:1'], {upstream}}}}}");
        config::parse(&text, Syntax::Yaml).unwrap_err().to_string()
    };
    for (upstream, wanted) in [
        ("outlier: {max_ejection: 1.5}", "upstreams.echo.outlier.max_ejection: 1.5 is outside 0–1"),
        ("outlier: {min_healthy: -1}", "upstreams.echo.outlier.min_healthy: -1 is outside 0–1"),
        ("outlier: {consecutive_failures: 0}", "upstreams.echo.outlier.consecutive_failures: 0"),
        ("outlier: {base_ejection: 0s}", "upstreams.echo.outlier.base_ejection: "),
        ("outlier: {interval: 5}", "upstreams.echo.outlier.interval: "),
        ("outlier: {consecutive_errors: 5}", "upstreams.echo.outlier.consecutive_errors: "),
        ("slow_start: 2h", "upstreams.echo.slow_start: "),
        ("health: {}", "upstreams.echo.health.path: "),
        ("health: {path: healthz}", "upstreams.echo.health.path: \"healthz\" is not a path"),
        ("health: {path: '/a b'}", "upstreams.echo.health.path: \"/a b\" is not a path"),
        ("health: {path: /, timeout: 0ms}", "upstreams.echo.health.timeout: "),
        ("health: {path: /, healthy_after: 0}", "upstreams.echo.health.healthy_after: "),
    ] {
        let told = told(upstream);
        assert!(told.contains(wanted), "{upstream}: {told}");
    }
}

#[test]
fn what_can_never_eject_is_warned_of() {
    let warnings = |endpoints: &str, outlier: &str| {
        let text = format!("upstreams: {{echo: {{{endpoints}, outlier: {{{outlier}}}}}}}");
        config::parse(&text, Syntax::Yaml).unwrap().warnings
    };
    let three = "endpoints: ['a:1', 'b:1', 'c:1']";
    let none =
        ["upstreams.echo.outlier: max_ejection 0.1 of 3 endpoints is none: none is ever ejected"];
    assert_eq!(warnings(three, "max_ejection: 0.1"), none);
    assert_eq!(warnings(three, "minimum_hosts: 4").len(), 1);
    assert_eq!(warnings("endpoints: ['a:1']", "").len(), 1);
    assert!(warnings(three, "").is_empty() && warnings("dns: 'a:1'", "").is_empty());
}

/// The examples of the page are files, and the one of this does what the page says.
#[test]
fn the_page_of_the_proxy_has_examples_that_hold() {
    let page = include_str!("../../docs/proxy.md");
    let blocks: Vec<_> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for block in &blocks {
        config::parse(block, Syntax::Yaml).unwrap_or_else(|wrong| panic!("{block}: {wrong}"));
    }
    let example = blocks.iter().find(|block| block.contains("outlier: {")).unwrap();
    let settings = config::parse(example, Syntax::Yaml).unwrap();
    let same = settings.upstreams[0].clone();
    // Its numbers are the defaults.
    let short = "upstreams: {shop: {endpoints: ['10.0.0.1:80', '10.0.0.2:80', '10.0.0.3:80'], \
                 outlier: {}, health: {path: /healthz}}}";
    assert_eq!(config::parse(short, Syntax::Yaml).unwrap().upstreams[0], same);
    let (servers, addresses) = servers([false, false, true]);
    let mut text = example.replace("upstreams:\n", "listeners: [{address: '127.0.0.1:0'}]\n\
        admin: {address: '127.0.0.1:0'}\nhealth: {address: '127.0.0.1:0'}\nworkers: 2\nupstreams:\n");
    for (place, address) in addresses.iter().enumerate() {
        text = text.replace(&format!("10.0.0.{}:80", place + 1), &address.to_string());
    }
    // Its calls fail, and so do its checks: whichever comes first.
    let proxy = Running::with(&text);
    wait_for("the third to be left out", || {
        proxy.ask(&get("/"));
        let last = rows(&proxy).pop().unwrap();
        (last["gets_calls"] == false).then_some(())
    });
    let before = servers[2].calls();
    assert!((0..20).all(|_| proxy.ask(&get("/")).status == 200));
    assert_eq!(servers[2].calls(), before);
}

#[test]
fn the_log_tells_of_each_change() {
    let (servers, addresses) = servers([false, true, false]);
    let bad = addresses[1];
    let outlier = "slow_start: 0s, outlier: {base_ejection: 200ms}";
    let path = write("outliers.yaml", &file_of(&addresses, outlier, ""));
    let program = Program::start(&path, &[]);
    while !servers[1].calls_are(3) {
        Client::connect(program.listen).ask(&get("/"));
    }
    let told = program.log_with(&format!("upstream echo: {bad} "));
    assert!(told.starts_with("is ejected for 200ms after 3 failures in a row"), "{told}");
    let told = program.log_with(&format!("upstream echo: {bad} "));
    assert!(told.starts_with("is back"), "{told}");

    let path = write("checks.yaml", &file_of(&addresses, CHECKS, ""));
    let program = Program::start(&path, &[]);
    let told = program.log_with(&format!("upstream echo: {bad} is unhealthy: "));
    assert!(told.starts_with("/healthz was answered by 500"), "{told}");
    servers[1].fails.store(false, Ordering::SeqCst);
    program.log_with(&format!("upstream echo: {bad} is healthy"));
}

const SCOPED: &str = "policies: [{name: p, scope: endpoint, breaker: {trip: {consecutive_failures: 2}, \
                      open: {base: 60s, jitter: 0}}}]";

/// A breaker for each endpoint: an open one turns its own calls away, and they go to another.
#[test]
fn with_a_breaker_for_each_endpoint_calls_go_where_it_is_closed() {
    let (servers, addresses) = servers([false, true, false]);
    let proxy = Running::with(&file_of(&addresses, "balance: round_robin", SCOPED));
    let statuses: Vec<_> = (0..30).map(|_| proxy.ask(&get("/")).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 2, "{statuses:?}");
    assert_eq!(servers[1].calls(), 2);
    let scope = addresses[1].to_string();
    let labels = [("policy", "p"), ("scope", &*scope), ("state", "open")];
    assert_eq!(proxy.metrics().find("bimetal_breaker_replicas", &labels), Some(1.0));
    proxy.wait_for_outcomes("success", 28.0);
    // Where all are open, the call is rejected by its breaker.
    servers.iter().for_each(|server| server.fails.store(true, Ordering::SeqCst));
    let rejected = wait_for("a rejection", || {
        let answer = proxy.ask(&get("/"));
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(rejected.header("x-bimetal-rule"), Some("p/breaker"));
    assert_eq!(servers.iter().map(Server::calls).sum::<usize>(), 28 + 2 + 4);
}

/// What comes of a call is its own endpoint's: nobody stands in for one that takes no connection.
#[test]
fn with_a_breaker_for_each_endpoint_its_failures_are_its_own() {
    let live = Server::start(false);
    let dead = nowhere();
    let text = file_of(&[live.address(), dead], "balance: round_robin", SCOPED);
    let proxy = Running::with(&text.replace("workers: 1", "workers: 2"));
    let statuses: Vec<_> = (0..20).map(|_| proxy.ask(&get("/")).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2, "{statuses:?}");
    proxy.wait_for_outcomes("success", 18.0);
    let name = dead.to_string();
    let labels = [("policy", "p"), ("scope", &*name), ("outcome", "failure")];
    assert_eq!(proxy.metrics().find("bimetal_outcomes_total", &labels), Some(2.0));
}
