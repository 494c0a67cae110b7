//! What a DestinationRule says of calls to its host.

use super::resource::Resource;
use super::{Import, Kind, Made, hosts};
use bimetal_core::policy::Host;
use serde_json::{Map, Value, json};

/// How long a call waits for its turn where nothing bounds it: as long as Istio's own clients commonly do.
const PATIENCE: &str = "15s";

/// Most calls that the language lets wait.
const LONGEST_QUEUE: u64 = 100_000;

/// A policy for each rule whose host no policy of a VirtualService takes as a whole.
pub(super) fn policies<'a>(
    resources: &'a [Resource],
    routed: &[Made<'a>],
    import: &mut Import,
) -> Vec<Made<'a>> {
    let mut made = Vec::new();
    for resource in resources.iter().filter(|one| one.kind == Kind::DestinationRule) {
        let host = resource.spec["host"].as_str().unwrap_or_default();
        let full = import.hosts.full(host, &resource.namespace);
        if routed.iter().any(|policy| policy.takes_all_of.contains(&full)) {
            continue;
        }
        let mut parts = parts(resource, None, import);
        if parts.is_empty() {
            import.remark(resource, "", "says nothing that a policy could say");
            continue;
        }
        if host != "*" {
            let names = import.hosts.asked_for(host, &resource.namespace);
            parts.insert("match".to_owned(), json!({ "hosts": names }));
        }
        let name = resource.name.clone();
        made.push(Made {
            resource,
            name,
            width: hosts::width(host),
            takes_all_of: vec![full],
            parts,
        });
    }
    made
}

/// The rule of a host, by its full name: the one of that very name, else the one of the longest pattern.
pub(super) fn rule<'a>(
    resources: &'a [Resource],
    host: &str,
    import: &Import,
) -> Option<&'a Resource> {
    let rules = resources.iter().filter(|one| one.kind == Kind::DestinationRule);
    let fits = rules.filter_map(|one| {
        let own = import.hosts.full(one.spec["host"].as_str()?, &one.namespace);
        let is_it = own == host || own.strip_prefix('*').is_some_and(|end| host.ends_with(end));
        is_it.then(|| (hosts::width(&own), one))
    });
    fits.min_by_key(|(width, _)| *width).map(|(_, rule)| rule)
}

/// The parts of a policy that the rule's traffic policy is. `timeout` is that of the route.
pub(super) fn parts(
    resource: &Resource,
    timeout: Option<&str>,
    import: &mut Import,
) -> Map<String, Value> {
    let policy = &resource.spec["trafficPolicy"];
    let mut parts = Map::new();
    if let Some(breaker) = breaker(resource, &policy["outlierDetection"], import) {
        parts.insert("breaker".to_owned(), breaker);
    }
    if let Some(concurrency) = concurrency(resource, &policy["connectionPool"], timeout, import) {
        parts.insert("concurrency".to_owned(), concurrency);
    }
    let connect = "trafficPolicy.connectionPool.tcp.connectTimeout";
    let given = &policy["connectionPool"]["tcp"]["connectTimeout"];
    if let Some(limit) = import.span(resource, connect, given) {
        if import.host == Host::Native {
            parts.insert("timeout".to_owned(), json!({ "connect": limit }));
        } else {
            import.remark(resource, connect, "in Envoy it stays the DestinationRule's");
        }
    }
    parts
}

