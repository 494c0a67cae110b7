//! The endpoints of one upstream, as all workers of the process know them, and what is decided of them.
//!
//! Workers read the list and count in its members by atomics. A lock is taken where something changes that
//! all have to agree on: an ejection, a check that turns, another list. So no call waits for another thread.

use super::member::{Health, Member, State};
use crate::clock::Clock;
use crate::config::{self, Endpoint};
use bimetal_core::Instant;
use bimetal_core::ejection::{Kept, Record, Settings, returning_share};
use bimetal_core::outcome::Outcome;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tracing::{info, warn};

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
    clock: Clock,
    /// Rung by each change of what it holds.
    members: watch::Sender<Members>,
    /// Held by whoever decides; whether it still may.
    decides: Mutex<bool>,
    ejections: AtomicU64,
}

/// Who gets calls at a moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// By their places in the list.
    pub usable: Vec<usize>,
    /// Whether some of them have just returned.
    pub some_return: bool,
    /// When time alone changes it.
    pub until: Instant,
}

impl Group {
    /// The endpoints of an upstream. What is known of those that it had `before` stays known.
    pub(super) fn new(
        settings: Arc<config::Upstream>,
        clock: Clock,
        before: Option<&Self>,
    ) -> Self {
        if let Some(before) = before {
            // Its members are ours from now on: a check that is under way, or a worker that does not know
            // of the reload yet, must not decide of them by settings that are gone.
            *before.decides() = false;
        }
        let known = before.map(|before| before.members().list).unwrap_or_default();
        let same_name = before.is_some_and(|before| before.settings.dns == settings.dns);
        let ejections = before.map_or(0, |before| before.ejections.load(Ordering::Relaxed));
        let list = match &settings.dns {
            Some(_) if same_name => known,
            Some(_) => Arc::default(),
            None => {
                let places = settings.endpoints.iter().cloned();
                joined(places, &known, clock.now(), settings.health.is_some())
            }
        };
        let now = clock.now();
        for member in &*list {
            // What nobody looks after any more must not stay as it is for ever.
            if settings.outlier.is_none() {
                let mut record = member.record();
                record.end(now);
                member.set_record(record);
            }
            if settings.health.is_none() {
                member.set_health(Health::Unknown, now);
            }
        }
        let members = watch::Sender::new(Members { list, why_none: None });
        Self {
            settings,
            clock,
            members,
            decides: Mutex::new(true),
            ejections: AtomicU64::new(ejections),
        }
    }

    fn decides(&self) -> MutexGuard<'_, bool> {
        self.decides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which there are now.
    pub(crate) fn members(&self) -> Members {
        self.members.borrow().clone()
    }

    /// Tells of each change.
    pub(super) fn watch(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// The clock by which it is decided.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// How many ejections there were.
    pub(crate) fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// What is known of each endpoint, for people.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let (now, list) = (self.clock.now(), self.members().list);
        let usable = self.standing(now, &list).usable;
        let rows = list.iter().enumerate().map(|(place, member)| {
            let record = member.record();
            let ejected_for = record.until().since(now);
            json!({
                "upstream": &*self.settings.name,
                "endpoint": member.place.to_string(),
                "state": member.state(now).name(),
                "gets_calls": usable.contains(&place),
                "share": self.share(now, member),
                "calls": member.calls(),
                "failures": member.streak.failures(),
                "ejections": record.ejections(),
                "ejected_for_s": ejected_for.as_secs_f64(),
                "health": member.health().name(),
            })
        });
        rows.collect()
    }

    /// How many endpoints are in each state, in the order of [`State::ALL`].
    pub(crate) fn states(&self) -> [u64; State::ALL.len()] {
        let (now, list) = (self.clock.now(), self.members().list);
        State::ALL.map(|state| list.iter().filter(|one| one.state(now) == state).count() as u64)
    }

    /// These are its endpoints from now on.
    pub(super) fn set(&self, places: impl Iterator<Item = Endpoint>) {
        let (now, are_checked) = (self.clock.now(), self.settings.health.is_some());
        self.members.send_modify(|members| {
            members.list = joined(places, &members.list, now, are_checked);
            members.why_none = None;
        });
    }

    /// There is none, for this reason; those that are known stay.
    pub(super) fn none_found(&self, why: Arc<str>) {
        self.members.send_if_modified(|members| {
            let is_news = members.list.is_empty() && members.why_none.is_none();
            members.why_none = Some(why).filter(|_| members.list.is_empty());
            is_news
        });
    }

    /// A call to `member` counted as `outcome`; or no connection to it could be made, which is a failure.
    #[inline]
    pub(super) fn saw(&self, member: &Arc<Member>, outcome: Outcome) {
        let Some(settings) = &self.settings.outlier else {
            return;
        };
        if outcome == Outcome::Success && member.streak.failures() == 0 {
            return;
        }
        // Calls from before an ejection, and those that had no better choice, say nothing new.
        let now = self.clock.now();
        if !member.is_out(now) && member.streak.is_due(outcome, settings.consecutive_failures) {
            self.eject(now, member, settings);
        }
    }

