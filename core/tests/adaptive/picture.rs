//! Draws runs for the documentation.

use super::server::{Came, Run};
use std::fmt::Write;
use std::path::Path;

pub(crate) const WIDTH: f64 = 720.0;
pub(crate) const LEFT: f64 = 52.0;
pub(crate) const HEIGHT: f64 = 130.0;
const GAP: f64 = 46.0;
/// Colours of the runs, told apart also without colour: the second is dashed.
const LINES: [&str; 2] = ["stroke=\"#0b6e99\"", "stroke=\"#c2410c\" stroke-dasharray=\"4 3\""];
const TRUTH: &str = "stroke=\"#888\" stroke-width=\"5\" stroke-opacity=\"0.35\"";

pub(crate) struct Panel {
    pub(crate) title: &'static str,
    pub(crate) top: f64,
    pub(crate) most: f64,
}

impl Panel {
    fn line(&self, svg: &mut String, style: &str, points: &[(f64, f64)], seconds: f64) {
        let _ = write!(svg, "<polyline fill=\"none\" {style} points=\"");
        for (at, value) in points {
            let x = LEFT + at / seconds * (WIDTH - LEFT - 8.0);
            let y = self.top + HEIGHT * (1.0 - (value / self.most).min(1.0));
            let _ = write!(svg, "{x:.1},{y:.1} ");
        }
        svg.push_str("\"/>\n");
    }

    pub(crate) fn axes(&self, svg: &mut String) {
        let (top, bottom) = (self.top, self.top + HEIGHT);
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
            top - 8.0,
            self.title
        );
        for share in [0.0, 0.5, 1.0] {
            let y = bottom - HEIGHT * share;
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
                WIDTH - 8.0,
                LEFT - 6.0,
                y + 4.0,
                self.most * share
            );
        }
    }
}

/// The limits and the answers of two runs of one server, beside what it can do.
pub(crate) fn of(runs: &[Run; 2], came: &[Came; 2]) -> String {
    let seconds = runs[0].seconds;
    let height = 3.0 * (HEIGHT + GAP) + 24.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\"><title>Adaptive limits before a server whose capacity changes</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let panel = |title, place: f64, most| Panel { title, top: 30.0 + place * (HEIGHT + GAP), most };
    let limits = panel("limit, and the slots of the server", 0.0, 120.0);
    let goodput =
        panel("answers a second, and what the server can do (2000 offered)", 1.0, 1_200.0);
    let slow = panel("p99 of a second, ms, and three times the unloaded server's", 2.0, 1_200.0);
    [&limits, &goodput, &slow].into_iter().for_each(|panel| panel.axes(&mut svg));
    let powers = &runs[0].powers;
    let steps = |value: &dyn Fn(&super::Power) -> f64| -> Vec<_> {
        let ends = powers.iter().skip(1).map(|power| power.from).chain([seconds]);
        let both =
            |(power, end): (&super::Power, f64)| [(power.from, value(power)), (end, value(power))];
        powers.iter().zip(ends).flat_map(both).collect()
    };
    let unloaded = runs[0].service.p99() * 1_000.0;
    limits.line(&mut svg, TRUTH, &steps(&|power| power.slots as f64), seconds);
    goodput.line(&mut svg, TRUTH, &steps(&|power| power.capacity()), seconds);
    slow.line(&mut svg, TRUTH, &steps(&|power| power.seconds * unloaded * 3.0), seconds);
    for (came, style) in came.iter().zip(LINES) {
        let every = (seconds * 10.0) as usize;
        let sampled = (0..every).filter_map(|place| {
            let at = place as f64 / 10.0;
            let next = came.limits.partition_point(|(when, _)| *when < at);
            came.limits.get(next).map(|(_, limit)| (at, f64::from(*limit)))
        });
        limits.line(&mut svg, style, &sampled.collect::<Vec<_>>(), seconds);
        let halves = (0..(seconds * 2.0) as usize).map(|place| place as f64 / 2.0);
        let answers: Vec<_> = halves.map(|at| (at + 0.25, came.goodput(at, at + 0.5))).collect();
        goodput.line(&mut svg, style, &answers, seconds);
        let whole = (0..seconds as usize).map(|place| place as f64);
        let p99: Vec<_> =
            whole.map(|at| (at + 0.5, came.percentile(0.99, at, at + 1.0) * 1_000.0)).collect();
        slow.line(&mut svg, style, &p99, seconds);
    }
    let (y, mut x) = (height - 10.0, LEFT);
    for (run, style) in runs.iter().zip(LINES) {
        let name = run.policy.algorithm.name();
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{}\" y1=\"{}\" y2=\"{}\" {style}/><text x=\"{}\" y=\"{y}\">{name}</text>",
            x + 28.0,
            y - 4.0,
            y - 4.0,
            x + 34.0
        );
        x += 130.0;
    }
    let _ = writeln!(
        svg,
        "<text x=\"{x}\" y=\"{y}\">60 s: slots halved at 12, whole at 24; half as fast at 36, whole at 48</text>\n</svg>"
    );
    svg
}

/// The picture in the documentation is this one.
pub(crate) fn is_drawn(name: &str, svg: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/images");
    let file = folder.join(name);
    if std::env::var_os("BIMETAL_DRAW").is_some() {
        std::fs::write(&file, svg).unwrap();
    }
    match std::fs::read_to_string(&file) {
        Ok(known) => assert!(known == svg, "{name} shows something else: draw it anew"),
        // As WebAssembly the tests have no files.
        Err(error) if !cfg!(target_family = "wasm") => panic!("{name}: {error}"),
        Err(_) => {}
    }
}
