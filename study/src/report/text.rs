//! The report for a terminal.

use super::SMOKE;
use super::claims::Claim;
use super::findings::{Compared, Findings, Kind};
use super::spans::write_text;
use crate::plan::Extent;
use crate::record::{Block, Measure};
use crate::stages::Staged;
use crate::stats::{Comparison, Finding};
use crate::store::Head;
use std::fmt::Write;

/// The whole of it.
pub(super) fn text(
    head: &Head,
    found: &Findings,
    claims: &[Claim],
    stages: &[Staged],
    blocks: &[Block],
) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, head, found, claims)
        .and_then(|()| write_text(&mut text, &found.spans))
        .and_then(|()| write_invalid(&mut text, found, blocks))
        .and_then(|()| write_stages(&mut text, stages));
    text
}

fn write_all(
    text: &mut String,
    head: &Head,
    found: &Findings,
    claims: &[Claim],
) -> std::fmt::Result {
    let (plan, machine) = (&head.plan, &head.machine);
    if plan.extent == Extent::Quick {
        writeln!(text, "{SMOKE}\n")?;
    }
    writeln!(
        text,
        "{} of {} blocks measured, {} invalid. {}, {} cores, commit {}.",
        found.measured,
        found.planned,
        found.invalid,
        machine.processor,
        machine.cores,
        machine.commit
    )?;
    for line in trust(found) {
        writeln!(text, "{line}")?;
    }
    for load in &plan.loads {
        writeln!(text, "\nAt {load} calls a second (medians over blocks, us)")?;
        let names = Measure::ALL.map(|measure| format!("{:>9}", short(measure)));
        writeln!(text, "{:<28}{}{:>9}{:>10}", "", names.concat(), "RSS MB", "blocks")?;
        for seen in found.arms.iter().filter(|seen| seen.load == *load) {
            let values = Measure::ALL.map(|measure| match seen.medians.get(&measure) {
                Some(value) => format!("{value:>9.0}"),
                None => format!("{:>9}", "-"),
            });
            let rss = seen.rss_kib.map_or("-".to_owned(), |kib| format!("{:.0}", kib / 1024.0));
            let blocks = format!("{}/{}", seen.blocks, seen.blocks + seen.invalid);
            let apart = seen.apart_us.map(|us| format!("  and {us:.1} us CPU apart"));
            let apart = apart.unwrap_or_default();
            writeln!(text, "{:<28}{}{rss:>9}{blocks:>10}{apart}", seen.arm, values.concat())?;
        }
        for (kind, title) in [
            (None, "The ladder: each arm over the one below it"),
            (Some(Kind::Claim), "Across the ladder"),
            (Some(Kind::Same), "A/A: one program twice"),
        ] {
            let own: Vec<&Compared> = found
                .compared
                .iter()
                .filter(|one| one.load == *load && has_row(one, kind))
                .collect();
            if own.is_empty() {
                continue;
            }
            writeln!(text, "\n  {title}")?;
            for one in own {
                let names = format!("{} / {}", one.arm, one.over);
                writeln!(
                    text,
                    "  {names:<46}{:>13}  {:<20} {}",
                    one.measure.name(),
                    ratio(&one.ratio),
                    said(one)
                )?;
            }
        }
    }
    writeln!(text, "\nWhat others say")?;
    for claim in claims {
        writeln!(text, "- {}: {}", claim.source, claim.says)?;
        writeln!(text, "  {}: {} ({})", claim.verdict.name(), claim.ours, claim.because)?;
    }
    for (arm, why) in &plan.left_out {
        writeln!(text, "left out: {arm}: {why}")?;
    }
    Ok(())
}

/// Which blocks may not be used: how many of each arm, and why the first.
fn write_invalid(text: &mut String, found: &Findings, blocks: &[Block]) -> std::fmt::Result {
    for seen in found.arms.iter().filter(|seen| seen.invalid > 0) {
        let load = seen.load.to_string();
        let own = blocks.iter().filter(|block| block.arm == seen.arm && block.load == load);
        if let Some(flaw) = own.flat_map(|block| &block.invalid).next() {
            let (all, arm) = (seen.blocks + seen.invalid, &seen.arm);
            writeln!(text, "invalid: {arm} at {load}: {} of {all} blocks: {flaw}", seen.invalid)?;
        }
    }
    Ok(())
}

