//! What the spans of traced arms say: how long a trace took, and which part of it where.

use super::charts::{Bars, bars};
use super::page::escaped;
use super::pictures::Hues;
use super::spans_by_stage::{by_payload, by_users};
use super::text::ratio;
use crate::load::Load;
use crate::plan::Plan;
use crate::record::Block;
use crate::spans::{ROOT, Spans};
use crate::stages::Staged;
use crate::stats::{Comparison, Finding, compare, holm, median};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The spans of one arm under one load, over its good blocks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpansSeen {
    /// The arm.
    pub arm: String,
    /// The load.
    pub load: Load,
    /// Good blocks.
    pub blocks: usize,
    /// The median over blocks of each span's mean, in microseconds.
    pub means_us: BTreeMap<String, f64>,
}

/// A span's mean in one arm over the same span's in another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SpanCompared {
    /// The load.
    pub load: Load,
    /// The arm above the line.
    pub arm: String,
    /// The arm below it.
    pub over: String,
    /// The span's name.
    pub span: String,
    /// The ratio of the means.
    pub ratio: Comparison,
    /// What it says.
    pub finding: Finding,
    /// Whether that stands among all spans of the study (Holm).
    pub stands: bool,
}

/// The arms with the breaker in the proxy, beside which the others are seen: on one machine, and in a
/// cluster. A study has one of them at most.
const BASES: [&str; 2] = ["traced-policy", "proxy-policy"];

/// The spans of a tree in the order in which a call meets them.
const ORDER: [&str; 12] = [
    ROOT,
    "echo_proxy_client",
    "parse_request_client",
    "circuit_breaker_call",
    "redirect_to_server_client",
    "POST",
    "POST /echo (echo-server)",
    "echo_request_server",
    "parse_request_server",
    "process_message_server",
    "construct_response_server",
    "construct_response_client",
];

/// Where the figures come from, for every report.
const SOURCE: &str = "Spans are read from the lines that the programs wrote on standard output while they \
    were measured. A collector would have been sent the same lines; the tests hold such lines against \
    what Jaeger tells of them.";

/// The spans of each traced arm under each load.
pub(super) fn spans_seen(plan: &Plan, blocks: &[Block]) -> Vec<SpansSeen> {
    let mut all = Vec::new();
    for (load, arm) in
        plan.loads.iter().flat_map(|load| plan.arms.iter().map(move |arm| (load, arm)))
    {
        let text = load.to_string();
        let own = blocks.iter().filter(|block| block.arm == *arm && block.load == text);
        let good: Vec<&Block> =
            own.filter(|block| block.invalid.is_empty() && !block.spans.is_empty()).collect();
        let mut means: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, span) in good.iter().flat_map(|block| &block.spans) {
            means.entry(name.clone()).or_default().push(span.mean_us);
        }
        if !good.is_empty() {
            let middle = means.into_iter().map(|(name, means)| (name, median(&means)));
            let (arm, blocks) = (arm.clone(), good.len());
            all.push(SpansSeen { arm, load: *load, blocks, means_us: middle.collect() });
        }
    }
    all
}

/// Every span of the traced arms over that of the one in [`BASES`].
pub(super) fn spans_compared(plan: &Plan, blocks: &[Block]) -> Vec<SpanCompared> {
    let mut all = Vec::new();
    let Some(base) = BASES.into_iter().find(|base| plan.arms.iter().any(|arm| arm == base)) else {
        return all;
    };
    for load in &plan.loads {
        let bases = by_round(blocks, base, *load);
        for arm in plan.arms.iter().filter(|arm| *arm != base) {
            let own = by_round(blocks, arm, *load);
            for span in ORDER {
                let mean = |spans: &Spans| spans.get(span).map(|span| span.mean_us);
                let pairs: Vec<(f64, f64)> = own
                    .iter()
                    .filter_map(|(round, spans)| Some((mean(spans)?, mean(bases.get(round)?)?)))
                    .collect();
                if let Some(ratio) = compare(&pairs) {
                    let (arm, over, span) = (arm.clone(), base.to_owned(), span.to_owned());
                    let finding = ratio.finding();
                    let load = *load;
                    all.push(SpanCompared { load, arm, over, span, ratio, finding, stands: false });
                }
            }
        }
    }
    let judged = |one: &&mut SpanCompared| one.finding != Finding::TooFewPairs;
    let p_values: Vec<f64> = all.iter_mut().filter(judged).map(|one| one.ratio.p).collect();
    for (one, stands) in all.iter_mut().filter(judged).zip(holm(&p_values)) {
        one.stands = stands && one.finding != Finding::NoDifferenceSeen;
    }
    all
}

