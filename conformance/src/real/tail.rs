//! Follows a host's log and notes when each event line appeared.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks.
const EVERY: Duration = Duration::from_millis(10);
/// How every event line begins, whatever stands before it in the line.
const BEGINNING: &str = r#"{"event":"#;

/// A log that is being followed.
#[derive(Debug)]
pub(crate) struct Tail {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    events: Mutex<Vec<(Instant, String)>>,
    stop: AtomicBool,
    /// Longest time in milliseconds by which this thread woke up late: how busy the machine is.
    stall: AtomicU64,
}

impl Tail {
    pub(crate) fn follow(file: &Path) -> std::io::Result<Self> {
        let mut file = File::open(file)?;
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let mut rest = Vec::new();
                loop {
                    let stop = shared.stop.load(Ordering::Acquire);
                    // A log that cannot be read any more shows as missing events.
                    let _ = file.read_to_end(&mut rest);
                    shared.take_lines(&mut rest);
                    if stop {
                        break;
                    }
                    let slept = Instant::now();
                    std::thread::sleep(EVERY);
                    let late = slept.elapsed().saturating_sub(EVERY).as_millis();
                    let late = u64::try_from(late).unwrap_or(u64::MAX);
                    shared.stall.fetch_max(late, Ordering::Relaxed);
                }
            }
        });
        Ok(Self { shared, thread: Some(thread) })
    }

    /// The events from the one at `index` on, as far as they were read by now, each with when it
    /// was.
    pub(crate) fn events_from(&self, index: usize) -> Vec<(Instant, String)> {
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.get(index..).unwrap_or_default().to_vec()
    }

    /// Forgets how busy the machine was so far.
    pub(super) fn begin(&self) {
        self.shared.stall.store(0, Ordering::Relaxed);
    }

    /// Reads to the end of the log; gives the events and the longest stall of the machine.
    pub(super) fn finish(mut self) -> (Vec<(Instant, String)>, Duration) {
        self.stop();
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        (events.clone(), Duration::from_millis(self.shared.stall.load(Ordering::Relaxed)))
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; and if it did, events would be missing, which shows.
            let _ = thread.join();
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Takes whole lines from the front of `rest`.
    fn take_lines(&self, rest: &mut Vec<u8>) {
        let now = Instant::now();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(event) = line.find(BEGINNING).and_then(|at| line.get(at..)) {
                let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
                events.push((now, event.trim_end().to_owned()));
            }
        }
    }
}
