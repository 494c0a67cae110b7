//! The page of metrics has what the core describes for the proxy, and nothing else.

mod proxy_support;

use bimetal_core::doc::Host;
use bimetal_core::metric::{ALL, Kind};
use bimetal_proxy::bimetal_core;
use proxy_support::{Client, Running, Upstream, get, ok};
use std::collections::BTreeSet;

#[test]
fn the_page_is_as_it_is_described() {
    let upstream = Upstream::answering(ok("fine"));
    let rest = "policies: [{name: p, scope: policy, breaker: {trip: {consecutive_failures: 1}}, \
                concurrency: {adaptive: {}}, warnings: {}, anomaly: {}, fallback: {}, timeout: {request: {auto: {min: 1s, max: 20s}}}}]";
    let proxy = Running::start(upstream.address, rest);
    assert_eq!(proxy.ask(&get("/")).status, 200);
    let page = Client::connect(proxy.health).ask(&get("/metrics")).text();
    let described: Vec<_> =
        ALL.iter().filter(|metric| metric.hosts.contains(&Host::Native)).collect();
    let heads = |what: &str| -> Vec<_> {
        page.lines().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect()
    };
    let helps = described.iter().map(|metric| format!("{} {}", metric.name, metric.help));
    assert_eq!(heads("# HELP "), helps.collect::<Vec<_>>());
    let types = described.iter().map(|metric| format!("{} {}", metric.name, metric.kind.name()));
    assert_eq!(heads("# TYPE "), types.collect::<Vec<_>>());
    let mut seen = BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let names: Vec<_> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|label| label.split_once('=').map(|(name, _)| name))
            .collect();
        let metric = described.iter().find(|metric| {
            let parts: &[&str] =
                if metric.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
            name.strip_prefix(metric.name).is_some_and(|part| parts.contains(&part))
        });
        let metric = metric.unwrap_or_else(|| panic!("{line} is not described"));
        let bound: &[&str] = if name.ends_with("_bucket") { &["le"] } else { &[] };
        assert_eq!(names, [metric.labels, bound].concat(), "{line}");
        seen.insert(metric.name);
    }
    assert_eq!(seen.len(), described.len(), "each has a line after one call");
}
