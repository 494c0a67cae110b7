//! `cargo xtask test`: everything that can be checked on this machine, in one report.
//!
//! What takes a processor is built side by side; tests that keep real time run alone, so that a
//! busy machine does not judge them. A failing step stops only the steps that need its result.

mod dependencies;
mod miri;
mod mutants;
mod oracles;
mod rooms;
mod suites;
mod tally;
mod wasm_core;

use crate::demo::scene::Parts;
use crate::demo::{overload, storm};
use crate::process::{self, Finished};
use crate::tools::{self, Tool};
use crate::{place, schemas, signals, soak, study, traces, wasm};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tally::{Counts, Tally};

/// The longest a single step may take.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What fits into 25 minutes from a fresh clone on two cores.
    Usual,
    /// Also what needs long builds.
    Full,
}

/// What the tests of the hosts need besides their own executables.
#[derive(Debug, Default)]
struct Needs {
    filter: Option<PathBuf>,
    envoy: Option<PathBuf>,
    redis: Option<PathBuf>,
    bimetal: Option<PathBuf>,
    noop_filter: Option<PathBuf>,
    study: Option<PathBuf>,
    app: Option<PathBuf>,
    noop_module: Option<PathBuf>,
}

impl Needs {
    /// What the demos' scenes are made of, where all of it is there.
    fn parts(&self) -> Option<Parts> {
        Some(Parts {
            bimetal: self.bimetal.clone()?,
            envoy: self.envoy.clone()?,
            filter: self.filter.clone()?,
        })
    }
}

/// Runs the tests and prints the report; the last line is `N passed, N failed, N skipped`.
/// True means that nothing failed.
///
/// # Errors
/// The tests cannot even be started.
pub fn run(extent: Extent) -> Result<bool> {
    let since = Instant::now();
    let tally = Tally::default();
    tally.step("format", "is the code formatted", || {
        check("format", cargo(&["fmt", "--all", "--", "--check", "--files-with-diff"]))
    });
    tally.step("rooms", "sizes and dependencies of the rooms", rooms::check);
    dependencies::check(&tally);

    // The filter has a target folder of its own, so both builds can go on at once.
    let (suites, mut needs) = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            if extent == Extent::Full {
                chart_tools(&tally);
            }
            hosts(&tally)
        });
        let suites = suites::build(&tally);
        (suites, other.join().unwrap_or_default())
    });
    needs.bimetal = suites.bimetal.clone();
    needs.study = suites.study.clone();
    needs.app = suites.app.clone();
    needs.noop_module = suites.noop_module.clone();

    std::thread::scope(|scope| {
        scope.spawn(|| {
            lints(&tally);
            let why = "the core's tests as WebAssembly on Node";
            tally.step("core as wasm", why, wasm_core::check_as_shipped);
            tally.step("core in a browser", "the core's tests as a browser has them", || {
                wasm_core::check_as_in_a_browser(extent)
            });
        });
        suites.run(&tally, suites::Pace::Busy, &needs);
    });
    suites.run(&tally, suites::Pace::RealTime, &needs);
    burst(&tally, &needs);
    storm(&tally, &needs);
    soak(&tally, &needs, extent);
    quick_study(&tally, &needs);
    signals(&tally, &needs, extent);
    tally.step("doc tests", "the examples in the documentation", || {
        let done = process::run("doc tests", &mut cargo(&["test", "--workspace", "--doc"]), LIMIT)?;
        Ok(judge(&done))
    });
    if extent == Extent::Full {
        full(&tally, &needs);
    }
    Ok(tally.report(since.elapsed()))
}

/// The compiler's and clippy's opinion, with every warning an error.
fn lints(tally: &Tally) {
    tally.step("lints", "clippy with every warning an error", || {
        let everything = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        check("lints", cargo(&everything))
    });
    tally.step("core alone", "the core compiles without the standard library", || {
        let alone = ["clippy", "--package", "bimetal-core", "--", "-D", "warnings"];
        check("core alone", cargo(&alone))
    });
    tally.step("breaker alone", "and without the policy language", || {
        let mut alone = cargo(&["clippy", "--package", "bimetal-core", "--no-default-features"]);
        alone.args(["--", "-D", "warnings"]);
        check("breaker alone", alone)
    });
}

