//! The figures of a study as a section of a document, so that nobody writes them by hand.

use super::claims::{Claim, main_load};
use super::findings::{Compared, Findings, Kind};
use super::text::{is_step, ratio, trust};
use crate::load::Load;
use crate::record::Measure;
use crate::stats::{Added, Finding};
use crate::store::Head;
use anyhow::{Context, Result};

/// The line before the section, in which a folder may stand, and the line after it: of a study on one
/// machine, and of one in a cluster.
const MARKS: [(&str, &str); 2] = [
    ("<!-- results", "<!-- end of results -->"),
    ("<!-- cluster results", "<!-- end of cluster results -->"),
];

const fn marks(is_cluster: bool) -> (&'static str, &'static str) {
    let [machine, cluster] = MARKS;
    if is_cluster { cluster } else { machine }
}

/// `document` with the section between its two marks made anew; `folder` is written where the
/// figures are said to lie.
///
/// # Errors
/// The marks are not there.
pub(super) fn placed(
    document: &str,
    folder: &str,
    is_cluster: bool,
    section: &str,
) -> Result<String> {
    let (begin, end) = marks(is_cluster);
    let (before, rest) =
        document.split_once(begin).with_context(|| format!("it has no line {begin} -->"))?;
    let (_, after) = rest.split_once(end).with_context(|| format!("it has no line {end}"))?;
    Ok(format!("{before}{begin} of {folder} -->\n{section}{end}{after}"))
}

/// The folder whose results a document shows, of a study on one machine or of one in a cluster; none
/// where it shows none yet.
pub fn shown(document: &str, is_cluster: bool) -> Option<&str> {
    let (begin, _) = marks(is_cluster);
    let line = document.lines().find_map(|line| line.strip_prefix(begin))?;
    line.strip_prefix(" of ")?.strip_suffix(" -->")
}

/// The section: how far to trust it, the ladder, and what others say.
pub(super) fn section(head: &Head, found: &Findings, claims: &[Claim], folder: &str) -> String {
    let machine = &head.machine;
    let mut text = format!(
        "Commit {}, {}, {} cores, Linux {}; {} of {} blocks measured, {} of them not to be used. Everything is in `{folder}`.\n",
        machine.commit,
        machine.processor,
        machine.cores,
        machine.kernel,
        found.measured,
        found.planned,
        found.invalid
    );
    if let Some(cluster) = &machine.cluster {
        text += &format!(
            "Kubernetes {}, Istio {}; nodes: {}. Traces: {}.\n",
            cluster.kubernetes,
            cluster.istio,
            cluster.nodes.join("; "),
            cluster.traces
        );
    }
    for line in trust(found) {
        text += &format!("{line}\n");
    }
    if let Some(main) = main_load(&head.plan) {
        text += &ladder(head, found, main);
    }
    text += "\n| who says | what | here | |\n|---|---|---|---|\n";
    for claim in claims {
        text += &format!(
            "| {} | {} | {} | **{}**: {} |\n",
            cell(claim.source),
            cell(claim.says),
            cell(&claim.ours),
            claim.verdict.name(),
            cell(&claim.because)
        );
    }
    text
}

