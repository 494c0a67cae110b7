//! `bimetal import istio`: a policy document from Istio's own resources, and what it could not take over.

mod destination;
mod fields;
mod hosts;
mod resource;
mod route;
mod span;

use super::output::{WRONG_INPUT, complain, print, report};
use super::{Answer, HostName};
use crate::config::Source;
use bimetal_core::policy::{Document, Host};
use fields::Kind;
use hosts::Hosts;
use resource::Resource;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
The document goes to standard output. What could not be taken over, and what means something else there, goes to
standard error, a line each: the resource, its field, and what to do instead. docs/istio-fields.md lists every field.

Examples:
  bimetal import istio destination-rule.yaml virtual-service.yaml > policy.json
  kubectl get destinationrules,virtualservices -A -o yaml | bimetal import istio - --host wasm
  bimetal import istio rules.yaml | bimetal check -

Exit codes: 0 fine, 1 failed, 2 wrong input.";

#[derive(Debug, clap::Args)]
#[command(about = "Make a policy document of what another system was told")]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    Istio(IstioArgs),
}

#[derive(Debug, clap::Args)]
#[command(about = "From DestinationRules and VirtualServices", after_help = EXAMPLES)]
struct IstioArgs {
    /// YAML or JSON files of resources; `-` reads standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The host that the document is for: what it cannot do is left out, and told
    #[arg(long, value_enum, default_value_t)]
    host: HostName,
    /// The namespace of resources that name none
    #[arg(long, default_value = "default")]
    namespace: String,
    /// The cluster's DNS domain
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    cluster_domain: String,
    #[command(flatten)]
    answer: Answer,
}

/// Something that its reader should know of.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
struct Remark {
    /// Kind, namespace and name of the resource.
    resource: String,
    /// The field's path in it; empty where it is the whole.
    field: String,
    /// What became of it, or did not.
    what: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, field, what } = self;
        if field.is_empty() {
            write!(f, "{resource}: {what}")
        } else {
            write!(f, "{resource}: {field}: {what}")
        }
    }
}

/// What the parts of the importer fill.
struct Import {
    host: Host,
    hosts: Hosts,
    remarks: Vec<Remark>,
}

impl Import {
    /// Tells of a field, by its path in `spec`.
    fn remark(&mut self, resource: &Resource, field: &str, what: impl Into<String>) {
        let field = if field.is_empty() { String::new() } else { format!("spec.{field}") };
        let remark = Remark { resource: resource.title(), field, what: what.into() };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// The same time as a policy writes it; tells where it is none, or beyond what the language takes.
    fn span(&mut self, resource: &Resource, field: &str, value: &Value) -> Option<String> {
        let given = value.as_str()?;
        let written = span::nanos(given).and_then(span::written);
        if written.is_none() {
            self.remark(
                resource,
                field,
                format!("{given:?} is left out: a policy takes 1ms to 24h here"),
            );
        }
        written
    }
}

pub(super) fn run(args: ImportArgs) -> ExitCode {
    let From::Istio(args) = args.from;
    let fail = |text: &str, code: u8| {
        if args.answer.json {
            return print(&json!({ "error": text }), ExitCode::from(code));
        }
        complain(format_args!("{text}"));
        ExitCode::from(code)
    };
    let mut resources = Vec::new();
    let mut remarks = Vec::new();
    for file in &args.files {
        let read = Source::read(file).map_err(|error| error.to_string()).and_then(|source| {
            let name = file.display().to_string();
            resource::read(&source.text, &name, &args.namespace)
        });
        match read {
            Ok(found) => {
                resources.extend(found.resources);
                remarks.extend(found.others);
            }
            Err(error) => return fail(&error, WRONG_INPUT),
        }
    }
    if resources.is_empty() {
        return fail(
            "there is no DestinationRule and no VirtualService in what was given",
            WRONG_INPUT,
        );
    }
    let hosts = Hosts { domain: args.cluster_domain.clone() };
    let mut import = Import { host: args.host.into(), hosts, remarks };
    let document = document(&resources, &mut import);
    // What is printed is what `check` accepts; if not, that is a fault of ours and not of the input.
    if let Err(problems) = Document::parse(document.to_string().as_bytes(), import.host) {
        return fail(
            &format!("the document would be refused, which is a fault of bimetal: {problems}"),
            1,
        );
    }
    if args.answer.json {
        let answer = json!({ "document": document, "remarks": import.remarks });
        return print(&answer, ExitCode::SUCCESS);
    }
    for remark in &import.remarks {
        report(format_args!("{remark}"));
    }
    print(&format_args!("{document:#}"), ExitCode::SUCCESS)
}

/// The policy document of all resources: what is for the fewest hosts comes first, since the first policy that
/// matches decides.
fn document(resources: &[Resource], import: &mut Import) -> Value {
    for resource in resources {
        resource::leftovers(resource, import);
    }
    let mut made = route::policies(resources, import);
    made.extend(destination::policies(resources, &made, import));
    made.sort_by_key(|policy| policy.width);
    let made = needed(made);
    let mut names: Vec<String> = Vec::new();
    let mut policies = Vec::new();
    for mut policy in made {
        let name = unused(&policy.name, &names);
        policy.parts.insert("name".to_owned(), json!(name));
        let alone = json!({ "policies": [policy.parts] });
        // A host, path or value that Istio takes and the language does not.
        if let Err(problems) = Document::parse(alone.to_string().as_bytes(), import.host) {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            let what =
                format!("gets no policy: {}", problems.join("; ").replace("policies[0].", ""));
            import.remark(policy.resource, "", what);
            continue;
        }
        names.push(name);
        policies.push(Value::Object(policy.parts));
    }
    json!({ "version": "v1", "policies": policies })
}

/// A policy that is being made.
struct Made<'a> {
    /// What it is made of.
    resource: &'a Resource,
    /// What its name shall be.
    name: String,
    /// How many hosts its hosts may stand for: 0 a name, more the shorter a pattern is.
    width: usize,
    /// Hosts whose every call it takes.
    takes_all_of: Vec<String>,
    parts: serde_json::Map<String, Value>,
}

/// Without policies that say nothing, unless a later one could be for the same hosts and would take their calls.
fn needed(made: Vec<Made<'_>>) -> Vec<Made<'_>> {
    let mut kept: Vec<Made<'_>> = Vec::new();
    for policy in made.into_iter().rev() {
        let says = policy.parts.keys().any(|part| part != "match");
        if says || kept.iter().any(|later| meet(&policy, later)) {
            kept.push(policy);
        }
    }
    kept.reverse();
    kept
}

/// Whether a host may be one of both. A pattern may be any.
fn meet(one: &Made<'_>, other: &Made<'_>) -> bool {
    let hosts =
        |made: &Made<'_>| made.parts.get("match").and_then(|of| of["hosts"].as_array()).cloned();
    let is_pattern = |host: &Value| host.as_str().is_some_and(|host| host.starts_with('*'));
    match (hosts(one), hosts(other)) {
        (Some(one), Some(other)) => {
            one.iter().any(|host| is_pattern(host) || other.contains(host))
                || other.iter().any(is_pattern)
        }
        _ => true,
    }
}

/// The name, within the language's bounds, and with a number where it is taken.
fn unused(wanted: &str, taken: &[String]) -> String {
    let legal =
        |one: char| if one.is_ascii_alphanumeric() || "._-".contains(one) { one } else { '-' };
    let base: String = wanted.chars().map(legal).take(58).collect();
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or(base)
}

#[cfg(test)]
mod tests;
