//! A whole proxy: sockets, workers, the admin thread, and the life of the process around them.

mod control;
#[cfg(target_os = "linux")]
mod notices;
#[cfg(not(target_os = "linux"))]
#[path = "proxy/no_notices.rs"]
mod notices;
mod start;
mod watch;

pub use control::run;
pub use start::Proxy;
pub(crate) use start::Shared;

use crate::log::Level;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How long a drain may take.
pub const DRAIN: Duration = Duration::from_secs(30);

/// What `bimetal proxy` is told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The configuration file; without one the embedded default is used.
    pub config: Option<PathBuf>,
    /// How much is logged.
    pub level: Level,
}

/// Why a proxy ended that should not have.
#[derive(Debug)]
pub enum RunError {
    /// The configuration cannot be read or is wrong; one line for each problem.
    Config(String),
    /// It could not start: a port is in use, or the system refused something.
    Start(String),
    /// It was told twice to end, or a worker died.
    Ended(String),
}

impl RunError {
    /// The exit code of the command: 2 for wrong input, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Start(_) | Self::Ended(_) => 1,
        }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Config(text) | Self::Start(text) | Self::Ended(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for RunError {}