/// What k6 saw.
fn write_stages(text: &mut String, stages: &[Staged]) -> std::fmt::Result {
    if stages.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "\nThe origin's loads by k6, in ms: a closed loop, once; no claim comes from it"
    )?;
    for one in stages {
        writeln!(
            text,
            "{:<12}{:<28} median {:>8.2}  p95 {:>8.2}  max {:>8.2}  {:>7.1}/s  {:>5.2} % failed{}{}",
            one.stage.to_string(),
            one.arm,
            one.median_ms,
            one.p95_ms,
            one.max_ms,
            one.per_second,
            one.failed * 100.0,
            if one.scale < 1.0 { "  SMOKE" } else { "" },
            if one.broken.is_empty() {
                String::new()
            } else {
                format!("  missed: {}", one.broken.join(", "))
            }
        )?;
    }
    Ok(())
}

/// Whether a comparison is in the rows of `kind`; without a kind, the ladder's.
fn has_row(one: &Compared, kind: Option<Kind>) -> bool {
    let shown = matches!(one.measure, Measure::P50 | Measure::P99 | Measure::Cpu);
    let own = match kind {
        Some(kind) => one.kind == kind,
        None => is_step(one),
    };
    own && shown
}

/// Whether it is a step of the ladder: an arm over the one below it, which may be `direct`.
pub(super) fn is_step(one: &Compared) -> bool {
    match one.kind {
        Kind::Step => true,
        Kind::OverDirect => one.step != super::findings::EVERYTHING,
        Kind::Claim | Kind::Same => false,
    }
}

fn short(measure: Measure) -> &'static str {
    match measure {
        Measure::Cpu => "CPU",
        other => other.name(),
    }
}

/// A ratio with its interval.
pub(super) fn ratio(of: &Comparison) -> String {
    match (of.low, of.high) {
        (Some(low), Some(high)) => format!("{:.3} ({low:.3}-{high:.3})", of.ratio),
        _ => format!("{:.3}", of.ratio),
    }
}

/// What a comparison says, in words.
pub(super) fn said(one: &Compared) -> &'static str {
    match (one.finding, one.stands) {
        (Finding::TooFewPairs, _) => "too few pairs",
        (Finding::NoDifferenceSeen, _) => "no difference seen",
        (Finding::More, true) => "more",
        (Finding::Less, true) => "less",
        (Finding::More, false) => "more, but not among so many comparisons",
        (Finding::Less, false) => "less, but not among so many comparisons",
    }
}

/// What other programs may have of a core while a study is made.
const QUIET: f64 = 0.1;

