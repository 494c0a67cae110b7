//! `bimetal schema`: the JSON Schema of the policy document.

use super::output::print;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
#[command(
    about = "Print the JSON Schema of the policy document",
    after_help = "Example:\n  bimetal schema > policy.schema.json"
)]
pub(super) struct SchemaArgs {}

pub(super) fn run(_: SchemaArgs) -> ExitCode {
    print(&format_args!("{:#}", bimetal_core::policy::schema()), ExitCode::SUCCESS)
}
