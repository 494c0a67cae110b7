//! The endpoints of all upstreams of the process, and who looks after them: one thread for all workers.

use super::group::Group;
use super::health::{Checker, MOST_CHECKS};
use super::member::Member;
use super::names;
use super::resolve::Resolver;
use crate::clock::Clock;
use crate::config::{self, Settings};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tracing::info;

/// The endpoints of every upstream.
#[derive(Debug)]
pub(crate) struct Directory {
    clock: Clock,
    groups: Mutex<Vec<Arc<Group>>>,
    /// Rung by each [`Directory::load`].
    loads: watch::Sender<u64>,
}

impl Directory {
    /// One without upstreams.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, groups: Mutex::default(), loads: watch::Sender::new(0) }
    }

    /// Takes the upstreams of new settings; before the workers do. What is known of endpoints that an
    /// upstream keeps stays known.
    pub(crate) fn load(&self, settings: &Settings) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = settings.upstreams.iter().map(|wanted| {
            match groups.iter().find(|group| group.settings.name == wanted.name) {
                Some(same) if *same.settings == **wanted => same.clone(),
                before => {
                    let before = before.map(|group| &**group);
                    Arc::new(Group::new(wanted.clone(), self.clock, before))
                }
            }
        });
        *groups = kept.collect();
        drop(groups);
        self.loads.send_modify(|loads| *loads += 1);
    }

    /// Those that there are now.
    pub(crate) fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The endpoints of an upstream. One that newer settings do not have, which this worker is still to
    /// learn of, has those that its own settings say.
    pub(crate) fn group(&self, wanted: &Arc<config::Upstream>) -> Arc<Group> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let same = groups.iter().find(|group| group.settings.name == wanted.name);
        same.cloned().unwrap_or_else(|| Arc::new(Group::new(wanted.clone(), self.clock, None)))
    }

    /// Looks after them for as long as the process lives. Should the care for one upstream die, its
    /// endpoints stay as they are, until the next load.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut loads = self.loads.subscribe();
        let resolver = Rc::new(Resolver::default());
        let permits = Arc::new(Semaphore::new(MOST_CHECKS));
        let checker = Checker { resolver: resolver.clone(), permits };
        let mut kept: Vec<(Arc<Group>, AbortHandle)> = Vec::new();
        loop {
            loads.mark_unchanged();
            // Whoever loads has mended something, a name perhaps.
            resolver.forget();
            let groups = self.groups();
            kept.retain(|(group, care)| {
                let stays = !care.is_finished() && groups.iter().any(|one| Arc::ptr_eq(one, group));
                if !stays {
                    care.abort();
                }
                stays
            });
            for group in groups {
                if !kept.iter().any(|(one, _)| Arc::ptr_eq(one, &group)) {
                    let care = care(group.clone(), checker.clone(), self.loads.subscribe());
                    kept.push((group, tokio::task::spawn_local(care).abort_handle()));
                }
            }
            if loads.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn care(group: Arc<Group>, checker: Checker, loads: watch::Receiver<u64>) {
    let addresses = async {
        if let Some(dns) = &group.settings.dns {
            names::follow(&group, dns, &checker.resolver, loads).await;
        }
    };
    let returns = async {
        if group.settings.outlier.is_some() {
            let name = &*group.settings.name;
            let tell = |member: &Arc<Member>| {
                let endpoint = member.place.to_string();
                info!(upstream = name, endpoint, "upstream {name}: {endpoint} is back");
            };
            group.tell_of_returns(tell).await;
        }
    };
    let checks = async {
        if let Some(checks) = &group.settings.health {
            checker.check(&group, checks).await;
        }
    };
    tokio::join!(addresses, returns, checks);
}