/// The first of many, and how many more there are.
fn few(all: &[String]) -> String {
    let shown = all.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(4) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

/// How far the study is to be trusted.
pub(super) fn trust(found: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    let same: Vec<&Compared> =
        found.same().filter(|one| one.finding != Finding::TooFewPairs).collect();
    let apart: Vec<String> = same
        .iter()
        .filter(|one| one.finding != Finding::NoDifferenceSeen)
        .map(|one| format!("{} at {} ({})", one.measure.name(), one.load, ratio(&one.ratio)))
        .collect();
    let widest = same
        .iter()
        .filter_map(|one| Some((one.ratio.high? / one.ratio.low?).sqrt() - 1.0))
        .fold(0.0, f64::max);
    if same.is_empty() {
        lines.push(
            "A/A: fewer than ten pairs of one program with itself: no noise floor.".to_owned(),
        );
    } else if apart.is_empty() {
        lines.push(format!(
            "A/A: one program does not differ from itself in any of {} comparisons; their intervals reach \
             up to {:.1} % to each side.",
            same.len(),
            widest * 100.0
        ));
    } else {
        lines.push(format!(
            "A/A: one program differs from itself in {} of {} comparisons, where one in twenty is \
             expected: {}. Believe no difference of that size.",
            apart.len(),
            same.len(),
            few(&apart)
        ));
    }
    let judged = found.judged().count();
    if judged > 0 {
        let seen = found.judged().filter(|one| one.finding != Finding::NoDifferenceSeen).count();
        let stands = found.judged().filter(|one| one.stands).count();
        lines.push(format!(
            "{judged} comparisons are made, so about {:.0} of equal arms would look like a difference. \
             {seen} look like one, {stands} of them stand by Holm's rule.",
            judged as f64 / 20.0
        ));
    }
    let broken: Vec<String> = found
        .arms
        .iter()
        .filter(|seen| seen.blocks == 0 && seen.invalid > 0)
        .map(|seen| format!("{} at {}", seen.arm, seen.load))
        .collect();
    if !broken.is_empty() {
        lines.push(format!("Without a single block that may be used: {}.", few(&broken)));
    }
    let [middle, worst] = found.others;
    lines.push(format!(
        "Other programs had {:.0} % of a core in the middle block and {:.0} % in the worst.{}",
        middle * 100.0,
        worst * 100.0,
        if middle > QUIET { " The machine was not quiet: take no figure from it." } else { "" }
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::claims::claims;
    use super::super::findings::{findings, tests::made};
    use super::super::tests::staged;
    use super::*;
    use crate::record::Flaw;

    #[test]
    fn a_terminal_shows_arms_ladder_and_claims() {
        let (head, blocks, arms) = made(11);
        let found = findings(&head, &blocks, &arms).unwrap();
        let text = text(&head, &found, &claims(&head.plan, &found), &[staged()], &blocks);
        for wanted in [
            "231 of 231 blocks measured, 1 invalid",
            "native-policy / native",
            "native-policy@2 / native-policy",
            "app-envoy-outlier / app-guard",
            "no difference seen",
            "reproduced: median latency with a sane pool",
            "left out: haproxy",
            "invalid: native-policy@2 at 250: 1 of 11 blocks: the generator fell behind",
            "10/11",
            "missed: http_req_failed: rate<0.01",
            "SMOKE",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(!text.contains(SMOKE));
    }

    #[test]
    fn a_quick_study_says_so_first() {
        let (mut head, blocks, arms) = made(2);
        head.plan.extent = Extent::Quick;
        let found = findings(&head, &blocks, &arms).unwrap();
        let text = text(&head, &found, &[], &[], &blocks);
        assert!(text.starts_with(SMOKE), "{text}");
        assert!(text.contains("no noise floor") && text.contains("too few pairs"), "{text}");
    }

    #[test]
    fn a_program_that_differs_from_itself_is_told() {
        let (head, mut blocks, arms) = made(11);
        for block in blocks.iter_mut().filter(|block| block.arm == "native-policy@2") {
            block.seen.latency.p50 *= 1.3;
        }
        let quiet = trust(&findings(&head, &blocks, &arms).unwrap()).concat();
        assert!(!quiet.contains("take no figure"), "{quiet}");
        blocks.iter_mut().for_each(|block| block.others = 0.2);
        assert_eq!(
            few(&["a", "b", "c", "d", "e", "f"].map(str::to_owned)),
            "a, b, c, d, and 2 more"
        );
        let lines = trust(&findings(&head, &blocks, &arms).unwrap());
        assert!(lines[0].contains("differs from itself in 3 of 12"), "{lines:?}");
        assert!(lines[0].contains("p50 at 250"), "{lines:?}");
        assert!(lines.concat().contains("not quiet: take no figure"), "{lines:?}");
    }

    #[test]
    fn an_arm_that_never_served_is_told_at_the_top() {
        let (head, mut blocks, arms) = made(2);
        for block in blocks.iter_mut().filter(|block| block.arm == "app" && block.load == "1000") {
            block.invalid.push(Flaw::ArmDied { told: "it went".into() });
        }
        let found = findings(&head, &blocks, &arms).unwrap();
        let lines = trust(&found).concat();
        assert!(lines.contains("Without a single block that may be used: app at 1000."), "{lines}");
        let text = text(&head, &found, &[], &[], &blocks);
        assert!(
            text.contains("invalid: app at 1000: 2 of 2 blocks: the arm did not serve: it went")
        );
    }
}
