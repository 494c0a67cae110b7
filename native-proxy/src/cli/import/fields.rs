//! What becomes of each field of Istio's resources: one row each, from which the importer tells what it leaves
//! out. `docs/istio-fields.md` has the same rows, and a test holds the two together.

/// A resource whose fields are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DestinationRule,
    VirtualService,
}

impl Kind {
    /// As `kind` names it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::DestinationRule => "DestinationRule",
            Self::VirtualService => "VirtualService",
        }
    }

    /// The kind of that name; none where nothing of it could be carried over.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::DestinationRule, Self::VirtualService].into_iter().find(|kind| kind.name() == name)
    }
}

/// A field, with all below it.
pub(super) struct Field {
    pub(super) kind: Kind,
    /// Its path in `spec`; `[]` stands for each item of a list.
    pub(super) path: &'static str,
    /// The policy's field that it becomes; empty where nothing becomes of it.
    pub(super) to: &'static str,
    /// Why nothing becomes of it and what to do instead; or how the two differ.
    pub(super) said: &'static str,
}

impl Field {
    /// The row of this field, where there is one.
    pub(super) fn of(kind: Kind, path: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.kind == kind && field.path == path)
    }

    /// Whether there are rows of fields below this one.
    pub(super) fn is_above(kind: Kind, path: &str) -> bool {
        let is_below =
            |field: &str| field.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        FIELDS.iter().any(|field| field.kind == kind && is_below(field.path))
    }
}

const fn rule(path: &'static str, to: &'static str, said: &'static str) -> Field {
    Field { kind: Kind::DestinationRule, path, to, said }
}

const fn service(path: &'static str, to: &'static str, said: &'static str) -> Field {
    Field { kind: Kind::VirtualService, path, to, said }
}

const MESH: &str = "routing stays the mesh's, or the `routes` of a proxy's file";
const MATCH: &str = "a policy's `match` cannot ask for it, so the route gets no policy, and a later one may take its calls";

