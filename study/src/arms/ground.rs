//! What a study asks of the ground on which its arms stand: this machine, or a cluster.

use super::{Arm, Place, Started, start, start_echo};
use crate::process::{self, Used};
use crate::record::Flaw;
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Where arms are started.
pub trait Ground {
    /// What the arms of a round share: the server behind them, or the pod that calls them.
    ///
    /// # Errors
    /// It does not come up.
    fn begin_round(&self) -> Result<Box<dyn AtWork + '_>>;

    /// Starts an arm anew and waits until it answers as the server does.
    ///
    /// # Errors
    /// Something is missing or does not come up.
    fn start(&self, arm: &Arm, shared: &dyn AtWork) -> Result<Box<dyn AtWork + '_>>;

    /// Starts the generator with these arguments. Its lines are on its standard output.
    ///
    /// # Errors
    /// It cannot be started.
    fn generate(&self, arguments: &[String]) -> Result<Child>;

    /// What one arm takes beside its load, in seconds.
    fn around(&self) -> f64;
}

/// An arm, or what arms share, while it is at work. It ends when dropped.
pub trait AtWork {
    /// Where calls go.
    fn address(&self) -> SocketAddr;

    /// Whether all of it is there.
    ///
    /// # Errors
    /// A part has ended; the message holds its last words.
    fn lives(&mut self) -> Result<()>;

    /// CPU time that it used so far; none where there is none, or nobody counts it.
    ///
    /// # Errors
    /// It is gone.
    fn time_used(&self) -> Result<Option<Used>>;

    /// CPU time of a server of its own, which is no part of the arm.
    fn server_time(&self) -> Duration;

    /// Its resident memory in KiB; none where there is none, or nobody counts it.
    ///
    /// # Errors
    /// It is gone.
    fn resident_kib(&self) -> Result<Option<u64>>;

    /// Holds that every call that a breaker admitted was settled, where the arm counts them.
    ///
    /// # Errors
    /// Its page of metrics does not answer.
    fn unsettled(&self) -> Result<Option<Flaw>>;

    /// Ends it, and gives the files with what its programs wrote.
    ///
    /// # Errors
    /// They cannot be had.
    fn end(self: Box<Self>) -> Result<Vec<PathBuf>>;
}

/// This machine.
#[derive(Clone, Debug)]
pub struct Here {
    /// Where arms are started.
    pub place: Place,
    /// The study's own program: it is its own generator.
    pub generator: PathBuf,
}

impl Ground for Here {
    fn begin_round(&self) -> Result<Box<dyn AtWork + '_>> {
        Ok(Box::new(start_echo(&self.place)?))
    }

    fn start(&self, arm: &Arm, shared: &dyn AtWork) -> Result<Box<dyn AtWork + '_>> {
        Ok(Box::new(start(arm, &self.place, shared.address())?))
    }

    fn generate(&self, arguments: &[String]) -> Result<Child> {
        let mut command = process::command(&self.generator);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let spawned = process::on(self.place.cores.load, || Ok(command.spawn()?));
        spawned.context("the generator does not start")
    }

    fn around(&self) -> f64 {
        0.5
    }
}

impl AtWork for Started {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn lives(&mut self) -> Result<()> {
        Self::lives(self)
    }

    fn time_used(&self) -> Result<Option<Used>> {
        Self::time_used(self)
    }

    fn server_time(&self) -> Duration {
        Self::server_time(self)
    }

    fn resident_kib(&self) -> Result<Option<u64>> {
        Self::resident_kib(self)
    }

    fn unsettled(&self) -> Result<Option<Flaw>> {
        Self::unsettled(self)
    }

    fn end(self: Box<Self>) -> Result<Vec<PathBuf>> {
        Ok(Self::end(*self))
    }
}