/// The programs that the tests of chart and images ask; they take minutes to build, so a usual run
/// takes them only where they are.
fn chart_tools(tally: &Tally) {
    for name in ["helm", "kubeconform", "crane"] {
        tool(tally, name, "a tool for the tests of chart and images");
    }
    tally.step("schemas", "what the chart's objects are held to", || {
        Ok(schemas::schemas().map_or_else(
            |error| {
                println!("skipped: what needs schemas of Kubernetes: {error:#}");
                Counts::SKIPPED
            },
            |_| Counts::PASSED,
        ))
    });
}

/// A program from elsewhere; it is installed where it is not here.
fn tool(tally: &Tally, name: &str, why: &str) -> Option<PathBuf> {
    let mut found = None;
    tally.step(name, why, || match tools::named(name).and_then(Tool::get) {
        Ok(path) => {
            found = Some(path);
            Ok(Counts::PASSED)
        }
        Err(error) => {
            println!("skipped: what needs {name}: {error:#}");
            Ok(Counts::SKIPPED)
        }
    });
    found
}

/// The filter, the Envoy to run it in, and other servers that the hosts' tests talk to.
fn hosts(tally: &Tally) -> Needs {
    let mut needs = Needs {
        envoy: tool(tally, "envoy", "a real Envoy for the tests of the filter"),
        redis: tool(tally, "redis-server", "a real Redis for the tests of the analytics service"),
        ..Needs::default()
    };
    tally.step("wasm", "the filter compiles to WebAssembly", || {
        wasm::build()?;
        needs.filter = Some(place::filter());
        needs.noop_filter = Some(place::noop_filter());
        Ok(Counts::PASSED)
    });
    needs
}

/// The overload demo's hosts under a burst: who is let through.
fn burst(tally: &Tally, needs: &Needs) {
    tally.step(
        "burst",
        "both hosts let through what a limit says, and the models see no more",
        || {
            let Some(parts) = needs.parts() else {
                println!("skipped: the burst needs the filter, Envoy and the bimetal program");
                return Ok(Counts::SKIPPED);
            };
            if overload::burst(&parts)? {
                Ok(Counts::PASSED)
            } else {
                bail!("what was not as it should be is marked FAIL above")
            }
        },
    );
}

/// The retry storm: it judges counts alone.
fn storm(tally: &Tally, needs: &Needs) {
    tally.step("retry storm", "naive hops multiply tries, ours do not", || {
        let Some(parts) = needs.parts() else {
            println!("skipped: the retry storm needs the filter, Envoy and the bimetal program");
            return Ok(Counts::SKIPPED);
        };
        if storm::check(&parts)? {
            Ok(Counts::PASSED)
        } else {
            bail!("what was not as it should be is marked FAIL above")
        }
    });
}

/// Calls with random faults through both hosts; `cargo xtask soak` makes many more.
fn soak(tally: &Tally, needs: &Needs, extent: Extent) {
    tally.step("soak", "every call with a random fault is accounted for", || {
        let Some(parts) = needs.parts() else {
            println!("skipped: the soak needs the filter, Envoy and the bimetal program");
            return Ok(Counts::SKIPPED);
        };
        let calls = match extent {
            Extent::Usual => 20_000,
            Extent::Full => 200_000,
        };
        let options = soak::Options { calls, seed: 1, hosts: soak::Kind::ALL.to_vec() };
        if soak::run_with(&parts, &options)? {
            Ok(Counts::PASSED)
        } else {
            bail!("what was not as it should be is marked FAIL above")
        }
    });
}