/// Every field that Istio 1.30 has.
pub(super) static FIELDS: &[Field] = &[
    rule("host", "match.hosts", "with the shorter names that callers use in its place"),
    rule(
        "trafficPolicy.outlierDetection.consecutive5xxErrors",
        "breaker.trip.consecutive_failures",
        "Istio ejects one endpoint in each sidecar; here the whole destination opens, in the proxy with `scope: endpoint` one endpoint",
    ),
    rule(
        "trafficPolicy.outlierDetection.consecutiveGatewayErrors",
        "breaker.trip.consecutive_failures, breaker.failure.statuses",
        "502, 503 and 504 alone count. Of two numbers the one that is reached first is taken",
    ),
    rule(
        "trafficPolicy.outlierDetection.consecutiveErrors",
        "",
        "Istio does not apply it any more (it was `consecutiveGatewayErrors`): its default, 5 answers of 5xx, is in force",
    ),
    rule(
        "trafficPolicy.outlierDetection.baseEjectionTime",
        "breaker.open.base",
        "grows with each trip in a row, as in Istio",
    ),
    rule(
        "trafficPolicy.outlierDetection.interval",
        "",
        "Istio looks once in each interval whether an ejection is over; a breaker is half-open when its time is over",
    ),
    rule(
        "trafficPolicy.outlierDetection.maxEjectionPercent",
        "",
        "a breaker has no endpoints to spare: `outlier.max_ejection` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.outlierDetection.minHealthPercent",
        "",
        "a breaker has no endpoints to count: `outlier.min_healthy` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.outlierDetection.splitExternalLocalOriginErrors",
        "",
        "failures of connections and answers count in one streak; `breaker.failure.transport` says which of the former",
    ),
    rule(
        "trafficPolicy.outlierDetection.consecutiveLocalOriginFailures",
        "",
        "failures of connections and answers count in one streak",
    ),
    rule(
        "trafficPolicy.connectionPool.tcp.maxConnections",
        "concurrency.max",
        "with HTTP/1.1 a connection carries one call; the proxy's own bound of connections is `pool.max_connections` of an upstream",
    ),
    rule(
        "trafficPolicy.connectionPool.tcp.connectTimeout",
        "timeout.connect",
        "in the proxy only: in Envoy it stays the DestinationRule's",
    ),
    rule(
        "trafficPolicy.connectionPool.tcp.idleTimeout",
        "",
        "`pool.idle` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.connectionPool.tcp.maxConnectionDuration",
        "",
        "nothing ends a connection by its age",
    ),
    rule(
        "trafficPolicy.connectionPool.tcp.tcpKeepalive",
        "",
        "the proxy's connections have keep-alive after two minutes",
    ),
    rule(
        "trafficPolicy.connectionPool.http.http1MaxPendingRequests",
        "concurrency.queue.max",
        "with 0, which Istio does not apply, and without it calls wait in Envoy as long as they may; so does the queue",
    ),
    rule(
        "trafficPolicy.connectionPool.http.http2MaxRequests",
        "concurrency.max",
        "calls under way, whatever the protocol",
    ),
    rule(
        "trafficPolicy.connectionPool.http.maxRequestsPerConnection",
        "",
        "`pool.max_requests_per_connection` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.connectionPool.http.maxRetries",
        "",
        "retries are bounded by their share of all calls: `retry.budget`",
    ),
    rule(
        "trafficPolicy.connectionPool.http.idleTimeout",
        "",
        "`pool.idle` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.connectionPool.http.h2UpgradePolicy",
        "",
        "the protocol is Envoy's, or the upstream's in the proxy's file",
    ),
    rule(
        "trafficPolicy.connectionPool.http.useClientProtocol",
        "",
        "the protocol is Envoy's, or the upstream's in the proxy's file",
    ),
    rule(
        "trafficPolicy.connectionPool.http.maxConcurrentStreams",
        "",
        "streams of a connection are Envoy's; calls in all: `http2MaxRequests`",
    ),
    rule(
        "trafficPolicy.retryBudget.percent",
        "retry.budget.share",
        "where a VirtualService's route has retries",
    ),
    rule(
        "trafficPolicy.retryBudget.minRetryConcurrency",
        "",
        "`retry.budget.floor` is in retries a second, not at once",
    ),
    rule(
        "trafficPolicy.loadBalancer.simple",
        "",
        "`balance` of an upstream in the proxy's file: `round_robin`, `least_request` or `random`",
    ),
    rule(
        "trafficPolicy.loadBalancer.warmup",
        "",
        "`slow_start` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.loadBalancer.warmupDurationSecs",
        "",
        "`slow_start` of an upstream in the proxy's file",
    ),
    rule(
        "trafficPolicy.loadBalancer.consistentHash",
        "",
        "the endpoint is chosen by Envoy; the proxy has no consistent hash",
    ),
    rule(
        "trafficPolicy.loadBalancer.localityLbSetting",
        "",
        "the endpoint is chosen by Envoy; the proxy knows no localities",
    ),
    rule(
        "trafficPolicy.portLevelSettings",
        "",
        "a policy does not ask for ports: write one by its `match.hosts`",
    ),
    rule("trafficPolicy.tls", "", "connections are Envoy's"),
    rule("trafficPolicy.tunnel", "", "connections are Envoy's"),
    rule("trafficPolicy.proxyProtocol", "", "connections are Envoy's"),
    rule(
        "subsets[].name",
        "",
        "a policy does not ask for subsets; by `scope: destination` each has a breaker of its own in Envoy",
    ),
    rule("subsets[].labels", "", "a policy does not ask for subsets"),
    rule(
        "subsets[].trafficPolicy",
        "",
        "a policy does not ask for subsets: all have what the rule says",
    ),
    rule("exportTo", "", "a policy is in force where its WasmPlugin or its proxy is"),
    rule("workloadSelector", "", "a policy is in force where its WasmPlugin or its proxy is"),
    service("hosts", "match.hosts", "with the shorter names that callers use in their place"),
    service("http[].match[].uri.exact", "match.path", "normalised before it is compared"),
    service(
        "http[].match[].uri.prefix",
        "match.path_prefix",
        "by whole segments: `/a` takes `/a/b`, not `/ab`",
    ),
    service("http[].match[].uri.regex", "", MATCH),
    service("http[].match[].method.exact", "match.methods", "the same"),
    service("http[].match[].method.prefix", "", MATCH),
    service("http[].match[].method.regex", "", MATCH),
    service(
        "http[].match[].headers",
        "match.headers",
        "exact values, and `{}` for a header that is there; with a prefix or a regular expression the route gets no policy, and a later one may take its calls",
    ),
    service("http[].match[].authority.exact", "match.hosts", "in place of the service's hosts"),
    service("http[].match[].authority.prefix", "", MATCH),
    service("http[].match[].authority.regex", "", MATCH),
    service("http[].match[].withoutHeaders", "", MATCH),
    service("http[].match[].queryParams", "", MATCH),
    service("http[].match[].scheme", "", MATCH),
    service("http[].match[].port", "", MATCH),
    service("http[].match[].ignoreUriCase", "", MATCH),
    service("http[].match[].sourceLabels", "", MATCH),
    service("http[].match[].sourceNamespace", "", MATCH),
    service("http[].match[].gateways", "", MATCH),
    service("http[].match[].name", "name", "the policy's name ends so"),
    service("http[].match[].statPrefix", "", "metrics have the policy's name"),
    service("http[].name", "name", "the policy's name ends so"),
    service(
        "http[].timeout",
        "timeout.request",
        "Istio's is for the whole answer, with all tries; ours until its headers",
    ),
    service(
        "http[].retries.attempts",
        "retry.tries",
        "one more: Istio counts the retries, we the tries",
    ),
    service("http[].retries.perTryTimeout", "timeout.per_try", "the same"),
    service(
        "http[].retries.retryOn",
        "retry.on",
        "Envoy's `5xx`, `gateway-error` and `reset` mean broken connections too, which are named by themselves",
    ),
    service(
        "http[].retries.backoff",
        "retry.backoff.base",
        "in the proxy only: in Envoy it stays the VirtualService's",
    ),
    service(
        "http[].retries.retryIgnorePreviousHosts",
        "",
        "the proxy goes to another endpoint where there is one; in Envoy it stays the VirtualService's",
    ),
    service("http[].retries.retryRemoteLocalities", "", "the endpoint is chosen by Envoy"),
    service(
        "http[].fault",
        "",
        "faults are injected by the mesh, and are no evidence unless the policy says `count_injected: true`",
    ),
    service(
        "http[].route[].destination.host",
        "scope",
        "what its DestinationRule says is in the route's policy; by `scope: destination` each has a state of its own",
    ),
    service("http[].route[].destination.port", "", "a policy does not ask for ports"),
    service(
        "http[].route[].destination.subset",
        "",
        "a policy does not ask for subsets; by `scope: destination` each has a breaker of its own in Envoy",
    ),
    service("http[].route[].weight", "", MESH),
    service("http[].route[].headers", "", MESH),
    service("http[].headers", "", MESH),
    service("http[].rewrite", "", MESH),
    service("http[].redirect", "", "the route has no upstream, so its policy says nothing"),
    service("http[].directResponse", "", "the route has no upstream, so its policy says nothing"),
    service("http[].delegate", "", "import the VirtualService that it names"),
    service("http[].mirror", "", MESH),
    service("http[].mirrors", "", MESH),
    service("http[].mirrorPercentage", "", MESH),
    service("http[].mirrorPercent", "", MESH),
    service("http[].mirror_percent", "", MESH),
    service("http[].corsPolicy", "", MESH),
    service("tcp", "", "a policy is for HTTP"),
    service("tls", "", "a policy is for HTTP"),
    service("gateways", "", "a policy is in force where its WasmPlugin or its proxy is"),
    service("exportTo", "", "a policy is in force where its WasmPlugin or its proxy is"),
];
