//! Standard error as a log that never holds anybody up.

use super::Format;
use super::lines::level;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::Level;

/// What a pipe with any room takes at once (Linux: `PIPE_BUF`).
const PIECE: usize = 4096;

/// Writes lines to standard error where that takes them at once. A line that finds no room, or
/// nobody, is lost; how many were lost is told by the next line that is written.
#[derive(Debug)]
pub(super) struct Stderr {
    format: Format,
    lost: AtomicU64,
}

impl Stderr {
    /// With nothing lost.
    pub(super) const fn new(format: Format) -> Self {
        Self { format, lost: AtomicU64::new(0) }
    }

    /// Writes `line` to `out`, or counts it as lost.
    fn offer(&self, out: &mut (impl Write + AsFd), line: &[u8]) {
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > 0 && put(out, self.notice(lost).as_bytes()) {
            self.lost.fetch_sub(lost, Ordering::Relaxed);
        }
        // Behind a notice that found no room the line would find none either.
        if self.lost.load(Ordering::Relaxed) > 0 || !put(out, line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn notice(&self, lost: u64) -> String {
        let level = level(Level::WARN);
        let text = format!("{lost} lines of the log were lost");
        match self.format {
            Format::Text => format!("{level}: {text}\n"),
            Format::Json => {
                format!("{{\"level\":\"{level}\",\"message\":\"{text}\",\"lost\":{lost}}}\n")
            }
        }
    }
}

/// Writes `bytes`, with one write where they are no more than a pipe takes at once. False where they
/// did not go out whole.
fn put(out: &mut (impl Write + AsFd), bytes: &[u8]) -> bool {
    bytes.chunks(PIECE).all(|piece| {
        has_room(out) && matches!(out.write(piece), Ok(written) if written == piece.len())
    })
}

/// Whether a write ends at once, be it in an error.
fn has_room(out: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(out, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

impl Write for &Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Held over both steps, so that no other thread takes the room in between.
        self.offer(&mut io::stderr().lock(), line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, pipe};

    #[test]
    fn what_finds_no_room_is_lost_and_told_of_later() {
        let (mut reader, mut writer) = pipe().unwrap();
        let log = Stderr::new(Format::Text);
        let line = [b"x".repeat(999), b"\n".to_vec()].concat();
        // Much more than a pipe holds: without the look at its room this test would hang here.
        for _ in 0..1_000 {
            log.offer(&mut writer, &line);
        }
        let lost = log.lost.load(Ordering::Relaxed);
        assert!((900..1_000).contains(&lost), "{lost}");
        let kept = usize::try_from(1_000 - lost).unwrap();
        let mut read = vec![0; kept * line.len()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(line.len()).all(|read| read == line), "a line is cut");
        log.offer(&mut writer, b"again\n");
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, format!("warning: {lost} lines of the log were lost\nagain\n"));
        assert_eq!(log.lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_log_that_nobody_reads_costs_an_attempt() {
        let (reader, mut writer) = pipe().unwrap();
        drop(reader);
        let log = Stderr::new(Format::Json);
        log.offer(&mut writer, b"one\n");
        log.offer(&mut writer, b"two\n");
        assert_eq!(log.lost.load(Ordering::Relaxed), 2);
        let notice: serde_json::Value = serde_json::from_str(&log.notice(2)).unwrap();
        assert_eq!((&notice["level"], &notice["lost"]), (&"warning".into(), &2.into()));
    }
}
