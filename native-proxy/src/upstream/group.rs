//! The endpoints of one upstream, as all workers of the process know them.
//!
//! Workers read what is in here and count in it by atomics; the list itself is replaced whole. So no call
//! waits for another thread.

use crate::config::{self, Endpoint};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::watch;

/// One endpoint of an upstream.
#[derive(Debug)]
pub(crate) struct Member {
    /// Where it is.
    pub place: Endpoint,
    /// Calls under way to it, of all workers.
    calls: AtomicUsize,
}

impl Member {
    /// One that nothing is known of.
    pub(super) fn new(place: Endpoint) -> Self {
        Self { place, calls: AtomicUsize::new(0) }
    }

    /// A call to it begins.
    #[inline]
    pub(super) fn enter(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call to it is over.
    #[inline]
    pub(super) fn leave(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls under way to it. Where an upstream has one endpoint only, they are not counted.
    #[inline]
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Which endpoints there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    /// In a fixed order, each once.
    pub list: Arc<[Arc<Member>]>,
    /// Why there are none, once that is known.
    pub why_none: Option<Arc<str>>,
}

/// The endpoints of one upstream.
#[derive(Debug)]
pub(crate) struct Group {
    /// The upstream.
    pub settings: Arc<config::Upstream>,
    members: watch::Sender<Members>,
}

impl Group {
    /// The endpoints of an upstream. What is known of those that it had `before` stays known.
    pub(super) fn new(settings: Arc<config::Upstream>, before: Option<&Self>) -> Self {
        let known = before.map(|before| before.members().list).unwrap_or_default();
        let same_name = before.is_some_and(|before| before.settings.dns == settings.dns);
        let list = match &settings.dns {
            Some(_) if same_name => known,
            Some(_) => Arc::default(),
            None => joined(settings.endpoints.iter().cloned(), &known),
        };
        let members = watch::Sender::new(Members { list, why_none: None });
        Self { settings, members }
    }

    /// Which there are now.
    pub(crate) fn members(&self) -> Members {
        self.members.borrow().clone()
    }

    /// Tells of each change.
    pub(super) fn watch(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// These are its endpoints from now on.
    pub(super) fn set(&self, places: impl Iterator<Item = Endpoint>) {
        self.members.send_modify(|members| {
            members.list = joined(places, &members.list);
            members.why_none = None;
        });
    }

    /// There is none, for this reason; those that are known stay.
    pub(super) fn none_found(&self, why: Arc<str>) {
        let is_news = |members: &Members| members.list.is_empty() && members.why_none.is_none();
        self.members.send_if_modified(|members| {
            let is_news = is_news(members);
            members.why_none = Some(why).filter(|_| members.list.is_empty());
            is_news
        });
    }
}

/// Endpoints at `places`, each once: those that are known as they are.
fn joined(places: impl Iterator<Item = Endpoint>, known: &[Arc<Member>]) -> Arc<[Arc<Member>]> {
    let mut list: Vec<Arc<Member>> = Vec::new();
    for place in places {
        if list.iter().any(|member| member.place == place) {
            continue;
        }
        let member = known.iter().find(|member| member.place == place).cloned();
        list.push(member.unwrap_or_else(|| Arc::new(Member::new(place))));
    }
    list.into()
}
