//! Start and end of the board.

use super::BoardArgs;
use super::answer::{Service, router};
use super::keeper::{Keeper, Sizes};
use crate::board::store::Store;
use crate::board::{ExchangeCounts, Link, address};
use crate::log::{self, Format, Level};
use crate::service::{self, ServiceError};
use hyper_util::service::TowerToHyperService;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Questions that may wait for an exchange; one more is answered 503.
const QUEUE: usize = 1_024;

/// Why the board did not run to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum BoardError {
    /// The store's address is none.
    Store(String),
    /// The server itself.
    Service(ServiceError),
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(why) => write!(f, "--redis: {why}"),
            Self::Service(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for BoardError {}

impl BoardError {
    /// 2 for wrong input, else 1.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Store(_) => ExitCode::from(2),
            Self::Service(_) => ExitCode::FAILURE,
        }
    }
}

/// Runs the board until SIGTERM or SIGINT.
///
/// # Errors
/// See [`BoardError`].
pub fn run(args: &BoardArgs) -> Result<(), BoardError> {
    log::start(Level::Info, Format::Text);
    // Not while the flags are read: what clap refuses it repeats, password and all.
    let client = args.redis.as_deref().map(address).transpose().map_err(BoardError::Store)?;
    let number = RandomState::new().hash_one(std::process::id());
    let store = match client {
        Some(client) => Store::redis(Link::new(client, &args.prefix, format!("{number:016x}"))),
        None => Store::memory(number),
    };
    service::run(serve(args, store)).map(drop).map_err(BoardError::Service)
}

async fn serve(args: &BoardArgs, store: Store) -> Result<service::Ends, ServiceError> {
    let (counts, sizes) = (Arc::new(ExchangeCounts::default()), Arc::new(Sizes::default()));
    let (keeper, questions) = mpsc::channel(QUEUE);
    let work = Keeper::new(store, counts.clone(), sizes.clone()).work(questions);
    tokio::task::spawn_local(work);
    let paths = router(Arc::new(Service::new(args.prefix.clone(), keeper, counts, sizes)));
    service::serve(args.listen, &args.announced, TowerToHyperService::new(paths)).await
}
