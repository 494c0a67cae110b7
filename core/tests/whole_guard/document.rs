//! Policies with any of the mechanisms, and what the model has to know of them.

use bimetal_core::policy::{Document, Host};
use bimetal_core::rng::Rng;
use serde_json::{Map, Value, json};

/// What a caller has left and no upstream can use, in milliseconds.
pub(crate) const MARGIN: u64 = 5;

/// A rate limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub per_second: u64,
    pub capacity: u64,
    pub is_shared: bool,
}

/// A limit of calls under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    pub max: u32,
    pub is_shared: bool,
    /// How long a call may wait, in milliseconds.
    pub max_wait: Option<u64>,
}

/// A budget of retries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub share: f64,
    /// Retries a second.
    pub floor: u64,
}

/// What a drawn policy says.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub text: String,
    /// Whether each tenant has a scope of its own.
    pub is_by_tenant: bool,
    pub is_shadow: bool,
    pub has_deadline: bool,
    pub limits: Vec<Limit>,
    pub slots: Option<Slots>,
    pub has_retry: bool,
    pub budget: Option<Budget>,
    /// Connections at work that a client may have.
    pub per_client: Option<usize>,
}

fn share(is_shared: bool) -> &'static str {
    if is_shared { "process" } else { "none" }
}

impl Drawn {
    /// A policy that has each mechanism more often than not.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let below = |rng: &mut Rng, limit: u64| rng.next_u64() % limit;
        let is_by_tenant = below(rng, 2) == 0;
        let is_shadow = below(rng, 8) == 0;
        let limits = (0..below(rng, 3)).map(|_| Limit {
            per_second: 20 + below(rng, 200),
            capacity: 1 + below(rng, 30),
            is_shared: below(rng, 2) == 0,
        });
        let limits: Vec<_> = limits.collect();
        let slots = (below(rng, 4) != 0).then(|| Slots {
            max: 1 + below(rng, 5) as u32,
            is_shared: below(rng, 3) != 0,
            max_wait: (below(rng, 4) != 0).then(|| 5 + below(rng, 80)),
        });
        let has_retry = below(rng, 4) != 0;
        let budget = (has_retry && below(rng, 4) != 0)
            .then(|| Budget { share: rng.next_share() / 2.0, floor: below(rng, 2) });
        let has_deadline = below(rng, 2) == 0;
        let per_client = (below(rng, 3) == 0).then(|| 1 + below(rng, 6) as usize);

        let mut policy = Map::new();
        policy.insert("name".into(), json!("p"));
        let scope = if is_by_tenant { "header:x-tenant" } else { "policy" };
        policy.insert("scope".into(), json!(scope));
        policy.insert("mode".into(), json!(if is_shadow { "shadow" } else { "enforce" }));
        if below(rng, 4) != 0 {
            let trip = json!({"consecutive_failures": 2 + below(rng, 3)});
            let open = json!({"base": format!("{}ms", 50 + below(rng, 400)), "jitter": 0});
            let half_open = json!({"max_probes": 1 + below(rng, 2), "lease": "1s"});
            let share = share(below(rng, 4) != 0);
            policy.insert(
                "breaker".into(),
                json!({"trip": trip, "open": open, "half_open": half_open, "share": share}),
            );
        }
        let told = |limit: &Limit| {
            let Limit { per_second, capacity, is_shared } = *limit;
            let rate = format!("{per_second}/s");
            json!({"rate": rate, "capacity": capacity, "share": share(is_shared)})
        };
        if !limits.is_empty() {
            policy.insert("rate_limits".into(), limits.iter().map(told).collect());
        }
        if let Some(Slots { max, is_shared, max_wait }) = slots {
            let mut fields = json!({"max": max, "share": share(is_shared)});
            if let Some(wait) = max_wait {
                let most = 1 + below(rng, 8);
                fields["queue"] = json!({"max": most, "max_wait": format!("{wait}ms")});
            }
            policy.insert("concurrency".into(), fields);
        }
        if has_retry {
            let mut fields = json!({"tries": 3, "on": ["503"],
                "backoff": {"base": "10ms", "max": "100ms"}});
            if let Some(Budget { share, floor }) = budget {
                fields["budget"] = json!({"share": share, "floor": format!("{floor}/s")});
            }
            policy.insert("retry".into(), fields);
        }
        if has_deadline {
            policy.insert(
                "deadline".into(),
                json!({"accept": ["x-request-deadline-ms"], "margin": format!("{MARGIN}ms")}),
            );
        }
        if let Some(most) = per_client {
            policy.insert("connections".into(), json!({"per_client": most}));
        }
        let text = json!({"policies": [Value::Object(policy)]}).to_string();
        Self {
            text,
            is_by_tenant,
            is_shadow,
            has_deadline,
            limits,
            slots,
            has_retry,
            budget,
            per_client,
        }
    }

    pub(crate) fn document(&self) -> Document {
        let document = Document::parse(self.text.as_bytes(), Host::Native);
        document.unwrap_or_else(|wrong| panic!("{wrong}: {}", self.text))
    }
}
