//! Start and end of the service.

use super::AnalyticsArgs;
use super::answer::{Service, router};
use super::metrics::Counts;
use super::owner::{Owner, Request};
use crate::log::{self, Format, Level};
use crate::service::{self, ServiceError};
use hyper_util::service::TowerToHyperService;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// See [`ServiceError`].
pub fn run(args: &AnalyticsArgs) -> Result<(), ServiceError> {
    log::start(Level::Info, Format::Text);
    service::run(serve(args))
}

async fn serve(args: &AnalyticsArgs) -> Result<(), ServiceError> {
    let counts = Arc::new(Counts::default());
    let (owner, requests) = mpsc::channel(args.queue as usize);
    tokio::task::spawn_local(Owner::new(name(), Arc::clone(&counts)).work(requests));
    let paths = router(Arc::new(Service::new(owner.clone(), counts)));
    let mut ends =
        service::serve(args.listen, &args.announced, TowerToHyperService::new(paths)).await?;
    // Whoever was cut off got no answer; what was answered is done, or before this in the queue.
    ends.drain(async {
        let (done, is_done) = oneshot::channel();
        if owner.send(Request::End { done }).await.is_ok() {
            let _ = is_done.await;
        }
    })
    .await
}

/// A name that no other process has: the keys of the standard library's hashes are random.
fn name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
