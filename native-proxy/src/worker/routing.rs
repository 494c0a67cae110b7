//! A worker's routes and upstreams.

use crate::call::RequestFacts;
use crate::config::{self, Settings};
use crate::upstream::{Surroundings, Upstream};
use bimetal_core::policy::{Match, Scope, Subject};
use std::rc::Rc;
use std::sync::Arc;

/// Routes and upstreams in force.
#[derive(Debug, Default)]
pub(crate) struct Routing {
    routes: Vec<Rc<Route>>,
    upstreams: Vec<Rc<Upstream>>,
    has_scopes_of_endpoints: bool,
}

/// One route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Its name.
    pub name: Arc<str>,
    /// Its path as it was written.
    pub path: Arc<str>,
    /// The name of its upstream.
    pub destination: Arc<str>,
    /// Where it leads.
    pub target: Target,
    /// Protocols to which a client and the upstream may switch.
    pub upgrades: Arc<[Box<str>]>,
    matcher: Match,
}

/// Where a route leads.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To an upstream.
    Upstream(Rc<Upstream>),
    /// To a failure that is counted.
    TestFailure,
}

impl Routing {
    /// Builds the routing of `settings`. Upstreams that did not change keep their connections;
    /// those that are gone, or changed, are retired.
    pub(crate) fn build(settings: &Settings, before: &Self, around: Surroundings<'_>) -> Self {
        let keep = |wanted: &Arc<config::Upstream>| {
            before.upstreams.iter().find(|old| **old.settings() == **wanted).cloned()
        };
        let make = |wanted: &Arc<config::Upstream>| Rc::new(Upstream::new(wanted.clone(), around));
        let upstreams: Vec<_> = settings
            .upstreams
            .iter()
            .map(|wanted| keep(wanted).unwrap_or_else(|| make(wanted)))
            .collect();
        for old in &before.upstreams {
            if !upstreams.iter().any(|kept| Rc::ptr_eq(kept, old)) {
                old.pool.retire();
            }
        }
        let routes = settings.routes.iter().filter_map(|route| Route::build(route, &upstreams));
        let mut policies = settings.document.policies.iter();
        let has_scopes_of_endpoints = policies.any(|policy| policy.scope == Scope::Endpoint);
        Self { routes: routes.map(Rc::new).collect(), upstreams, has_scopes_of_endpoints }
    }

    /// The first route that matches.
    pub(crate) fn find(&self, facts: &RequestFacts<'_>) -> Option<&Rc<Route>> {
        let subject = Subject::new(facts);
        self.routes.iter().find(|route| route.matcher.holds(&subject))
    }

    /// Whether a policy judges endpoints, which are chosen before it is asked then.
    pub(crate) fn has_scopes_of_endpoints(&self) -> bool {
        self.has_scopes_of_endpoints
    }

    /// Every upstream.
    pub(crate) fn upstreams(&self) -> &[Rc<Upstream>] {
        &self.upstreams
    }
}

impl Route {
    fn build(route: &config::Route, upstreams: &[Rc<Upstream>]) -> Option<Self> {
        let (config::Target::Upstream(index) | config::Target::TestFailure(index)) = route.target;
        let upstream = upstreams.get(index)?;
        Some(Self {
            name: route.name.clone(),
            path: route.path.clone(),
            destination: upstream.settings().name.clone(),
            target: match route.target {
                config::Target::Upstream(_) => Target::Upstream(upstream.clone()),
                config::Target::TestFailure(_) => Target::TestFailure,
            },
            upgrades: route.upgrades.iter().cloned().collect(),
            matcher: route.matcher.clone(),
        })
    }
}
