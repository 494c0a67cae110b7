//! The configuration file, from one reading to the next.
//!
//! A file that is still being written is not taken, for half of one may be valid. Where the system
//! tells what happens to the file, it is read once whoever wrote it closed it, or once another file
//! or link stands in its place. Where it does not (a file system of the network), and for all that
//! it does not tell, the file is looked at once a second, and read when three looks were equal.

use super::Shared;
use super::notices::{News, Notices};
use crate::config::{self, ConfigError, Look, Settings, Source};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::time::{Interval, MissedTickBehavior};
use tracing::{info, warn};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How many looks in a row see a file that is written no more.
const EQUAL_LOOKS: u32 = 3;

/// How long nothing more happens to a file that was closed: some write it in several goes.
const QUIET: Duration = Duration::from_millis(200);

/// After this long it is told that a file is waited for.
const LONG: Duration = Duration::from_secs(30);

/// A configuration file.
#[derive(Debug)]
pub(super) struct Watch {
    file: PathBuf,
    /// The file as it was read last, and its text.
    taken: Option<Look>,
    text: Option<u64>,
    notices: Option<Notices>,
    ticks: Interval,
    /// Since when somebody writes it who has not closed it, and whether that was told.
    written: Option<(Instant, bool)>,
    /// When to read it, unless something happens to it before.
    due: Option<Instant>,
    /// What the last looks saw, and how often.
    seen: Option<(Look, u32)>,
    /// Whether somebody asked for it while it was being written.
    asked: bool,
}

