//! From a checked file to settings.

use super::table::{
    ADMIN, Address, FILE, HEALTH, LISTENERS, ROUTES, UPSTREAMS, WORKERS, admin, health, listener,
    route,
};
use super::{
    Listener, OwnAddresses, Route, Settings, Target, against, hidden, operators, telemetry,
    upstreams,
};
use bimetal_core::doc::check::fill;
use bimetal_core::doc::problem::quoted;
use bimetal_core::doc::{Check, Key, Node, Part, Path, Problems, Unread, Unsupported};
use bimetal_core::policy::table::{BOARD, POLICIES, UNSUPPORTED, matching};
use bimetal_core::policy::{Document, Host, Match, PathMatch};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Checks a file that was read, and fills in every default.
///
/// # Errors
/// Everything that is wrong with it, each by its path.
pub fn settings(file: &Node) -> Result<Settings, Problems> {
    // What is no word for it is refused with all else that is wrong.
    let unsupported = UNSUPPORTED.find(file).unwrap_or_default();
    let mut tree = file.clone();
    // The policies and the board are the core's to check, with all that a table cannot say of them.
    tree.remove(POLICIES.name());
    tree.remove(BOARD.name());
    let mut check = Check::new(Host::Native, unsupported);
    check.object(&Path::ROOT, &mut tree, &FILE);
    let gives = |part: &Key<Part>, address: &Key<Address>| {
        part.node(&tree).is_some_and(|part| address.node(part).is_some())
    };
    let given = OwnAddresses {
        admin: gives(&ADMIN, &admin::ADDRESS_KEY),
        health: gives(&HEALTH, &health::ADDRESS_KEY),
    };
    fill(&mut tree, &FILE);
    let mut problems = check.problems;
    names(&tree, &mut problems);
    addresses(&tree, &mut problems);
    operators::names(&tree, &mut problems);
    let document = match Document::compile(&policies(file, unsupported), Host::Native) {
        Ok(document) => {
            stand_ins(&document, UPSTREAMS.named_parts(&tree), &mut problems);
            store(&document, &mut problems);
            Some(document)
        }
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
    let policies = POLICIES.node(file).map_or_else(|| json(&Node::List(Vec::new())), json);
    read(&tree, given, document, policies, skipped).map_err(|unread| {
        unread.tell(&Path::ROOT, &mut problems);
        problems
    })
}

/// The settings of a file that was checked and completed.
fn read(
    tree: &Node,
    given: OwnAddresses,
    document: Document,
    policies: serde_json::Value,
    skipped: Vec<String>,
) -> Result<Settings, Unread> {
    let upstreams = UPSTREAMS.named_parts(tree);
    let routes = routes(ROUTES.parts(tree), upstreams)?;
    let matchers: Vec<_> = routes.iter().map(|route| &route.matcher).collect();
    let mut warnings = hidden::warnings(&matchers, &|index| {
        let name = routes.get(index).map_or("", |route: &Route| &route.name);
        format!("routes[{index}] ({name})")
    });
    warnings.extend(hidden::policies(&document));
    warnings.extend(against::policies(&document));
    let listeners = LISTENERS.parts(tree).iter().map(listener);
    let upstreams = upstreams.iter().map(|(name, node)| upstreams::read(name, node));
    let upstreams: Vec<_> = upstreams.collect::<Result<_, _>>()?;
    warnings.extend(against::fallbacks(&document, &routes, &upstreams));
    warnings.extend(upstreams.iter().filter_map(|upstream| upstreams::warning(upstream)));
    Ok(Settings {
        listeners: listeners.collect::<Result<_, _>>()?,
        admin: admin::ADDRESS_KEY.read(ADMIN.part(tree)?)?.0,
        operators: operators::read(tree)?,
        health: health::ADDRESS_KEY.read(HEALTH.part(tree)?)?.0,
        given,
        workers: match WORKERS.read(tree)? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some as usize,
        },
        upstreams,
        routes,
        telemetry: telemetry::read(tree)?,
        document,
        policies,
        skipped,
        warnings,
    })
}

fn policies(file: &Node, unsupported: Unsupported) -> Node {
    let mut document = Node::Map(Vec::new());
    document.set(UNSUPPORTED.name(), Node::Text(unsupported.name().into()));
    if let Some(policies) = POLICIES.node(file) {
        document.set(POLICIES.name(), policies.clone());
    }
    if let Some(board) = BOARD.node(file) {
        document.set(BOARD.name(), board.clone());
    }
    document
}

