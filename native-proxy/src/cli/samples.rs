//! Samples from a CSV file, one row at a time: memory stays the same however long the file is.

use bimetal_core::Instant;
use csv::StringRecord;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

/// The longest row, in bytes. A quote that is never closed would take in the whole file.
const LONGEST: usize = 1 << 20;

/// One sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The time of day, for the detector.
    pub(super) time: Instant,
    /// Nanoseconds since 1970.
    pub(super) nanos: i128,
    /// NaN where it is missing.
    pub(super) value: f64,
}

/// What is wrong with a file, and where.
#[derive(Debug)]
pub(super) struct WrongInput {
    file: String,
    line: Option<u64>,
    what: String,
}

impl fmt::Display for WrongInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

/// Rows of a file.
pub(super) struct Samples {
    rows: csv::Reader<Metered>,
    passed: Rc<RefCell<Passed>>,
    file: String,
    header: StringRecord,
    row: StringRecord,
    timestamp: usize,
    value: usize,
}

impl Samples {
    /// Opens `file` (`-` is standard input) and reads its header. `before_waiting` is called before
    /// each read.
    pub(super) fn open(
        file: &Path,
        before_waiting: impl FnMut() + 'static,
    ) -> Result<Self, WrongInput> {
        let is_stdin = file.as_os_str() == "-";
        let name = if is_stdin { "standard input".into() } else { file.display().to_string() };
        let wrong = |line, what| WrongInput { file: name.clone(), line, what };
        let inner: Box<dyn Read> = if is_stdin {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(file).map_err(|error| wrong(None, error.to_string()))?)
        };
        let passed = Rc::new(RefCell::new(Passed::default()));
        let before_waiting = Box::new(before_waiting);
        let metered = Metered { inner, passed: Rc::clone(&passed), before_waiting };
        let mut rows = csv::ReaderBuilder::new().from_reader(metered);
        let header = rows.headers().map_err(|error| wrong(Some(1), told(&error)))?.clone();
        let column = |name: &str| header.iter().position(|field| field.trim() == name);
        let needed = |name: &str| {
            let have: Vec<&str> = header.iter().collect();
            let what = format!("no column `{name}`; the header has: {}", have.join(", "));
            column(name).ok_or_else(|| wrong(Some(1), what))
        };
        let (timestamp, value) = (needed("timestamp")?, needed("value")?);
        for ours in ["anomaly_score", "anomaly"] {
            if column(ours).is_some() {
                return Err(wrong(Some(1), format!("the column `{ours}` is there already")));
            }
        }
        passed.borrow_mut().unread = 0;
        Ok(Self { rows, passed, file: name, header, row: StringRecord::new(), timestamp, value })
    }

    /// The header.
    pub(super) const fn header(&self) -> &StringRecord {
        &self.header
    }

    /// The fields of the last row, as they are in the file.
    pub(super) const fn row(&self) -> &StringRecord {
        &self.row
    }

    /// The next row's sample; `None` at the end of the file.
    pub(super) fn next_row(&mut self) -> Result<Option<Sample>, WrongInput> {
        let begin = self.rows.position().byte();
        let is_row = self.rows.read_record(&mut self.row);
        let line = self.passed.borrow_mut().line(begin);
        let wrong = |what| WrongInput { file: self.file.clone(), line: Some(line), what };
        if !is_row.map_err(|error| wrong(told(&error)))? {
            return Ok(None);
        }
        self.passed.borrow_mut().unread = 0;
        let text = self.row.get(self.timestamp).unwrap_or_default().trim();
        let nanos = nanos(text).ok_or_else(|| {
            wrong(format!(
                "timestamp {} is none of RFC 3339, 2026-03-01 12:00:00 and seconds since 1970",
                quoted(text)
            ))
        })?;
        let text = self.row.get(self.value).unwrap_or_default().trim();
        let value =
            value(text).ok_or_else(|| wrong(format!("value {} is not a number", quoted(text))))?;
        Ok(Some(Sample { time: time_of_day(nanos), nanos, value }))
    }
}

