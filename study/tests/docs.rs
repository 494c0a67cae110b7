//! The figures in the document are those of the committed record.

use bimetal_study::store::Store;
use bimetal_study::{arms, report};
use std::path::Path;

#[test]
fn the_results_in_the_document_are_what_the_report_makes_of_the_record() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = room.parent().unwrap();
    let document = std::fs::read_to_string(root.join("docs/study.md")).unwrap();
    let Some(folder) = report::shown(&document, false) else {
        // Still without results: the marks must be there for the first.
        assert!(
            document.contains("<!-- results -->") && document.contains("<!-- end of results -->")
        );
        return;
    };
    // A copy: opening a record mends the end of one that was broken off.
    let copy = tempfile::tempdir().unwrap();
    for file in ["study.json", "blocks.jsonl"] {
        std::fs::copy(root.join(folder).join(file), copy.path().join(file)).unwrap();
    }
    let store = Store::open(copy.path()).unwrap();
    let arms = arms::all(&room.join("arms")).unwrap();
    let made = report::within(&document, folder, &store, &arms).unwrap();
    assert_eq!(made, document, "make it anew: bimetal-study report {folder} --into docs/study.md");
    let size: u64 = std::fs::read_dir(root.join(folder))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size <= 5_000_000, "{size} bytes are more than a repository should carry");
}
