//! What a worker makes of requests that ended: counts, durations, and a line of the log.

use super::histogram::{Exemplar, Exemplars};
use super::{Histogram, Worker};
use crate::account::{AnsweredBy, Decision, End, RequestEnded};
use crate::log::Level;
use bimetal_core::Duration;
use bimetal_core::event::Json;
use bimetal_core::policy::Policy;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// Classes of a status: `1xx` to `5xx`.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How many requests ended, in the order of [`End::NAMES`].
pub(crate) type Ends = [u64; End::NAMES.len()];

/// How many answers were given, in the order of [`AnsweredBy::NAMES`] and [`CLASSES`].
pub(crate) type Answers = [[u64; CLASSES.len()]; AnsweredBy::NAMES.len()];

/// What one worker counts of requests that ended.
#[derive(Debug)]
pub(super) struct EndedRequests {
    ends: [Cell<u64>; End::NAMES.len()],
    answers: [[Cell<u64>; CLASSES.len()]; AnsweredBy::NAMES.len()],
    /// By policy; an empty name stands for no policy.
    durations: RefCell<Vec<(Arc<str>, Histogram)>>,
    /// By policy as well; made with the first request that is recorded.
    exemplars: RefCell<Vec<(Arc<str>, Exemplars)>>,
}

impl Default for EndedRequests {
    fn default() -> Self {
        let no_policy = (Arc::from(""), Histogram::default());
        Self {
            ends: Default::default(),
            answers: Default::default(),
            durations: RefCell::new(vec![no_policy]),
            exemplars: RefCell::default(),
        }
    }
}

impl EndedRequests {
    /// Takes the policies of new settings; counts of those that are gone stay.
    pub(super) fn load(&self, policies: &[Arc<Policy>]) {
        let mut durations = self.durations.borrow_mut();
        for policy in policies {
            match durations.iter_mut().find(|(name, _)| **name == *policy.name) {
                Some((name, _)) => *name = policy.name.clone(),
                None => durations.push((policy.name.clone(), Histogram::default())),
            }
        }
    }

    fn add(&self, request: &RequestEnded) {
        count(&self.ends[request.end.place()]);
        if let Some(status) = request.status {
            let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
            count(&self.answers[request.by.place()][class]);
        }
        if request.is_timed() {
            self.took(request.policy.as_ref(), request.duration);
            if let Some(trace) = request.trace {
                self.stands_for(request, trace);
            }
        }
    }

    /// Counts how long a request took, for the policy that matched it or for none.
    fn took(&self, policy: Option<&Arc<Policy>>, duration: Duration) {
        let Ok(mut durations) = self.durations.try_borrow_mut() else {
            return;
        };
        let same = |name: &Arc<str>| match policy {
            Some(policy) => Arc::ptr_eq(name, &policy.name) || **name == *policy.name,
            None => name.is_empty(),
        };
        if let Some((_, histogram)) = durations.iter_mut().find(|(name, _)| same(name)) {
            histogram.record(duration);
        }
    }

    /// Keeps a request that is recorded as the exemplar of its bucket.
    #[cold]
    fn stands_for(&self, request: &RequestEnded, trace: [u8; 16]) {
        let Ok(mut exemplars) = self.exemplars.try_borrow_mut() else {
            return;
        };
        let policy = request.policy.as_ref().map_or("", |policy| &*policy.name);
        let place = exemplars.iter().position(|(name, _)| **name == *policy).unwrap_or_else(|| {
            exemplars.push((Arc::from(policy), Exemplars::default()));
            exemplars.len() - 1
        });
        let exemplar = Exemplar { trace, took: request.duration, at: SystemTime::now() };
        exemplars[place].1.record(exemplar);
    }

    /// Exemplars by policy.
    pub(super) fn exemplars(&self) -> Vec<(String, Exemplars)> {
        let exemplars = self.exemplars.borrow();
        exemplars.iter().map(|(name, all)| (String::from(&**name), all.clone())).collect()
    }

    /// How the requests ended.
    pub(super) fn ends(&self) -> Ends {
        self.ends.each_ref().map(Cell::get)
    }