impl Watch {
    /// Watches a file from now on: what happens while it is read first is not missed.
    pub(super) fn new(file: PathBuf) -> Self {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut notices = if is_plain(&file) { Notices::begin().ok() } else { None };
        if let Some(notices) = &mut notices {
            notices.arm(&file);
        }
        Self {
            file,
            taken: None,
            text: None,
            notices,
            ticks,
            written: None,
            due: None,
            seen: None,
            asked: false,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub(super) fn read(&mut self) -> Result<Settings, ConfigError> {
        // Where it cannot be read this is what was tried.
        self.taken = Look::at(&self.file);
        let source = Source::read(&self.file).map_err(ConfigError::Unreadable)?;
        self.taken = source.look;
        self.text = Some(source.fingerprint());
        config::understand(&self.file, &source)
    }

    /// Returns when there is something to read.
    pub(super) async fn changed(&mut self) {
        if !is_plain(&self.file) && self.notices.is_none() && self.taken.is_some() {
            // A pipe that was handed over is read once.
            return std::future::pending().await;
        }
        loop {
            let due = self.due;
            tokio::select! {
                news = next(&mut self.notices) => self.heed(news),
                _ = self.ticks.tick() => {
                    if let Some(notices) = &mut self.notices {
                        notices.arm(&self.file);
                    }
                    if self.is_steady() {
                        return;
                    }
                }
                () = until(due) => {
                    self.due = None;
                    let now = Look::at(&self.file);
                    if now.is_some() && (self.asked || now != self.taken) {
                        return;
                    }
                }
            }
        }
    }

    /// Somebody asks to have it read. True where that is to be done now.
    pub(super) fn ask(&mut self) -> bool {
        if self.written.is_some() {
            self.asked = true;
            info!("{} is being written; it is read once it is closed", self.file.display());
        }
        !self.asked
    }

    /// Reads the file again: good settings take effect, others are told of and change nothing. A
    /// text that was read before is passed over, unless it was `asked` for.
    pub(super) fn reload(&mut self, shared: &Shared, asked: bool) {
        let asked = asked || std::mem::take(&mut self.asked);
        let before = self.text;
        (self.due, self.seen, self.written) = (None, None, None);
        let read = self.read();
        if let Some(notices) = &mut self.notices {
            notices.arm(&self.file);
        }
        if !asked && before.is_some() && before == self.text && !is_unreadable(&read) {
            return;
        }
        let file = self.file.display();
        match read {
            Ok(settings) => {
                shared.load(settings);
                info!("{file} is in force");
            }
            Err(error) => {
                shared.refused_reloads.fetch_add(1, Ordering::Relaxed);
                let what = match &error {
                    ConfigError::Unreadable(_) => "cannot be read",
                    ConfigError::Wrong(..) => "is wrong",
                };
                warn!("{file} {what} and is not used");
                // One for each problem: a line of the log has no end of line within.
                error.to_string().lines().for_each(|problem| warn!("{problem}"));
            }
        }
    }

    fn heed(&mut self, news: News) {
        self.seen = None;
        match news {
            News::Written => {
                self.written = Some((Instant::now(), false));
                self.due = None;
            }
            News::Closed | News::Replaced => {
                self.written = None;
                self.due = Some(Instant::now() + QUIET);
            }
            News::Lost => self.written = None,
        }
    }

    /// One look. Whether it is time to read the file.
    fn is_steady(&mut self) -> bool {
        if let Some((since, told)) = &mut self.written {
            if since.elapsed() >= LONG && !*told {
                *told = true;
                info!(
                    "{} is still open for writing; it is read once it is closed",
                    self.file.display()
                );
            }
            if !self.asked {
                return false;
            }
        }
        // A file that is gone for a moment is being replaced.
        let Some(now) = Look::at(&self.file) else {
            return false;
        };
        if self.due.is_some() || (!self.asked && self.taken == Some(now)) {
            self.seen = None;
            return false;
        }
        let times = match self.seen {
            Some((before, times)) if before == now => times + 1,
            _ => 1,
        };
        self.seen = Some((now, times));
        times >= EQUAL_LOOKS
    }
}

fn is_plain(file: &Path) -> bool {
    // One that is not there yet may be one.
    std::fs::metadata(file).map_or(true, |data| data.is_file())
}

fn is_unreadable(read: &Result<Settings, ConfigError>) -> bool {
    matches!(read, Err(ConfigError::Unreadable(_)))
}

async fn next(notices: &mut Option<Notices>) -> News {
    match notices {
        Some(notices) => notices.next().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file of its own; removed when dropped.
    struct TestFile(PathBuf);

    impl TestFile {
        fn new(text: &str) -> Self {
            let name = format!("bimetal-watch-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, text).unwrap();
            Self(path)
        }

        /// Another text at the same place.
        fn rewrite(&self, text: &str) {
            let before = Look::at(&self.0);
            for _ in 0..10_000 {
                fs::write(&self.0, text).unwrap();
                // The clock of a file system is coarse.
                if Look::at(&self.0) != before {
                    return;
                }
            }
        }
    }

    impl Drop for TestFile {
        fn drop(&mut self) {
            drop(fs::remove_file(&self.0));
        }
    }

    /// Where the system tells nothing (a file system of the network), looks find a change: be it by
    /// the time alone, for the new text may be as long as the old one.
    #[tokio::test(start_paused = true)]
    async fn three_equal_looks_find_a_change_that_nobody_tells_of() {
        let file = TestFile::new("workers: 1");
        let mut watch = Watch::new(file.0.clone());
        watch.notices = None;
        assert_eq!(watch.read().unwrap().workers, 1);
        let looks = async |watch: &mut Watch, count: u32| {
            tokio::time::timeout(LOOK * count, watch.changed()).await.is_ok()
        };
        assert!(!looks(&mut watch, 10).await);
        file.rewrite("workers: 3");
        assert!(!looks(&mut watch, 2).await);
        // It goes on changing, so the looks begin anew.
        file.rewrite("workers: 2");
        assert!(!looks(&mut watch, 2).await);
        assert!(looks(&mut watch, 1).await);
        assert_eq!(watch.read().unwrap().workers, 2);
        assert!(!looks(&mut watch, 10).await);
    }
}
