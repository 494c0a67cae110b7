//! Tells whoever started a server where it listens.

use serde_json::Value;
use std::io;
use std::path::Path;

/// Writes `line` to `file` (whole at once), then to standard error, where each is asked for.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn announce(line: &Value, file: Option<&Path>, print: bool) -> io::Result<()> {
    if let Some(path) = file {
        // Renamed into place, so that a reader never sees half of it.
        let mut half = path.to_owned().into_os_string();
        half.push(".part");
        std::fs::write(&half, format!("{line}\n"))?;
        std::fs::rename(&half, path)?;
    }
    if print {
        eprintln!("{line}");
    }
    Ok(())
}
