//! Labelled series as the Numenta Anomaly Benchmark keeps them: `data/<category>/<file>.csv` with
//! `timestamp,value`, and `labels/combined_windows.json` with the windows.

use anyhow::{Context, Result};
use bimetal_core::Instant;
use jiff::civil::DateTime;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// One labelled series.
#[derive(Clone, Debug)]
pub struct Series {
    /// Category and file.
    pub name: String,
    /// When each sample was taken.
    pub times: Vec<Instant>,
    /// The samples.
    pub values: Vec<f64>,
    /// Rows within which something is wrong, in their order, none touching another.
    pub windows: Vec<RangeInclusive<usize>>,
}

impl Series {
    /// Rows at the beginning that are not judged: 15 %, of 5000 rows at most.
    pub fn probation(&self) -> usize {
        self.values.len().min(5_000) * 15 / 100
    }
}

/// The folder of the series, or a line that says it is absent: `BIMETAL_NAB`, or `../shared/data/nab`
/// beside the workspace.
pub fn folder() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/nab");
    let folder = std::env::var_os("BIMETAL_NAB").map_or(beside, PathBuf::from);
    if folder.join("labels/combined_windows.json").is_file() {
        return Some(folder);
    }
    println!("skipped: no labelled series in {}; BIMETAL_NAB names their folder", folder.display());
    None
}

/// Reads every series of `folder`, sorted by name.
///
/// # Errors
/// A file that cannot be read, or does not have the form.
pub fn read(folder: &Path) -> Result<Vec<Series>> {
    let labels = std::fs::read_to_string(folder.join("labels/combined_windows.json"))
        .context("cannot read the labels")?;
    let labels: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&labels)?;
    let mut all = Vec::new();
    for (name, windows) in labels {
        let file = folder.join("data").join(&name);
        // The labels may tell of more series than are there.
        if file.is_file() {
            all.push(one(&file, name, &windows).with_context(|| file.display().to_string())?);
        }
    }
    Ok(all)
}

fn one(file: &Path, name: String, windows: &[(String, String)]) -> Result<Series> {
    let text = std::fs::read_to_string(file)?;
    let (mut seconds, mut values) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate().skip(1) {
        let row = || format!("line {}: {line:?}", index + 1);
        let (time, value) = line.split_once(',').with_context(row)?;
        seconds.push(self::seconds(time).with_context(row)?);
        values.push(value.trim().parse().with_context(row)?);
    }
    let row = |time: &str| -> Result<usize> {
        let time = self::seconds(time)?;
        seconds.iter().position(|one| *one == time).context("a label names no row")
    };
    let windows = windows.iter().map(|(from, to)| Ok(row(from)?..=row(to)?));
    Ok(Series {
        name,
        windows: windows.collect::<Result<_>>()?,
        times: seconds.iter().map(|one| Instant::from_nanos(one * 1_000_000_000)).collect(),
        values,
    })
}

fn seconds(text: &str) -> Result<u64> {
    let time: DateTime = text.parse()?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC)?;
    u64::try_from(zoned.timestamp().as_second()).context("before 1970")
}
