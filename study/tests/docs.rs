//! The figures in the document are those of the committed records.

use bimetal_study::store::Store;
use bimetal_study::{arms, report};
use std::path::Path;

#[test]
fn the_results_in_the_document_are_what_the_report_makes_of_the_records() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = room.parent().unwrap();
    let document = std::fs::read_to_string(root.join("docs/study.md")).unwrap();
    // A study on one machine, and one in a cluster.
    for (is_cluster, arms, largest) in
        [(false, "arms", 5_000_000), (true, "arms/cluster", 1_000_000)]
    {
        let Some(folder) = report::shown(&document, is_cluster) else {
            // Still without results: the marks must be there for the first.
            let name = if is_cluster { "cluster results" } else { "results" };
            assert!(document.contains(&format!("<!-- {name} -->")), "{name}");
            assert!(document.contains(&format!("<!-- end of {name} -->")), "{name}");
            continue;
        };
        // A copy: opening a record mends the end of one that was broken off.
        let copy = tempfile::tempdir().unwrap();
        let mut size = 0;
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let file = file.unwrap();
            size += file.metadata().unwrap().len();
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        let store = Store::open(copy.path()).unwrap();
        let arms = arms::all(&room.join(arms)).unwrap();
        let made = report::within(&document, folder, &store, &arms).unwrap();
        assert_eq!(
            made, document,
            "make it anew: bimetal-study report {folder} --into docs/study.md"
        );
        assert!(size <= largest, "{size} bytes are more than a repository should carry");
    }
}
