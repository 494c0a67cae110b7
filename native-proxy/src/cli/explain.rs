//! `bimetal explain`: what would be decided for a request, and why.

use super::input::{self, InputError};
use super::matching::{Considered, consider};
use super::output::{WRONG_INPUT, complain, print};
use super::request::Request;
use super::{Answer, HostName, check, describe};
use crate::config::{self, Settings, Target};
use bimetal_core::doc::Problems;
use bimetal_core::path::HiddenDots;
use bimetal_core::policy::{Document, Host, Mode, Policy};
use bimetal_core::{Direction, Engine, Instant, PassReason, Verdict};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  bimetal explain --policy policy.yaml POST /echo
  bimetal explain --policy policy.yaml --destination echo POST http://echo.demo/echo 'x-tenant: gold'
  bimetal explain --policy proxy.yaml --json POST /echo

The breaker is taken as it is at the start: closed. What the breakers of a running proxy do is
under /breakers of its admin listener.";

#[derive(Debug, clap::Args)]
#[command(about = "Say what would be decided for a request, and why", after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    /// Policy document or proxy file; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The host that decides
    #[arg(long, value_enum, default_value_t)]
    host: HostName,
    /// Name of the upstream: in Envoy the cluster
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Name of the route
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Address of the client
    #[arg(long, value_name = "ADDRESS")]
    client: Option<String>,
    /// Which way the request goes through a sidecar
    #[arg(long, value_enum)]
    direction: Option<DirectionName>,
    #[command(flatten)]
    answer: Answer,
    /// Method of the request
    method: String,
    /// Path of the request, or a whole http:// address
    target: String,
    /// Headers of the request, each as "name: value"
    #[arg(value_name = "HEADER")]
    headers: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DirectionName {
    Inbound,
    Outbound,
}

/// The whole answer.
#[derive(Debug, Serialize)]
struct Explanation {
    host: &'static str,
    request: String,
    /// Where a proxy file sends it.
    way: Option<Way>,
    /// Policies in the order of the document, up to the one that matches.
    considered: Vec<Considered>,
    policy: Option<String>,
    mode: Option<&'static str>,
    scope: Option<Scope>,
    decision: &'static str,
    why: String,
    plan: Option<Plan>,
    /// What is made of the time that a caller has left.
    deadline: Option<String>,
    /// How many connections a client may have at work.
    connections: Option<String>,
    /// How fast answers are sent.
    bandwidth: Option<String>,
    /// What the rate limits allow, a line each.
    limits: Vec<String>,
    /// Whether failed tries are made again.
    retry: Option<String>,
    /// What the breaker goes by, a line each.
    breaker: Vec<String>,
    /// How many calls may be under way, a line each.
    concurrency: Vec<String>,
    /// The answer while the breaker is open.
    when_open: Option<String>,
    skipped: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Way {
    route: String,
    upstream: String,
}

#[derive(Debug, Serialize)]
struct Scope {
    by: String,
    /// The key of this request, where a breaker is kept for it.
    key: Option<String>,
}

#[derive(Debug, Serialize)]
struct Plan {
    request_timeout_ms: Option<u64>,
    connect_timeout_ms: Option<u64>,
    try_timeout_ms: Option<u64>,
    /// How the request's follows the upstream; what it is now, the admin page `/policies` says.
    auto: Option<String>,
}

/// Why there is no explanation.
enum Unexplained {
    Input(InputError),
    Request(String),
    Document(PathBuf, Problems),
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Request(what) => f.write_str(what),
            Self::Document(file, problems) => {
                let problems = config::in_file(file, problems);
                write!(f, "{}: the document is refused\n{problems}", file.display())
            }
        }
    }
}

pub(super) fn run(args: ExplainArgs) -> ExitCode {
    match explain(&args) {
        Ok(explanation) => {
            if args.answer.json {
                match serde_json::to_string(&explanation) {
                    Ok(text) => print(&text, ExitCode::SUCCESS),
                    Err(error) => {
                        complain(format_args!("{error}"));
                        ExitCode::FAILURE
                    }
                }
            } else {
                print(&explanation, ExitCode::SUCCESS)
            }
        }
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::from(WRONG_INPUT)
        }
    }
}

