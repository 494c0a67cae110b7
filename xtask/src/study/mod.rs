//! `cargo xtask study`: builds what a study measures, finds what it needs, and hands over to the
//! study's own program. Its method is in `docs/study.md`.

mod cluster;
mod site;
pub mod translate;

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
    (STUDY, "bimetal-study", "BIMETAL_STUDY"),
    (NOOP_MODULE, "libbimetal_study_noop_module.so", "BIMETAL_NOOP_MODULE"),
];

/// The package of the native module that does nothing.
pub const NOOP_MODULE: &str = "bimetal-study-noop-module";

/// The package of the study's own program.
const STUDY: &str = "bimetal-study";

/// Builds and finds everything and shows the arms: what may be done hours before a machine is quiet.
const PREPARE: &str = "prepare";

/// The option by which arms run in a cluster.
const IN_CLUSTER: &str = "--cluster";

/// How long a build may take.
const LIMIT: Duration = Duration::from_secs(3_600);

/// Becomes the study's program with `arguments`; returns only where that fails, and after
/// `translate`, which is no task of that program.
///
/// # Errors
/// A build fails, or the program cannot be started. An external tool that is missing is no error
/// here: the study says which arms it leaves out.
pub fn study(arguments: &[String]) -> Result<()> {
    let (task, options) = task_of(arguments);
    if task == "translate" {
        return translate::translate(translate::Purpose::Keep);
    }
    let asks = options.iter().any(|one| one == "--help" || one == "-h");
    if task == "run" && !asks && options.iter().any(|one| one == IN_CLUSTER) {
        let options: Vec<String> =
            options.iter().filter(|one| *one != IN_CLUSTER).cloned().collect();
        return cluster::study(&options);
    }
    let is_run = task == "run" && !asks;
    let measures = !asks && (is_run || task == "stages" || task == PREPARE);
    if measures && task == "stages" {
        tools::named("k6")?.get()?;
    }
    build_programs(|package| measures || package == STUDY)?;
    if measures {
        build_filters()?;
        find_proxies()?;
    }
    let mut command = command(&program("bimetal-study", "BIMETAL_STUDY"))?;
    command.arg(if task == PREPARE { "arms" } else { task }).args(options);
    if is_run {
        complete(&mut command, options, "study")?;
    }
    // Taking its place: Ctrl-C is then the study's alone.
    Err(command.exec()).context("the study's program cannot be started")
}

/// Adds what a run must be told and `options` do not: the folder, one below `all`, and the commit.
fn complete(command: &mut Command, options: &[String], all: &str) -> Result<()> {
    let given =
        |name: &str| options.iter().any(|one| one == name || one.starts_with(&format!("{name}=")));
    if !given("--out") {
        let all = place::made(all)?;
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
    Ok(())
}

/// The command of the study's program and the rest; without a command it is `run`.
fn task_of(arguments: &[String]) -> (&str, &[String]) {
    match arguments.split_first() {
        Some((first, rest)) if !first.starts_with('-') => (first, rest),
        _ => ("run", arguments),
    }
}

/// The study that was begun last among those whose folder was not chosen: its name is a time.
fn newest(all: &Path) -> Result<Option<PathBuf>> {
    let names = std::fs::read_dir(all)?.flatten().map(|entry| entry.file_name());
    let times = names.filter_map(|name| name.to_str()?.parse::<u64>().ok());
    Ok(times.max().map(|time| all.join(time.to_string())))
}

/// Builds those of [`PROGRAMS`] that are `needed` and that the environment does not name, as for a
/// release.
fn build_programs(needed: impl Fn(&str) -> bool) -> Result<()> {
    let missing = PROGRAMS
        .iter()
        .filter(|(package, _, variable)| needed(package) && std::env::var_os(variable).is_none());
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    say::begins("build", "what is measured, as for a release");
    let mut command = Command::new(wasm::cargo());
    command.current_dir(place::root()).args(["build", "--release"]);
    for (package, ..) in &missing {
        command.args(["--package", package]);
    }
    process::succeed("study build", &mut command, LIMIT)?;
    say::ended("build", "built", since.elapsed());
    Ok(())
}

/// Builds the filters unless the environment names both.
fn build_filters() -> Result<()> {
    let filters = ["BIMETAL_FILTER", "BIMETAL_NOOP_FILTER"];
    if filters.iter().any(|filter| std::env::var_os(filter).is_none()) {
        wasm::build()?;
    }
    Ok(())
}

/// Finds or installs the other proxies, and tells of those that cannot be had.
fn find_proxies() -> Result<()> {
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
/// A tool has another name here than in the list of tools.
pub fn command(program: &Path) -> Result<Command> {
    let mut command = Command::new(program);
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
    fn what_is_no_option_is_a_command() {
        let of = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (task, rest) = task_of(&words);
            (task.to_owned(), rest.len())
        };
        assert_eq!(of(&[]), ("run".into(), 0));
        assert_eq!(of(&["--quick"]), ("run".into(), 1));
        assert_eq!(of(&["run", "--quick"]), ("run".into(), 1));
        assert_eq!(of(&["stages", "--arms", "app"]), ("stages".into(), 2));
    }

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
