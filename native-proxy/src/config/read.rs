//! From a checked file to settings.

use super::table::FILE;
use super::{Endpoint, Listener, Pool, Route, Settings, Target, Underscores, Upstream, hidden};
use bimetal_core::doc::check::fill;
use bimetal_core::doc::problem::quoted;
use bimetal_core::doc::{Check, Node, Path, Problems, Unsupported};
use bimetal_core::policy::{Document, Host, HostPattern, Match, PathMatch};
use hyper::header::HeaderValue;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Checks a file that was read, and fills in every default.
///
/// # Errors
/// Everything that is wrong with it, each by its path.
pub fn settings(file: &Node) -> Result<Settings, Problems> {
    let unsupported = Unsupported::asked_by(file);
    let mut tree = file.clone();
    // The policies are the core's to check, with all that a table cannot say of them.
    tree.remove("policies");
    let mut check = Check::new(Host::Native, unsupported);
    check.object(&Path::ROOT, &mut tree, &FILE);
    fill(&mut tree, &FILE);
    let mut problems = check.problems;
    let upstreams = tree.get("upstreams").map_or(&[][..], Node::as_map);
    names(&tree, upstreams, &mut problems);
    addresses(&tree, &mut problems);
    let document = match Document::compile(&policies(file, unsupported), Host::Native) {
        Ok(document) => Some(document),
        Err(wrong) => {
            problems.append(wrong);
            None
        }
    };
    let (Some(document), true) = (document, problems.is_empty()) else {
        return Err(problems);
    };
    let skipped = check.skipped.iter().map(ToString::to_string);
    let skipped = skipped.chain(document.skipped.iter().cloned()).collect();
    let routes = routes(tree.items("routes"), upstreams);
    let matchers: Vec<_> = routes.iter().map(|route| &route.matcher).collect();
    let mut warnings = hidden::warnings(&matchers, &|index| {
        let name = routes.get(index).map_or("", |route: &Route| &route.name);
        format!("routes[{index}] ({name})")
    });
    warnings.extend(hidden::policies(&document));
    Ok(Settings {
        listeners: tree.items("listeners").iter().filter_map(listener).collect(),
        admin: tree.get("admin").and_then(address).unwrap_or(NOWHERE),
        health: tree.get("health").and_then(address).unwrap_or(NOWHERE),
        workers: workers(&tree),
        upstreams: upstreams.iter().map(|(name, node)| upstream(name, node)).collect(),
        routes,
        document,
        policies: file.get("policies").map_or_else(|| json(&Node::List(Vec::new())), json),
        skipped,
        warnings,
    })
}

// The table has a default for each address, so this stands for none that can happen.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn policies(file: &Node, unsupported: Unsupported) -> Node {
    let mut document = Node::Map(Vec::new());
    if unsupported == Unsupported::Skip {
        document.set("unsupported", Node::Text("skip".into()));
    }
    if let Some(policies) = file.get("policies") {
        document.set("policies", policies.clone());
    }
    document
}

/// Finds routes to upstreams that are not there.
fn names(tree: &Node, upstreams: &[(String, Node)], problems: &mut Problems) {
    let routes = Path::ROOT;
    let routes = routes.key("routes");
    for (index, route) in tree.items("routes").iter().enumerate() {
        let Some(wanted) = route.text("upstream") else {
            continue;
        };
        if upstreams.iter().any(|(name, _)| name == wanted) {
            continue;
        }
        let known: Vec<_> = upstreams.iter().map(|(name, _)| quoted(name)).collect();
        let known = if known.is_empty() {
            String::from("there are none")
        } else {
            format!("known are {}", known.join(", "))
        };
        let what = format!("{} is no upstream; {known}", quoted(wanted));
        problems.add(&routes.index(index).key("upstream"), what);
    }
}

/// Finds listeners of ours that would be in each other's way.
fn addresses(tree: &Node, problems: &mut Problems) {
    let listeners = Path::ROOT;
    let listeners = listeners.key("listeners");
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    let mut take = |at: Path<'_>, node: &Node| {
        let Some(wanted) = address(node) else { return };
        if let Some((other, whose)) = taken.iter().find(|(other, _)| collide(*other, wanted)) {
            let what = if *other == wanted {
                format!("{wanted} is the address of {whose} too")
            } else {
                format!("{wanted} is within {other}, the address of {whose}, or holds it")
            };
            problems.add(&at.key("address"), format!("{what}; each needs one of its own"));
        }
        taken.push((wanted, at.to_string()));
    };
    for (index, listener) in tree.items("listeners").iter().enumerate() {
        take(listeners.index(index), listener);
    }
    for key in ["admin", "health"] {
        if let Some(node) = tree.get(key) {
            take(Path::ROOT.key(key), node);
        }
    }
}

