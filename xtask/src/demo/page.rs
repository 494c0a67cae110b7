//! The report of the demo: one HTML file that needs nothing else.

use super::chart;
use super::record::{Arm, Record};
use super::verdict::{Claim, Verdict};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// Writes the page, whole or not at all.
///
/// # Errors
/// The file cannot be written, for example on a full disk; an earlier page stays then.
pub fn write(file: &Path, record: &Record, verdicts: &[Verdict], claims: &[Claim]) -> Result<()> {
    let page = page(record, verdicts, claims);
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

const HEAD: &str = include_str!("page.head.html");

fn page(record: &Record, verdicts: &[Verdict], claims: &[Claim]) -> String {
    let mut html = HEAD.to_owned();
    for verdict in verdicts.iter().filter(|verdict| verdict.arm != Arm::Direct) {
        let name = verdict.arm.name();
        let id = format!("arm{}", verdict.arm as usize);
        let _ = write!(
            html,
            "<section><h2>{}</h2>{}</section>",
            escape(name),
            chart::draw(&id, name, &summary(verdict), record.line(verdict.arm))
        );
    }
    html.push_str("<section><h2>In numbers</h2><div class=\"wide\"><table><thead><tr>");
    for column in COLUMNS {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(column));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows(verdicts) {
        html.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = match at {
                0 => write!(html, "<th scope=\"row\">{}</th>", escape(cell)),
                _ => write!(html, "<td>{}</td>", escape(cell)),
            };
        }
        html.push_str("</tr>");
    }
    let _ = write!(
        html,
        "</tbody></table></div><p class=\"foot\">{}</p><h3>Promises</h3><ul class=\"promises\">",
        escape(EXPLAINED)
    );
    for claim in claims {
        let (class, word) = if claim.holds { ("kept", "kept") } else { ("broken", "broken") };
        let _ = write!(html, "<li class=\"{class}\"><b>{word}</b> {}</li>", escape(&claim.text));
    }
    html.push_str("</ul></section></main></body></html>\n");
    html
}

fn summary(verdict: &Verdict) -> String {
    let mut text = String::new();
    for outage in &verdict.outages {
        let _ = write!(
            text,
            "Outage, echo server {}: tripped after {}, recovered {} after its end. ",
            outage.name,
            time(outage.to_trip),
            time(outage.to_recover)
        );
    }
    text
}

/// The columns of the closing table.
pub const COLUMNS: [&str; 10] = [
    "arm",
    "calls",
    "good",
    "failed",
    "rejected",
    "leaked",
    "time to trip",
    "time to recover",
    "added p50",
    "added p99",
];

/// What the columns mean.
pub const EXPLAINED: &str = "leaked: failures let through before the breaker tripped. Times: one \
for each outage. Added: over the direct calls (in brackets), while all was well; below zero, the \
machine's own noise is larger than the difference.";

/// The rows of the closing table, one an arm. The last arm is the one that latencies are compared
/// with.
pub fn rows(verdicts: &[Verdict]) -> Vec<[String; 10]> {
    let direct = verdicts.iter().find(|verdict| verdict.arm == Arm::Direct);
    verdicts
        .iter()
        .map(|verdict| {
            let each = |of: fn(&super::verdict::Outage) -> Option<Duration>| {
                let times: Vec<String> =
                    verdict.outages.iter().map(|outage| time(of(outage))).collect();
                times.join(", ")
            };
            let added = |of: fn(&Verdict) -> Duration| match direct {
                Some(direct) if verdict.arm != Arm::Direct => added(of(verdict), of(direct)),
                _ => format!("({:.2} ms)", of(verdict).as_secs_f64() * 1e3),
            };
            let host = verdict.arm != Arm::Direct;
            let only_host = |text: String| if host { text } else { "-".to_owned() };
            [
                verdict.arm.name().to_owned(),
                verdict.calls.to_string(),
                verdict.good.to_string(),
                verdict.failed.to_string(),
                only_host(verdict.rejected.to_string()),
                only_host(verdict.leaked().to_string()),
                only_host(each(|outage| outage.to_trip)),
                only_host(each(|outage| outage.to_recover)),
                added(|verdict| verdict.p50),
                added(|verdict| verdict.p99),
            ]
        })
        .collect()
}

fn added(with: Duration, without: Duration) -> String {
    format!("{:+.2} ms", (with.as_secs_f64() - without.as_secs_f64()) * 1e3)
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
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

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a b='c'>&\""), "&lt;a b=&#39;c&#39;&gt;&amp;&quot;");
        let hostile = Claim { text: "<script>".to_owned(), holds: false };
        let page = page(&Record::default(), &[], &[hostile]);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    }

    #[test]
    fn a_full_disk_is_told_and_leaves_no_half_page() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            println!("skipped: this system has no /dev/full");
            return;
        }
        let folder = crate::place::made("xtask/tests/full").unwrap();
        let (file, half) = (folder.join("index.html"), folder.join("index.html.part"));
        let _ = std::fs::remove_file(&half);
        std::os::unix::fs::symlink(full, &half).unwrap();
        let error = write(&file, &Record::default(), &[], &[]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("cannot be written") && error.contains("No space left"), "{error}");
        assert!(half.symlink_metadata().is_err() && !file.exists());
    }
}
