//! What the routes of a VirtualService say: time limits, retries, and for which calls.

use super::resource::Resource;
use super::{Import, Kind, Made, destination, hosts};
use bimetal_core::policy::Host;
use serde_json::{Map, Value, json};

/// Parts of a route's match that a policy has none of.
const BEYOND: [&str; 8] = [
    "withoutHeaders",
    "queryParams",
    "scheme",
    "port",
    "ignoreUriCase",
    "sourceLabels",
    "sourceNamespace",
    "gateways",
];

/// A policy for each of the alternatives of each route that says something.
pub(super) fn policies<'a>(resources: &'a [Resource], import: &mut Import) -> Vec<Made<'a>> {
    let mut made = Vec::new();
    for resource in resources.iter().filter(|one| one.kind == Kind::VirtualService) {
        let routes = resource.spec["http"].as_array().map_or(&[][..], Vec::as_slice);
        if resource.spec["hosts"].as_array().is_none_or(Vec::is_empty) {
            import.remark(
                resource,
                "hosts",
                "has no hosts, as one that another delegates to: its routes get no policies",
            );
            continue;
        }
        for (number, route) in routes.iter().enumerate() {
            one_route(resources, resource, number, route, import, &mut made);
        }
    }
    made
}

fn one_route<'a>(
    resources: &'a [Resource],
    resource: &'a Resource,
    number: usize,
    route: &Value,
    import: &mut Import,
    made: &mut Vec<Made<'a>>,
) {
    let has_upstream =
        ["redirect", "directResponse", "delegate"].iter().all(|field| route[*field].is_null());
    let place = format!("http[{number}]");
    // A route that says nothing has a policy too: else a later one would take its calls.
    let says =
        if has_upstream { says(resources, resource, &place, route, import) } else { Map::new() };
    let ways = match route["match"].as_array() {
        Some(ways) if !ways.is_empty() => ways.clone(),
        _ => vec![json!({})],
    };
    for (way, given) in ways.iter().enumerate() {
        let at = format!("{place}.match[{way}]");
        let Some(wanted) = wanted(resource, &at, given, import) else { continue };
        let named = [&route["name"], &given["name"]].into_iter().filter_map(Value::as_str);
        let mut name =
            [resource.name.as_str()].into_iter().chain(named).collect::<Vec<_>>().join("-");
        if name == resource.name && routes_of(resource) + ways.len() > 2 {
            name = format!("{name}-{}", number + 1);
        }
        let mut parts = says.clone();
        let takes_all_of = if wanted.is_whole {
            let all =
                resource.spec["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.map(|host| import.hosts.full(host, &resource.namespace)).collect()
        } else {
            Vec::new()
        };
        if !wanted.parts.is_empty() {
            parts.insert("match".to_owned(), Value::Object(wanted.parts));
        }
        made.push(Made { resource, name, width: wanted.width, takes_all_of, parts });
    }
}

fn routes_of(resource: &Resource) -> usize {
    resource.spec["http"].as_array().map_or(0, Vec::len)
}

/// What the policy of a route says; empty where neither the route nor its destination's rule says anything.
fn says(
    resources: &[Resource],
    resource: &Resource,
    place: &str,
    route: &Value,
    import: &mut Import,
) -> Map<String, Value> {
    let timeout = if is_none(&route["timeout"]) {
        None
    } else {
        import.span(resource, &format!("{place}.timeout"), &route["timeout"])
    };
    let rule = only_rule(resources, resource, place, route, import);
    let mut parts = match rule {
        Some(rule) => destination::parts(rule, timeout.as_deref(), import),
        None => Map::new(),
    };
    let retries = &route["retries"];
    let mut limits =
        parts.remove("timeout").and_then(|limits| limits.as_object().cloned()).unwrap_or_default();
    limits.extend(timeout.map(|limit| ("request".to_owned(), json!(limit))));
    let per_try =
        import.span(resource, &format!("{place}.retries.perTryTimeout"), &retries["perTryTimeout"]);
    limits.extend(per_try.map(|limit| ("per_try".to_owned(), json!(limit))));
    if !limits.is_empty() {
        parts.insert("timeout".to_owned(), Value::Object(limits));
    }
    if let Some(retry) = retry(resource, place, retries, rule, import) {
        parts.insert("retry".to_owned(), retry);
    }
    parts
}

/// Istio takes a limit of nothing for no limit.
fn is_none(limit: &Value) -> bool {
    limit.as_str().is_some_and(|text| super::span::nanos(text) == Some(0))
}

/// The rule that is for all destinations of a route.
fn only_rule<'a>(
    resources: &'a [Resource],
    resource: &Resource,
    place: &str,
    route: &Value,
    import: &mut Import,
) -> Option<&'a Resource> {
    let destinations = route["route"].as_array().map_or(&[][..], Vec::as_slice);
    let names = destinations.iter().filter_map(|one| one["destination"]["host"].as_str());
    let full: Vec<_> = names.map(|host| import.hosts.full(host, &resource.namespace)).collect();
    let (first, others) = full.split_first()?;
    if others.iter().any(|other| other != first) {
        let what = "calls go to several hosts: what their DestinationRules say is not in the route's policy";
        import.remark(resource, &format!("{place}.route"), what);
        return None;
    }
    destination::rule(resources, first, import)
}

