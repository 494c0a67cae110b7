//! The page of the incident: for each arm the parts' calls and what waits, over time.

use super::numbers::{DATABASE, HOT, LENGTH, SHARDS, SLOW_FROM, SLOW_TO};
use super::record::{Part, Record, Sight, TICK};
use super::verdict;
use crate::demo::sheet::{Sheet, escape};
use crate::demo::verdict::Claim;
use std::fmt::Write as _;
use std::time::Duration;

/// Width of a drawing, and left and right of its time axis.
const WIDTH: f64 = 960.0;
const SIDES: (f64, f64) = (112.0, 12.0);
/// Height of a part's row, and the space below it.
const ROW: (f64, f64) = (26.0, 8.0);
/// Height of a row of numbers.
const CURVE: f64 = 64.0;
const TOP: f64 = 22.0;

/// Adds formatted text; writing to a text cannot fail.
macro_rules! add {
    ($svg:expr, $($text:tt)*) => {{ let _ = write!($svg, $($text)*); }};
}

/// The whole page.
pub fn page(bare: &Record, protected: &Record, claims: &[Claim]) -> String {
    let mut sheet = Sheet::new("Bimetal demo: an incident", include_str!("intro.html"));
    for (id, name, record) in [("bare", "Unprotected", bare), ("with", "Protected", protected)] {
        sheet.picture(name, &draw(id, name, record));
    }
    sheet.end(&verdict::COLUMNS, &verdict::rows(bare, protected), &verdict::explained(), claims)
}

fn draw(id: &str, name: &str, record: &Record) -> String {
    let parts = Part::all();
    let bars = TOP + (ROW.0 + ROW.1) * parts.len() as f64;
    let curves = [bars + 8.0, bars + 8.0 + CURVE + 18.0];
    let bottom = curves[1] + CURVE;
    let height = bottom + 24.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t\">\
         <title id=\"{id}-t\">{}</title>",
        escape(name)
    );
    add!(
        svg,
        "<rect class=\"outage\" x=\"{:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/>\
         <text class=\"note\" x=\"{:.1}\" y=\"14\">the error tracker is slow</text>",
        x_of(SLOW_FROM),
        x_of(SLOW_TO) - x_of(SLOW_FROM),
        bottom - TOP,
        x_of(SLOW_FROM)
    );
    for second in (0..=LENGTH.as_secs()).step_by(5) {
        let x = x_of(Duration::from_secs(second));
        add!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{second} s</text>",
            bottom + 16.0
        );
    }
    for (number, part) in parts.into_iter().enumerate() {
        let top = TOP + (ROW.0 + ROW.1) * number as f64;
        add!(
            svg,
            "<text class=\"row\" x=\"0\" y=\"{:.1}\">{}</text>",
            top + 17.0,
            escape(&part.name())
        );
        bars_of(&mut svg, top, &record.ticks(part));
    }
    let database = |sight: &Sight| sight.database;
    curve(&mut svg, curves[0], "database", f64::from(DATABASE), record, "median", &database);
    let backlog = |shard: usize| move |sight: &Sight| sight.backlog[shard];
    let longest = record.sights.iter().flat_map(|sight| sight.backlog).max().unwrap_or(0);
    for shard in 0..SHARDS {
        let class = if shard == HOT { "hot" } else { "median" };
        let scale = (longest.max(20)) as f64;
        curve(&mut svg, curves[1], "backlog", scale, record, class, &backlog(shard));
    }
    svg.push_str("</svg>");
    svg
}

fn x_of(at: Duration) -> f64 {
    SIDES.0 + (WIDTH - SIDES.0 - SIDES.1) * at.as_secs_f64() / LENGTH.as_secs_f64()
}

/// The share of calls in time from the bottom, the rest above it.
fn bars_of(svg: &mut String, top: f64, ticks: &[(u32, u32)]) {
    let width = x_of(TICK) - x_of(Duration::ZERO) - 0.6;
    for (at, (good, failed)) in ticks.iter().enumerate() {
        let all = f64::from(good + failed);
        if all == 0.0 {
            continue;
        }
        let x = x_of(TICK * u32::try_from(at).unwrap_or(u32::MAX));
        let bad = ROW.0 * f64::from(*failed) / all;
        for (class, y, height) in [("failed", top, bad), ("good", top + bad, ROW.0 - bad)] {
            if height > 0.0 {
                add!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                );
            }
        }
    }
}

/// A number over time; `most` is at the top.
fn curve(
    svg: &mut String,
    top: f64,
    name: &str,
    most: f64,
    record: &Record,
    class: &str,
    value: &dyn Fn(&Sight) -> usize,
) {
    let y_of = |value: f64| top + CURVE * (1.0 - (value / most).min(1.0));
    add!(svg, "<text class=\"row\" x=\"0\" y=\"{:.1}\">{name}</text>", top + 12.0);
    for level in [0.0, most] {
        add!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{level:.0}</text>",
            SIDES.0 - 6.0,
            y_of(level) + 4.0
        );
    }
    let mut path = String::new();
    for (number, sight) in record.sights.iter().filter(|sight| sight.at <= LENGTH).enumerate() {
        let pen = if number == 0 { 'M' } else { 'L' };
        add!(path, "{pen}{:.1} {:.1}", x_of(sight.at), y_of(value(sight) as f64));
    }
    add!(svg, "<path class=\"{class}\" d=\"{path}\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_both_arms_and_needs_nothing_else() {
        let mut record = Record::default();
        for second in 0..45 {
            let mut sight = Sight { at: Duration::from_secs(second), ..Sight::default() };
            sight.backlog[HOT] = 7 * second as usize;
            record.sights.push(sight);
        }
        let page = page(&record, &Record::default(), &[]);
        assert_eq!(page.matches("<svg").count(), 2);
        assert_eq!(page.matches("class=\"hot\"").count(), 2);
        // The longest backlog is the top of its scale.
        assert!(page.contains(">308</text>"));
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
