//! The endpoints of all upstreams of the process, and who looks after them: one thread for all workers.

use super::group::Group;
use super::names;
use super::resolve::Resolver;
use crate::config::{self, Settings};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The endpoints of every upstream.
#[derive(Debug)]
pub(crate) struct Directory {
    groups: Mutex<Vec<Arc<Group>>>,
    /// Rung by each [`Directory::load`].
    loads: watch::Sender<u64>,
}

impl Default for Directory {
    fn default() -> Self {
        Self { groups: Mutex::default(), loads: watch::Sender::new(0) }
    }
}

impl Directory {
    /// Takes the upstreams of new settings; before the workers do. What is known of endpoints that an
    /// upstream keeps stays known.
    pub(crate) fn load(&self, settings: &Settings) {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = settings.upstreams.iter().map(|wanted| {
            match groups.iter().find(|group| group.settings.name == wanted.name) {
                Some(same) if *same.settings == **wanted => same.clone(),
                before => Arc::new(Group::new(wanted.clone(), before.map(|group| &**group))),
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
        same.cloned().unwrap_or_else(|| Arc::new(Group::new(wanted.clone(), None)))
    }

    /// Looks after them for as long as the process lives. Should the care for one upstream die, its
    /// endpoints stay as they are, until the next load.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut loads = self.loads.subscribe();
        let resolver = Rc::new(Resolver::default());
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
                    let care = care(group.clone(), resolver.clone(), self.loads.subscribe());
                    kept.push((group, tokio::task::spawn_local(care).abort_handle()));
                }
            }
            if loads.changed().await.is_err() {
                return;
            }
        }
    }
}

async fn care(group: Arc<Group>, resolver: Rc<Resolver>, loads: watch::Receiver<u64>) {
    if let Some(dns) = &group.settings.dns {
        names::follow(&group, dns, &resolver, loads).await;
    }
}
