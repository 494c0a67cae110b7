//! The timeline of one host as an inline SVG.

use super::record::{Line, State, TICK, Tick};
use super::script::{LENGTH, SCRIPT, Trouble};
use super::terminal::state_at;
use std::fmt::Write as _;
use std::time::Duration;

/// Width of the drawing, in its own units.
const WIDTH: f64 = 960.0;
/// Left of the time axis: names of the rows.
const LEFT: f64 = 112.0;
/// Right of the time axis.
const RIGHT: f64 = 12.0;
/// Top and height of the band of states.
const BAND: (f64, f64) = (22.0, 22.0);
/// Top and height of the decisions.
const BARS: (f64, f64) = (58.0, 92.0);
/// Top and height of the latencies.
const LATENCY: (f64, f64) = (168.0, 84.0);
/// Height of the drawing.
const HEIGHT: f64 = 280.0;

/// Calls in a tick at the top of the decisions.
const MOST_CALLS: f64 = 30.0;
/// Latencies at the bottom and the top, in milliseconds; between them the scale is logarithmic.
const LATENCY_MS: (f64, f64) = (0.1, 1000.0);

/// Draws a host. `id` is unique on the page, `name` and `summary` are for people who cannot see it;
/// all three are ours, not a client's.
pub fn draw(id: &str, name: &str, summary: &str, line: &Line) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
        super::sheet::escape(name),
        super::sheet::escape(summary)
    );
    outages(&mut svg);
    axis(&mut svg);
    states(&mut svg, line);
    decisions(&mut svg, line);
    latencies(&mut svg, line);
    svg.push_str("</svg>");
    svg
}

/// Adds formatted text; writing to a text cannot fail.
macro_rules! add {
    ($svg:expr, $($text:tt)*) => {{ let _ = write!($svg, $($text)*); }};
}

fn x(at: Duration) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * at.as_secs_f64() / LENGTH.as_secs_f64()
}

fn x_of(tick: usize) -> f64 {
    x(TICK * u32::try_from(tick).unwrap_or(u32::MAX))
}

fn outages(svg: &mut String) {
    for phase in SCRIPT.iter().filter(|phase| phase.trouble != Trouble::None) {
        let (from, to) = (x(phase.from()), x(phase.to()));
        let height = LATENCY.0 + LATENCY.1 - BAND.0;
        add!(
            svg,
            "<rect class=\"outage\" x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{height}\"/>\
             <text class=\"note\" x=\"{:.1}\" y=\"14\" text-anchor=\"middle\">echo server {}</text>",
            BAND.0,
            to - from,
            (from + to) / 2.0,
            phase.name
        );
    }
}

fn axis(svg: &mut String) {
    let bottom = LATENCY.0 + LATENCY.1;
    for second in (0..=LENGTH.as_secs()).step_by(5) {
        let at = x(Duration::from_secs(second));
        add!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{bottom}\"/>\
             <text class=\"tick\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>",
            BAND.0,
            bottom + 16.0
        );
    }
    for (text, y) in
        [("state", BAND.0 + 15.0), ("calls", BARS.0 + 12.0), ("latency", LATENCY.0 + 12.0)]
    {
        add!(svg, "<text class=\"row\" x=\"0\" y=\"{y}\">{text}</text>");
    }
    for calls in [0.0, 10.0, 20.0, 30.0] {
        let y = BARS.0 + BARS.1 * (1.0 - calls / MOST_CALLS);
        add!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{calls}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for ms in [0.1, 1.0, 10.0, 100.0, 1000.0] {
        let y = y_of_latency(ms);
        add!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{ms} ms</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0
        );
    }
}

/// One rectangle for each run of ticks in one state.
fn states(svg: &mut String, line: &Line) {
    let mut begin = 0;
    while begin < line.ticks.len() {
        let state = state_at(line, begin);
        let mut end = begin + 1;
        while end < line.ticks.len() && state_at(line, end) == state {
            end += 1;
        }
        if let Some(state) = state {
            let (from, to) = (x_of(begin), x_of(end));
            add!(
                svg,
                "<rect class=\"{}\" x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"><title>{}: {:.2} s to {:.2} s</title></rect>",
                class(state),
                BAND.0,
                to - from,
                BAND.1,
                state.name().replace('_', "-"),
                (TICK * u32::try_from(begin).unwrap_or(0)).as_secs_f64(),
                (TICK * u32::try_from(end).unwrap_or(0)).as_secs_f64(),
            );
            if to - from > 34.0 {
                add!(
                    svg,
                    "<text class=\"on\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    (from + to) / 2.0,
                    BAND.0 + 15.0,
                    state.name().replace('_', "-")
                );
            }
        }
        begin = end;
    }
}

fn class(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half",
        State::Open => "open",
    }
}

/// A stacked bar for each tick: good at the bottom, then failed, then rejected.
fn decisions(svg: &mut String, line: &Line) {
    let width = x_of(1) - x_of(0) - 0.8;
    for (at, tick) in line.ticks.iter().enumerate() {
        let mut below = 0.0;
        for (class, calls) in
            [("good", tick.good), ("failed", tick.failed), ("rejected", tick.rejected)]
        {
            if calls == 0 {
                continue;
            }
            let height = (BARS.1 * f64::from(calls) / MOST_CALLS).min(BARS.1 - below);
            let y = BARS.0 + BARS.1 - below - height;
            add!(
                svg,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>",
                x_of(at)
            );
            below += height;
        }
    }
}

fn y_of_latency(ms: f64) -> f64 {
    let (low, high) = LATENCY_MS;
    let share = (ms.clamp(low, high) / low).log10() / (high / low).log10();
    LATENCY.0 + LATENCY.1 * (1.0 - share)
}

/// The middle latency as a line, the longest as dots. The line breaks where nothing went upstream.
fn latencies(svg: &mut String, line: &Line) {
    let middle = x_of(1) - x_of(0);
    let mut path = String::new();
    let mut pen = 'M';
    for (at, tick) in line.ticks.iter().enumerate() {
        let x = x_of(at) + middle / 2.0;
        match tick.median() {
            Some(median) => {
                let y = y_of_latency(median.as_secs_f64() * 1e3);
                add!(path, "{pen}{x:.1} {y:.1}");
                pen = 'L';
            }
            None => pen = 'M',
        }
        if let Some(longest) = Tick::longest(tick) {
            let y = y_of_latency(longest.as_secs_f64() * 1e3);
            add!(svg, "<circle class=\"longest\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.4\"/>");
        }
    }
    add!(svg, "<path class=\"median\" d=\"{path}\"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latency_scale_is_logarithmic_and_bounded() {
        assert_eq!(y_of_latency(1000.0), LATENCY.0);
        assert_eq!(y_of_latency(0.1), LATENCY.0 + LATENCY.1);
        assert_eq!(y_of_latency(9e9), LATENCY.0);
        let step = y_of_latency(1.0) - y_of_latency(10.0);
        assert!((step - (y_of_latency(10.0) - y_of_latency(100.0))).abs() < 1e-9);
    }
}
