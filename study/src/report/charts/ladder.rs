//! Ratios with their intervals, one below the other.

use super::{TEXT, THIN, failed, hue, picture};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One row.
#[derive(Clone, Debug)]
pub(in crate::report) struct Bar {
    /// What it says on the left.
    pub(in crate::report) label: String,
    /// The middle.
    pub(in crate::report) middle: f64,
    /// Both ends of the interval; none where there is none.
    pub(in crate::report) ends: Option<(f64, f64)>,
    /// Its colour.
    pub(in crate::report) hue: usize,
}

const WIDTH: u32 = 760;
const ROW: u32 = 30;
const LEFT: f64 = 300.0;
const RIGHT: f64 = 110.0;
const TOP: u32 = 14;
const BOTTOM: u32 = 34;

/// The picture of `bars` around 1, on a logarithmic scale.
pub(in crate::report) fn ladder(bars: &[Bar], about: &str) -> Result<String> {
    let height = TOP + BOTTOM + ROW * bars.len() as u32;
    let values = || {
        bars.iter().flat_map(|bar| {
            let (low, high) = bar.ends.unwrap_or((bar.middle, bar.middle));
            [low, bar.middle, high]
        })
    };
    let low = values().fold(0.95f64, f64::min).max(1e-3).ln();
    let high = values().fold(1.05f64, f64::max).min(1e3).ln();
    let room = (high - low) * 0.03;
    let (low, high) = (low - room, high + room);
    let across = f64::from(WIDTH) - LEFT - RIGHT;
    let x = |value: f64| (LEFT + (value.max(1e-6).ln() - low) / (high - low) * across) as i32;
    picture((WIDTH, height), about, |area| {
        let text = |size: u32, place: HPos| {
            ("sans-serif", size).into_font().color(&TEXT).pos(Pos::new(place, VPos::Center))
        };
        let bottom = (TOP + ROW * bars.len() as u32) as i32;
        for tick in ticks(low.exp(), high.exp()) {
            let line = vec![(x(tick), TOP as i32), (x(tick), bottom)];
            let style = if tick == 1.0 { TEXT.stroke_width(1) } else { THIN.stroke_width(1) };
            area.draw(&PathElement::new(line, style)).map_err(failed)?;
            let shown = format!("{tick}");
            area.draw(&Text::new(shown, (x(tick), bottom + 14), text(12, HPos::Center)))
                .map_err(failed)?;
        }
        for (row, bar) in bars.iter().enumerate() {
            let y = (TOP + ROW * row as u32 + ROW / 2) as i32;
            area.draw(&Text::new(bar.label.clone(), (LEFT as i32 - 12, y), text(13, HPos::Right)))
                .map_err(failed)?;
            let shown = match bar.ends {
                Some((low, high)) => {
                    let line = vec![(x(low), y), (x(high), y)];
                    let style = hue(bar.hue).stroke_width(3);
                    area.draw(&PathElement::new(line, style)).map_err(failed)?;
                    format!("{:.2} ({low:.2}-{high:.2})", bar.middle)
                }
                None => format!("{:.2}", bar.middle),
            };
            let dot = Circle::new((x(bar.middle), y), 5, hue(bar.hue).filled());
            area.draw(&dot).map_err(failed)?;
            let place = (f64::from(WIDTH) - RIGHT) as i32 + 8;
            area.draw(&Text::new(shown, (place, y), text(12, HPos::Left))).map_err(failed)?;
        }
        Ok(())
    })
}

/// Round ratios between both ends, always with 1.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let all: &[f64] = if high / low > 3.0 {
        &[0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0]
    } else {
        &[0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6, 1.8, 2.0, 2.5]
    };
    all.iter().copied().filter(|tick| low <= *tick && *tick <= high).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_label_and_its_figures() {
        let bar =
            |label: &str, middle: f64, ends| Bar { label: label.into(), middle, ends, hue: 1 };
        let svg =
            ladder(&[bar("policy", 1.1, Some((1.05, 1.16))), bar("hop", 4.0, None)], "x").unwrap();
        for text in ["policy", "1.10 (1.05-1.16)", "hop", "4.00"] {
            assert!(svg.contains(text), "{svg}");
        }
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(ladder(&[], "nothing").unwrap().starts_with("<svg"));
    }

    #[test]
    fn one_is_always_a_tick() {
        for (low, high) in [(0.95, 1.05), (0.5, 9.0), (0.9, 2.0)] {
            assert!(ticks(low, high).contains(&1.0));
        }
    }
}
