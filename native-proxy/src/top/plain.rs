//! What is known, as lines of text.

use super::picture::Picture;
use super::view::{View, headline, views};
use std::fmt::Write;

/// All of it.
pub(super) fn text(picture: &Picture, policy: Option<&str>) -> String {
    let mut text = headline(picture, policy);
    for view in views(picture, policy).iter().filter(|view| !view.rows.is_empty()) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n\n{}", table(view));
    }
    text
}

fn table(view: &View) -> String {
    let heads: Vec<String> = view.columns.iter().map(|name| name.to_uppercase()).collect();
    let lines: Vec<&[String]> = std::iter::once(heads.as_slice())
        .chain(view.rows.iter().map(|row| row.cells.as_slice()))
        .collect();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..view.columns.len()).map(width).collect();
    let line = |cells: &&[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_stand_below_each_other_and_empty_tables_are_left_out() {
        let mut picture = Picture::default();
        let row = |id: &str, scope: &str, state: &str| json!({"id": id, "policy": "p", "scope": scope, "state": state, "since_ms": 0.0, "window": {"calls": 1, "failures": 0, "slow": 0}});
        picture.take("snapshot", &json!({
            "proxy": {"name": "a:1"}, "now_ms": 3_000.0,
            "tables": {"breakers": {"set": [row("1", "long scope", "closed"), row("2", "b", "open")]}},
        }));
        let wanted = "a:1: 1 open, 0 half-open, 1 closed\n\n\
            STATE   POLICY  SCOPE       SINCE  NEXT PROBE  WHY  WINDOW\n\
            open    p       b           3 s    -           -    0 failed, 0 slow of 1\n\
            closed  p       long scope  3 s    -           -    0 failed, 0 slow of 1";
        assert_eq!(text(&picture, None), wanted);
        assert_eq!(text(&picture, Some("q")), "a:1: 0 open, 0 half-open, 0 closed");
    }
}
