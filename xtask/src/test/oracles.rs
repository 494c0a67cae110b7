//! The breakers that profiles are named after, built from their own packages and asked.

use super::cargo;
use crate::{place, process};
use anyhow::Result;
use std::process::Command;
use std::time::Duration;

/// Fetching included; it takes seconds where the packages are there.
const LIMIT: Duration = Duration::from_secs(900);

/// The command that asks them: each has its place in `conformance/oracles`, and is called by what an
/// environment variable says. An oracle that cannot be built leaves its test ignored, with a line that
/// says why.
///
/// # Errors
/// The folders for them cannot be made.
pub(super) fn asked() -> Result<Command> {
    let mut command = cargo(&["test", "--package", "bimetal-conformance", "--test", "oracles"]);
    for (variable, built) in
        [("BIMETAL_RESILIENCE4J", resilience4j()), ("BIMETAL_GOBREAKER", gobreaker())]
    {
        match built {
            Ok(called) => {
                command.env(variable, called);
            }
            Err(error) => println!("skipped: {variable}: {error:#}"),
        }
    }
    Ok(command)
}

/// Needs a JDK of version 17 or later, and Maven.
fn resilience4j() -> Result<String> {
    let out = place::made("oracles/resilience4j")?;
    let mut build = Command::new("mvn");
    build.current_dir(place::root().join("conformance/oracles/resilience4j"));
    build.args(["--quiet", "--batch-mode", "compile", "dependency:copy-dependencies"]);
    build.arg(format!("-Dout={}", out.display()));
    process::succeed("resilience4j", &mut build, LIMIT)?;
    let out = out.display();
    Ok(format!("java -cp {out}/classes:{out}/dependency/* oracle.Oracle"))
}

/// Needs Go 1.25 or later, which has a clock for tests.
fn gobreaker() -> Result<String> {
    let out = place::made("oracles")?.join("gobreaker");
    let mut build = Command::new("go");
    build.current_dir(place::root().join("conformance/oracles/gobreaker"));
    build.args(["test", "-c", "-o"]).arg(&out).arg(".");
    process::succeed("gobreaker", &mut build, LIMIT)?;
    Ok(out.display().to_string())
}
