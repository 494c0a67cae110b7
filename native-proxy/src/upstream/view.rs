//! The endpoints of an upstream as one worker sees them: which get calls at present.

use super::NoConnection;
use super::balance::{Candidates, Chooser};
use super::endpoint::Endpoint;
use super::group::{Group, Members, Standing};
use super::pool::Pool;
use crate::config::Balance;
use bimetal_core::Instant;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What one worker knows of an upstream's endpoints.
#[derive(Debug)]
pub(super) struct View {
    /// The endpoint of an upstream that never has another: nothing is chosen, counted or looked at.
    only: Option<Rc<Endpoint>>,
    seen: RefCell<Seen>,
    group: Arc<Group>,
}

#[derive(Debug)]
struct Seen {
    group: Arc<Group>,
    members: watch::Receiver<Members>,
    chooser: Chooser,
    /// All that there are.
    all: Vec<Rc<Endpoint>>,
    /// Those that get calls.
    usable: Vec<Rc<Endpoint>>,
    some_return: bool,
    /// When time alone changes who gets calls.
    until: Instant,
}

impl View {
    /// The endpoints of `group`, whose connections go to `pool`.
    pub(super) fn new(group: &Arc<Group>, balance: Balance, seed: u64, pool: &Pool) -> Self {
        let mut members = group.watch();
        let mut seen = Seen {
            chooser: Chooser::new(balance, seed),
            all: Vec::new(),
            usable: Vec::new(),
            some_return: false,
            until: Instant::FAR_FUTURE,
            group: group.clone(),
            members: members.clone(),
        };
        let is_only = group.settings.dns.is_none();
        let list = members.borrow_and_update().list.clone();
        let only = match &*list {
            [one] if is_only => {
                let only = Endpoint::new(one.clone(), group.clone(), false);
                pool.set_endpoints(vec![only.clone()]);
                Some(only)
            }
            _ => {
                seen.refresh(pool);
                None
            }
        };
        Self { only, seen: RefCell::new(seen), group: group.clone() }
    }

    /// The endpoint that a call goes to; none where there is none.
    #[inline]
    pub(super) fn choose(&self, pool: &Pool, avoided: &[Rc<Endpoint>]) -> Option<Rc<Endpoint>> {
        match &self.only {
            Some(only) => Some(only.clone()),
            None => self.seen.borrow_mut().choose(pool, avoided),
        }
    }

    /// The others that get calls, beginning with the one whose turn it is.
    pub(super) fn others(&self, chosen: &Rc<Endpoint>, turn: usize) -> Vec<Rc<Endpoint>> {
        if self.only.is_some() {
            return Vec::new();
        }
        let seen = self.seen.borrow();
        let (before, from) = seen.usable.split_at(turn % seen.usable.len().max(1));
        let others = from.iter().chain(before).filter(|other| !Rc::ptr_eq(other, chosen));
        others.cloned().collect()
    }

    /// Waits for the first answer to the upstream's name, for at most `limit`.
    ///
    /// # Errors
    /// There is no endpoint.
    pub(super) async fn filled(&self, limit: Duration) -> Result<(), NoConnection> {
        if self.only.is_some() {
            return Ok(());
        }
        let mut members = self.seen.borrow().members.clone();
        let is_known = |members: &Members| !members.list.is_empty() || members.why_none.is_some();
        let known = tokio::time::timeout(limit, members.wait_for(is_known)).await;
        match known {
            Ok(Ok(members)) if !members.list.is_empty() => Ok(()),
            _ => Err(self.none()),
        }
    }

    /// Why there is no endpoint.
    pub(super) fn none(&self) -> NoConnection {
        let why = self.group.members().why_none;
        let host = self.group.settings.dns.as_ref().map_or("", |dns| &dns.host);
        NoConnection::Connect(match why {
            Some(why) => why.to_string(),
            None => format!("{host}: no address yet"),
        })
    }
}

impl Seen {
    fn choose(&mut self, pool: &Pool, avoided: &[Rc<Endpoint>]) -> Option<Rc<Endpoint>> {
        // The clock is read only where it says something.
        let is_due = || self.until < Instant::FAR_FUTURE && self.group.clock().now() >= self.until;
        if self.members.has_changed().unwrap_or(false) || is_due() {
            self.refresh(pool);
        }
        let returning = self.some_return.then(|| (&*self.group, self.group.clock().now()));
        let among = Among { endpoints: &self.usable, avoided, returning };
        self.usable.get(self.chooser.choose(&among)?).cloned()
    }

    /// Takes what is new.
    fn refresh(&mut self, pool: &Pool) {
        let list = self.members.borrow_and_update().list.clone();
        let known = std::mem::take(&mut self.all);
        let is_of = |endpoint: &Endpoint, member| Arc::ptr_eq(&endpoint.member, member);
        self.all = list
            .iter()
            .map(|member| match known.iter().find(|endpoint| is_of(endpoint, member)) {
                Some(known) => known.clone(),
                None => Endpoint::new(member.clone(), self.group.clone(), true),
            })
            .collect();
        let Standing { usable, some_return, until } =
            self.group.standing(self.group.clock().now(), &list);
        (self.some_return, self.until) = (some_return, until);
        self.all.iter().for_each(|endpoint| endpoint.set_usable(false));
        self.usable = usable.iter().filter_map(|place| self.all.get(*place).cloned()).collect();
        self.usable.iter().for_each(|endpoint| endpoint.set_usable(true));
        for gone in known.iter().filter(|old| !self.all.iter().any(|one| Rc::ptr_eq(one, old))) {
            gone.leave();
        }
        pool.set_endpoints(self.all.clone());
    }
}

/// Those among whom a call chooses.
struct Among<'a> {
    endpoints: &'a [Rc<Endpoint>],
    avoided: &'a [Rc<Endpoint>],
    /// Where some of them have just returned: whom to ask, and when.
    returning: Option<(&'a Group, Instant)>,
}

impl Candidates for Among<'_> {
    fn count(&self) -> usize {
        self.endpoints.len()
    }

    fn load(&self, index: usize) -> usize {
        // Failures are no load: one would keep an endpoint out for good where there is little traffic, and
        // as many as it takes are what an ejection is for.
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.member.calls())
    }

    fn share(&self, index: usize) -> f64 {
        let endpoint = self.returning.zip(self.endpoints.get(index));
        endpoint.map_or(1.0, |((group, now), endpoint)| group.share(now, &endpoint.member))
    }

    fn is_avoided(&self, index: usize) -> bool {
        let endpoint = self.endpoints.get(index);
        endpoint.is_some_and(|one| self.avoided.iter().any(|avoided| Rc::ptr_eq(avoided, one)))
    }
}