/// A row for each step, each claim across the ladder, and each program twice.
fn ladder(head: &Head, found: &Findings, main: Load) -> String {
    let others: Vec<Load> = head.plan.loads.iter().copied().filter(|load| *load != main).collect();
    let mut table = format!(
        "\n| arm / base | what lies between | CPU per call at {main} | added, us | p50 at {main} | added, us | p99 at {main} |"
    );
    for load in &others {
        table += &format!(" p50 at {load} |");
    }
    table += &format!("\n|---|---|---|---|---|---|---|{}\n", "---|".repeat(others.len()));
    let mut rows: Vec<&Compared> = Vec::new();
    let wanted = |one: &&Compared| is_step(one) || matches!(one.kind, Kind::Claim | Kind::Same);
    for one in found.compared.iter().filter(wanted) {
        if !rows.iter().any(|row| row.arm == one.arm && row.over == one.over) {
            rows.push(one);
        }
    }
    for row in rows {
        let of = |load, measure| found.of(load, &row.arm, &row.over, measure);
        let shown = |load, measure| of(load, measure).map(judged).unwrap_or_default();
        let more = |measure| of(main, measure).and_then(|one| one.added).map(difference);
        table += &format!(
            "| `{}` / `{}` | {} | {} | {} | {} | {} | {} |",
            row.arm,
            row.over,
            cell(&row.step),
            shown(main, Measure::Cpu),
            more(Measure::Cpu).unwrap_or_default(),
            shown(main, Measure::P50),
            more(Measure::P50).unwrap_or_default(),
            shown(main, Measure::P99),
        );
        for load in &others {
            table += &format!(" {} |", shown(*load, Measure::P50));
        }
        table.push('\n');
    }
    table
        + "\nRatios with 95 % intervals. In bold: a difference that stands among all comparisons by Holm's rule.\n"
}

/// A ratio; in bold where its difference stands.
fn judged(one: &Compared) -> String {
    let shown = ratio(&one.ratio);
    match one.finding {
        Finding::TooFewPairs => format!("{shown}, too few pairs"),
        _ if one.stands => format!("**{shown}**"),
        _ => shown,
    }
}

fn difference(added: Added) -> String {
    match (added.low, added.high) {
        (Some(low), Some(high)) => format!("{:+.1} ({low:+.1} to {high:+.1})", added.mean),
        _ => format!("{:+.1}", added.mean),
    }
}

/// Text that does not end its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::super::claims::claims;
    use super::super::findings::{findings, tests::made};
    use super::*;

    #[test]
    fn a_document_gets_its_section_between_the_marks_and_nothing_else_changes() {
        let empty = "before\n<!-- results -->\nnone yet\n<!-- end of results -->\nafter\n";
        assert_eq!(shown(empty, false), None);
        let first = placed(empty, "study/results/a", false, "one\n").unwrap();
        assert_eq!(
            first,
            "before\n<!-- results of study/results/a -->\none\n<!-- end of results -->\nafter\n"
        );
        assert_eq!(shown(&first, false), Some("study/results/a"));
        assert_eq!(shown(&first, true), None);
        let again = placed(&first, "b", false, "two\n").unwrap();
        assert_eq!(again, first.replace("study/results/a", "b").replace("one", "two"));
        for wrong in ["", "<!-- results -->"] {
            let told = placed(wrong, "a", false, "b").unwrap_err().to_string();
            assert!(told.contains("it has no line"), "{told}");
        }
        let both = format!("{first}<!-- cluster results -->\n<!-- end of cluster results -->\n");
        let both = placed(&both, "c", true, "three\n").unwrap();
        assert!(both.starts_with(&first) && shown(&both, true) == Some("c"), "{both}");
    }

    #[test]
    fn the_section_has_the_ladder_and_the_claims() {
        let (head, blocks, arms) = made(11);
        let found = findings(&head, &blocks, &arms).unwrap();
        let text = section(&head, &found, &claims(&head.plan, &found), "study/results/made");
        for wanted in [
            "231 of 231 blocks measured, 1 of them",
            "`study/results/made`",
            "| `native-policy` / `native` | the breaker, in the native proxy |",
            "| `native-policy@2` / `native-policy` |",
            "| `app-envoy-outlier` / `app-guard` |",
            "| p50 at 250 | p50 at 50x100KB |",
            "**reproduced**",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        // Every row of a table has as many cells as its head.
        let mut cells = 0;
        for line in text.lines() {
            let now = line.replace("\\|", "").matches('|').count();
            assert!(cells == 0 || now == 0 || now == cells, "{line}");
            cells = now;
        }
        let row = text.lines().find(|line| line.starts_with("| `native` / `direct`")).unwrap();
        assert!(row.contains("| **1.5"), "{row}");
    }
}
