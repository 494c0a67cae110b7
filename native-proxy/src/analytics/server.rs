//! Start and end of the service.

use super::AnalyticsArgs;
use super::answer::{Service, router};
use super::metrics::Counts;
use super::owner::{Owner, Request};
use super::store::{self, Link};
use crate::log::{self, Format, Level};
use crate::service::{self, ServiceError};
use hyper_util::service::TowerToHyperService;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Why the service did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnalyticsError {
    /// The store's address is none.
    Store(String),
    /// The server itself.
    Service(ServiceError),
}

impl fmt::Display for AnalyticsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(why) => write!(f, "--redis: {why}"),
            Self::Service(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for AnalyticsError {}

impl AnalyticsError {
    /// 2 for wrong input, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Store(_) => ExitCode::from(2),
            Self::Service(_) => ExitCode::FAILURE,
        }
    }
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// See [`AnalyticsError`].
pub fn run(args: &AnalyticsArgs) -> Result<(), AnalyticsError> {
    log::start(Level::Info, Format::Text);
    // Not while the flags are read: what clap refuses it repeats, password and all.
    let link = match args.redis.as_deref().map(store::address).transpose() {
        Ok(client) => {
            client.map(|client| Link::new(client, args.redis_prefix.clone(), args.redis_ttl))
        }
        Err(why) => return Err(AnalyticsError::Store(why)),
    };
    service::run(serve(args, link)).map_err(AnalyticsError::Service)
}

async fn serve(args: &AnalyticsArgs, link: Option<Link>) -> Result<(), ServiceError> {
    let counts = Arc::new(Counts::default());
    let queue = args.queue as usize;
    let (owner, requests) = mpsc::channel(queue);
    let work = Owner::new(name(), Arc::clone(&counts), link.is_some(), queue).work(requests, link);
    tokio::task::spawn_local(work);
    let paths = router(Arc::new(Service::new(owner.clone(), counts)));
    let paths = TowerToHyperService::new(paths);
    let mut ends = service::serve(args.listen, &args.announced, paths).await?;
    // Whoever was cut off got no answer; what was answered is done, or before this in the queue.
    let kept = ends.drain(async {
        let (done, is_done) = oneshot::channel();
        if owner.send(Request::End { done }).await.is_ok() {
            let _ = is_done.await;
        }
    });
    if kept.await?.is_none() {
        tracing::warn!("the store did not take all samples: some end with this process");
    }
    Ok(())
}

/// A name that no other process has: the keys of the standard library's hashes are random.
fn name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}