    #[cold]
    fn eject(&self, now: Instant, member: &Arc<Member>, settings: &Settings) {
        let decides = self.decides();
        if !*decides {
            return;
        }
        let list = self.members().list;
        let mut records: Vec<Record> = list.iter().map(|member| member.record()).collect();
        let Some(place) = list.iter().position(|one| Arc::ptr_eq(one, member)) else {
            return;
        };
        let (name, endpoint) = (&*self.settings.name, member.place.to_string());
        match settings.eject(now, &mut records, place) {
            Ok(ejection) => {
                if let Some(record) = records.get(place) {
                    member.set_record(*record);
                }
                self.ejections.fetch_add(1, Ordering::Relaxed);
                let failures = settings.consecutive_failures;
                warn!(
                    upstream = name,
                    endpoint,
                    "upstream {name}: {endpoint} is ejected for {} after {failures} failures in a row",
                    ejection.length
                );
                self.members.send_modify(|_| {});
            }
            Err(Kept::IsOut) => {}
            Err(why) => {
                tracing::debug!("upstream {name}: {endpoint} fails and is not ejected: {why}");
            }
        }
    }

    /// What a check says of `member` now; `why` where it says no.
    pub(super) fn checked(&self, member: &Member, health: Health, why: Option<&str>) {
        let decides = self.decides();
        if !*decides || member.health() == health {
            return;
        }
        member.set_health(health, self.clock.now());
        let (name, endpoint) = (&*self.settings.name, member.place.to_string());
        match why {
            Some(why) => {
                warn!(upstream = name, endpoint, "upstream {name}: {endpoint} is unhealthy: {why}");
            }
            None => info!(upstream = name, endpoint, "upstream {name}: {endpoint} is healthy"),
        }
        self.members.send_modify(|_| {});
    }

    /// Tells of each end of an ejection; the workers find it by their own clock. Never returns.
    pub(super) async fn tell_of_returns(&self, tell: impl Fn(&Arc<Member>)) {
        let mut changes = self.watch();
        let mut known: Vec<(Arc<Member>, Instant)> = Vec::new();
        loop {
            let list = changes.borrow_and_update().list.clone();
            let now = self.clock.now();
            for (member, until) in &known {
                let is_back = *until <= now && member.out_until() == *until;
                if is_back && list.iter().any(|one| Arc::ptr_eq(one, member)) {
                    tell(member);
                }
            }
            let out = list.iter().filter(|member| member.is_out(now));
            known = out.map(|member| (member.clone(), member.out_until())).collect();
            let next = known.iter().map(|(_, until)| *until).min();
            let end = async {
                match next {
                    Some(at) => tokio::time::sleep_until(self.clock.timer_instant(at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = changes.changed() => {}
                () = end => {}
            }
        }
    }

    /// Who gets calls at `now`: those that pass their checks and are not ejected. Where too few of those that
    /// pass are not ejected, all that pass; where none passes, whoever there is.
    pub(super) fn standing(&self, now: Instant, list: &[Arc<Member>]) -> Standing {
        let all = || list.iter().enumerate();
        let mut fit: Vec<usize> =
            all().filter(|(_, member)| member.health().is_good()).map(|(place, _)| place).collect();
        if fit.is_empty() {
            fit = all().map(|(place, _)| place).collect();
        }
        let is_out = |place: &usize| list.get(*place).is_some_and(|member| member.is_out(now));
        let are_in: Vec<usize> = fit.iter().copied().filter(|place| !is_out(place)).collect();
        let panics = match &self.settings.outlier {
            Some(settings) => settings.panics(are_in.len(), fit.len()),
            None => are_in.is_empty(),
        };
        let usable = if panics { fit } else { are_in };
        let some_return = usable
            .iter()
            .any(|place| list.get(*place).is_some_and(|member| self.share(now, member) < 1.0));
        let ends = list.iter().flat_map(|member| {
            let back = member.returned_at();
            let is_slow = back > Instant::ZERO;
            [back, if is_slow { back + self.settings.slow_start } else { Instant::ZERO }]
        });
        let until = ends.filter(|end| *end > now).min().unwrap_or(Instant::FAR_FUTURE);
        Standing { usable, some_return, until }
    }

    /// The share of its usual calls that a member gets at `now`.
    pub(super) fn share(&self, now: Instant, member: &Member) -> f64 {
        match member.returned_at() {
            // Ejected all the same, it has calls because there are too few others.
            back if back == Instant::ZERO || back > now => 1.0,
            back => returning_share(now.since(back), self.settings.slow_start),
        }
    }
}

/// Endpoints at `places`, each once: those that are known as they are. Others begin slowly where they come to
/// some that are there, and where they are checked only after that.
fn joined(
    places: impl Iterator<Item = Endpoint>,
    known: &[Arc<Member>],
    now: Instant,
    are_checked: bool,
) -> Arc<[Arc<Member>]> {
    let (health, since) = match (known.is_empty(), are_checked) {
        (true, _) => (Health::Unknown, Instant::ZERO),
        (false, true) => (Health::New, now),
        (false, false) => (Health::Unknown, now),
    };
    let mut list: Vec<Arc<Member>> = Vec::new();
    for place in places {
        if list.iter().any(|member| member.place == place) {
            continue;
        }
        let member = known.iter().find(|member| member.place == place).cloned();
        list.push(member.unwrap_or_else(|| Arc::new(Member::new(place, health, since))));
    }
    list.into()
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
