//! The proxy's own log: plain lines on standard error, one write each. Standard output stays
//! empty: it is for traces alone.

use std::fmt;
use std::io::Write;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What an operator wants to know: starts, reloads, changes of a breaker's state.
    #[default]
    Info,
    /// Also each event of the core as one bare line of JSON.
    Debug,
}

/// Writes `level: text` as one line.
pub fn line(level: &str, text: fmt::Arguments<'_>) {
    write(format_args!("{level}: {text}\n"));
}

/// Writes a line as it is.
pub fn bare(text: &dyn fmt::Display) {
    write(format_args!("{text}\n"));
}

fn write(text: fmt::Arguments<'_>) {
    // Formatted first, so that a line is one write and threads do not mix theirs. A log that cannot
    // be written must not stop a proxy: the error is dropped on purpose.
    let text = fmt::format(text);
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Logs one line at info level.
macro_rules! info {
    ($($text:tt)*) => { $crate::log::line("info", format_args!($($text)*)) };
}

/// Logs one line at warning level.
macro_rules! warning {
    ($($text:tt)*) => { $crate::log::line("warning", format_args!($($text)*)) };
}

pub(crate) use {info, warning};
