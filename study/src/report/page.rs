//! The report as one page that needs nothing else.

use super::charts::{Axes, Bar, HUES, Line, ladder, lines};
use super::claims::{Claim, main_load};
use super::findings::{Compared, Findings, Kind};
use super::text::{is_step, ratio, said, trust};
use super::{SMOKE, Verdict};
use crate::histogram::Times;
use crate::load::Load;
use crate::plan::Extent;
use crate::record::{Block, Measure};
use crate::stats::{Added, Finding};
use crate::store::Head;
use anyhow::Result;

const HEAD: &str = include_str!("page.head.html");

/// A p99 that users are to be held to: what a rate must keep to be counted as sustained, in
/// microseconds.
const KEPT_US: f64 = 5_000.0;

/// Shares of calls at which the picture of the tails is drawn.
const SHARES: [f64; 13] =
    [0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995];

/// The page.
///
/// # Errors
/// A picture cannot be drawn, or a histogram cannot be read.
pub(super) fn page(
    head: &Head,
    found: &Findings,
    claims: &[Claim],
    blocks: &[Block],
) -> Result<String> {
    let mut page = HEAD.to_owned();
    page += "<h1>What it costs to protect a call</h1>\n";
    page += "<p>The same breaker and the same time limit, in a program, in a proxy, and in Envoy, beside \
             Istio's own and beside nothing at all. Every ratio is of two arms measured minutes apart, \
             each with processes of its own, with an interval that holds the truth in 95 of 100 studies.</p>\n";
    if head.plan.extent == Extent::Quick {
        page += &format!("<p class=\"warning\">{SMOKE}</p>\n");
    }
    for line in trust(found) {
        page += &format!("<p class=\"faint\">{}</p>\n", escaped(&line));
    }
    let hues = Hues(&head.plan.arms);
    if let Some(load) = main_load(&head.plan) {
        page += &format!("<h2>In short, at {} calls a second</h2>\n", escaped(&load.to_string()));
        page += &steps_picture(found, load, Measure::Cpu, &hues)?;
        page += &steps_picture(found, load, Measure::P50, &hues)?;
        page += &tails(blocks, load, &hues)?;
    }
    page += &rates(head, found, &hues)?;
    page += "<h2>What others say</h2>\n";
    for claim in claims {
        page += &shown_claim(claim);
    }
    for load in &head.plan.loads {
        page += &format!("<h2>All figures at {}</h2>\n", escaped(&load.to_string()));
        page += &arms_table(found, *load);
        page += &compared_table(found, *load);
    }
    page += &how(head, found, blocks);
    page += "</main>\n</body>\n</html>\n";
    Ok(page)
}

/// Which colour an arm has on the whole page.
struct Hues<'a>(&'a [String]);

impl Hues<'_> {
    fn of(&self, arm: &str) -> usize {
        self.0.iter().position(|one| one == arm).unwrap_or(0) % HUES
    }

    fn legend<'b>(&self, arms: impl Iterator<Item = &'b str>) -> String {
        let items = arms.map(|arm| {
            let hue = self.of(arm);
            format!("<li><span style=\"background:var(--hue{hue})\"></span>{}</li>", escaped(arm))
        });
        format!("<ul class=\"legend\">{}</ul>\n", items.collect::<String>())
    }
}

/// The steps of the ladder by one measure.
fn steps_picture(
    found: &Findings,
    load: Load,
    measure: Measure,
    hues: &Hues<'_>,
) -> Result<String> {
    let own = |one: &&Compared| one.load == load && one.measure == measure;
    let steps =
        found.compared.iter().filter(own).filter(|one| is_step(one) || one.kind == Kind::Same);
    let bars: Vec<Bar> = steps
        .map(|one| Bar {
            label: match one.kind {
                Kind::Same => format!("{}: the same twice", one.over),
                _ => format!("{} / {}", one.arm, one.over),
            },
            middle: one.ratio.ratio,
            ends: one.ratio.low.zip(one.ratio.high),
            hue: hues.of(&one.arm),
        })
        .collect();
    if bars.is_empty() {
        return Ok(String::new());
    }
    let (title, note) = match measure {
        Measure::Cpu => (
            "CPU time per call, each arm over the one below it",
            "An arm over direct has no row: direct has no process.",
        ),
        _ => (
            "Median latency, each arm over the one below it",
            "From when a call was due to the end of its answer.",
        ),
    };
    Ok(format!(
        "<h3>{title}</h3>\n<div class=\"wide\">{}</div>\n<p class=\"faint\">1 is no difference. {note}</p>\n",
        ladder(&bars, title)?
    ))
}

