//! `bimetal check`: whether a document would be accepted, and if not, all that is wrong with it.

use super::input::{self, Input, Kind};
use super::output::{WRONG_INPUT, complain, print, report};
use super::{Answer, HostName, upstream_filter};
use crate::config;
use bimetal_core::doc::{Node, Problems};
use bimetal_core::policy::{Document, Host};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bimetal check policy.yaml
  bimetal check policy.yaml --host wasm
  bimetal check policy.yaml --upstream-filter
  bimetal check proxy.yaml --json";

#[derive(Debug, clap::Args)]
#[command(
    about = "Check a policy document or a proxy file; list all that is wrong",
    after_help = EXAMPLES
)]
pub(super) struct CheckArgs {
    /// YAML or JSON file; `-` reads standard input
    file: PathBuf,
    /// The host that shall understand it; of a proxy file `wasm` sees the policies alone
    #[arg(long, value_enum, default_value_t)]
    host: HostName,
    /// Like `--host wasm`, and warn of what the filter cannot do among Envoy's upstream filters
    #[arg(long)]
    upstream_filter: bool,
    #[command(flatten)]
    answer: Answer,
}

impl CheckArgs {
    fn host(&self) -> Host {
        if self.upstream_filter { Host::Wasm } else { self.host.into() }
    }
}

/// What a good document says.
struct Good {
    policies: Vec<String>,
    skipped: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn run(args: CheckArgs) -> ExitCode {
    let input = match input::document(&args.file) {
        Ok(input) => input,
        Err(error) => {
            if args.answer.json {
                let report = json!({ "valid": false, "error": error.to_string() });
                return print(&report, ExitCode::from(WRONG_INPUT));
            }
            complain(format_args!("{error}"));
            return ExitCode::from(WRONG_INPUT);
        }
    };
    let kind = Kind::of(&input.node);
    let result = check(input, kind, &args);
    let code = match result {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(WRONG_INPUT),
    };
    if args.answer.json {
        print(&as_json(&args, kind, &result), code)
    } else {
        match result {
            Ok(good) => print(&as_text(&args, kind, &good), code),
            Err(problems) => {
                // A document's problems are the answer to what was asked, but not what a script
                // would go on with: standard error.
                report(format_args!("{}", config::in_file(&args.file, &problems)));
                code
            }
        }
    }
}

fn check(input: Input, kind: Kind, args: &CheckArgs) -> Result<Good, Problems> {
    let host = args.host();
    if kind == Kind::Proxy && host == Host::Native {
        let settings = config::settings(&input.node)?;
        let policies = names(&settings.document);
        return Ok(Good { policies, skipped: settings.skipped, warnings: settings.warnings });
    }
    let document = Document::compile(&policies_of(input.node, kind), host);
    // What is written for Envoy gets there through readers of YAML 1.1.
    let otherwise = if host == Host::Wasm { input.read_otherwise } else { Problems::default() };
    let document = match document {
        Ok(document) if otherwise.is_empty() => document,
        Ok(_) => return Err(otherwise),
        Err(mut problems) => {
            problems.append(otherwise);
            return Err(problems);
        }
    };
    let mut warnings = config::hidden::policies(&document);
    warnings.extend(config::against::policies(&document));
    if args.upstream_filter {
        warnings.extend(upstream_filter::warnings(&document));
    }
    Ok(Good { policies: names(&document), skipped: document.skipped, warnings })
}

/// The policy document in a proxy file: the keys that both have.
pub(super) fn policies_of(document: Node, kind: Kind) -> Node {
    match (kind, document) {
        (Kind::Proxy, Node::Map(entries)) => {
            let shared = |key: &str| bimetal_core::policy::table::DOCUMENT.field(key).is_some();
            Node::Map(entries.into_iter().filter(|(key, _)| shared(key)).collect())
        }
        (_, document) => document,
    }
}

fn names(document: &Document) -> Vec<String> {
    document.policies.iter().map(|policy| policy.name.to_string()).collect()
}

fn as_text(args: &CheckArgs, kind: Kind, good: &Good) -> String {
    let count = match good.policies.len() {
        0 => "no policy".to_owned(),
        1 => format!("1 policy: {}", good.policies.join(", ")),
        count => format!("{count} policies: {}", good.policies.join(", ")),
    };
    let host = args.host().name();
    let mut text = format!("{}: good {} for {host}, {count}", args.file.display(), kind.name());
    for skipped in &good.skipped {
        text.push_str("\nskipped: ");
        text.push_str(skipped);
    }
    for warning in &good.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    text
}

fn as_json(args: &CheckArgs, kind: Kind, result: &Result<Good, Problems>) -> Value {
    let mut report = json!({
        "file": args.file.display().to_string(),
        "kind": kind.name(),
        "host": args.host().name(),
        "valid": result.is_ok(),
    });
    match result {
        Ok(good) => {
            report["policies"] = json!(good.policies);
            report["skipped"] = json!(good.skipped);
            report["warnings"] = json!(good.warnings);
        }
        Err(problems) => {
            let list = problems.iter();
            report["problems"] =
                list.map(|problem| json!({ "path": problem.path, "what": problem.what })).collect();
        }
    }
    report
}
