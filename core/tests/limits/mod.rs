//! What the tests of rate limits share: a worker in virtual time, and calls of many clients.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, unreachable_pub)]

use bimetal_core::decision::{Reply, Rule};
use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Engine, Facts, Instant, Ticket, Verdict};
use std::borrow::Cow;

/// A request of a client, with a value of `x-tenant`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    pub client: &'a str,
    pub tenant: Option<&'a str>,
}

impl Facts for Request<'_> {
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        (!self.client.is_empty()).then_some(Cow::Borrowed(self.client.as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.tenant.filter(|_| name == "x-tenant").map(|tenant| Cow::Borrowed(tenant.as_bytes()))
    }
}

/// A request of that client.
pub fn from(client: &str) -> Request<'_> {
    Request { client, tenant: None }
}

/// One policy of `scope: policy` with these fields.
pub fn document(fields: &str) -> Document {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "policy", {fields}}}]}}"#
    );
    Document::parse(text.as_bytes(), Host::Native).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    pub engine: Engine,
    pub policies: Policies,
    pub now: Instant,
}

impl Worker {
    pub fn new(fields: &str) -> Self {
        Self::with(Engine::new(1), fields)
    }

    pub fn with(mut engine: Engine, fields: &str) -> Self {
        let policies = engine.load(&document(fields));
        Self { engine, policies, now: Instant::from_millis(1_000_000) }
    }

    /// It is so many milliseconds after the beginning.
    pub fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::from_millis(1_000_000 + millis);
        self
    }

    /// A call's ticket, or the rule that turned it away.
    pub fn ask(&mut self, request: Request<'_>) -> Result<Ticket, Rule> {
        match self.engine.admit(self.now, &self.policies, &request) {
            Verdict::Admit(admission) => Ok(admission.ticket),
            Verdict::Reject(rejected) => Err(rejected.rejection.rule()),
            other => panic!("{other:?}"),
        }
    }

    /// What is answered to a call that is turned away.
    pub fn refusal(&mut self, request: Request<'_>) -> Reply<'_> {
        match self.engine.admit(self.now, &self.policies, &request) {
            Verdict::Reject(rejected) => {
                let reply = rejected.reply();
                let own = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
                let fields = reply.fields.iter().map(|(name, value)| (own(name), own(value)));
                Reply { status: reply.status, fields: fields.collect(), body: own(&reply.body) }
            }
            other => panic!("{other:?}"),
        }
    }

    /// How many of so many calls at once are admitted; each succeeds at once.
    pub fn offered(&mut self, request: Request<'_>, count: u32) -> u32 {
        let mut admitted = 0;
        for _ in 0..count {
            match self.ask(request) {
                Ok(ticket) => {
                    admitted += 1;
                    self.engine.settle(self.now, ticket, Report::from(Outcome::Success));
                }
                Err(rule) => assert_eq!(rule, Rule::RateLimit),
            }
        }
        admitted
    }
}

/// The value of a field.
pub fn field<'a>(reply: &'a Reply<'_>, name: &str) -> Option<&'a str> {
    reply.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
}