/// How long calls took, by their share, of all good blocks together.
fn tails(blocks: &[Block], load: Load, hues: &Hues<'_>) -> Result<String> {
    let load = load.to_string();
    let mut all = Vec::new();
    let mut arms = Vec::new();
    for arm in hues.0.iter().filter(|arm| !arm.ends_with(crate::arms::AGAIN)) {
        let own = blocks.iter().filter(|block| block.arm == *arm && block.load == load);
        let mut times = Times::new()?;
        for block in own.filter(|block| block.invalid.is_empty()) {
            times.add_all(&Times::from_text(&block.seen.histogram)?)?;
        }
        // Ten calls beyond the last point, as everywhere.
        let told = SHARES.iter().filter(|share| times.count() as f64 * (1.0 - **share) >= 10.0);
        let points: Vec<(f64, f64)> =
            told.map(|share| (nines(*share), times.at_us(*share) / 1e3)).collect();
        if !points.is_empty() {
            all.push(Line { points, hue: hues.of(arm) });
            arms.push(arm.as_str());
        }
    }
    let name = |x: &f64| format!("{:.4}", 100.0 * (1.0 - 10f64.powf(-x)));
    let axes = Axes {
        across: "of 100 calls so many were faster",
        up: "milliseconds",
        name: &|x| name(x).trim_end_matches('0').trim_end_matches('.').chars().take(6).collect(),
        marked: false,
    };
    let title = "How long calls took";
    let drawn = lines(&all, &axes, title)?;
    if drawn.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(
        "<h3>{title}</h3>\n{}<div class=\"wide\">{drawn}</div>\n",
        hues.legend(arms.into_iter())
    ))
}

/// How many nines a share has: 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// Latency by rate, where the study has several rates of one size.
fn rates(head: &Head, found: &Findings, hues: &Hues<'_>) -> Result<String> {
    let small = head.plan.loads.iter().map(|load| load.bytes).min().unwrap_or_default();
    let mut rates: Vec<Load> =
        head.plan.loads.iter().copied().filter(|load| load.bytes == small).collect();
    rates.sort_by_key(|load| load.rate);
    if rates.len() < 2 {
        return Ok(String::new());
    }
    let p99 = |arm: &str, load: Load| {
        let seen = found.arms.iter().find(|one| one.arm == arm && one.load == load)?;
        seen.medians.get(&Measure::P99).copied()
    };
    let mut all = Vec::new();
    let mut rows = String::new();
    let arms: Vec<&str> = hues.0.iter().map(String::as_str).collect();
    for arm in &arms {
        let points =
            rates.iter().filter_map(|load| Some((f64::from(load.rate), p99(arm, *load)? / 1e3)));
        all.push(Line { points: points.collect(), hue: hues.of(arm) });
        let kept = rates.iter().filter(|load| p99(arm, **load).is_some_and(|us| us <= KEPT_US));
        let most = kept.map(|load| load.rate).max();
        rows += &format!(
            "<tr><td>{}</td><td>{}</td></tr>\n",
            escaped(arm),
            most.map_or("none of them".to_owned(), |rate| rate.to_string())
        );
    }
    let axes = Axes {
        across: "calls a second",
        up: "p99, milliseconds",
        name: &|rate| format!("{rate:.0}"),
        marked: true,
    };
    let title = "p99 by rate";
    let drawn = lines(&all, &axes, title)?;
    Ok(format!(
        "<h2>{title}</h2>\n{}<div class=\"wide\">{drawn}</div>\n<p>The highest rate of these at which p99 \
         stays within {:.0} ms:</p>\n<div class=\"wide\"><table><tr><th>arm</th><th>calls a second</th></tr>\n\
         {rows}</table></div>\n",
        hues.legend(arms.into_iter()),
        KEPT_US / 1e3
    ))
}