fn breaker(resource: &Resource, outlier: &Value, import: &mut Import) -> Option<Value> {
    let outlier = outlier.as_object()?;
    let number = |name: &str| outlier.get(name).map(|value| value.as_u64().unwrap_or(0));
    // Istio's defaults: five answers of 5xx, and gateway errors only where they are asked for. 0 is never.
    let any = Some(number("consecutive5xxErrors").unwrap_or(5)).filter(|number| *number > 0);
    let gateway = number("consecutiveGatewayErrors").filter(|number| *number > 0);
    let place = "trafficPolicy.outlierDetection";
    // A gateway error is an answer of 5xx too: with as many or more of them, the other is reached first.
    let (failures, is_gateway) = match (any, gateway) {
        (Some(any), Some(gateway)) if gateway < any => {
            let what = format!(
                "{gateway} of 502, 503 and 504 open the breaker; that {any} of any 5xx do so too is left out"
            );
            import.remark(resource, &format!("{place}.consecutive5xxErrors"), what);
            (gateway, true)
        }
        (Some(any), _) => (any, false),
        (None, Some(gateway)) => (gateway, true),
        (None, None) => {
            import.remark(
                resource,
                place,
                "ejects nobody: both numbers are 0, so there is no breaker",
            );
            return None;
        }
    };
    let mut breaker = Map::new();
    breaker.insert("profile".to_owned(), json!("istio-outlier"));
    breaker.insert("trip".to_owned(), json!({ "consecutive_failures": failures }));
    if is_gateway {
        let transport = ["connect", "reset", "timeout"];
        let failure = json!({ "statuses": [502, 503, 504], "grpc": [], "transport": transport });
        breaker.insert("failure".to_owned(), failure);
    }
    let base = outlier.get("baseEjectionTime").unwrap_or(&Value::Null);
    if let Some(base) = import.span(resource, &format!("{place}.baseEjectionTime"), base) {
        breaker.insert("open".to_owned(), json!({ "base": base }));
    }
    import.remark(resource, place, "Istio leaves out one endpoint at a time, and each sidecar by itself; the breaker is for the whole destination, in all workers of a process");
    Some(Value::Object(breaker))
}

/// So many calls at once, and so many that wait, as Envoy bounds them for each cluster.
fn concurrency(
    resource: &Resource,
    pool: &Value,
    timeout: Option<&str>,
    import: &mut Import,
) -> Option<Value> {
    let number = |value: &Value| value.as_u64().filter(|number| *number > 0);
    let connections = number(&pool["tcp"]["maxConnections"]);
    let requests = number(&pool["http"]["http2MaxRequests"]);
    let max = match (connections, requests) {
        (Some(connections), Some(requests)) => {
            let what = "the smaller of maxConnections and http2MaxRequests is taken, as for HTTP/1.1; with HTTP/2 a connection carries many calls";
            import.remark(resource, "trafficPolicy.connectionPool", what);
            connections.min(requests)
        }
        (one, other) => one.or(other)?,
    };
    let pending = "trafficPolicy.connectionPool.http.http1MaxPendingRequests";
    let waiting = match number(&pool["http"]["http1MaxPendingRequests"]) {
        Some(waiting) if waiting <= LONGEST_QUEUE => waiting,
        Some(_) => LONGEST_QUEUE,
        None => {
            if pool["http"]["http1MaxPendingRequests"] == 0 {
                let what = "Istio applies it above 0 only, so calls wait without a bound; so they do here, up to 100,000";
                import.remark(resource, pending, what);
            }
            LONGEST_QUEUE
        }
    };
    let patience = timeout.unwrap_or(PATIENCE);
    if timeout.is_none() {
        let what = format!(
            "in Envoy a call waits as long as its route lets it; here {PATIENCE} (`concurrency.queue.max_wait`)"
        );
        import.remark(resource, "trafficPolicy.connectionPool", what);
    }
    Some(json!({ "max": max.min(1_000_000), "queue": { "max": waiting, "max_wait": patience } }))
}

/// The share of calls that may be retries, where the rule says one.
pub(super) fn budget(resource: &Resource) -> Option<Value> {
    let budget = &resource.spec["trafficPolicy"]["retryBudget"];
    // Istio's default, where the budget is there and says no share.
    let percent = budget.as_object()?.get("percent").map_or(Some(20.0), Value::as_f64)?;
    (0.0..=100.0).contains(&percent).then(|| json!({ "share": percent / 100.0 }))
}
