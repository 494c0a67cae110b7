//! What a host answers in place of the upstream: status, fields and body, described once for all hosts.

use super::{Rejected, Rejection};
use crate::event::Json;
use crate::policy::{Fallback, Policy};
use alloc::borrow::Cow;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt::Display;

/// An answer of our own. A host writes it as it is; it adds nothing but what the connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The fields, names in lower case, each once.
    pub fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The body.
    pub body: Cow<'a, str>,
}

impl<'a> Reply<'a> {
    /// `{"error": text}`, or what `fallback` says in its place; it cannot change `fields`, which
    /// explain the answer.
    fn new(
        status: u16,
        text: &dyn Display,
        fallback: Option<&'a Fallback>,
        mut fields: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    ) -> Self {
        let given = fallback.map_or(&[][..], |fallback| &fallback.headers);
        let explaining = fields.len();
        for (name, value) in given {
            match fields.iter().position(|(taken, _)| *taken == name.as_str()) {
                Some(place) if place < explaining => {}
                Some(place) => {
                    if let Some((_, known)) = fields.get_mut(place) {
                        *known = value.into();
                    }
                }
                None => fields.push((name.into(), value.into())),
            }
        }
        if !fields.iter().any(|(name, _)| name == "content-type") {
            fields.push(("content-type".into(), "application/json".into()));
        }
        let body = match fallback.and_then(|fallback| fallback.body.as_deref()) {
            Some(body) => body.into(),
            None => format!(r#"{{"error":{}}}"#, Json(&text.to_string())).into(),
        };
        let status = fallback.and_then(|fallback| fallback.status).unwrap_or(status);
        Self { status, fields, body }
    }
}

impl Rejected<'_> {
    /// The answer: the rule's or the policy's fallback, and always what says which rule and why.
    pub fn reply(&self) -> Reply<'_> {
        let Self { policy, rejection, .. } = self;
        let (rule, reason) = (rejection.rule(), rejection.to_string());
        let mut status = rule.status();
        let text = format!("{}: {reason}", rule.title());
        let mut fields = Vec::with_capacity(4);
        fields.push(("x-bimetal-rule".into(), format!("{}/{}", policy.name, rule.name()).into()));
        fields.push(("x-bimetal-reason".into(), reason.into()));
        if let Some(left) = rejection.retry_after() {
            // Zero would say "at once" to a client that was just turned away.
            let seconds = left.as_secs_ceil().max(1).to_string();
            fields.push(("retry-after".into(), seconds.into()));
        }
        if let (Rejection::Connections { .. }, Some(limit)) = (rejection, &policy.connections) {
            status = limit.status;
        }
        if let Rejection::RateLimit { limit, .. } = rejection {
            status = limit.status(policy).unwrap_or(status);
            let told = limit.fields(policy).into_iter().flatten();
            fields.extend(told.map(|(name, value)| (name.into(), value.into())));
        }
        Reply::new(status, &text, policy.fallback_when_rejected(), fields)
    }
}

impl Policy {
    /// The fixed answer in place of a failure that `text` describes, where the policy has one and acts.
    pub fn reply_when_failed(&self, text: &dyn Display) -> Option<Reply<'_>> {
        let fallback = self.fallback_when_failed().filter(|fallback| fallback.is_fixed())?;
        Some(Reply::new(503, text, Some(fallback), Vec::new()))
    }
}
