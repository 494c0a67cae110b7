//! What a client may choose: names that become labels, and spellings of a path.

use super::trip;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Every host is a label of its own, whatever Envoy's rules for tags make of it.
pub(super) fn labels_are_neither_forged_nor_equal(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"scope": "authority"})), |_| {})?;
    let hosts = [
        "echo",
        "echo.",
        "echo..",
        "a.echo.example.com",
        "from=.=half_open",
        "outcome=.=failure",
        "a&policy=.=other",
        "cause=.=probe_failed",
        "scope=.=echo",
        "echo;",
        "x;.;policy=.=other",
        "*",
        "unknown",
        "echo_",
    ];
    let mut admitted = 0;
    for host in hosts {
        // Envoy itself refuses some of them.
        admitted += usize::from(rig.get_of(host, "/status/200")?.status == 200);
    }
    same(admitted > 10, true)?;
    let lines = rig.until("every host in the metrics", || {
        let page = rig.envoy.metrics()?;
        let ours = page.lines().filter(|line| line.starts_with("bimetal_"));
        let lines: Vec<String> = ours.map(str::to_owned).collect();
        let calls = lines.iter().filter(|line| line.starts_with("bimetal_requests_total"));
        Ok((calls.count() == admitted).then_some(lines))
    })?;
    let mut seen = BTreeSet::new();
    for line in &lines {
        let Some((series, _)) = line.rsplit_once(' ') else { continue };
        same((series, seen.insert(series)), (series, true))?;
        let Some((metric, labels)) = series.split_once('{') else { continue };
        let names: BTreeSet<&str> =
            labels.split(',').filter_map(|label| Some(label.split_once("=\"")?.0)).collect();
        let expected: &[&str] = match metric {
            "bimetal_requests_total" => &["decision", "policy", "scope"],
            "bimetal_outcomes_total" => &["outcome", "policy", "scope"],
            "bimetal_breaker_replicas" => &["policy", "scope", "state"],
            _ => continue,
        };
        same((line, names), (line, expected.iter().copied().collect()))?;
        same((line, labels.contains("policy=\"echo\"")), (line, true))?;
    }
    for scope in ["echo", "echo%2E", "echo.%2E", "a.echo.example.com"] {
        let one = &[&*format!("scope=\"{scope}\""), "decision=\"admitted\""];
        same(rig.envoy.metric("bimetal_requests_total", one)?, 1.0)?;
    }
    rig.finish()
}

/// Routes have names within their virtual host, or none.
pub(super) fn routes_of_two_virtual_hosts_are_apart(tools: &Tools) -> TestResult {
    for name in [Some("default"), None] {
        let rig = Rig::start(tools, &policy("30s", json!({"scope": "route"})), |config| {
            let mut route = json!({"match": {"prefix": "/"}, "route": {"cluster": "echo"}});
            if let (Some(route), Some(name)) = (route.as_object_mut(), name) {
                route.insert("name".into(), name.into());
            }
            let mut direct: Value = route.clone();
            if let Some(direct) = direct.as_object_mut() {
                direct.insert("match".into(), json!({"prefix": "/second"}));
                direct.insert("route".into(), json!({"cluster": "second"}));
            }
            config.more_virtual_hosts = vec![
                json!({"name": "good", "domains": ["good"], "routes": [route]}),
                json!({"name": "bad", "domains": ["echo"], "routes": [direct, route]}),
            ];
            let address = json!({"socket_address": {"address": "127.0.0.1",
                "port_value": config.upstream.port()}});
            config.more_clusters = vec![json!({"name": "second", "type": "STATIC",
                "connect_timeout": "1s", "load_assignment": {"cluster_name": "second",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}})];
        })?;
        trip(&rig)?;
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
        same(rig.get_of("good", "/status/200")?.status, 200)?;
        same(rig.get_of("other", "/status/200")?.status, 200)?;
        let (bad, good) = match name {
            Some(_) => ("bad>default", "good>default"),
            None => {
                // Without names, routes of one virtual host are told apart by their cluster.
                same(rig.get("/second")?.header("x-bimetal-rule"), "")?;
                ("bad>>echo", "good>>echo")
            }
        };
        rig.until("both as labels", || {
            let replicas = |scope: &str, state: &str| {
                let labels = [format!("scope=\"{scope}\""), format!("state=\"{state}\"")];
                rig.envoy.metric("bimetal_breaker_replicas", &labels.each_ref().map(|one| &**one))
            };
            Ok(((replicas(bad, "open")?, replicas(good, "closed")?) == (1.0, 1.0)).then_some(()))
        })?;
        rig.finish()?;
    }
    Ok(())
}

/// The filter does not rewrite a path, but knows it in every spelling.
pub(super) fn a_path_is_judged_in_every_spelling(tools: &Tools) -> TestResult {
    let rig =
        Rig::start(tools, &policy("30s", json!({"match": {"path_prefix": "/flaky"}})), |_| {})?;
    trip(&rig)?;
    for path in [
        "/flaky",
        "//flaky",
        "/./flaky",
        "/%66laky",
        "/x/../flaky",
        "/x//../flaky",
        "/x/%2e%2E/flaky/y",
        "/flaky?x",
    ] {
        same((path, rig.get(path)?.header("x-bimetal-rule")), (path, "echo/breaker"))?;
    }
    for path in ["/status/200", "/x/..%2Fflaky", "/flaky%2Fx", "/flaky2"] {
        same((path, rig.get(path)?.header("x-bimetal-rule")), (path, ""))?;
        // It arrives as it was sent.
        same((path, rig.upstream.requests(path).len()), (path, 1))?;
    }
    rig.finish()
}
