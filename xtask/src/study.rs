//! `cargo xtask study`: builds what a study measures, finds what it needs, and hands over to the
//! study's own program. Its method is in `docs/study.md`.

use crate::{place, process, say, tools, wasm};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a study is made of: package, file, and the variable that may name it.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("bimetal-proxy", "bimetal", "BIMETAL"),
    ("bimetal-study-app", "bimetal-study-app", "BIMETAL_STUDY_APP"),
    ("bimetal-study", "bimetal-study", "BIMETAL_STUDY"),
    (NOOP_MODULE, "libbimetal_study_noop_module.so", "BIMETAL_NOOP_MODULE"),
];

/// The package of the native module that does nothing.
pub const NOOP_MODULE: &str = "bimetal-study-noop-module";

/// Commands of the study's program beside `run`.
const COMMANDS: [&str; 5] = ["stages", "report", "arms", "load", "coverage"];

/// How long a build may take.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Becomes the study's program with `arguments`; returns only where that fails.
///
/// # Errors
/// A build fails, or the program cannot be started. An external tool that is missing is no error
/// here: the study says which arms it leaves out.
pub fn study(arguments: &[String]) -> Result<()> {
    let is_run = !arguments.first().is_some_and(|first| COMMANDS.contains(&first.as_str()));
    if !is_run && arguments.first().is_some_and(|first| first == "stages") {
        tools::named("k6")?.get()?;
    }
    build()?;
    let mut command = command(&program("bimetal-study", "BIMETAL_STUDY"))?;
    let given = |name: &str| {
        arguments.iter().any(|one| one == name || one.starts_with(&format!("{name}=")))
    };
    if !is_run {
        return Err(command.args(arguments).exec())
            .context("the study's program cannot be started");
    }
    command.arg("run").args(arguments);
    if !given("--out") {
        let all = place::made("study")?;
        let folder = match given("--resume") {
            true => newest(&all)?.context("there is no study yet that could be resumed")?,
            false => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
                all.join(now.as_secs().to_string())
            }
        };
        command.arg("--out").arg(folder);
    }
    if !given("--commit") {
        command.args(["--commit", &commit()]);
    }
    // Taking its place: Ctrl-C is then the study's alone.
    Err(command.exec()).context("the study's program cannot be started")
}

/// The study that was begun last among those whose folder was not chosen: its name is a time.
fn newest(all: &Path) -> Result<Option<PathBuf>> {
    let names = std::fs::read_dir(all)?.flatten().map(|entry| entry.file_name());
    let times = names.filter_map(|name| name.to_str()?.parse::<u64>().ok());
    Ok(times.max().map(|time| all.join(time.to_string())))
}

/// Builds what the environment does not name, as for a release.
fn build() -> Result<()> {
    let since = Instant::now();
    let missing = PROGRAMS.iter().filter(|(.., variable)| std::env::var_os(variable).is_none());
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        say::begins("build", "what is measured, as for a release");
        let mut command = Command::new(wasm::cargo());
        command.current_dir(place::root()).args(["build", "--release"]);
        for (package, ..) in &missing {
            command.args(["--package", package]);
        }
        process::succeed("study build", &mut command, LIMIT)?;
        say::ended("build", "built", since.elapsed());
    }
    let filters = ["BIMETAL_FILTER", "BIMETAL_NOOP_FILTER"];
    if filters.iter().any(|filter| std::env::var_os(filter).is_none()) {
        wasm::build()?;
    }
    for name in ["envoy", "nginx", "haproxy"] {
        if let Err(error) = tools::named(name)?.get() {
            say::line(format!("    arms with {name} are left out: {error:#}"));
        }
    }
    Ok(())
}

/// The study's program at `program`, told where everything is.
///
/// # Errors
/// None of what is known is wrong.
pub fn command(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(std::env::current_dir()?);
    for (_, program, variable) in PROGRAMS {
        command.env(variable, self::program(program, variable));
    }
    for (variable, file) in
        [("BIMETAL_FILTER", place::filter()), ("BIMETAL_NOOP_FILTER", place::noop_filter())]
    {
        if std::env::var_os(variable).is_none() {
            command.env(variable, file);
        }
    }
    for name in ["envoy", "nginx", "haproxy", "k6"] {
        let tool = tools::named(name)?;
        if let Some(path) = tool.find() {
            command.env(tool.variable, path);
        }
    }
    Ok(command)
}

fn program(program: &str, variable: &str) -> PathBuf {
    let given = std::env::var_os(variable).map(PathBuf::from);
    given.unwrap_or_else(|| place::target().join("release").join(program))
}

/// The commit of the work tree, with a mark where that differs.
fn commit() -> String {
    process::answer("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_study_is_the_one_to_resume() {
        let folder = place::made("xtask/tests/studies").unwrap();
        for name in ["9", "100", "of-the-tests"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
        }
        assert_eq!(newest(&folder).unwrap(), Some(folder.join("100")));
        let empty = place::made("xtask/tests/no-studies").unwrap();
        assert_eq!(newest(&empty).unwrap(), None);
    }
}