fn shown_claim(claim: &Claim) -> String {
    let class = match claim.verdict {
        Verdict::Reproduced => "reproduced",
        Verdict::NotReproduced => "not_reproduced",
        Verdict::NotComparable => "not_comparable",
    };
    format!(
        "<div class=\"claim\"><p class=\"faint\">{}</p><p>{}</p><p><span class=\"mark {class}\">{}</span>: {}</p>\
         <p class=\"faint\">{}</p></div>\n",
        escaped(claim.source),
        escaped(claim.says),
        claim.verdict.name(),
        escaped(&claim.ours),
        escaped(&claim.because)
    )
}

fn arms_table(found: &Findings, load: Load) -> String {
    let mut table = "<div class=\"wide\"><table><tr><th>arm</th>".to_owned();
    for measure in Measure::ALL {
        table += &format!("<th>{}</th>", measure.name());
    }
    table += "<th>memory</th><th>blocks</th><th class=\"words\">what it is</th></tr>\n";
    for seen in found.arms.iter().filter(|seen| seen.load == load) {
        table += &format!("<tr><td>{}</td>", escaped(&seen.arm));
        for measure in Measure::ALL {
            let value = seen.medians.get(&measure).map(|us| time(*us));
            table += &format!("<td>{}</td>", value.unwrap_or_default());
        }
        table += &format!(
            "<td>{}</td><td>{} of {}</td><td class=\"words\">{}</td></tr>\n",
            seen.rss_kib.map(|kib| format!("{:.0} MB", kib / 1024.0)).unwrap_or_default(),
            seen.blocks,
            seen.blocks + seen.invalid,
            escaped(&seen.about)
        );
    }
    table + "</table></div>\n<p class=\"faint\">Medians over the good blocks.</p>\n"
}

fn compared_table(found: &Findings, load: Load) -> String {
    let mut table = "<details><summary>Every comparison</summary><div class=\"wide\"><table><tr><th>arm / base</th>\
                     <th>of</th><th>ratio (95 %)</th><th>added</th><th>pairs</th><th class=\"words\">finding</th>\
                     <th class=\"words\">what lies between</th></tr>\n"
        .to_owned();
    for one in found.compared.iter().filter(|one| one.load == load) {
        let class = match one.finding {
            Finding::More => "more",
            Finding::Less => "less",
            Finding::NoDifferenceSeen | Finding::TooFewPairs => "same",
        };
        table += &format!(
            "<tr><td>{} / {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"words {class}\">{}</td><td class=\"words\">{}</td></tr>\n",
            escaped(&one.arm),
            escaped(&one.over),
            one.measure.name(),
            ratio(&one.ratio),
            one.added.map(|one| difference(&one)).unwrap_or_default(),
            one.ratio.pairs,
            said(one),
            escaped(&one.step)
        );
    }
    table + "</table></div></details>\n"
}