    /// Which answers they got.
    pub(super) fn answers(&self) -> Answers {
        self.answers.each_ref().map(|classes| classes.each_ref().map(Cell::get))
    }

    /// Durations by policy.
    pub(super) fn durations(&self) -> Vec<(String, Histogram)> {
        let durations = self.durations.borrow();
        durations.iter().map(|(name, all)| (String::from(&**name), all.clone())).collect()
    }
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl Worker {
    /// Whether each request gets a line of the log when it ends.
    pub(crate) fn logs_requests(&self) -> bool {
        self.level == Level::Debug
    }

    /// A request ended: the one place from which it is counted and logged.
    pub(crate) fn request_ended(&self, request: &RequestEnded) {
        self.ended.add(request);
        self.edges.add(request);
        if let (Some(kind), Some(policy)) = (request.fallback, &request.policy) {
            self.fallbacks.add(&policy.name, kind);
        }
        if self.logs_requests() {
            log(request);
        }
    }
}

fn log(request: &RequestEnded) {
    let line = request.line.as_deref();
    let rule = match request.decision {
        Decision::Rejected(rule) => Some(rule.name()),
        _ => None,
    };
    let refused = match request.end {
        End::Refused(why) => Some(why),
        _ => None,
    };
    let route = request.route.as_deref();
    tracing::debug!(
        method = line.map(|line| &*line.method),
        path = line.map(|line| &*line.path),
        status = request.status.map(|status| status.as_u16()),
        by = request.status.map(|_| request.by.name()),
        duration_s = request.duration.as_secs_f64(),
        end = request.end.name(),
        refused = refused.map(|why| why.reason()),
        route = route.map(|route| &*route.name),
        policy = request.policy.as_ref().map(|policy| &*policy.name),
        decision = request.decision.name(),
        rule,
        upstream = route.map(|route| &*route.destination),
        attempts = request.attempts,
        failure = request.failure.map(|kind| kind.name()),
        no_retry = request.no_retry.map(|why| why.name()),
        fallback = request.fallback.map(|kind| kind.name()),
        fallback_upstream = request.fallback_upstream.as_deref(),
        no_fallback = request.no_fallback.map(|why| why.name()),
        "{}",
        Told(request)
    );
}

/// A request in words: `GET "/a": 200 by upstream in 1.5ms, answered, route */, policy p, admitted,
/// 1 attempt`.
struct Told<'a>(&'a RequestEnded);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.0;
        match &request.line {
            Some(line) => write!(f, "{} {}", line.method, Json(&line.path))?,
            None => f.write_str("request")?,
        }
        match request.status {
            Some(status) => write!(f, ": {} by {}", status.as_u16(), request.by.name())?,
            None => f.write_str(": no answer")?,
        }
        let duration = std::time::Duration::from(request.duration);
        write!(f, " in {duration:?}, {}", request.end.name())?;
        if let End::Refused(why) = request.end {
            write!(f, " ({why})")?;
        }
        if let Some(route) = &request.route {
            write!(f, ", route {}", route.name)?;
        }
        if let Some(policy) = &request.policy {
            write!(f, ", policy {}, {}", policy.name, request.decision.name())?;
        }
        if let Decision::Rejected(rule) = request.decision {
            write!(f, " by {}", rule.name())?;
        }
        match request.attempts {
            0 => {}
            1 => f.write_str(", 1 attempt")?,
            attempts => write!(f, ", {attempts} attempts")?,
        }
        if let (Some(kind), Some(route)) = (request.failure, &request.route) {
            write!(f, ", upstream {}: {}", route.destination, kind.name())?;
        }
        if let Some(why) = request.no_retry {
            write!(f, ", not tried again: {}", why.name())?;
        }
        if let Some(kind) = request.fallback {
            write!(f, ", fallback {}", kind.name())?;
        }
        match (&request.fallback_upstream, request.no_fallback) {
            (Some(upstream), None) => write!(f, " {upstream}")?,
            (Some(upstream), Some(why)) => write!(f, ", not by {upstream}: {}", why.name())?,
            (None, Some(why)) => write!(f, ", no fallback: {}", why.name())?,
            (None, None) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "ended_tests.rs"]
pub(super) mod tests;
