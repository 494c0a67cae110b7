//! Answers that are kept for when their upstream has none: a bounded store that all workers share.
//!
//! What may be kept, and what is fresh, the crate `http-cache-semantics` says by RFC 9111. In here is what
//! it leaves to a cache: how much is kept, for how long, which of several variants is meant, and which stale
//! answer may be given at all (4.2.4).

mod directives;
#[cfg(test)]
mod tests;

use bimetal_core::policy::{Document, StalePolicy};
use bimetal_core::{Duration, Instant};
use bytes::Bytes;
use directives::{forbids_stale, lowered, refuses, same_selection};
use http_cache_semantics::{BeforeRequest, CachePolicy};
use hyper::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, COOKIE, HOST, HeaderName, HeaderValue, RANGE,
    SET_COOKIE, VARY,
};
use hyper::http::request;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What an answer costs beside its bytes: the maps that it is found by.
const OVERHEAD: usize = 512;

/// So many variants of one target, by `Vary`, are kept.
const MOST_VARIANTS: usize = 8;

/// What an answer is kept under: where it comes from, and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// The upstream.
    pub upstream: Arc<str>,
    /// The host that the client asked for.
    pub host: Option<HeaderValue>,
    /// Path and query.
    pub uri: Uri,
}

/// Everything that is kept.
#[derive(Debug, Default)]
pub(crate) struct StaleAnswers {
    policies: Mutex<HashMap<Arc<str>, Answers>>,
    /// Whether there ever was any: else whoever changes something asks for no lock.
    has_begun: AtomicBool,
}

/// The answers of one policy.
#[derive(Debug, Default)]
struct Answers {
    /// The policy's hash: what another policy of that name kept is not its own.
    hash: u64,
    by_target: HashMap<Arc<Target>, Vec<Kept>>,
    /// By number, and so by age.
    order: BTreeMap<u64, Arc<Target>>,
    next: u64,
    bytes: usize,
    /// What is being read just now, each under a number of its own.
    filling: HashMap<Arc<Target>, u64>,
}

/// One answer.
#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    rules: Arc<CachePolicy>,
    /// What of its request `Vary` names.
    asked: HeaderMap,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    bytes: usize,
    at: Instant,
    /// The same moment on the clock that dates are of.
    dated: SystemTime,
}

/// A request, as far as answers are kept for it.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What it asks for.
    pub target: Arc<Target>,
    /// Its headers, as they go to any upstream.
    pub headers: HeaderMap,
    /// Whether no body is wanted.
    pub is_head: bool,
}

impl Asked {
    /// The same as the crate takes it. Of its headers these alone: what a client says of itself is not kept.
    fn parts(&self, names: &[HeaderName]) -> request::Parts {
        let mut request = Request::new(());
        // What is kept was asked for by GET; the head of its answer is also that of HEAD.
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = lowered(chosen(&self.headers, names));
        request.into_parts().0
    }
}

fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut some = HeaderMap::new();
    for name in names {
        headers.get_all(name).iter().for_each(|value| {
            some.append(name.clone(), value.clone());
        });
    }
    some
}

/// The head of an answer that is being read, and how much of its body is there.
#[derive(Debug)]
pub(crate) struct Filling {
    store: Arc<StaleAnswers>,
    policy: Arc<str>,
    target: Arc<Target>,
    limits: StalePolicy,
    kept: Kept,
    body: Vec<u8>,
    is_too_long: bool,
}

impl StaleAnswers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Answers>> {
        // A panic elsewhere leaves bounded maps behind, at worst with one answer less.
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Policies that are gone, or are others by now, lose what they kept.
    pub(crate) fn load(&self, document: &Document) {
        self.lock().retain(|name, answers| {
            let mut policies = document.policies.iter();
            policies.any(|policy| *policy.name == **name && policy.hash == answers.hash)
        });
    }

