//! Values as bars, in groups one below the other.

use super::{TEXT, THIN, failed, hue, picture};
use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// One group.
#[derive(Clone, Debug)]
pub(in crate::report) struct Bars {
    /// What it says on the left.
    pub(in crate::report) label: String,
    /// Values, which are not below zero, with the number of their colour.
    pub(in crate::report) bars: Vec<(f64, usize)>,
}

const WIDTH: u32 = 760;
const BAR: u32 = 13;
const BETWEEN: u32 = 10;
const LEFT: i32 = 230;
const RIGHT: i32 = 90;
const TOP: u32 = 6;

/// The picture of `groups` from zero on; values are shown with `unit`.
pub(in crate::report) fn bars(groups: &[Bars], unit: &str, about: &str) -> Result<String> {
    let rows: u32 = groups.iter().map(|group| group.bars.len() as u32 * BAR + BETWEEN).sum();
    let values = groups.iter().flat_map(|group| &group.bars).map(|(value, _)| *value);
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    let across = f64::from(WIDTH as i32 - LEFT - RIGHT);
    picture((WIDTH, TOP * 2 + rows), about, |area| {
        let text = |size: u32, place: HPos| {
            ("sans-serif", size).into_font().color(&TEXT).pos(Pos::new(place, VPos::Center))
        };
        let mut y = TOP as i32;
        for group in groups {
            let height = group.bars.len() as i32 * BAR as i32;
            let label =
                Text::new(group.label.clone(), (LEFT - 10, y + height / 2), text(13, HPos::Right));
            area.draw(&label).map_err(failed)?;
            area.draw(&PathElement::new(vec![(LEFT, y), (LEFT, y + height)], THIN.stroke_width(1)))
                .map_err(failed)?;
            for (value, colour) in &group.bars {
                let end = LEFT + (value / most * across).round() as i32;
                let corners = [(LEFT, y + 1), (end.max(LEFT + 1), y + BAR as i32 - 2)];
                area.draw(&Rectangle::new(corners, hue(*colour).filled())).map_err(failed)?;
                let shown = if *value >= 10.0 {
                    format!("{value:.0} {unit}")
                } else {
                    format!("{value:.1} {unit}")
                };
                let place = (end + 6, y + BAR as i32 / 2);
                area.draw(&Text::new(shown, place, text(11, HPos::Left))).map_err(failed)?;
                y += BAR as i32;
            }
            y += BETWEEN as i32;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let group =
            |label: &str, bars: &[(f64, usize)]| Bars { label: label.into(), bars: bars.to_vec() };
        let groups = [group("parse", &[(110.0, 1), (220.0, 2)]), group("send", &[(0.0, 1)])];
        let svg = bars(&groups, "us", "x").unwrap();
        for text in ["parse", "send", "110 us", "220 us", "0.0 us"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        let widths: Vec<u32> = svg
            .split("<rect ")
            .skip(1)
            .map(|rest| {
                rest.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(widths, [220, 440, 1]);
        assert!(bars(&[], "us", "nothing").unwrap().starts_with("<svg"));
    }
}
