//! Real hosts in real time: processes, sockets, and a clock that does not wait.
//!
//! Each scenario has its own upstream and its own host, so many can be played side by side. A
//! machine that stood still for half a tick or more spoils a play; that is measured, and only such
//! a play is repeated.

mod client;
pub(crate) mod echo;
pub mod envoy_host;
pub mod native;
mod player;
mod process;
pub(crate) mod tail;
pub mod tools;
mod upstream;

pub use player::{Play, Ready, prepare};

use crate::log::Loaded;
use crate::scenario::Scenario;
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tools::Tools;

/// A host as a process of its own. Ended when dropped.
pub trait RealHost: Sized + Send {
    /// Starts it in front of `upstream` with the scenario's document, its files in `folder`, and waits
    /// until it serves.
    ///
    /// # Errors
    /// When it does not start; the message says why.
    fn start(
        tools: &Tools,
        scenario: &Scenario,
        upstream: SocketAddr,
        folder: &Path,
    ) -> io::Result<Self>;

    /// Where calls go.
    fn address(&self) -> SocketAddr;

    /// The file that its event lines come to.
    fn log_file(&self) -> PathBuf;

    /// Gives it another document and waits for its verdict.
    ///
    /// # Errors
    /// When it cannot be given.
    fn load(&mut self, document: &Value) -> io::Result<Loaded>;
}