fn explain(args: &ExplainArgs) -> Result<Explanation, Unexplained> {
    let mut request =
        Request::parse(&args.method, &args.target, &args.headers).map_err(Unexplained::Request)?;
    request.destination.clone_from(&args.destination);
    request.route.clone_from(&args.route);
    request.client.clone_from(&args.client);
    request.direction = match args.direction {
        Some(DirectionName::Inbound) => Direction::Inbound,
        Some(DirectionName::Outbound) => Direction::Outbound,
        None => Direction::Unknown,
    };
    let document = input::document(&args.policy).map_err(Unexplained::Input)?.node;
    let kind = input::Kind::of(&document);
    let host = Host::from(args.host);
    let refused = |problems| Unexplained::Document(args.policy.clone(), problems);
    let asked = request.line();
    // As the proxy does before it looks for a route; the filter leaves a path as it is.
    let is_refused = host == Host::Native && request.straighten().is_err();
    if kind == input::Kind::Proxy && host == Host::Native {
        let settings = config::settings(&document).map_err(refused)?;
        let document = &settings.document;
        if is_refused {
            return Ok(hides_dots(document, asked));
        }
        return Ok(match follow(&settings, &mut request) {
            Ok(way) => Explanation { way: Some(way), ..decide(document, host, &request, asked) },
            Err((decision, why)) => {
                Explanation { decision, why: why.into(), ..Explanation::new(document, host, asked) }
            }
        });
    }
    let document = Document::compile(&check::policies_of(document, kind), host).map_err(refused)?;
    Ok(if is_refused {
        hides_dots(&document, asked)
    } else {
        decide(&document, host, &request, asked)
    })
}

/// The proxy answers by itself.
fn hides_dots(document: &Document, asked: String) -> Explanation {
    let mut told = Explanation::new(document, Host::Native, asked);
    told.decision = "refuse";
    told.why = format!("the proxy answers 400: {HiddenDots}");
    told
}

/// Fills in where the proxy would send `request`, as far as the command line does not say; or what
/// the proxy answers without asking a policy.
fn follow(settings: &Settings, request: &mut Request) -> Result<Way, (&'static str, &'static str)> {
    if request.method == "CONNECT" {
        return Err(("405", "this proxy makes no tunnels; no policy sees it"));
    }
    let mut routes = settings.routes.iter();
    let Some(route) = routes.find(|route| route.matcher.matches(request)) else {
        return Err(("404", "endpoint not found: no route is for it, and no policy sees it"));
    };
    let (Target::Upstream(at) | Target::TestFailure(at)) = route.target;
    let upstream = settings.upstreams.get(at).map_or("", |upstream| &upstream.name);
    request.route.get_or_insert_with(|| route.name.to_string());
    request.destination.get_or_insert_with(|| upstream.to_owned());
    Ok(Way { route: route.name.to_string(), upstream: upstream.to_owned() })
}

fn decide(document: &Document, host: Host, request: &Request, asked: String) -> Explanation {
    let mut engine = Engine::new(0);
    let policies = engine.load(document);
    let verdict = engine.admit(Instant::ZERO, &policies, request);
    let key = engine
        .breakers(Instant::ZERO)
        .next()
        .map(|breaker| String::from_utf8_lossy(breaker.key).into_owned());
    let mut told = Explanation::new(document, host, asked);
    told.considered = consider(document, request);
    match verdict {
        Verdict::Pass(pass) => {
            told.about(pass.policy, key);
            told.why = match pass.why {
                PassReason::Disabled => "the policy is disabled: it passes untouched".to_owned(),
                PassReason::TableFull => "the table of scopes is full".to_owned(),
                PassReason::Shadow(rejection) => {
                    format!("in shadow mode; it would have been rejected: {rejection}")
                }
                _ => "it passes".to_owned(),
            };
        }
        Verdict::Reject(refusal) => {
            told.about(refusal.policy, key);
            told.decision = "reject";
            told.why = refusal.rejection.to_string();
        }
        Verdict::Admit(admission) => {
            told.about(admission.policy, key);
            told.decision = "admit";
            told.why = match admission.policy.breaker {
                Some(_) => format!("its breaker is {}", admission.state().name()),
                None => "the policy has no breaker".to_owned(),
            };
            let plan = admission.plan();
            told.plan = Some(Plan {
                request_timeout_ms: plan.request_timeout.map(|time| time.as_millis()),
                connect_timeout_ms: plan.connect_timeout.map(|time| time.as_millis()),
                try_timeout_ms: plan.try_timeout.map(|time| time.as_millis()),
                auto: admission.policy.timeout.auto.as_ref().map(describe::auto_timeout),
            });
        }
        _ => "no policy is for it: it passes untouched".clone_into(&mut told.why),
    }
    told
}

