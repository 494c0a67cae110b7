//! The page of the overload, with a timeline for each arm.

use super::attack::{LENGTH, RATE};
use super::record::{Block, Hit, TICK, Tick, quantile, ticks};
use super::verdict::{self, Verdict};
use crate::demo::sheet::{Sheet, escape};
use crate::demo::verdict::Claim;
use std::fmt::Write as _;
use std::time::Duration;

/// Size of a drawing, in its own units.
const SIZE: (f64, f64) = (960.0, 214.0);
/// Left and right of the time axis.
const SIDES: (f64, f64) = (112.0, 12.0);
/// Top and height of the calls.
const CALLS: (f64, f64) = (14.0, 92.0);
/// Top and height of the waits.
const WAITS: (f64, f64) = (124.0, 60.0);
/// The longest wait that is drawn, in milliseconds.
const LONGEST_MS: f64 = 600.0;

/// Adds formatted text; writing to a text cannot fail.
macro_rules! add {
    ($svg:expr, $($text:tt)*) => {{ let _ = write!($svg, $($text)*); }};
}

/// The whole page.
pub fn page(blocks: &[Block], verdicts: &[Verdict], explained: &str, claims: &[Claim]) -> String {
    let mut sheet = Sheet::new("Bimetal demo: an overload", include_str!("intro.html"));
    for verdict in verdicts {
        let of_arm: Vec<&Block> = blocks.iter().filter(|block| block.arm == verdict.arm).collect();
        let about = format!("<p>{}.</p>", escape(verdict.arm.about()));
        sheet.picture(verdict.arm.name(), &(about + &draw(verdict, &of_arm)));
    }
    sheet.end(&verdict::COLUMNS, &verdict::rows(verdicts), explained, claims)
}

/// One arm: calls and waits by the time of sending, the mean of its rounds.
fn draw(verdict: &Verdict, blocks: &[&Block]) -> String {
    let (width, height) = SIZE;
    let id = format!("arm{}", verdict.arm.place());
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{:.1} % of {} calls got a good answer, {} were \
         turned away, {} were lost.</desc>",
        escape(verdict.arm.name()),
        verdict.success() * 100.0,
        verdict.calls,
        verdict.rejected,
        verdict.lost,
    );
    axes(&mut svg);
    let hits: Vec<&Hit> = blocks.iter().flat_map(|block| &block.hits).collect();
    let rounds = blocks.len().max(1) as f64;
    for (at, tick) in ticks(hits.iter().copied()).iter().enumerate() {
        bar(&mut svg, at, tick, rounds);
    }
    let capacity = blocks.iter().map(|block| block.capacity).sum::<f64>() / rounds;
    let y = CALLS.0 + CALLS.1 * (1.0 - capacity / f64::from(RATE));
    add!(
        svg,
        "<line class=\"median\" stroke-dasharray=\"4 4\" x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
        SIDES.0,
        width - SIDES.1
    );
    waits(&mut svg, &hits);
    svg.push_str("</svg>");
    svg
}

fn x_of(at: Duration) -> f64 {
    SIDES.0 + (SIZE.0 - SIDES.0 - SIDES.1) * at.as_secs_f64() / LENGTH.as_secs_f64()
}

fn tick_at(place: usize) -> Duration {
    TICK * u32::try_from(place).unwrap_or(u32::MAX)
}

fn axes(svg: &mut String) {
    let bottom = WAITS.0 + WAITS.1;
    for second in 0..=LENGTH.as_secs() {
        let x = x_of(Duration::from_secs(second));
        add!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>",
            CALLS.0,
            bottom + 16.0
        );
    }
    for (name, (top, _)) in [("calls", CALLS), ("wait", WAITS)] {
        add!(svg, "<text class=\"row\" x=\"0\" y=\"{}\">{name}</text>", top + 12.0);
    }
    let levels = [
        (CALLS, format!("{RATE}/s"), 0.0),
        (CALLS, "0".to_owned(), 1.0),
        (WAITS, format!("{LONGEST_MS} ms"), 0.0),
        (WAITS, "0".to_owned(), 1.0),
    ];
    for ((top, height), text, down) in levels {
        add!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            SIDES.0 - 6.0,
            top + height * down + 4.0
        );
    }
}

/// A stacked bar: good at the bottom, then lost, then turned away.
fn bar(svg: &mut String, at: usize, tick: &Tick, rounds: f64) {
    let most = f64::from(RATE) * TICK.as_secs_f64() * rounds;
    let (x, width) = (x_of(tick_at(at)), x_of(TICK) - x_of(Duration::ZERO) - 0.8);
    let mut below = 0.0;
    for (class, calls) in [("good", tick.good), ("failed", tick.lost), ("rejected", tick.rejected)]
    {
        let height = (CALLS.1 * f64::from(calls) / most).min(CALLS.1 - below);
        if height > 0.0 {
            let y = CALLS.0 + CALLS.1 - below - height;
            add!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
            );
            below += height;
        }
    }
}

/// The middle wait as a line, the 99th hundredth as dots.
fn waits(svg: &mut String, hits: &[&Hit]) {
    let y_of = |time: Duration| {
        let share = (time.as_secs_f64() * 1e3 / LONGEST_MS).min(1.0);
        WAITS.0 + WAITS.1 * (1.0 - share)
    };
    let mut path = String::new();
    let mut pen = 'M';
    for at in 0..super::record::ticks_each() {
        let (from, to) = (tick_at(at), tick_at(at + 1));
        let in_tick = || hits.iter().copied().filter(|hit| from <= hit.due && hit.due < to);
        let x = x_of(from + TICK / 2);
        let Some(middle) = quantile(in_tick(), 0.5) else {
            pen = 'M';
            continue;
        };
        add!(path, "{pen}{x:.1} {:.1}", y_of(middle));
        pen = 'L';
        if let Some(long) = quantile(in_tick(), 0.99) {
            add!(
                svg,
                "<circle class=\"longest\" cx=\"{x:.1}\" cy=\"{:.1}\" r=\"1.6\"/>",
                y_of(long)
            );
        }
    }
    add!(svg, "<path class=\"median\" d=\"{path}\"/>");
}

#[cfg(test)]
mod tests {
    use super::super::arm::Arm;
    use super::super::record::Seen;
    use super::*;

    #[test]
    fn the_page_shows_every_arm_and_stays_within_its_frame() {
        let hit = |number: u64| Hit {
            due: Duration::from_millis(number),
            latency: Duration::from_secs(9),
            seen: if number.is_multiple_of(2) { Seen::Good } else { Seen::Lost },
        };
        let hits: Vec<Hit> = (0..10_000).map(hit).collect();
        let blocks = Arm::ALL.map(|arm| Block {
            arm,
            capacity: 880.0,
            hits: hits.clone(),
            done: 0.0,
            metrics: None,
        });
        let verdicts = Arm::ALL.map(|arm| Verdict::of(&blocks, arm));
        let page = page(&blocks, &verdicts, "", &[]);
        for arm in Arm::ALL {
            assert!(page.contains(&format!("<h2>{}</h2>", escape(arm.name()))));
        }
        assert_eq!(page.matches("<svg").count(), Arm::ALL.len());
        // Waits longer than the scale lie on its top.
        assert!(page.contains(&format!("cy=\"{:.1}\"", WAITS.0)));
        assert!(!page.contains("http://") && !page.contains("https://"), "it needs nothing else");
    }
}