fn by_round<'a>(blocks: &'a [Block], arm: &str, load: Load) -> BTreeMap<u32, &'a Spans> {
    let text = load.to_string();
    let own = blocks.iter().filter(|block| block.arm == arm && block.load == text);
    let good = own.filter(|block| block.invalid.is_empty() && !block.spans.is_empty());
    good.map(|block| (block.round, &block.spans)).collect()
}

/// The chapter of the page; empty where nothing was traced.
///
/// # Errors
/// A picture cannot be drawn.
pub(super) fn chapter(
    seen: &[SpansSeen],
    compared: &[SpanCompared],
    stages: &[Staged],
    hues: &Hues<'_>,
) -> Result<String> {
    let traced: Vec<&Staged> = stages.iter().filter(|one| !one.spans.is_empty()).collect();
    if seen.is_empty() && traced.is_empty() {
        return Ok(String::new());
    }
    let mut page = format!("<h2>Where the time of a call goes</h2>\n<p>{SOURCE}</p>\n");
    let largest = seen.iter().map(|one| one.load.bytes).max().unwrap_or_default();
    if let Some(load) = seen.iter().map(|one| one.load).find(|load| load.bytes == largest) {
        let own: Vec<&SpansSeen> = seen.iter().filter(|one| one.load == load).collect();
        page += &span_bars(&own, load, hues)?;
    }
    let mut loads: Vec<Load> = seen.iter().map(|one| one.load).collect();
    loads.dedup();
    for load in loads {
        let own: Vec<&SpansSeen> = seen.iter().filter(|one| one.load == load).collect();
        let columns =
            own.iter().map(|one| (one.arm.clone(), one.means_us.clone())).collect::<Vec<_>>();
        page += &format!("<h3>Mean of each span at {load}, us</h3>\n{}", table(&columns));
        page += &compared_table(compared, load);
    }
    page += &by_users(&traced, hues)?;
    page += &by_payload(&traced);
    Ok(page)
}

/// One group of bars for each span.
fn span_bars(own: &[&SpansSeen], load: Load, hues: &Hues<'_>) -> Result<String> {
    let arms: Vec<&str> = own.iter().map(|one| one.arm.as_str()).collect();
    let groups = ORDER.into_iter().filter_map(|span| {
        let bars: Vec<(f64, usize)> = own
            .iter()
            .filter_map(|one| Some((*one.means_us.get(span)?, hues.of(&one.arm))))
            .collect();
        (!bars.is_empty()).then(|| Bars { label: span.to_owned(), bars })
    });
    let title = format!("Mean of each span at {load}");
    let groups: Vec<Bars> = groups.collect();
    let drawn = bars(&groups, "us", &title)?;
    Ok(format!("<h3>{title}</h3>\n{}<div class=\"wide\">{drawn}</div>\n", hues.legend(&arms)))
}

/// A row for each span, a column for each arm or load.
pub(super) fn table(columns: &[(String, BTreeMap<String, f64>)]) -> String {
    let heads = columns.iter().map(|(name, _)| format!("<th>{}</th>", escaped(name)));
    let mut rows = String::new();
    for span in
        ORDER.into_iter().filter(|span| columns.iter().any(|(_, of)| of.contains_key(*span)))
    {
        let cells = columns.iter().map(|(_, of)| {
            let value = of.get(span).map(|us| format!("{us:.1}")).unwrap_or_default();
            format!("<td>{value}</td>")
        });
        rows += &format!("<tr><td>{span}</td>{}</tr>\n", cells.collect::<String>());
    }
    format!(
        "<div class=\"wide\"><table><tr><th>span</th>{}</tr>\n{rows}</table></div>\n",
        heads.collect::<String>()
    )
}

fn compared_table(compared: &[SpanCompared], load: Load) -> String {
    let own = compared.iter().filter(|one| one.load == load);
    let rows = own.map(|one| {
        format!(
            "<tr><td>{} / {}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>\n",
            escaped(&one.arm),
            escaped(&one.over),
            one.span,
            ratio(&one.ratio),
            one.ratio.pairs,
            said(one)
        )
    });
    let rows: String = rows.collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<details><summary>Every span compared</summary><div class=\"wide\"><table><tr><th>arm / base</th>\
         <th>span</th><th>ratio (95 %)</th><th>pairs</th><th class=\"words\">finding</th></tr>\n{rows}</table>\
         </div></details>\n"
    )
}

/// What a comparison of spans says, in words.
fn said(one: &SpanCompared) -> &'static str {
    match (one.finding, one.stands) {
        (Finding::TooFewPairs, _) => "too few pairs",
        (Finding::NoDifferenceSeen, _) => "no difference seen",
        (Finding::More, true) => "more",
        (Finding::Less, true) => "less",
        (_, false) => "a difference, but not among so many comparisons",
    }
}