impl Explanation {
    /// What can be said before anything is decided.
    fn new(document: &Document, host: Host, asked: String) -> Self {
        Self {
            host: host.name(),
            request: asked,
            way: None,
            considered: Vec::new(),
            policy: None,
            mode: None,
            scope: None,
            decision: "pass",
            why: String::new(),
            plan: None,
            deadline: None,
            connections: None,
            bandwidth: None,
            limits: Vec::new(),
            retry: None,
            breaker: Vec::new(),
            concurrency: Vec::new(),
            when_open: None,
            skipped: document.skipped.clone(),
        }
    }

    fn about(&mut self, policy: &Arc<Policy>, key: Option<String>) {
        self.policy = Some(policy.name.to_string());
        self.mode = Some(policy.mode.name());
        self.scope = Some(Scope { by: describe::scope(&policy.scope), key });
        self.deadline = policy.deadline.as_ref().map(describe::deadline);
        self.retry = policy.retry_applied().map(|retry| describe::retry(retry));
        self.connections = policy.connections.as_ref().map(describe::connections);
        self.bandwidth = policy.bandwidth_applied().as_ref().map(describe::bandwidth);
        self.limits = policy.rate_limits.iter().flat_map(describe::limit).collect();
        self.concurrency = policy.concurrency.iter().flat_map(describe::concurrency).collect();
        if let Some(breaker) = &policy.breaker {
            self.breaker = describe::breaker(breaker);
            self.when_open = match policy.mode {
                Mode::Disabled | Mode::Shadow => None,
                Mode::Enforce | Mode::ForcedOpen => Some(describe::rejection(policy)),
            };
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {}, {}", self.request, self.host, self.decision, self.why)?;
        if let Some(way) = &self.way {
            write!(f, "\n  route {}: to {}", way.route, way.upstream)?;
        }
        for one in &self.considered {
            write!(f, "\n  policy {}: {}", one.policy, one.why)?;
        }
        if let Some(scope) = &self.scope {
            write!(f, "\n  scope: {}", scope.by)?;
            // Quoted and escaped: a client may have chosen it.
            if let Some(key) = scope.key.as_ref().filter(|key| !key.is_empty()) {
                write!(f, ", here {key:?}")?;
            }
        }
        if let Some(mode) = self.mode {
            write!(f, "\n  mode: {mode}")?;
        }
        if let Some(deadline) = &self.deadline {
            write!(f, "\n  deadline: {deadline}")?;
        }
        if let Some(connections) = &self.connections {
            write!(f, "\n  connections: {connections}")?;
        }
        if let Some(bandwidth) = &self.bandwidth {
            write!(f, "\n  bandwidth: {bandwidth}")?;
        }
        for line in &self.limits {
            write!(f, "\n  rate limit: {line}")?;
        }
        for line in &self.breaker {
            write!(f, "\n  breaker: {line}")?;
        }
        for line in &self.concurrency {
            write!(f, "\n  concurrency: {line}")?;
        }
        if let Some(answer) = &self.when_open {
            write!(f, "\n  while open: {answer}")?;
        }
        if let Some(retry) = &self.retry {
            write!(f, "\n  retries: {retry}")?;
        }
        if let Some(plan) = &self.plan {
            let limits = [
                ("request", plan.request_timeout_ms),
                ("connect", plan.connect_timeout_ms),
                ("each try's", plan.try_timeout_ms),
            ];
            for (what, limit) in limits {
                if let Some(limit) = limit {
                    write!(f, "\n  {what} timeout: {limit} ms")?;
                }
            }
            if let Some(auto) = &plan.auto {
                write!(f, "\n  request timeout follows: {auto}")?;
            }
        }
        self.skipped.iter().try_for_each(|skipped| write!(f, "\n  skipped: {skipped}"))
    }
}