/// Whether the system would refuse the second of two addresses: the same port, and the same
/// address or one that stands for all. `[::]` takes version 4 as well.
pub(crate) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let all = |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    one.port() != 0
        && one.port() == other.port()
        && (ip == other_ip || all(ip, other_ip) || all(other_ip, ip))
}

fn address(node: &Node) -> Option<SocketAddr> {
    node.text("address")?.parse().ok()
}

fn listener(node: &Node) -> Option<Listener> {
    Some(Listener {
        address: address(node)?,
        max_connections: count(node, "max_connections"),
        header_timeout: node.duration("header_timeout")?,
        keep_alive: node.duration("keep_alive")?,
        underscores: match node.text("underscores") {
            Some("allow") => Underscores::Allow,
            _ => Underscores::Drop,
        },
        max_body: node.size("max_body"),
        idle: node.duration("idle")?,
        trusted_hops: count(node, "trusted_hops"),
    })
}

fn workers(tree: &Node) -> usize {
    match count(tree, "workers") {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    }
}

fn upstream(name: &str, node: &Node) -> Arc<Upstream> {
    let pool = node.get("pool").unwrap_or(&Node::Null);
    let first = node.texts("endpoints").next().filter(|_| node.text("host") == Some("endpoint"));
    Arc::new(Upstream {
        name: Arc::from(name),
        endpoints: node.texts("endpoints").filter_map(Endpoint::parse).collect(),
        host: first.and_then(|endpoint| HeaderValue::from_str(endpoint).ok()),
        idle: node.duration("idle").unwrap_or_default(),
        pool: Pool {
            max_connections: count(pool, "max_connections"),
            max_pending: count(pool, "max_pending"),
            idle: pool.duration("idle").unwrap_or_default(),
        },
    })
}

/// The routes, each under a name of its own: `*/a` can be the path alone and all below it.
fn routes(nodes: &[Node], upstreams: &[(String, Node)]) -> Vec<Route> {
    let mut routes: Vec<Route> = nodes.iter().filter_map(|node| route(node, upstreams)).collect();
    let mut seen: HashMap<Arc<str>, usize> = HashMap::new();
    for route in &mut routes {
        let times = seen.entry(route.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            route.name = Arc::from(format!("{}#{times}", route.name));
        }
    }
    routes
}

fn route(node: &Node, upstreams: &[(String, Node)]) -> Option<Route> {
    let wanted = node.text("upstream")?;
    let place = upstreams.iter().position(|(name, _)| name == wanted)?;
    let host = node.text("host").unwrap_or("*");
    let (path, shown) = match (node.text("path"), node.text("path_prefix")) {
        (Some(path), _) => (PathMatch::exact(path), path),
        (None, Some(prefix)) => match PathMatch::prefix(prefix) {
            // Also what is no path: `*`.
            PathMatch::Prefix(root) if *root == *b"/" => (PathMatch::Any, "/"),
            some => (some, prefix),
        },
        (None, None) => (PathMatch::Any, "/"),
    };
    let lower = host.to_ascii_lowercase();
    let hosts = match lower.strip_prefix('*') {
        Some("") => Vec::new(),
        Some(suffix) => vec![HostPattern::Suffix(suffix.as_bytes().into())],
        None => vec![HostPattern::Exact(lower.as_bytes().into())],
    };
    Some(Route {
        name: Arc::from(format!("{host}{shown}")),
        matcher: Match { hosts, path, ..Match::default() },
        target: Target::Upstream(place),
        upgrades: node.texts("upgrades").map(Box::from).collect(),
    })
}

fn count(node: &Node, key: &str) -> usize {
    node.integer(key).and_then(|value| usize::try_from(value).ok()).unwrap_or_default()
}

fn json(node: &Node) -> serde_json::Value {
    match node {
        Node::Null => serde_json::Value::Null,
        Node::Bool(value) => (*value).into(),
        Node::Int(value) => (*value).into(),
        Node::Float(value) => (*value).into(),
        Node::Text(value) => value.as_str().into(),
        Node::List(items) => items.iter().map(json).collect(),
        Node::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), json(value))).collect()
        }
    }
}