    /// Begins to keep an answer; none where it may not be kept, or one for the same target is being read.
    pub(crate) fn begin(
        self: &Arc<Self>,
        (policy, hash, limits): (&Arc<str>, u64, StalePolicy),
        (now, dated): (Instant, SystemTime),
        asked: &Asked,
        (status, headers): (StatusCode, &HeaderMap),
        length: Option<u64>,
    ) -> Option<Filling> {
        let is_too_long = length.is_some_and(|length| length > limits.max_bytes);
        if is_too_long || !may_be_kept(asked, status, headers) {
            return None;
        }
        let varies = varying(headers)?;
        let all = [&varies[..], &[HOST, CACHE_CONTROL, AUTHORIZATION]].concat();
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = lowered(headers.clone());
        let response = response.into_parts().0;
        let judge = |names: &[HeaderName]| {
            let request = asked.parts(names);
            CachePolicy::new_options(&request, &response, dated, Default::default())
        };
        if !judge(&all).is_storable() {
            return None;
        }
        let rules = Arc::new(judge(&[&varies[..], &[HOST]].concat()));
        let mut policies = self.lock();
        let answers = policies.entry(policy.clone()).or_default();
        if answers.hash != hash {
            *answers = Answers { hash, ..Answers::default() };
        }
        // What is being read takes at most as much again as what is kept.
        let most =
            usize::try_from(limits.max_total / limits.max_bytes.max(1)).unwrap_or(usize::MAX);
        if answers.filling.len() >= most.max(1) || answers.filling.contains_key(&asked.target) {
            return None;
        }
        self.has_begun.store(true, Ordering::Relaxed);
        let number = answers.next;
        answers.next += 1;
        answers.filling.insert(asked.target.clone(), number);
        let kept = Kept {
            number,
            rules,
            asked: chosen(&asked.headers, &varies),
            status,
            headers: headers.clone(),
            body: Bytes::new(),
            bytes: 0,
            at: now,
            dated,
        };
        let (store, policy, target) = (self.clone(), policy.clone(), asked.target.clone());
        Some(Filling { store, policy, target, limits, kept, body: Vec::new(), is_too_long })
    }

    /// The answer that is kept for a request, where it may be given at `now`: fresh, or stale within what
    /// everybody allows.
    pub(crate) fn find(
        &self,
        policy: &str,
        limits: StalePolicy,
        now: Instant,
        asked: &Asked,
    ) -> Option<(StatusCode, HeaderMap, Bytes)> {
        let kept = {
            let policies = self.lock();
            let variants = policies.get(policy)?.by_target.get(&asked.target)?;
            variants
                .iter()
                .find(|one| same_selection(&one.asked, &asked.headers, &one.headers))?
                .clone()
        };
        let resident = now.since(kept.at);
        // One clock for all: the machine's may have been set meanwhile.
        let now = kept.dated + std::time::Duration::from(resident);
        let age = kept.rules.age(now);
        if age > std::time::Duration::from(limits.max_age) || refuses(&asked.headers, age) {
            return None;
        }
        let names: Vec<_> = kept.asked.keys().cloned().chain([HOST]).collect();
        match kept.rules.before_request(&asked.parts(&names), now) {
            BeforeRequest::Fresh(_) => {}
            BeforeRequest::Stale { matches, .. } => {
                if !matches || forbids_stale(&asked.headers, &kept.headers) {
                    return None;
                }
            }
        }
        let mut headers = kept.headers;
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
        Some((kept.status, headers, kept.body))
    }

    /// Something was changed at this target: nothing that was kept of it is true any more (RFC 9111, 4.4).
    pub(crate) fn changed(&self, target: &Target) {
        let mut policies = self.lock();
        for answers in policies.values_mut() {
            answers.filling.remove(target);
            let gone = answers.by_target.remove(target).unwrap_or_default();
            for one in &gone {
                answers.order.remove(&one.number);
                answers.bytes -= one.bytes;
            }
        }
    }

    /// Whether anything is kept or being read.
    pub(crate) fn has_any(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }
}

