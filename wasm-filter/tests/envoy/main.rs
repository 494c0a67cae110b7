//! The compiled filter in a real Envoy.
//!
//! Needs `ENVOY` (the program) and `BIMETAL_FILTER` (the module); without them every test counts
//! as ignored and one line says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic"
)]

mod cases;
mod matrix;
mod rig;
mod upstream;

use libtest_mimic::{Arguments, Failed, Trial};
use rig::Tools;
use std::path::PathBuf;

fn main() {
    let arguments = Arguments::from_args();
    let tools = tools();
    if let Err(missing) = &tools {
        println!("skipped: the filter in a real Envoy, because {missing}");
    }
    let trials = cases::ALL.iter().map(|(name, case)| {
        let (tools, absent) = (tools.clone(), tools.is_err());
        let run = move || {
            let tools = tools.map_err(Failed::from)?;
            case(&tools).map_err(|error| Failed::from(error.to_string()))
        };
        Trial::test(*name, run).with_ignored_flag(absent)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn tools() -> Result<Tools, String> {
    let file = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        let path = path.ok_or_else(|| format!("{name} is not set"))?;
        path.canonicalize().map_err(|error| format!("{name}={}: {error}", path.display()))
    };
    Ok(Tools { envoy: file("ENVOY")?, filter: file("BIMETAL_FILTER")? })
}
