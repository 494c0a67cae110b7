//! One sample of the load.

use serde::Serialize;
use std::sync::Arc;

/// One sample, as it is told and kept. The order of samples is that of [`Sample::place`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// Microseconds since 1970.
    pub(super) micros: u64,
    /// Processor load in percent, 0-100.
    pub(super) cpu: f64,
    /// Requests a second, at least 0.
    pub(super) rps: f64,
    /// What it is called: by its sender, or else by who accepted it. Two samples of one name are one.
    pub(super) id: Arc<str>,
    /// Whether its sender named it, and may send it again.
    pub(super) is_named: bool,
}

/// What a sample looks like in JSON.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    timestamp: f64,
    cpu: f64,
    rps: f64,
    id: &'a str,
}

impl Sample {
    /// Its place among all samples: by its own time, and by its name among those of one time.
    pub(super) fn place(&self) -> (u64, &str) {
        (self.micros, &self.id)
    }

    /// Its time in seconds since 1970, as it is told.
    pub(super) fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// It in JSON.
    pub(super) fn told(&self) -> Told<'_> {
        Told { timestamp: self.seconds(), cpu: self.cpu, rps: self.rps, id: &self.id }
    }
}