/// How it was measured, on what, and what could not be used.
fn how(head: &Head, found: &Findings, blocks: &[Block]) -> String {
    let (plan, machine) = (&head.plan, &head.machine);
    let mut text = "<h2>How it was measured</h2>\n".to_owned();
    text += &format!(
        "<p>{} rounds, each with every arm under every load once, in an order drawn anew (seed {}). A block is \
         {} s after {} s that do not count, with up to {} connections. Arms run on core {}, the generator and \
         the echo server on core {}. A call leaves when it is due, whether or not others were answered.</p>\n",
        plan.rounds,
        plan.seed,
        plan.seconds,
        plan.warm_up,
        plan.connections,
        machine.pinned[0],
        machine.pinned[1]
    );
    text += &format!(
        "<p>{}, {} cores, {:.1} GB of memory, Linux {}; load average at the start {}; commit {}.</p>\n",
        escaped(&machine.processor),
        machine.cores,
        machine.memory_kib as f64 / 1024.0 / 1024.0,
        escaped(&machine.kernel),
        escaped(&machine.load_average),
        escaped(&machine.commit)
    );
    let versions = machine.versions.iter().map(|(name, version)| {
        format!(
            "<tr><td>{}</td><td class=\"words\">{}</td></tr>\n",
            escaped(name),
            escaped(version)
        )
    });
    text += &format!("<div class=\"wide\"><table>{}</table></div>\n", versions.collect::<String>());
    for (arm, why) in &plan.left_out {
        text += &format!("<p>Left out: {}: {}</p>\n", escaped(arm), escaped(why));
    }
    text += &format!(
        "<h2>Invalid blocks</h2>\n<p>{} of {} measured blocks must not be used. They stay in the record.</p>\n",
        found.invalid, found.measured
    );
    let invalid = blocks.iter().filter(|block| !block.invalid.is_empty());
    let rows = invalid.map(|block| {
        let flaws: Vec<String> = block.invalid.iter().map(ToString::to_string).collect();
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"words\">{}</td></tr>\n",
            escaped(&block.arm),
            escaped(&block.load),
            block.round + 1,
            escaped(&flaws.join("; "))
        )
    });
    let rows: String = rows.collect();
    if !rows.is_empty() {
        text += &format!(
            "<details><summary>Which, and why</summary><div class=\"wide\"><table><tr><th>arm</th><th>load</th>\
             <th>round</th><th class=\"words\">why</th></tr>\n{rows}</table></div></details>\n"
        );
    }
    text
}

/// Microseconds for people.
fn time(us: f64) -> String {
    if us >= 10_000.0 {
        format!("{:.1} ms", us / 1e3)
    } else if us >= 1_000.0 {
        format!("{:.2} ms", us / 1e3)
    } else if us >= 100.0 {
        format!("{us:.0} us")
    } else {
        format!("{us:.1} us")
    }
}

/// A difference with its interval, in microseconds.
fn difference(added: &Added) -> String {
    match (added.low, added.high) {
        (Some(low), Some(high)) => format!("{:+.0} us ({low:+.0} to {high:+.0})", added.mean),
        _ => format!("{:+.0} us", added.mean),
    }
}

/// Text that is safe within a page.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::claims::claims;
    use super::super::findings::{findings, tests::made};
    use super::*;

    fn drawn(rounds: u32) -> String {
        let (mut head, blocks, arms) = made(rounds);
        head.plan.extent = if rounds < 10 { Extent::Quick } else { Extent::Usual };
        let found = findings(&head, &blocks, &arms).unwrap();
        page(&head, &found, &claims(&head.plan, &found), &blocks).unwrap()
    }

    #[test]
    fn the_page_needs_nothing_else_and_shows_everything() {
        let page = drawn(11);
        for outside in ["http://", "https://", "<script", "<link", "<img", "url("] {
            // plotters names the namespace of SVG, which nobody fetches.
            assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "{outside}");
        }
        for wanted in [
            "app-envoy-outlier / app-guard",
            "native-policy: the same twice",
            "How long calls took",
            "p99 by rate",
            "All figures at 50x100KB",
            "the generator fell behind with 2.0 % of the calls",
            "haproxy is &lt;not&gt; here",
            "prefers-color-scheme: dark",
            "mark reproduced",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        assert_eq!(page.matches("<svg").count(), 4);
        for tag in ["table", "div", "details", "p", "h2", "h3", "ul", "svg"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!page.contains(SMOKE));
    }

    #[test]
    fn a_quick_page_says_so() {
        let page = drawn(2);
        assert!(page.contains(SMOKE) && page.contains("too few pairs"));
    }

    #[test]
    fn times_and_text_are_for_people() {
        assert_eq!(
            [9.87, 250.4, 2_345.0, 23_456.0].map(time),
            ["9.9 us", "250 us", "2.35 ms", "23.5 ms"]
        );
        assert_eq!(escaped("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }
}
