//! Lines of arms over a common scale.

use super::{TEXT, THIN, failed, hue, picture};
use anyhow::Result;
use plotters::prelude::*;

/// One arm's line.
#[derive(Clone, Debug)]
pub(in crate::report) struct Line {
    /// Its points; those that are not above zero are left out.
    pub(in crate::report) points: Vec<(f64, f64)>,
    /// Its colour.
    pub(in crate::report) hue: usize,
}

/// Both scales.
pub(in crate::report) struct Axes<'a> {
    /// What goes from left to right, with its unit.
    pub(in crate::report) across: &'a str,
    /// What goes up, with its unit; by tenfolds.
    pub(in crate::report) up: &'a str,
    /// How a place from left to right is written.
    pub(in crate::report) name: &'a dyn Fn(&f64) -> String,
    /// Whether points are marked: where only they were measured, not the line between.
    pub(in crate::report) marked: bool,
}

const SIZE: (u32, u32) = (760, 380);

/// The picture of `lines`.
pub(in crate::report) fn lines(lines: &[Line], axes: &Axes<'_>, about: &str) -> Result<String> {
    let good = |line: &Line| -> Vec<(f64, f64)> {
        let points = line.points.iter().copied();
        points.filter(|(x, y)| x.is_finite() && y.is_finite() && *y > 0.0).collect()
    };
    let all: Vec<(f64, f64)> = lines.iter().flat_map(good).collect();
    let ends = |of: &dyn Fn(&(f64, f64)) -> f64| {
        let values = || all.iter().map(of);
        (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max))
    };
    let (left, right) = ends(&|point| point.0);
    let (bottom, top) = ends(&|point| point.1);
    if all.is_empty() || left >= right {
        return Ok(String::new());
    }
    picture(SIZE, about, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(62)
            .build_cartesian_2d(left..right, (bottom * 0.8..top * 1.25).log_scale())
            .map_err(failed)?;
        let text = ("sans-serif", 13).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(THIN)
            .axis_style(TEXT)
            .label_style(text.clone())
            .axis_desc_style(text)
            .x_desc(axes.across)
            .y_desc(axes.up)
            .x_label_formatter(axes.name)
            .y_label_formatter(&|value| shown(*value))
            .draw()
            .map_err(failed)?;
        for line in lines {
            let style = hue(line.hue).stroke_width(2);
            let points = good(line);
            chart.draw_series(LineSeries::new(points.clone(), style)).map_err(failed)?;
            if axes.marked {
                let dots =
                    points.iter().map(|point| Circle::new(*point, 4, hue(line.hue).filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
        }
        Ok(())
    })
}

/// A value without more digits than it needs.
fn shown(value: f64) -> String {
    match value {
        value if value >= 10.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_and_what_cannot_be_is_left_out() {
        let axes = Axes { across: "rate", up: "ms", name: &|x| format!("at {x:.0}"), marked: true };
        let line = |points: &[(f64, f64)]| Line { points: points.to_vec(), hue: 2 };
        let all = [line(&[(1.0, 0.5), (2.0, f64::NAN), (3.0, 5.0)]), line(&[(1.0, 0.0)])];
        let svg = lines(&all, &axes, "x").unwrap();
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(
            svg.contains("rate") && svg.contains("at 2") && svg.contains("var(--hue2)"),
            "{svg}"
        );
        assert_eq!(lines(&[line(&[(1.0, 1.0)])], &axes, "x").unwrap(), "");
    }

    #[test]
    fn values_are_short() {
        assert_eq!([0.123, 1.26, 12.6].map(shown), ["0.12", "1.3", "13"]);
    }
}
