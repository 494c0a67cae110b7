//! Requests that wait for their release.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;

/// Held requests by the name they are held under; shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<String, Vec<oneshot::Sender<()>>>>);

impl Holds {
    /// Waits until `name` is released.
    pub(super) async fn wait(&self, name: &str) {
        let (release, released) = oneshot::channel();
        self.table().entry(name.to_owned()).or_default().push(release);
        // An error would mean that the table is gone, and the server with it.
        let _ = released.await;
    }

    /// Lets go of every request now held under `name`; how many there were. A request whose
    /// client has left is not counted.
    pub(super) fn release(&self, name: &str) -> usize {
        let held = self.table().remove(name).unwrap_or_default();
        held.into_iter().map(|release| release.send(())).filter(Result::is_ok).count()
    }

    /// Lets go of all, whatever their name.
    pub(super) fn release_all(&self) {
        self.table().clear();
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<oneshot::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
