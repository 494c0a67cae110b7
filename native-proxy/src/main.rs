//! The `bimetal` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    bimetal_proxy::cli::main()
}
