//! A page of a demo: one HTML file that needs nothing else.

use super::verdict::Claim;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;

const STYLE: &str = include_str!("style.css");

/// A page that grows from its head to its end.
#[derive(Debug)]
pub struct Sheet(String);

/// Adds formatted text; writing to a text cannot fail.
macro_rules! add {
    ($html:expr, $($text:tt)*) => {{ let _ = write!($html, $($text)*); }};
}

impl Sheet {
    /// A page with this title; `intro` is HTML of ours: heading, what it is about, legend.
    pub fn new(title: &str, intro: &str) -> Self {
        Self(format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body><main>\n{intro}",
            escape(title)
        ))
    }

    /// Adds a part with a picture, which is HTML of ours.
    pub fn picture(&mut self, heading: &str, picture: &str) {
        add!(self.0, "<section><h2>{}</h2>{picture}</section>", escape(heading));
    }

    /// Adds the closing table, what it means, and what was promised; then the page is whole.
    pub fn end<const N: usize>(
        mut self,
        columns: &[&str; N],
        rows: &[[String; N]],
        explained: &str,
        claims: &[Claim],
    ) -> String {
        let html = &mut self.0;
        html.push_str("<section><h2>In numbers</h2><div class=\"wide\"><table><thead><tr>");
        for column in columns {
            add!(html, "<th scope=\"col\">{}</th>", escape(column));
        }
        html.push_str("</tr></thead><tbody>");
        for row in rows {
            html.push_str("<tr>");
            for (at, cell) in row.iter().enumerate() {
                match at {
                    0 => add!(html, "<th scope=\"row\">{}</th>", escape(cell)),
                    _ => add!(html, "<td>{}</td>", escape(cell)),
                }
            }
            html.push_str("</tr>");
        }
        add!(
            html,
            "</tbody></table></div><p class=\"foot\">{}</p><h3>Promises</h3><ul class=\"promises\">",
            escape(explained)
        );
        for claim in claims {
            let word = if claim.holds { "kept" } else { "broken" };
            add!(html, "<li class=\"{word}\"><b>{word}</b> {}</li>", escape(&claim.text));
        }
        html.push_str("</ul></section></main></body></html>\n");
        self.0
    }
}

/// Writes a page, whole or not at all.
///
/// # Errors
/// The file cannot be written, for example on a full disk; an earlier page stays then.
pub fn write(file: &Path, page: &str) -> Result<()> {
    let half = file.with_extension("html.part");
    std::fs::write(&half, page)
        .and_then(|()| std::fs::rename(&half, file))
        .inspect_err(|_| {
            // Half a page helps nobody and holds space.
            let _ = std::fs::remove_file(&half);
        })
        .with_context(|| {
            format!(
                "the report {} cannot be written; the numbers above are complete. Make space or \
                 choose another target folder (CARGO_TARGET_DIR), then run the demo again",
                file.display()
            )
        })
}

/// Prints the closing table, what it means and what was promised.
pub fn tell<const N: usize>(
    columns: &[&str; N],
    rows: &[[String; N]],
    explained: &str,
    claims: &[Claim],
) {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(columns);
    for row in rows {
        table.add_row(row);
    }
    println!("\n{table}");
    println!("{explained}");
    for claim in claims {
        let word = if claim.holds { "kept:  " } else { "BROKEN:" };
        println!("{word} {}", claim.text);
    }
}

/// Text as HTML, also inside an attribute.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for unit in text.chars() {
        match unit {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(unit),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
        let hostile = || "<script>".to_owned();
        let claim = Claim { text: hostile(), holds: false };
        let mut sheet = Sheet::new(&hostile(), "");
        sheet.picture(&hostile(), "");
        let page = sheet.end(&[&hostile()], &[[hostile()]], &hostile(), &[claim]);
        assert_eq!(page.matches("&lt;script&gt;").count(), 6);
        assert!(!page.contains("<script>"));
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_no_half_page() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            println!("skipped: this system has no /dev/full");
            return;
        }
        let folder = place::made("xtask/tests/full").unwrap();
        let (file, half) = (folder.join("index.html"), folder.join("index.html.part"));
        let _ = std::fs::remove_file(&half);
        std::os::unix::fs::symlink(full, &half).unwrap();
        let error = write(&file, "a page").unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("cannot be written") && error.contains("No space left"), "{error}");
        assert!(half.symlink_metadata().is_err() && !file.exists());
    }
}
