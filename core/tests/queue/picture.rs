//! Draws calls that wait for the documentation.

use super::picture::{HEIGHT, LEFT, Panel, WIDTH};
use std::fmt::Write;

/// Calls by when they came and how long they waited, with those that were turned away.
pub(crate) fn of_waits(told: &[(f64, Option<f64>)], seconds: f64, most: f64) -> String {
    let panel =
        Panel { title: "ms that a call waited, by when it came; red: rejected", top: 30.0, most };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 200\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\"><title>How long calls wait, in and out of overload</title>\n\
         <rect width=\"{WIDTH}\" height=\"200\" fill=\"#fff\"/>\n"
    );
    let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - 8.0);
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" width=\"{:.1}\" y=\"30\" height=\"{HEIGHT}\" fill=\"#fde68a\" fill-opacity=\"0.5\"/>",
        x(2.0),
        x(4.0) - x(2.0)
    );
    panel.axes(&mut svg);
    for (colour, is_lost) in [("#0b6e99", false), ("#b91c1c", true)] {
        let _ = write!(svg, "<path stroke=\"{colour}\" stroke-width=\"1.5\" d=\"");
        for (at, wait) in told.iter().filter(|call| call.1.is_none() == is_lost) {
            let y = panel.top + HEIGHT * (1.0 - wait.unwrap_or(most) / most);
            let _ =
                write!(svg, "M{:.1} {:.1}h1", x(*at), if is_lost { panel.top - 3.0 } else { y });
        }
        svg.push_str("\"/>\n");
    }
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"180\">6 s, 10 slots of 10 ms on average: 850 calls a second, in the middle 1500</text>\n</svg>"
    );
    svg
}
