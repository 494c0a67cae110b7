//! The compiled module, as Envoy would load it, on a small host of our own.
//!
//! The other tests of the filter's logic run its Rust code natively; here it is the WebAssembly
//! itself, with several VMs of one process on one store of shared data. The host can be told to
//! fail where no Envoy can be brought to.
//!
//! Needs `BIMETAL_FILTER` (the module); without it every test counts as ignored and one line says
//! so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic"
)]

mod cases;
mod imports;
mod machine;
mod process;

use libtest_mimic::{Arguments, Failed, Trial};
use machine::Machine;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

fn main() {
    let arguments = Arguments::from_args();
    let module = module();
    if let Err(missing) = &module {
        println!("skipped: the filter on a small Wasm host, because {missing}");
    }
    // Compiled once, by the first test that needs it.
    let machine: Arc<OnceLock<Result<Machine, String>>> = Arc::default();
    let trials = cases::ALL.iter().map(|(name, case)| {
        let (module, machine, absent) = (module.clone(), machine.clone(), module.is_err());
        let run = move || {
            let path = module.map_err(Failed::from)?;
            let compile = || Machine::load(&path).map_err(|error| format!("{error:#}"));
            let machine = machine.get_or_init(compile).as_ref().map_err(Failed::from)?;
            case(machine).map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(*name, run).with_ignored_flag(absent)
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn module() -> Result<PathBuf, String> {
    let path = std::env::var_os("BIMETAL_FILTER").map(PathBuf::from);
    let path = path.ok_or("BIMETAL_FILTER is not set")?;
    path.canonicalize().map_err(|error| format!("BIMETAL_FILTER={}: {error}", path.display()))
}
