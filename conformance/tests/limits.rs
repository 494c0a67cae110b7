//! The table of limits and its page in the documentation.

use bimetal_conformance::limits::as_markdown;
use std::path::Path;

#[test]
fn the_documentation_shows_the_table_as_it_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/host-limits.md");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains(&as_markdown()), "docs/host-limits.md should hold:\n{}", as_markdown());
}