/// The same for a terminal.
pub(super) fn write_text(text: &mut String, seen: &[SpansSeen]) -> std::fmt::Result {
    let mut loads: Vec<Load> = seen.iter().map(|one| one.load).collect();
    loads.dedup();
    for load in loads {
        writeln!(text, "\nMean of each span at {load}, us (medians over blocks)")?;
        let own: Vec<&SpansSeen> = seen.iter().filter(|one| one.load == load).collect();
        for (number, one) in own.iter().enumerate() {
            writeln!(text, "  ({}) {}", number + 1, one.arm)?;
        }
        for span in
            ORDER.into_iter().filter(|span| own.iter().any(|one| one.means_us.contains_key(*span)))
        {
            let values = own.iter().map(|one| match one.means_us.get(span) {
                Some(us) => format!("{us:>10.1}"),
                None => format!("{:>10}", "-"),
            });
            writeln!(text, "  {span:<28}{}", values.collect::<String>())?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::findings::{findings, tests::made};
    use super::*;
    use crate::record::Flaw;
    use crate::spans::Span;
    use crate::store::Head;

    const BASE: &str = BASES[0];

    /// Spans of a call whose way takes `factor` times as long; parsing takes 2 us for 1.
    pub(in crate::report) fn spans(factor: f64) -> Spans {
        let all = [(ROOT, 100.0), ("POST", 90.0), ("parse_request_client", 2.0)];
        let of = |(name, us): (&str, f64)| {
            let mean_us = us * factor;
            (name.to_owned(), Span { count: 10, mean_us, median_us: mean_us })
        };
        all.into_iter().map(of).collect()
    }

    /// Adds traced arms to a made study: the trace takes 1.2 times as long through the sidecar, and
    /// parsing as long.
    pub(in crate::report) fn trace(head: &mut Head, blocks: &mut Vec<Block>) {
        let own: Vec<Block> = blocks.iter().filter(|one| one.arm == "native").cloned().collect();
        for (arm, factor) in [(BASE, 1.0), ("traced-envoy-outlier", 1.2)] {
            head.plan.arms.push(arm.to_owned());
            for block in &own {
                // A spread of a hundredth from round to round, not the same in both.
                let spread = |by: u32| 1.0 + f64::from((block.round * by) % 5) / 500.0;
                let mut all = spans(factor * spread(3));
                let parse = all.get_mut("parse_request_client").unwrap();
                parse.mean_us = 2.0 * spread(if arm == BASE { 2 } else { 4 });
                blocks.push(Block { arm: arm.to_owned(), spans: all, ..block.clone() });
            }
        }
    }

    #[test]
    fn spans_are_compared_pair_by_pair_and_bad_blocks_are_left_out() {
        let (mut head, mut blocks, arms) = made(12);
        trace(&mut head, &mut blocks);
        let bad = |one: &&mut Block| one.arm == BASE && one.round == 0 && one.load == "250";
        let bad = blocks.iter_mut().find(bad).unwrap();
        bad.invalid.push(Flaw::ArmDied { told: "gone".into() });
        let found = findings(&head, &blocks, &arms).unwrap();
        let load = head.plan.loads[0];
        let of = |span: &str| {
            let own = |one: &&SpanCompared| one.load == load && one.span == span;
            found.spans_compared.iter().find(own).unwrap()
        };
        assert_eq!((of(ROOT).arm.as_str(), of(ROOT).over.as_str()), ("traced-envoy-outlier", BASE));
        assert_eq!(
            (of(ROOT).ratio.pairs, of(ROOT).finding, of(ROOT).stands),
            (11, Finding::More, true)
        );
        assert!((of(ROOT).ratio.ratio - 1.2).abs() < 0.01, "{:?}", of(ROOT));
        assert!(!of("parse_request_client").stands, "{:?}", of("parse_request_client"));
        let seen = found.spans.iter().find(|one| one.arm == BASE && one.load == load).unwrap();
        assert_eq!(seen.blocks, 11);
        assert!((seen.means_us[ROOT] - 100.0).abs() < 1.0, "{seen:?}");
        let mut text = String::new();
        write_text(&mut text, &found.spans).unwrap();
        assert!(
            text.contains("(2) traced-envoy-outlier") && text.contains("POST /echo (echo-proxy)"),
            "{text}"
        );
    }

    #[test]
    fn without_traces_there_is_no_chapter() {
        let (head, blocks, arms) = made(2);
        let found = findings(&head, &blocks, &arms).unwrap();
        let chapter = chapter(&found.spans, &found.spans_compared, &[], &Hues(&head.plan.arms));
        assert_eq!(chapter.unwrap(), "");
    }
}
