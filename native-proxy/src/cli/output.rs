//! Standard output of a command.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Wrong input.
pub(super) const WRONG_INPUT: u8 = 2;

/// Writes `text` and a line feed; `code` is what the command ends with.
///
/// A reader that left early (`bimetal schema | head -1`) has what it wanted: no error.
pub(super) fn print(text: &dyn fmt::Display, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(error) => {
            complain(format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line to standard error.
pub(super) fn report(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes `bimetal: text` to standard error.
pub(super) fn complain(text: fmt::Arguments<'_>) {
    // Nobody is left to be told when this fails too.
    let _ = writeln!(io::stderr().lock(), "bimetal: {text}");
}
