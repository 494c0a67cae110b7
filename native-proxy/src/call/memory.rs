//! A call's part in the answers that are kept: it keeps its own, is given one of before, or changes what was
//! kept.

use super::answer::Answer;
use crate::account::RequestAccount;
use crate::stale::{Asked, Filling, Target};
use crate::upstream::{Upload, Upstream};
use crate::worker::Worker;
use bimetal_core::fallback::{FallbackKind, NoFallback};
use bimetal_core::policy::{Policy, StalePolicy};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

/// What a call may do with answers that are kept.
#[derive(Debug)]
pub(super) enum Memory {
    /// It keeps a good answer, and is given one of before where it has none.
    Keeps { asked: Asked, policy: Arc<Policy>, limits: StalePolicy },
    /// It may change what was kept of this.
    Changes(Target),
}

impl Memory {
    /// Of a request that is ready for any upstream; none where it has no part in it.
    pub(super) fn of(
        worker: &Worker,
        policy: Option<&Arc<Policy>>,
        upstream: &Upstream,
        request: &Request<Upload>,
    ) -> Option<Box<Self>> {
        let limits = policy.and_then(|policy| policy.stale_applied());
        let is_head = request.method() == Method::HEAD;
        let reads = is_head || request.method() == Method::GET;
        // RFC 9110, 9.2.1.
        let is_safe = reads || matches!(*request.method(), Method::OPTIONS | Method::TRACE);
        let target = || Target {
            upstream: upstream.settings().name.clone(),
            host: request.headers().get(HOST).cloned(),
            uri: request.uri().clone(),
        };
        Some(Box::new(match (policy, limits) {
            (Some(policy), Some(limits)) if reads => {
                let (policy, headers) = (policy.clone(), request.headers().clone());
                let asked = Asked { target: Arc::new(target()), headers, is_head };
                Self::Keeps { asked, policy, limits }
            }
            _ if !is_safe && worker.stale.has_any() => Self::Changes(target()),
            _ => return None,
        }))
    }

    /// The head of its answer is there, which is good unless it `has_failed`. Gives where its body is to be
    /// kept.
    pub(super) fn arrived(
        self,
        worker: &Worker,
        (status, headers): (StatusCode, &HeaderMap),
        has_failed: bool,
        length: Option<u64>,
    ) -> Option<Filling> {
        if has_failed {
            return None;
        }
        match self {
            Self::Keeps { asked, policy, limits } => {
                let whose = (&policy.name, policy.hash, limits);
                let now = (worker.clock.now(), SystemTime::now());
                worker.stale.begin(whose, now, &asked, (status, headers), length)
            }
            Self::Changes(target) => {
                if status.as_u16() < 400 {
                    worker.stale.changed(&target);
                }
                None
            }
        }
    }

    /// An answer of before, in place of one that there is none of.
    pub(super) fn recall(
        &self,
        worker: &Rc<Worker>,
        account: &mut RequestAccount,
    ) -> Option<Response<Answer>> {
        let Self::Keeps { asked, policy, limits } = self else {
            return None;
        };
        let Some((status, headers, body)) =
            worker.stale.find(&policy.name, *limits, worker.clock.now(), asked)
        else {
            account.no_fallback(NoFallback::NothingKept);
            return None;
        };
        account.falls_back(FallbackKind::Stale);
        let length = HeaderValue::from(body.len());
        let mut response =
            Response::new(if asked.is_head { Answer::Whole(None) } else { Answer::from(body) });
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if status != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_LENGTH, length);
        }
        Some(response)
    }
}
