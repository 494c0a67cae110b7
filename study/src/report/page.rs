//! The report as one page that needs nothing else.

use super::claims::{Claim, main_load};
use super::findings::Findings;
use super::pictures::{Hues, rates, steps_picture, tails};
use super::spans::chapter;
use super::text::{ratio, said, trust};
use super::{SMOKE, Verdict};
use crate::load::Load;
use crate::machine::Machine;
use crate::plan::Extent;
use crate::record::{Block, Measure};
use crate::stages::Staged;
use crate::stats::{Added, Finding};
use crate::store::Head;
use anyhow::Result;

const HEAD: &str = include_str!("page.head.html");

/// The page; `more` is a chapter that only a cluster's study has.
///
/// # Errors
/// A picture cannot be drawn, or a histogram cannot be read.
pub(super) fn page(
    head: &Head,
    found: &Findings,
    claims: &[Claim],
    stages: &[Staged],
    more: &str,
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
    let mut arms = head.plan.arms.clone();
    for one in stages {
        if !arms.contains(&one.arm) {
            arms.push(one.arm.clone());
        }
    }
    let hues = Hues(&arms);
    if let Some(load) = main_load(&head.plan) {
        page += &format!("<h2>In short, at {} calls a second</h2>\n", escaped(&load.to_string()));
        page += &steps_picture(found, load, Measure::Cpu, &hues)?;
        page += &steps_picture(found, load, Measure::P50, &hues)?;
        page += &tails(found, blocks, load, &hues)?;
    }
    page += &rates(head, found, &hues)?;
    page += "<h2>What others say</h2>\n";
    for claim in claims {
        page += &shown_claim(claim);
    }
    page += &chapter(&found.spans, &found.spans_compared, stages, &hues)?;
    page += &stages_table(stages);
    page += more;
    for load in &head.plan.loads {
        page += &format!("<h2>All figures at {}</h2>\n", escaped(&load.to_string()));
        page += &arms_table(found, *load);
        page += &compared_table(found, *load);
    }
    page += &how(head, found, blocks);
    page += "</main>\n</body>\n</html>\n";
    Ok(page)
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

/// What k6 saw.
fn stages_table(stages: &[Staged]) -> String {
    if stages.is_empty() {
        return String::new();
    }
    let rows = stages.iter().map(|one| {
        let smoke = if one.scale < 1.0 { " (smoke)" } else { "" };
        format!(
            "<tr><td>{}{smoke}</td><td class=\"words\">{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.2}</td>\
             <td>{:.1}</td><td>{:.2} %</td><td class=\"words\">{}</td></tr>\n",
            one.stage,
            escaped(&one.arm),
            one.median_ms,
            one.p95_ms,
            one.max_ms,
            one.per_second,
            one.failed * 100.0,
            escaped(&one.broken.join(", "))
        )
    });
    format!(
        "<h2>The origin's own loads</h2>\n<p>By k6: users that wait for an answer, think for up to half a \
         second, and ask again. Run once, so without intervals; a slow arm is asked less. No claim comes \
         from here.</p>\n<div class=\"wide\"><table><tr><th>load</th><th class=\"words\">arm</th><th>median ms</th>\
         <th>p95 ms</th><th>longest ms</th><th>calls/s</th><th>failed</th><th class=\"words\">missed</th></tr>\n\
         {}</table></div>\n",
        rows.collect::<String>()
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
            let mut value = seen.medians.get(&measure).map(|us| time(*us)).unwrap_or_default();
            if let Some(apart) = seen.apart_us.filter(|_| measure == Measure::Cpu) {
                value += &format!(" + {}", time(apart));
            }
            table += &format!("<td>{value}</td>");
        }
        table += &format!(
            "<td>{}</td><td>{} of {}</td><td class=\"words\">{}</td></tr>\n",
            seen.rss_kib.map(|kib| format!("{:.0} MB", kib / 1024.0)).unwrap_or_default(),
            seen.blocks,
            seen.blocks + seen.invalid,
            escaped(&seen.about)
        );
    }
    table
        + "</table></div>\n<p class=\"faint\">Medians over the good blocks. CPU per call with a + \
     has that of threads beside which no call waits for: one that writes traces.</p>\n"
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

/// Where arms, generator and server ran.
fn ground(machine: &Machine) -> String {
    let Some(cluster) = &machine.cluster else {
        let [arms, load] = machine.pinned;
        return format!(
            "Arms run on core {arms}, the generator and the echo server on core {load}."
        );
    };
    format!(
        "Arms are releases of the chart in Kubernetes {} with Istio {}, their pods new for each block; nothing \
         is pinned to a core. Nodes: {}. The generator is a pod on the node load. Traces: {}.",
        cluster.kubernetes,
        cluster.istio,
        cluster.nodes.join("; "),
        cluster.traces
    )
}

/// How it was measured, on what, and what could not be used.
fn how(head: &Head, found: &Findings, blocks: &[Block]) -> String {
    let (plan, machine) = (&head.plan, &head.machine);
    let mut text = "<h2>How it was measured</h2>\n".to_owned();
    text += &format!(
        "<p>{} rounds, each with every arm under every load once, in an order drawn anew (seed {}). A block is \
         {} s after {} s that do not count, with up to {} connections. {} A call leaves when it is due, \
         whether or not others were answered.</p>\n",
        plan.rounds,
        plan.seed,
        plan.seconds,
        plan.warm_up,
        plan.connections,
        escaped(&ground(machine))
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
    use super::super::tests::staged;
    use super::*;

    fn drawn(rounds: u32) -> String {
        let (mut head, blocks, arms) = made(rounds);
        head.plan.extent = if rounds < 10 { Extent::Quick } else { Extent::Usual };
        let found = findings(&head, &blocks, &arms).unwrap();
        page(&head, &found, &claims(&head.plan, &found), &[staged()], "", &blocks).unwrap()
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
            "vus25 (smoke)",
            "http_req_failed: rate&lt;0.01",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        // Two ladders; the service and the plain proxies, by tail and by rate.
        assert_eq!(page.matches("<svg").count(), 6);
        for tag in ["table", "div", "details", "p", "h2", "h3", "ul", "svg"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!page.contains(SMOKE));
    }

    #[test]
    fn the_page_shows_spans_by_arm_by_users_and_by_payload() {
        let (mut head, mut blocks, arms) = made(11);
        super::super::spans::tests::trace(&mut head, &mut blocks);
        let found = findings(&head, &blocks, &arms).unwrap();
        let mut stages = Vec::new();
        for (stage, factor) in
            [("vus5", 1.0), ("vus50", 2.0), ("payload1", 1.0), ("payload100", 9.0)]
        {
            let spans = super::super::spans::tests::spans(factor);
            stages.push(Staged {
                arm: "traced".into(),
                stage: stage.parse().unwrap(),
                spans,
                ..staged()
            });
        }
        let page = page(&head, &found, &[], &stages, "", &blocks).unwrap();
        for wanted in [
            "Mean of each span at 50x100KB</h3>",
            "traced-envoy-outlier / traced-policy",
            "Mean trace time by users",
            "<th>5 users</th><th>50 users</th>",
            "<td>traced</td><td>0.100</td><td>0.200</td>",
            "Mean of each span by payload: traced, us",
            "<th>1 KB</th><th>100 KB</th>",
            "<td>parse_request_client</td><td>2.0</td><td>18.0</td>",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for tag in ["table", "div", "details", "p", "h2", "h3", "ul", "svg", "tr", "td", "th"] {
            let opened = page.matches(&format!("<{tag}>")).count()
                + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
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
    }
}
