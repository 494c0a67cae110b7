//! What a study says: for programs (`result.json`), for people (`report.html`), for a terminal
//! (`report.txt`). All of it is made from the blocks, and can be made again at any time.

mod charts;
mod claims;
mod faulted;
mod findings;
mod markdown;
mod page;
mod pictures;
mod spans;
mod spans_by_stage;
mod text;

pub use claims::{Claim, Verdict, claims};
pub use findings::{ArmSeen, Compared, Findings, Kind, findings};
pub use markdown::shown;
pub use spans::{SpanCompared, SpansSeen};

use crate::arms::Arm;
use crate::cluster::Shipped;
use crate::faults::Faulted;
use crate::record::Block;
use crate::stages::Staged;
use crate::store::{Head, Store};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The name of the result's form; `study/result.schema.json` describes it.
pub const FORM: &str = "bimetal-study/1";

/// What a quick study says of itself.
pub const SMOKE: &str = "This is a quick study: a smoke test. Take no figure from it.";

/// `result.json`.
#[derive(Debug, Serialize)]
struct Whole<'a> {
    form: &'static str,
    #[serde(flatten)]
    head: &'a Head,
    findings: &'a Findings,
    claims: &'a [Claim],
    stages: &'a [Staged],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    faults: &'a [Faulted],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    shipped: &'a [Shipped],
    blocks: &'a [Block],
}

/// Writes the three files of a study's report; gives where the page is, and the text.
///
/// # Errors
/// A chart cannot be drawn, or a file cannot be written.
pub fn write(store: &Store, arms: &BTreeMap<String, Arm>) -> Result<(PathBuf, String)> {
    let (head, blocks) = (store.head(), store.blocks());
    let found = findings(head, blocks, arms)?;
    let claims = claims(&head.plan, &found);
    let folder = store.folder();
    let stages = crate::store::stages(folder)?;
    let (faults, shipped) = (crate::store::faults(folder)?, crate::store::shipped(folder)?);
    let whole = Whole {
        form: FORM,
        head,
        findings: &found,
        claims: &claims,
        stages: &stages,
        faults: &faults,
        shipped: &shipped,
        blocks,
    };
    store.write("result.json", &(serde_json::to_string(&whole)? + "\n"))?;
    let mut text = text::text(head, &found, &claims, &stages, blocks);
    text += &faulted::text(&faults, &shipped);
    store.write("report.txt", &text)?;
    let more = faulted::page(&faults, &shipped);
    let page = page::page(head, &found, &claims, &stages, &more, blocks)?;
    Ok((store.write("report.html", &page)?, text))
}

/// `document` with its section of results made anew from a study; the study is said to lie in
/// `folder`.
///
/// # Errors
/// The document has no such section, or the study cannot be read.
pub fn within(
    document: &str,
    folder: &str,
    store: &Store,
    arms: &BTreeMap<String, Arm>,
) -> Result<String> {
    let head = store.head();
    let found = findings(head, store.blocks(), arms)?;
    let mut section = markdown::section(head, &found, &claims(&head.plan, &found), folder);
    let own = store.folder();
    let (faults, shipped) = (crate::store::faults(own)?, crate::store::shipped(own)?);
    section += &faulted::markdown(&faults, &shipped);
    markdown::placed(document, folder, head.machine.cluster.is_some(), &section)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    pub(in crate::report) fn staged() -> Staged {
        Staged {
            arm: "app-guard".into(),
            stage: "vus25".parse().unwrap(),
            scale: 0.5,
            calls: 1_000,
            per_second: 80.0,
            failed: 0.02,
            mean_ms: 2.5,
            median_ms: 1.75,
            p95_ms: 6.0,
            p99_ms: None,
            max_ms: 12.0,
            broken: vec!["http_req_failed: rate<0.01".into()],
            spans: crate::spans::Spans::new(),
        }
    }

    fn written(rounds: u32) -> (tempfile::TempDir, Value) {
        let folder = tempfile::tempdir().unwrap();
        let (head, blocks, arms) = findings::tests::made(rounds);
        let mut store = Store::begin(folder.path(), head).unwrap();
        blocks.into_iter().for_each(|block| store.add(block).unwrap());
        crate::store::add_stage(folder.path(), &staged()).unwrap();
        let (page, text) = write(&store, &arms).unwrap();
        assert_eq!(page, folder.path().join("report.html"));
        assert_eq!(std::fs::read_to_string(folder.path().join("report.txt")).unwrap(), text);
        let result = std::fs::read_to_string(folder.path().join("result.json")).unwrap();
        (folder, serde_json::from_str(&result).unwrap())
    }

    #[test]
    fn a_result_is_as_its_schema_says() {
        let schema: Value = serde_json::from_str(include_str!("../../result.schema.json")).unwrap();
        let schema = jsonschema::validator_for(&schema).unwrap();
        for rounds in [0, 1, 11] {
            let (_folder, mut result) = written(rounds);
            let wrong: Vec<String> =
                schema.iter_errors(&result).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
            result["findings"]["more"] = true.into();
            assert!(!schema.is_valid(&result));
        }
    }

    #[test]
    fn a_report_can_be_made_again_from_the_blocks() {
        let (folder, first) = written(2);
        let store = Store::open(folder.path()).unwrap();
        let (.., arms) = findings::tests::made(0);
        write(&store, &arms).unwrap();
        let again = std::fs::read_to_string(folder.path().join("result.json")).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), first);
    }
}