fn told(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields, but the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// A field in a message: its beginning, on one line.
fn quoted(text: &str) -> String {
    const MOST: usize = 40;
    let begin: String = text.chars().take(MOST).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("{begin:?}{more}")
}

fn nanos(text: &str) -> Option<i128> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_nanosecond());
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return TimeZone::UTC.to_timestamp(time).ok().map(Timestamp::as_nanosecond);
    }
    let seconds: f64 = text.parse().ok()?;
    // The years that a timestamp can have, by far.
    (seconds.abs() < 1e12).then_some((seconds * 1e9) as i128)
}

/// NaN for a missing value, `None` for what is no value.
fn value(text: &str) -> Option<f64> {
    if text.is_empty() { Some(f64::NAN) } else { text.parse().ok() }
}

/// The detector takes the time of day alone, and `Instant` has no time before its origin.
fn time_of_day(nanos: i128) -> Instant {
    const DAY: i128 = 86_400_000_000_000;
    Instant::from_nanos(nanos.rem_euclid(DAY) as u64)
}

/// Appends a row to `line`.
pub(super) fn write_row<'a>(line: &mut Vec<u8>, fields: impl Iterator<Item = &'a str>) {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        // RFC 4180, 2.6 and 2.7.
        if field.contains(['"', ',', '\r', '\n']) {
            line.push(b'"');
            line.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            line.push(b'"');
        } else {
            line.extend_from_slice(field.as_bytes());
        }
    }
    line.push(b'\n');
}

/// What has been read of a file, ahead of the rows.
#[derive(Default)]
struct Passed {
    /// Bytes since the last row.
    unread: usize,
    /// All bytes.
    bytes: u64,
    /// Line feeds.
    lines: u64,
    /// Where lines that hold anything begin, and their numbers; those of rows gone by are dropped.
    begin: VecDeque<(u64, u64)>,
    is_within: bool,
}

impl Passed {
    fn read(&mut self, bytes: &[u8]) {
        self.unread += bytes.len();
        for byte in bytes {
            if *byte == b'\n' {
                self.lines += 1;
                self.is_within = false;
            } else if *byte != b'\r' && !self.is_within {
                self.begin.push_back((self.bytes, self.lines + 1));
                self.is_within = true;
            }
            self.bytes += 1;
        }
    }

    /// The line of the row that begins at or, after empty lines and the second half of a line's end,
    /// behind `byte`. The crate's own count knows neither.
    fn line(&mut self, byte: u64) -> u64 {
        while self.begin.front().is_some_and(|(begin, _)| *begin < byte) {
            self.begin.pop_front();
        }
        self.begin.front().map_or(self.lines + 1, |(_, line)| *line)
    }
}

/// Counts what is read, and fails where a row is longer than any sample's.
struct Metered {
    inner: Box<dyn Read>,
    passed: Rc<RefCell<Passed>>,
    before_waiting: Box<dyn FnMut()>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.passed.borrow().unread > LONGEST {
            let what = format!("a row longer than {LONGEST} bytes; is a quote not closed?");
            return Err(io::Error::other(what));
        }
        (self.before_waiting)();
        let read = self.inner.read(buffer)?;
        self.passed.borrow_mut().read(buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_form() {
        let noon = Some(1_772_366_400_000_000_000);
        for text in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01 12:00:00",
            "2026-03-01T12:00:00.000",
            "1772366400",
            "1.7723664e9",
        ] {
            assert_eq!(nanos(text), noon, "{text}");
        }
        for text in ["", "noon", "2026-13-01 12:00:00", "inf", "NaN", "1e300"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_before_1970_has_a_time_of_day() {
        let sample = nanos("1969-12-31 23:00:00").unwrap();
        assert_eq!(time_of_day(sample), Instant::from_nanos(23 * 3_600_000_000_000));
    }
}
