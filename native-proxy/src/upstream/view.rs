//! The endpoints of an upstream as one worker sees them: which get calls at present.

use super::Avoided;
use super::NoConnection;
use super::balance::{Candidates, Chooser};
use super::endpoint::Endpoint;
use super::group::{Group, Members};
use super::pool::Pool;
use crate::config::Balance;
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
    members: watch::Receiver<Members>,
    chooser: Chooser,
    /// All that there are.
    all: Vec<Rc<Endpoint>>,
    /// Those that get calls.
    usable: Vec<Rc<Endpoint>>,
}

impl View {
    /// The endpoints of `group`, whose connections go to `pool`.
    pub(super) fn new(group: &Arc<Group>, balance: Balance, seed: u64, pool: &Pool) -> Self {
        let mut members = group.watch();
        let mut seen = Seen {
            chooser: Chooser::new(balance, seed),
            all: Vec::new(),
            usable: Vec::new(),
            members: members.clone(),
        };
        let is_only = group.settings.dns.is_none();
        let list = members.borrow_and_update().list.clone();
        let only = match &*list {
            [one] if is_only => {
                let only = Endpoint::new(one.clone(), false);
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
    pub(super) fn choose(&self, pool: &Pool, avoided: Avoided<'_>) -> Option<Rc<Endpoint>> {
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
    fn choose(&mut self, pool: &Pool, avoided: Avoided<'_>) -> Option<Rc<Endpoint>> {
        if self.members.has_changed().unwrap_or(false) {
            self.refresh(pool);
        }
        let among = Among { endpoints: &self.usable, avoided };
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
                None => Endpoint::new(member.clone(), true),
            })
            .collect();
        self.usable = self.all.clone();
        for gone in known.iter().filter(|old| !self.all.iter().any(|one| Rc::ptr_eq(one, old))) {
            gone.leave();
        }
        pool.set_endpoints(self.all.clone());
    }
}

/// Those among whom a call chooses.
struct Among<'a> {
    endpoints: &'a [Rc<Endpoint>],
    avoided: Avoided<'a>,
}

impl Candidates for Among<'_> {
    fn count(&self) -> usize {
        self.endpoints.len()
    }

    fn load(&self, index: usize) -> usize {
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.member.calls())
    }

    fn share(&self, _index: usize) -> f64 {
        1.0
    }

    fn is_avoided(&self, index: usize) -> bool {
        let endpoint = self.endpoints.get(index);
        endpoint.is_some_and(|one| self.avoided.iter().any(|avoided| Rc::ptr_eq(avoided, one)))
    }
}
