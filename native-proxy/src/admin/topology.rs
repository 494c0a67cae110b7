//! What the configuration says of who leads where: `/topology`. What was seen is `/analyze`.

use crate::config::{Metal, Settings, Target};
use crate::proxy::Shared;
use serde_json::{Value, json};

/// Routes, upstreams and policies as they are configured.
pub(super) fn page(settings: &Settings) -> Value {
    let upstream = |place: usize| settings.upstreams.get(place).map(|one| &*one.name);
    let routes = settings.routes.iter().map(|route| {
        let (Target::Upstream(place) | Target::TestFailure(place)) = route.target;
        json!({"route": &*route.name, "upstream": upstream(place)})
    });
    let upstreams = settings.upstreams.iter().map(|one| {
        let endpoints = one.endpoints.iter().map(ToString::to_string);
        let dns = one.dns.as_ref().map(|dns| dns.host.to_string());
        json!({"upstream": &*one.name, "endpoints": endpoints.collect::<Vec<_>>(), "dns": dns})
    });
    let policies = settings.document.policies.iter().map(|policy| {
        json!({
            "policy": &*policy.name,
            "mode": policy.mode.name(),
            "timeout_ms": policy.timeout.request.map(|limit| limit.as_secs_f64() * 1e3),
            "has_breaker": policy.breaker.is_some(),
            "hash": format!("{:016x}", policy.hash),
        })
    });
    json!({
        "routes": routes.collect::<Vec<_>>(),
        "upstreams": upstreams.collect::<Vec<_>>(),
        "policies": policies.collect::<Vec<_>>(),
    })
}

/// Who is told of.
pub(super) fn proxy(shared: &Shared, settings: &Settings) -> Value {
    let watch = settings.operators.watch.iter().map(|one| {
        let metal = match one.metal {
            Metal::Proxy => "proxy",
            Metal::Envoy => "envoy",
        };
        json!({"name": &*one.name, "metal": metal, "address": one.address.to_string()})
    });
    json!({
        "name": shared.admin.to_string(),
        "metal": "proxy",
        "version": env!("CARGO_PKG_VERSION"),
        "workers": shared.workers.len(),
        "can_be_controlled": settings.operators.token_file.is_some(),
        "watch": watch.collect::<Vec<_>>(),
    })
}