fn retry(
    resource: &Resource,
    place: &str,
    retries: &Value,
    rule: Option<&Resource>,
    import: &mut Import,
) -> Option<Value> {
    let place = format!("{place}.retries");
    let Some(given) = retries.as_object() else {
        let what = "Istio tries every request twice more unless told otherwise, also POST (connect-failure, refused-stream, \
                    unavailable, cancelled); the policy has no retries: write `retry` where they are wanted, and \
                    `retries: {attempts: 0}` where the sidecar shall make none";
        import.remark(resource, &place, what);
        return None;
    };
    let attempts = given.get("attempts").and_then(Value::as_u64).unwrap_or(0);
    if attempts == 0 {
        return None;
    }
    let mut retry = Map::new();
    retry.insert("tries".to_owned(), json!(attempts.saturating_add(1).min(100)));
    let words = given.get("retryOn").and_then(Value::as_str).filter(|words| !words.is_empty());
    let (on, strange) =
        conditions(words.unwrap_or("connect-failure,refused-stream,unavailable,cancelled"));
    if !strange.is_empty() {
        let what = format!("nothing here is like {}", strange.join(", "));
        import.remark(resource, &format!("{place}.retryOn"), what);
    }
    if on.is_empty() {
        return None;
    }
    retry.insert("on".to_owned(), json!(on));
    retry.insert("methods".to_owned(), json!(["all"]));
    let what = "Istio retries requests of every method, also POST: `methods: [all]`. `methods: [idempotent, idempotency_key]` is safer";
    import.remark(resource, &place, what);
    let backoff = format!("{place}.backoff");
    if let Some(base) = import.span(resource, &backoff, &retries["backoff"]) {
        if import.host == Host::Native {
            retry.insert("backoff".to_owned(), json!({ "base": base }));
        } else {
            import.remark(resource, &backoff, "in Envoy it stays the VirtualService's");
        }
    }
    match rule.and_then(destination::budget) {
        Some(budget) => {
            retry.insert("budget".to_owned(), budget);
        }
        None => import.remark(
            resource,
            &place,
            "nothing bounds retries when all calls fail: `budget: {share: 0.2}` does",
        ),
    }
    Some(Value::Object(retry))
}

/// Envoy's conditions by our names, and those that have none.
fn conditions(words: &str) -> (Vec<Value>, Vec<&str>) {
    const BROKEN: [&str; 3] = ["connect", "reset", "timeout"];
    let mut on: Vec<Value> = Vec::new();
    let mut strange = Vec::new();
    for word in words.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        let means: &[&str] = match word {
            "5xx" => &["5xx", BROKEN[0], BROKEN[1], BROKEN[2]],
            "gateway-error" => &["gateway-error", BROKEN[0], BROKEN[1], BROKEN[2]],
            "reset" => &BROKEN,
            "connect-failure" | "refused-stream" | "retriable-4xx" | "cancelled"
            | "deadline-exceeded" | "internal" | "resource-exhausted" | "unavailable" => &[word],
            // It only says that statuses among the words count.
            "retriable-status-codes" => &[],
            status if status.parse::<u16>().is_ok_and(|status| (100..=599).contains(&status)) => {
                &[word]
            }
            other => {
                strange.push(other);
                &[]
            }
        };
        for one in means {
            let value = one.parse::<u16>().map_or_else(|_| json!(one), |status| json!(status));
            if !on.contains(&value) {
                on.push(value);
            }
        }
    }
    (on, strange)
}

/// Which calls a policy is for.
struct Wanted {
    parts: Map<String, Value>,
    width: usize,
    /// Whether it takes every call of its hosts.
    is_whole: bool,
}

/// A policy's `match` of one alternative of a route; none where a policy cannot ask for it, for it would take more
/// calls than the route.
fn wanted(resource: &Resource, at: &str, given: &Value, import: &mut Import) -> Option<Wanted> {
    let exact = |part: &Value| part["exact"].as_str().map(str::to_owned);
    if BEYOND.iter().any(|field| !given[*field].is_null() && given[*field] != false) {
        return None;
    }
    let mut parts = Map::new();
    let uri = &given["uri"];
    match (exact(uri), uri["prefix"].as_str()) {
        (Some(path), _) => parts.insert("path".to_owned(), json!(path)),
        (None, Some("/")) => None,
        (None, Some(prefix)) => parts.insert("path_prefix".to_owned(), json!(prefix)),
        (None, None) if uri.is_null() => None,
        (None, None) => return None,
    };
    if !given["method"].is_null() {
        parts.insert("methods".to_owned(), json!([exact(&given["method"])?]));
    }
    if let Some(headers) = given["headers"].as_object().filter(|headers| !headers.is_empty()) {
        let mut all = Map::new();
        for (name, value) in headers {
            let is_there = value.as_object().is_some_and(Map::is_empty);
            // A lone star is our word for a header that is there.
            let value = if is_there {
                "*".to_owned()
            } else {
                let Some(value) = exact(value).filter(|value| value != "*") else {
                    let what = "a policy asks for exact values, and no pseudo-header: the route gets no policy, and a later one may take its calls";
                    import.remark(resource, &format!("{at}.headers.{name}"), what);
                    return None;
                };
                value
            };
            all.insert(name.clone(), json!(value));
        }
        parts.insert("headers".to_owned(), Value::Object(all));
    }
    let is_whole = parts.is_empty() && given["authority"].is_null();
    let hosts: Vec<String> = if given["authority"].is_null() {
        let named =
            resource.spec["hosts"].as_array().into_iter().flatten().filter_map(Value::as_str);
        named.flat_map(|host| import.hosts.asked_for(host, &resource.namespace)).collect()
    } else {
        let host = exact(&given["authority"])?;
        // A port is compared by Istio and not by a policy.
        vec![host.split(':').next().unwrap_or_default().to_owned()]
    };
    let width = hosts.iter().map(|host| hosts::width(host)).max().unwrap_or(0);
    if !hosts.iter().any(|host| host == "*") {
        parts.insert("hosts".to_owned(), json!(hosts));
    }
    Some(Wanted { parts, width, is_whole })
}
