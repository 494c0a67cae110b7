//! `cargo xtask mutants`: changes the code in one place at a time — an operator, a guard, a whole
//! body — and runs the tests that must notice. A change that no test notices is a rule that nobody
//! holds, unless [`argued`] says why no test can notice it.

mod argued;
mod name;
mod room;
mod shard;
mod verdict;

pub use room::Room;
pub use shard::Shard;

use crate::process::Running;
use crate::tools::Tool;
use crate::{place, process, say, tools};
use anyhow::{Context, Result, bail};
use argued::Argued;
use name::Name;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use verdict::{Results, Verdict};

/// The version whose mutants are meant: another one makes others, and names them otherwise.
pub const VERSION: &str = "27.1.0";

/// The longest that one room may take.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The rooms, in this order.
    pub rooms: Vec<&'static Room>,
    /// One part of each room's mutants; without it all of them.
    pub shard: Option<Shard>,
    /// Only mutants whose names match this regular expression.
    pub only: Option<String>,
}

/// Runs the rooms and prints a table. True means that a test noticed every mutant that is not argued,
/// and that every argument is about a mutant that there is.
///
/// # Errors
/// The tool is not here and cannot be installed, or the arguments cannot be read. A room whose tests
/// fail without a change is told and counts as a failure; the others still run.
pub fn run(options: &Options) -> Result<bool> {
    let tool = Mutator::get()?;
    let argued = Argued::read()?;
    let mut good = true;
    let mut rows = Vec::new();
    for room in &options.rooms {
        let since = Instant::now();
        let step = format!("mutants {}", room.name);
        say::begins(&step, room.about);
        match tool.room(room, options, &argued) {
            Ok((results, verdict)) => {
                say::ended(&step, &results.to_string(), since.elapsed());
                good &= verdict.is_good();
                rows.push((*room, results, verdict, since.elapsed()));
            }
            Err(error) => {
                println!("{step}: {error:#}");
                good = false;
            }
        }
    }
    // What the rooms had built is of no use to anything else, and large.
    let _ = std::fs::remove_dir_all(build()?);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "room", "mutants", "caught", "timeouts", "unviable", "missed", "argued", "time",
    ]);
    for (room, results, verdict, took) in &rows {
        let numbers = [
            results.all(),
            results.caught.len(),
            results.timeouts.len(),
            results.unviable.len(),
            results.missed.len(),
            verdict.argued,
        ];
        let mut row = vec![room.name.to_owned()];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(say::span(*took));
        table.add_row(row);
    }
    println!("{table}");
    for (_, _, verdict, _) in &rows {
        print!("{verdict}");
    }
    Ok(good)
}

/// Where the changed code is built: one folder for all rooms, which share what they need of others.
fn build() -> Result<PathBuf> {
    place::made("mutants/build")
}

/// The program that makes the changes.
struct Mutator(PathBuf);

impl Mutator {
    /// Finds it, installs it where it is not here, and tells of a version that is not [`VERSION`].
    fn get() -> Result<Self> {
        let program = tools::named("cargo-mutants").and_then(Tool::get)?;
        let told = process::answer(&program, &["mutants", "--version"]).unwrap_or_default();
        if !told.ends_with(VERSION) {
            say::line(format!(
                "note: {} is {told:?}, not {VERSION}: it may make other mutants than those that \
                 are argued",
                program.display()
            ));
        }
        Ok(Self(program))
    }

    /// The program, told which room's code it changes.
    fn command(&self, room: &Room, only: Option<&str>) -> Command {
        let mut command = Command::new(&self.0);
        command.current_dir(place::root()).arg("mutants");
        command.args(["--config", room.file, "--package", room.package]);
        command.args(["--no-shuffle", "--gitignore=true", "--colors=never"]);
        if let Some(only) = only {
            command.args(["--re", only]);
        }
        command
    }

    /// The names of a room's mutants.
    fn list(&self, command: &mut Command) -> Result<Vec<Name>> {
        let output = command.arg("--list").output().context("cannot start cargo-mutants")?;
        if !output.status.success() {
            bail!("cargo-mutants cannot list: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        String::from_utf8_lossy(&output.stdout).lines().map(Name::read).collect()
    }

    /// Tests the mutants of one room.
    fn room(&self, room: &Room, options: &Options, argued: &Argued) -> Result<(Results, Verdict)> {
        let all = self.list(&mut self.command(room, None))?;
        let part = options.shard.map(|shard| shard.arguments());
        let part = part.iter().flatten();
        let mut command = self.command(room, options.only.as_deref());
        let chosen = self.list(command.args(part.clone()))?.len();
        let results = if chosen == 0 {
            Results::default()
        } else {
            let mut command = self.command(room, options.only.as_deref());
            command.args(part);
            test(room, &mut command, chosen)?
        };
        let verdict = Verdict::of(&results, &all, argued);
        Ok((results, verdict))
    }
}

/// Has the mutants tested, and tells how many were.
fn test(room: &Room, command: &mut Command, chosen: usize) -> Result<Results> {
    let folder = place::made(&format!("mutants/{}", room.name))?;
    let told = folder.join("mutants.out");
    // What an earlier run left would be counted.
    let _ = std::fs::remove_dir_all(&told);
    command.arg("--output").arg(&folder);
    command.env("CARGO_TARGET_DIR", build()?).env_remove("CARGO_BUILD_TARGET");
    command.envs(room.variables.iter().copied());
    let log = folder.join("output.log");
    let step = format!("mutants {}", room.name);
    let running = Running::start(&step, command, &log)?;
    let status = running.wait_telling(LIMIT, || progress(&told, chosen))?;
    match status.code() {
        // All caught; some missed; some did not end.
        Some(0 | 2 | 3) => Results::read(&told),
        Some(4) => {
            let log = told.join("log/baseline.log");
            bail!("the tests fail without any change: {}", log.display())
        }
        _ => bail!(
            "cargo-mutants failed ({status}): {}\nall of its output: {}",
            process::tail(&log, 2_000),
            log.display()
        ),
    }
}

/// How far a room is: `37 of 215: 33 caught, 0 timeouts, 1 unviable, 3 missed`.
fn progress(told: &Path, chosen: usize) -> String {
    let results = Results::read(told).unwrap_or_default();
    match results.all() {
        0 => format!("0 of {chosen}: builds and tests without a change first"),
        done => format!("{done} of {chosen}: {results}"),
    }
}