/// A study of three arms in seconds, from its processes to its report. Its figures mean nothing.
fn quick_study(tally: &Tally, needs: &Needs) {
    tally.step("study", "a quick study of three arms is measured and reported", || {
        let (Some(study), Some(bimetal)) = (&needs.study, &needs.bimetal) else {
            println!("skipped: a study needs its program and the bimetal program");
            return Ok(Counts::SKIPPED);
        };
        let out = place::made("study")?.join("of-the-tests");
        if out.exists() {
            std::fs::remove_dir_all(&out)?;
        }
        let mut command = crate::study::command(study)?;
        command.env("BIMETAL", bimetal).args(["run", "--quick", "--out"]).arg(&out);
        process::succeed("quick study", &mut command, LIMIT)?;
        for name in ["report.html", "report.txt"] {
            if !out.join(name).is_file() {
                bail!("it left no {name}");
            }
        }
        served(&std::fs::read_to_string(out.join("result.json"))?)?;
        Ok(Counts::PASSED)
    });
}

/// Holds that a study measured all of its blocks, and that its arms served. A machine that is busy
/// may keep the generator from its pace: that flaw says nothing about the study.
fn served(result: &str) -> Result<()> {
    let result: serde_json::Value = serde_json::from_str(result)?;
    let blocks = result["blocks"].as_array().context("the result has no blocks")?;
    let planned = &result["findings"]["planned"];
    if blocks.is_empty() || planned.as_u64() != Some(blocks.len() as u64) {
        bail!("{} of {planned} blocks were measured", blocks.len());
    }
    for block in blocks {
        let flaws = block["invalid"].as_array().into_iter().flatten();
        let mut flaws = flaws.filter(|flaw| flaw["why"] != "generator_fell_behind");
        if let Some(flaw) = flaws.next() {
            bail!("{} did not serve: {flaw}", block["arm"]);
        }
    }
    Ok(())
}

/// A real Prometheus, its rules and dashboards. Alertmanager is asked in a full run.
fn signals(tally: &Tally, needs: &Needs, extent: Extent) {
    tally.step("signals", "every expression of dashboards and alerts gives series", || {
        match (needs.parts(), signals::Tools::get(extent == Extent::Full)) {
            (Some(parts), Ok(tools)) => signals::check(&parts, &tools).map(|()| Counts::PASSED),
            (None, _) => {
                println!("skipped: signals need the bimetal program, Envoy and the filter");
                Ok(Counts::SKIPPED)
            }
            (_, Err(error)) => {
                println!("skipped: signals in a real Prometheus: {error:#}");
                Ok(Counts::SKIPPED)
            }
        }
    });
}

/// What needs long builds or much time.
fn full(tally: &Tally, needs: &Needs) {
    tally.step("traces", "every span is in a real Jaeger as it was written", || {
        let jaeger = tools::named("jaeger").and_then(Tool::get);
        match (&needs.bimetal, jaeger) {
            (Some(bimetal), Ok(jaeger)) => traces::check(bimetal, &jaeger).map(|()| Counts::PASSED),
            (None, _) => {
                println!("skipped: traces need the bimetal program");
                Ok(Counts::SKIPPED)
            }
            (_, Err(error)) => {
                println!("skipped: traces in Jaeger: {error:#}");
                Ok(Counts::SKIPPED)
            }
        }
    });
    tally.step("istio", "its translations that the study uses are those of a real istiod", || {
        // Building istiod takes minutes: only where it is.
        if tools::named("pilot-discovery")?.find().is_none() {
            println!("skipped: no istiod here: cargo xtask tools pilot-discovery");
            return Ok(Counts::SKIPPED);
        }
        study::translate::translate(study::translate::Purpose::Check).map(|()| Counts::PASSED)
    });
    tally.step("documentation", "it builds without a warning", || {
        let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        check("documentation", command)
    });
    tally.step("optimised tests", "the core's tests as it is shipped", || {
        let mut command = cargo(&["test", "--package", "bimetal-core", "--release"]);
        // Optimised as it is shipped, but not across crates: each test program would be linked for
        // minutes to be run for seconds.
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        command.env("CARGO_TARGET_DIR", place::made("optimised")?);
        Ok(judge(&process::run("optimised tests", &mut command, LIMIT)?))
    });
    tally.step("interleavings", "shared state under every order of its threads", || {
        let arguments = ["test", "--package", "bimetal-core", "--release", "--test", "loom"];
        let mut command = cargo(&arguments);
        // Another meaning of every dependency: a folder of its own keeps the other builds.
        command.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", place::made("loom")?);
        Ok(judge(&process::run("interleavings", &mut command, LIMIT)?))
    });
    tally.step("oracles", "profiles decide as the breakers that they are named after", || {
        Ok(judge(&process::run("oracles", &mut oracles::asked()?, LIMIT)?))
    });
    tally.step("miri", "no undefined behaviour under the core", miri::check);
    tally.step("mutants", "a test notices each change of a part of the code", mutants::check);
    tally.step("images", "the container images can be written", || {
        crate::images::images("release").map(|_| Counts::PASSED)
    });
}