/// Finds a store whose address is none. It is not repeated: it may hold a password.
fn store(document: &Document, problems: &mut Problems) {
    let redis = document.board.as_ref().and_then(|board| board.redis.as_deref());
    if let Some(Err(why)) = redis.map(crate::board::address) {
        problems.add(&Path::ROOT.key(BOARD.name()).key("redis"), why);
    }
}

/// Finds routes to upstreams that are not there.
fn names(tree: &Node, problems: &mut Problems) {
    let upstreams = UPSTREAMS.named_parts(tree);
    let routes = Path::ROOT;
    let routes = routes.key(ROUTES.name());
    for (index, node) in ROUTES.parts(tree).iter().enumerate() {
        let Some(wanted) = route::UPSTREAM.text(node) else {
            continue;
        };
        if upstreams.iter().any(|(name, _)| name == wanted) {
            continue;
        }
        let at = routes.index(index);
        problems.add(&at.key(route::UPSTREAM.name()), no_upstream(wanted, upstreams));
    }
}

/// Finds fallbacks to upstreams that are not there.
fn stand_ins(document: &Document, upstreams: &[(String, Node)], problems: &mut Problems) {
    let policies = Path::ROOT;
    let policies = policies.key(POLICIES.name());
    for (index, policy) in document.policies.iter().enumerate() {
        let named = policy.fallback.as_ref().and_then(|fallback| fallback.upstream.as_ref());
        let Some(named) = named else { continue };
        if !upstreams.iter().any(|(name, _)| **name == *named.name) {
            let at = policies.index(index);
            let at = at.key("fallback");
            problems.add(&at.key("upstream"), no_upstream(&named.name, upstreams));
        }
    }
}

fn no_upstream(wanted: &str, upstreams: &[(String, Node)]) -> String {
    let known: Vec<_> = upstreams.iter().map(|(name, _)| quoted(name)).collect();
    let known = if known.is_empty() {
        String::from("there are none")
    } else {
        format!("known are {}", known.join(", "))
    };
    format!("{} is no upstream; {known}", quoted(wanted))
}