/// What no rule of the RFC forbids, and what is no answer for others all the same.
fn may_be_kept(asked: &Asked, status: StatusCode, headers: &HeaderMap) -> bool {
    // A cookie says who asks, and who answers by it seldom says so.
    let is_personal = headers.contains_key(SET_COOKIE)
        || asked.headers.contains_key(COOKIE) && !directives::is_public(headers);
    // An age beyond a day is of no use, and one beyond all bounds would overflow.
    let age = headers.get(AGE).map(|age| age.to_str().ok()?.trim().parse::<u32>().ok());
    let is_of_sound_age = age.is_none_or(|age| age.is_some_and(|age| age <= 86_400));
    let is_part = asked.headers.contains_key(RANGE) || headers.contains_key(CONTENT_RANGE);
    !asked.is_head && !is_personal && is_of_sound_age && !is_part && status.as_u16() < 500
}

/// The names in `Vary`; none where nothing can match.
fn varying(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in headers.get_all(VARY) {
        for name in line.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            names.push(HeaderName::from_bytes(name.as_bytes()).ok().filter(|_| name != "*")?);
        }
    }
    Some(names)
}

impl Filling {
    /// A piece of the body.
    pub(crate) fn add(&mut self, piece: &[u8]) {
        if (self.body.len() + piece.len()) as u64 > self.limits.max_bytes {
            self.is_too_long = true;
            self.body = Vec::new();
        }
        if !self.is_too_long {
            self.body.extend_from_slice(piece);
        }
    }

    /// The answer is whole.
    pub(crate) fn finish(mut self) {
        if self.is_too_long {
            return;
        }
        let (store, limits, target) = (self.store.clone(), self.limits, self.target.clone());
        let mut kept = self.kept.clone();
        kept.body = std::mem::take(&mut self.body).into_boxed_slice().into();
        let size = |headers: &HeaderMap| -> usize {
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
        };
        // Its headers are there twice: the rules have their own.
        kept.bytes = OVERHEAD
            + kept.body.len()
            + 2 * (size(&kept.headers) + size(&kept.asked))
            + 2 * target.uri.path().len()
            + 2 * target.uri.query().map_or(0, str::len);
        let mut policies = store.lock();
        // Its policy may be gone since it began.
        let Some(answers) = policies.get_mut(&self.policy) else { return };
        if answers.filling.get(&self.target) != Some(&kept.number) {
            // Something was changed meanwhile.
            return;
        }
        answers.insert(target, kept, limits);
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(answers) = self.store.lock().get_mut(&self.policy)
            && answers.filling.get(&self.target) == Some(&self.kept.number)
        {
            answers.filling.remove(&self.target);
        }
    }
}

impl Answers {
    fn insert(&mut self, target: Arc<Target>, kept: Kept, limits: StalePolicy) {
        let variants = self.by_target.entry(target.clone()).or_default();
        let same = |one: &Kept| same_selection(&one.asked, &kept.asked, &one.headers);
        let place = variants.iter().position(same);
        let oldest = if variants.len() < MOST_VARIANTS { None } else { Some(0) };
        if let Some(place) = place.or(oldest) {
            let gone = variants.remove(place);
            self.order.remove(&gone.number);
            self.bytes -= gone.bytes;
        }
        let now = kept.at;
        self.order.insert(kept.number, target);
        self.bytes += kept.bytes;
        variants.push(kept);
        let is_too_much = |all: &Self| {
            all.bytes as u64 > limits.max_total || all.order.len() > limits.max_entries as usize
        };
        while is_too_much(self) || self.oldest_is_older_than(now, limits.max_age) {
            self.remove_oldest();
        }
    }

    fn oldest(&self) -> Option<(&Kept, &Arc<Target>)> {
        let (number, target) = self.order.first_key_value()?;
        let kept = self.by_target.get(target)?.iter().find(|one| one.number == *number)?;
        Some((kept, target))
    }

    fn oldest_is_older_than(&self, now: Instant, age: Duration) -> bool {
        self.oldest().is_some_and(|(oldest, _)| now.since(oldest.at) > age)
    }

    fn remove_oldest(&mut self) {
        let Some((number, target)) = self.order.pop_first() else { return };
        let Some(variants) = self.by_target.get_mut(&target) else { return };
        if let Some(place) = variants.iter().position(|one| one.number == number) {
            self.bytes -= variants.remove(place).bytes;
        }
        if variants.is_empty() {
            self.by_target.remove(&target);
        }
    }
}
