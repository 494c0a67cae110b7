//! Pictures as SVG, drawn by plotters. Colours are names of the page's style, so one picture is
//! right on a light page and on a dark one.

mod bars;
mod ladder;
mod lines;

pub(super) use bars::{Bars, bars};
pub(super) use ladder::{Bar, ladder};
pub(super) use lines::{Axes, Line, lines};

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::RGBColor;

/// How many colours for arms the page's style has.
pub(super) const HUES: usize = 10;

/// Stands for the page's colour of text.
const TEXT: RGBColor = RGBColor(1, 2, 3);

/// Stands for its colour of thin lines.
const THIN: RGBColor = RGBColor(4, 5, 6);

/// Stands for its colour number `number` of an arm.
const fn hue(number: usize) -> RGBColor {
    RGBColor(16, 32, (number % HUES) as u8)
}

/// A picture of that size, drawn by `draw`. `about` is its text for those who do not see it.
fn picture(
    size: (u32, u32),
    about: &str,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    let from = svg.find("<svg").unwrap_or(0);
    let mut svg = svg.get(from..).unwrap_or_default().to_owned();
    svg = svg.replace("#010203", "currentColor").replace("#040506", "var(--line)");
    for number in 0..HUES {
        svg = svg.replace(&format!("#1020{number:02X}"), &format!("var(--hue{number})"));
    }
    // The page decides how wide it is; for a reader it is one picture with one text.
    let fixed = format!("width=\"{}\" height=\"{}\" ", size.0, size.1);
    let spoken = format!("role=\"img\" aria-label=\"{}\" ", super::page::escaped(about));
    Ok(svg.replacen(&fixed, &spoken, 1))
}

fn failed(error: impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("a picture cannot be drawn: {error:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_the_pages_colours_and_its_width() {
        let svg = picture((200, 100), "a \"line\" & more", |area| {
            let line = |from, to, colour: RGBColor| {
                area.draw(&PathElement::new(vec![from, to], colour)).map_err(failed)
            };
            line((0, 0), (9, 9), TEXT)?;
            line((0, 0), (9, 9), THIN)?;
            line((0, 0), (9, 9), hue(3))
        })
        .unwrap();
        assert!(
            svg.starts_with("<svg role=\"img\" aria-label=\"a &quot;line&quot; &amp; more\""),
            "{svg}"
        );
        for colour in ["currentColor", "var(--line)", "var(--hue3)"] {
            assert!(svg.contains(&format!("stroke=\"{colour}\"")), "{svg}");
        }
        assert!(!svg.contains('#') && svg.contains("viewBox=\"0 0 200 100\""), "{svg}");
    }
}
