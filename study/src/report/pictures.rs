//! The page's pictures.

use super::charts::{Axes, Bar, HUES, Line, ladder, lines};
use super::findings::{Compared, Findings, Kind};
use super::page::escaped;
use super::text::is_step;
use crate::arms::AGAIN;
use crate::histogram::Times;
use crate::load::Load;
use crate::record::{Block, Measure};
use crate::store::Head;
use anyhow::Result;

/// A family of so many arms has a picture of its own.
const SMALL: usize = 3;

/// A p99 that users are to be held to: what a rate must keep to be counted as sustained, in
/// microseconds.
const KEPT_US: f64 = 5_000.0;

/// Shares of calls at which the picture of the tails is drawn.
const SHARES: [f64; 13] =
    [0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995];

/// Which colour an arm has on the whole page.
pub(super) struct Hues<'a>(pub(super) &'a [String]);

impl Hues<'_> {
    /// The number of an arm's colour.
    pub(super) fn of(&self, arm: &str) -> usize {
        // Grey is what everything is seen beside. The rest go round: neighbours, which share a
        // picture, never have the same.
        match self.0.iter().position(|one| one == arm) {
            Some(place) if arm != "direct" => 1 + place % (HUES - 1),
            _ => 0,
        }
    }

    /// What colours mean, for these arms.
    pub(super) fn legend(&self, arms: &[&str]) -> String {
        let items = arms.iter().map(|arm| {
            let hue = self.of(arm);
            format!("<li><span style=\"background:var(--hue{hue})\"></span>{}</li>", escaped(arm))
        });
        format!("<ul class=\"legend\">{}</ul>\n", items.collect::<String>())
    }
}

/// The steps of the ladder by one measure.
pub(super) fn steps_picture(
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
pub(super) fn tails(
    found: &Findings,
    blocks: &[Block],
    load: Load,
    hues: &Hues<'_>,
) -> Result<String> {
    let text = load.to_string();
    let title = "How long calls took";
    let axes = Axes {
        across: "of 100 calls so many were faster",
        up: "milliseconds",
        name: &whole_nines,
        marked: false,
    };
    let mut page = String::new();
    for arms in groups(found) {
        let mut all = Vec::new();
        for arm in &arms {
            let own = blocks.iter().filter(|block| block.arm == *arm && block.load == text);
            let mut times = Times::new()?;
            for block in own.filter(|block| block.invalid.is_empty()) {
                times.add_all(&Times::from_text(&block.seen.histogram)?)?;
            }
            // Ten calls beyond the last point, as everywhere.
            let told = SHARES.iter().filter(|share| times.count() as f64 * (1.0 - **share) >= 10.0);
            let points = told.map(|share| (nines(*share), times.at_us(*share) / 1e3)).collect();
            all.push(Line { points, hue: hues.of(arm) });
        }
        let drawn = lines(&all, &axes, title)?;
        if !drawn.is_empty() {
            page += &format!("{}<div class=\"wide\">{drawn}</div>\n", hues.legend(&arms));
        }
    }
    Ok(if page.is_empty() { page } else { format!("<h3>{title}</h3>\n{page}") })
}

/// Arms that are shown in one picture: a family, or several small ones; each with `direct`.
fn groups(found: &Findings) -> Vec<Vec<&str>> {
    let mut families: Vec<(&str, Vec<&str>)> = Vec::new();
    for seen in found.arms.iter().filter(|seen| !seen.arm.ends_with(AGAIN)) {
        let (family, arm) = (seen.family.as_str(), seen.arm.as_str());
        match families.iter_mut().find(|(name, _)| *name == family) {
            Some((_, arms)) if arms.contains(&arm) => {}
            Some((_, arms)) => arms.push(arm),
            None => families.push((family, vec![arm])),
        }
    }
    let direct: Vec<&str> =
        families.iter().filter(|(name, _)| *name == "direct").map(|(name, _)| *name).collect();
    families.retain(|(name, _)| *name != "direct");
    let (small, large): (Vec<_>, Vec<_>) =
        families.into_iter().map(|(_, arms)| arms).partition(|arms| arms.len() < SMALL);
    let mut groups = large;
    groups.push(small.concat());
    groups.retain(|arms| !arms.is_empty());
    groups.into_iter().map(|arms| [direct.clone(), arms].concat()).collect()
}

/// A place on the scale of nines, where that is a whole one: 90, 99, 99.9.
fn whole_nines(nines: &f64) -> String {
    if (nines - nines.round()).abs() > 1e-6 {
        return String::new();
    }
    let digits = (*nines as usize).saturating_sub(2);
    format!("{:.digits$}", 100.0 * (1.0 - 10f64.powf(-nines)))
}

/// How many nines a share has: 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// Latency by rate, where the study has several rates of one size.
pub(super) fn rates(head: &Head, found: &Findings, hues: &Hues<'_>) -> Result<String> {
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
    let title = "p99 by rate";
    let axes = Axes {
        across: "calls a second",
        up: "p99, milliseconds",
        name: &|rate| format!("{rate:.0}"),
        marked: true,
    };
    let mut page = format!("<h2>{title}</h2>\n");
    let mut rows = String::new();
    for arms in groups(found) {
        let mut all = Vec::new();
        for arm in &arms {
            let points = rates
                .iter()
                .filter_map(|load| Some((f64::from(load.rate), p99(arm, *load)? / 1e3)));
            all.push(Line { points: points.collect(), hue: hues.of(arm) });
        }
        page += &hues.legend(&arms);
        page += &format!("<div class=\"wide\">{}</div>\n", lines(&all, &axes, title)?);
    }
    for arm in hues.0.iter().filter(|arm| !arm.ends_with(AGAIN)) {
        let kept = rates.iter().filter(|load| p99(arm, **load).is_some_and(|us| us <= KEPT_US));
        let most = kept.map(|load| load.rate).max();
        let most = most.map_or("none of them".to_owned(), |rate| rate.to_string());
        rows += &format!("<tr><td>{}</td><td>{most}</td></tr>\n", escaped(arm));
    }
    page += &format!(
        "<p>The highest rate of these at which p99 stays within {:.0} ms:</p>\n<div class=\"wide\"><table>\
         <tr><th>arm</th><th>calls a second</th></tr>\n{rows}</table></div>\n",
        KEPT_US / 1e3
    );
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::super::findings::{findings, tests::made};
    use super::*;

    #[test]
    fn arms_are_shown_with_their_family() {
        let (head, blocks, arms) = made(1);
        let found = findings(&head, &blocks, &arms).unwrap();
        let wanted = [
            vec!["direct", "app", "app-guard", "app-envoy-outlier"],
            vec!["direct", "native", "native-policy"],
        ];
        assert_eq!(groups(&found), wanted);
    }

    #[test]
    fn nobody_has_the_colour_of_the_direct_way_or_of_a_near_neighbour() {
        let arms: Vec<String> = (0..30)
            .map(|one| if one == 3 { "direct".into() } else { format!("arm{one}") })
            .collect();
        let hues: Vec<usize> = arms.iter().map(|arm| Hues(&arms).of(arm)).collect();
        assert_eq!(hues.iter().filter(|hue| **hue == 0).count(), 1);
        for near in hues.windows(HUES - 1) {
            assert!(near.iter().skip(1).all(|hue| *hue != near[0]), "{hues:?}");
        }
        assert!(hues.iter().all(|hue| *hue < HUES));
    }

    #[test]
    fn only_whole_nines_are_written() {
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
        assert_eq!([0.5, 1.0, 2.0, 3.0].map(|one| whole_nines(&one)), ["", "90", "99", "99.9"]);
    }
}