/// Cargo in the repository.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(wasm::cargo());
    command.current_dir(place::root()).args(arguments);
    command
}

/// A command that either succeeds or is one failure.
fn check(name: &str, mut command: Command) -> Result<Counts> {
    process::succeed(name, &mut command, LIMIT).map(|_| Counts::PASSED)
}

/// What a run of test executables counted; what failed in it is shown.
fn judge(done: &Finished) -> Counts {
    let output = done.output();
    let counts = counted(done.status.success(), &output);
    if counts.failed > 0 {
        println!("{}", tally::failures(&output).unwrap_or_else(|| done.last_words()));
        println!("all of its output: {}", done.log.display());
    }
    counts
}

/// What an output tells of a run. One that did not come to an end that could be counted is a
/// failure: it broke off, or ended well without a result.
fn counted(ended_well: bool, output: &str) -> Counts {
    let counts = tally::read(output);
    let is_whole = ended_well && tally::has_result(output);
    if counts.failed > 0 || is_whole { counts } else { Counts { failed: 1, ..counts } }
}

#[cfg(test)]
mod tests {
    use super::tally::Counts;
    use super::{counted, served};

    #[test]
    fn a_run_that_breaks_off_is_a_failure() {
        let good = "test result: ok. 3 passed; 0 failed; 0 ignored";
        let bad = "test result: FAILED. 2 passed; 1 failed; 0 ignored";
        let nothing = "test result: ok. 0 passed; 0 failed; 0 ignored";
        for (ended_well, output, passed, failed) in [
            (true, good, 3, 0),
            (true, nothing, 0, 0),
            (false, bad, 2, 1),
            (false, "Segmentation fault", 0, 1),
            (false, good, 3, 1),
            (true, "", 0, 1),
            (true, "running 3 tests", 0, 1),
        ] {
            let wanted = Counts { passed, failed, skipped: 0 };
            assert_eq!(counted(ended_well, output), wanted, "{ended_well} {output:?}");
        }
    }

    #[test]
    fn a_study_that_was_not_served_is_told() {
        let result = |planned: u32, blocks: &str| {
            format!(r#"{{"findings": {{"planned": {planned}}}, "blocks": [{blocks}]}}"#)
        };
        let block = |flaws: &str| format!(r#"{{"arm": "native", "invalid": [{flaws}]}}"#);
        let behind = r#"{"why": "generator_fell_behind", "share": 0.02}"#;
        let died = r#"{"why": "arm_died", "told": "killed"}"#;
        served(&result(1, &block(""))).unwrap();
        served(&result(1, &block(behind))).unwrap();
        for (wrong, told) in [
            (result(1, &block(died)), "did not serve"),
            (result(1, &block(&format!("{behind}, {died}"))), "did not serve"),
            (result(2, &block("")), "1 of 2 blocks"),
            (result(0, ""), "0 of 0 blocks"),
            ("{}".to_owned(), "has no blocks"),
        ] {
            let error = served(&wrong).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