/// Finds listeners of ours that would be in each other's way.
fn addresses(tree: &Node, problems: &mut Problems) {
    let listeners = Path::ROOT;
    let listeners = listeners.key(LISTENERS.name());
    let mut taken: Vec<(SocketAddr, String)> = Vec::new();
    let mut take = |at: Path<'_>, node: &Node, key: &Key<Address>| {
        let Some(Address(wanted)) = key.find(node) else { return };
        if let Some((other, whose)) = taken.iter().find(|(other, _)| collide(*other, wanted)) {
            let what = if *other == wanted {
                format!("{wanted} is the address of {whose} too")
            } else {
                format!("{wanted} is within {other}, the address of {whose}, or holds it")
            };
            problems.add(&at.key(key.name()), format!("{what}; each needs one of its own"));
        }
        taken.push((wanted, at.to_string()));
    };
    for (index, node) in LISTENERS.parts(tree).iter().enumerate() {
        take(listeners.index(index), node, &listener::ADDRESS_KEY);
    }
    for (key, address) in [(ADMIN, admin::ADDRESS_KEY), (HEALTH, health::ADDRESS_KEY)] {
        if let Some(node) = key.node(tree) {
            take(Path::ROOT.key(key.name()), node, &address);
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

fn listener(node: &Node) -> Result<Listener, Unread> {
    Ok(Listener {
        address: listener::ADDRESS_KEY.read(node)?.0,
        max_connections: listener::MAX_CONNECTIONS.read(node)? as usize,
        header_timeout: listener::HEADER_TIMEOUT.read(node)?,
        keep_alive: listener::KEEP_ALIVE.read(node)?,
        underscores: listener::UNDERSCORES.read(node)?,
        max_body: listener::MAX_BODY.given(node)?.map(|size| size.0),
        idle: listener::IDLE.read(node)?,
        trusted_hops: listener::TRUSTED_HOPS.read(node)? as usize,
        proxy_protocol: listener::PROXY_PROTOCOL.read(node)?,
    })
}

/// The routes, each under a name of its own: `*/a` can be the path alone and all below it.
fn routes(nodes: &[Node], upstreams: &[(String, Node)]) -> Result<Vec<Route>, Unread> {
    let routes = nodes.iter().map(|node| route(node, upstreams));
    let mut routes: Vec<Route> = routes.collect::<Result<_, _>>()?;
    let mut seen: HashMap<Arc<str>, usize> = HashMap::new();
    for route in &mut routes {
        let times = seen.entry(route.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            route.name = Arc::from(format!("{}#{times}", route.name));
        }
    }
    Ok(routes)
}

fn route(node: &Node, upstreams: &[(String, Node)]) -> Result<Route, Unread> {
    let wanted = route::UPSTREAM.read(node)?;
    let place = upstreams.iter().position(|(name, _)| *name == wanted);
    let mut matcher = Match::read(node)?;
    matcher.hosts.extend(route::HOST.given(node)?);
    if matcher.path == PathMatch::prefix("/") {
        // Also what is no path: `OPTIONS *`.
        matcher.path = PathMatch::Any;
    }
    Ok(Route {
        name: route_name(node),
        path: Arc::from(written_path(node)),
        matcher,
        target: Target::Upstream(place.ok_or(route::UPSTREAM.unread())?),
        upgrades: route::UPGRADES.read(node)?.into_iter().map(Box::from).collect(),
    })
}

/// Host and path as they are written. Of several hosts the first, and how many more: the name is a
/// label of metrics, where a long list has no place.
fn route_name(node: &Node) -> Arc<str> {
    let hosts = matching::HOSTS.node(node).map_or(&[][..], Node::as_list);
    let host = match hosts {
        [] => route::HOST.text(node).unwrap_or("*").to_owned(),
        [first, more @ ..] => {
            let more = if more.is_empty() { String::new() } else { format!("+{}", more.len()) };
            format!("{}{more}", first.as_text().unwrap_or_default())
        }
    };
    Arc::from(format!("{host}{}", written_path(node)))
}

fn written_path(node: &Node) -> &str {
    let path = matching::PATH.text(node).or_else(|| matching::PATH_PREFIX.text(node));
    path.unwrap_or("/")
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

#[cfg(test)]
mod tests {
    use crate::config::{Settings, Syntax, parse};
    use serde_json::json;

    fn settings(file: &serde_json::Value) -> Settings {
        parse(&file.to_string(), Syntax::Json).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn routes_that_are_written_alike_are_numbered() {
        let settings = settings(&json!({
            "upstreams": {"a": {"endpoints": ["a:1"]}},
            "routes": [
                {"upstream": "a", "path": "/a"},
                {"upstream": "a", "path_prefix": "/a"},
                {"upstream": "a", "path": "/b"},
                {"upstream": "a", "path": "/a", "methods": ["GET"]},
                {"upstream": "a", "hosts": ["x", "y", "z"]},
                {"upstream": "a", "host": "x"},
            ],
        }));
        let names: Vec<_> = settings.routes.iter().map(|route| &*route.name).collect();
        assert_eq!(names, ["*/a", "*/a#2", "*/b", "*/a#3", "x+2/", "x/"]);
        let paths: Vec<_> = settings.routes.iter().map(|route| &*route.path).collect();
        assert_eq!(paths, ["/a", "/a", "/b", "/a", "/", "/"]);
    }

    #[test]
    fn policies_are_shown_as_they_were_written() {
        let policies = json!([{
            "name": "a",
            "timeout": {"request": "1s"},
            "breaker": {"trip": {"consecutive_failures": 3, "failure_rate":
                {"threshold": 0.5, "window": {"calls": 10}}}},
        }]);
        assert_eq!(settings(&json!({"policies": policies})).policies, policies);
        assert_eq!(settings(&json!({})).policies, json!([]));
    }

    #[test]
    fn protocols_and_collectors_are_those_that_the_proxy_can_serve() {
        let takes = |file: serde_json::Value| parse(&file.to_string(), Syntax::Json).is_ok();
        let upgrade = |word: &str| {
            takes(json!({
                "upstreams": {"a": {"endpoints": ["a:1"]}},
                "routes": [{"upstream": "a", "upgrades": [word]}],
            }))
        };
        assert_eq!(["websocket", "tcp", "TCP/1", "a!b"].map(upgrade), [true; 4]);
        let hidden = ["h2", "H2C", "h3", "HTTP/2.0", "https", "tls/1.3"].map(upgrade);
        assert_eq!(hidden, [false; 6]);
        assert_eq!(["", "/1", "web socket", "a,b"].map(upgrade), [false; 4]);
        let collector = |url: &str| takes(json!({"telemetry": {"traces": {"endpoint": url}}}));
        assert_eq!(["http://a:4318", "http://[::1]:1/x"].map(collector), [true; 2]);
        assert_eq!(["https://a:4318", "a:4318", "/v1/traces", "a b"].map(collector), [false; 4]);
    }
}
