//! Child processes that end with their owner.

use std::fs::File;
use std::io::{self, Error};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take to be ready. Generous: the machine may be busy.
const READY_WAIT: Duration = Duration::from_secs(60);

/// A running child process, killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts a program with its standard error in `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let name = command.get_program().display().to_string();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .map_err(|error| Error::new(error.kind(), format!("{name}: {error}")))?;
        Ok(Self { child, name })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Looks until there is something to see.
    pub(super) fn wait_for<T>(
        &mut self,
        what: &str,
        look: impl FnMut() -> Option<T>,
    ) -> io::Result<T> {
        let name = &self.name;
        let child = &mut self.child;
        wait_until(READY_WAIT, look, || match child.try_wait() {
            Ok(Some(status)) => Some(format!("{name} ended ({status}) before it could {what}")),
            _ => None,
        })?
        .ok_or_else(|| Error::other(format!("{name} did not {what} in {} s", READY_WAIT.as_secs())))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be reported from here; a process that is gone already is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until there is something to see, the time is over (`None`) or there is trouble.
fn wait_until<T>(
    patience: Duration,
    mut look: impl FnMut() -> Option<T>,
    mut trouble: impl FnMut() -> Option<String>,
) -> io::Result<Option<T>> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return Ok(Some(found));
        }
        if let Some(trouble) = trouble() {
            return Err(Error::other(trouble));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
