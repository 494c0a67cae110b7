//! The test executables of the workspace: built once, run one by one.

use super::tally::{Counts, Tally};
use super::{LIMIT, Needs, cargo, judge};
use crate::{place, process};
use anyhow::{Result, bail};
use cargo_metadata::{Message, TargetKind};
use std::path::PathBuf;
use std::process::Command;

/// How an executable takes a busy machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// It computes: it may share the machine with anything.
    Busy,
    /// It runs programs in real time: it runs alone.
    RealTime,
}

/// One test executable.
#[derive(Debug)]
pub(super) struct Suite {
    /// `package: target`.
    pub(super) name: String,
    pub(super) executable: PathBuf,
    /// The package's folder: where cargo runs its tests.
    pub(super) folder: PathBuf,
    pace: Pace,
}

/// All test executables, and the programs under test.
#[derive(Debug, Default)]
pub(super) struct Suites {
    pub(super) suites: Vec<Suite>,
    pub(super) bimetal: Option<PathBuf>,
    pub(super) study: Option<PathBuf>,
    pub(super) app: Option<PathBuf>,
    pub(super) noop_module: Option<PathBuf>,
}

/// Builds every test of the workspace. What does not compile is a failed step; the rest still runs.
pub(super) fn build(tally: &Tally) -> Suites {
    let mut suites = Suites::default();
    tally.step("build", "all tests and the bimetal program", || {
        let mut command = cargo(&["test", "--workspace", "--no-run", "--no-fail-fast"]);
        command.arg("--message-format=json-render-diagnostics");
        let done = process::run("build", &mut command, LIMIT)?;
        let output = done.output();
        suites = found(output.as_bytes())?;
        // No test is linked with it, so building the tests does not build it.
        let mut module = cargo(&["build", "--package", crate::study::NOOP_MODULE]);
        if process::run("native module", &mut module, LIMIT)?.status.success() {
            let built = place::target().join("debug/libbimetal_study_noop_module.so");
            suites.noop_module = built.is_file().then_some(built);
        }
        if done.status.success() { Ok(Counts::PASSED) } else { bail!("{}", last_lines(&output)) }
    });
    suites
}

/// The last lines for people in what cargo wrote.
pub(super) fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with('{')).collect();
    lines.get(lines.len().saturating_sub(80)..).unwrap_or_default().join("\n")
}

/// Reads cargo's messages; its plain lines in between are not for us.
pub(super) fn found(messages: impl std::io::BufRead) -> Result<Suites> {
    let mut all = Suites::default();
    for message in Message::parse_stream(messages) {
        let Message::CompilerArtifact(artifact) = message? else {
            continue;
        };
        let Some(executable) = artifact.executable else {
            continue;
        };
        if !artifact.profile.test {
            match artifact.target.name.as_str() {
                "bimetal" => all.bimetal = Some(executable.into_std_path_buf()),
                "bimetal-study" => all.study = Some(executable.into_std_path_buf()),
                "bimetal-study-app" => all.app = Some(executable.into_std_path_buf()),
                _ => {}
            }
            continue;
        }
        let folder = artifact.manifest_path.parent().map(|path| path.as_std_path().to_path_buf());
        let package = folder.as_deref().and_then(|path| path.file_name()).unwrap_or_default();
        let package = package.to_string_lossy().into_owned();
        all.suites.push(Suite {
            name: format!("{package}: {}", artifact.target.name),
            executable: executable.into_std_path_buf(),
            pace: pace(&package, &artifact.target.kind),
            folder: folder.unwrap_or_else(place::root),
        });
    }
    all.suites.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Tests beside the code compute; those in a `tests` folder of a host run it in real time.
fn pace(package: &str, kind: &[TargetKind]) -> Pace {
    if kind.contains(&TargetKind::Test) && package != "core" { Pace::RealTime } else { Pace::Busy }
}

impl Suites {
    /// Runs those of one pace, each a step.
    pub(super) fn run(&self, tally: &Tally, pace: Pace, needs: &Needs) {
        for suite in self.suites.iter().filter(|suite| suite.pace == pace) {
            tally.step(&suite.name, "its tests", || {
                let mut command = Command::new(&suite.executable);
                // Shown output tells which tests passed only because their tool is missing.
                command.current_dir(&suite.folder).arg("--show-output");
                for (variable, path) in [
                    ("BIMETAL_FILTER", &needs.filter),
                    ("ENVOY", &needs.envoy),
                    ("REDIS_SERVER", &needs.redis),
                    ("BIMETAL", &needs.bimetal),
                    ("BIMETAL_NOOP_FILTER", &needs.noop_filter),
                    ("BIMETAL_NOOP_MODULE", &needs.noop_module),
                    ("BIMETAL_STUDY_APP", &needs.app),
                ] {
                    if let Some(path) = path {
                        command.env(variable, path);
                    }
                }
                Ok(judge(&process::run(&suite.name, &mut command, LIMIT)?))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_tests_need_the_machine_alone() {
        assert_eq!(pace("core", &[TargetKind::Test]), Pace::Busy);
        assert_eq!(pace("conformance", &[TargetKind::Test]), Pace::RealTime);
        assert_eq!(pace("conformance", &[TargetKind::Lib]), Pace::Busy);
    }

    #[test]
    fn a_failed_build_is_told_without_cargos_messages() {
        assert_eq!(last_lines("{\"reason\":1}\nerror: no\n{}"), "error: no");
    }

    #[test]
    fn plain_lines_between_messages_do_no_harm() {
        let all = found(
            &b"   Compiling core v0.1.0\n{\"reason\":\"build-finished\",\"success\":true}\n"[..],
        );
        assert!(all.unwrap().suites.is_empty());
    }
}
