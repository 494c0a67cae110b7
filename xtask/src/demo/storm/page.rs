//! The page of the storm: tries at the dead service over time.

use super::hops::Arm;
use super::verdict::{self, Block};
use crate::demo::sheet::{Sheet, escape};
use crate::demo::verdict::Claim;
use std::fmt::Write as _;

/// Width and height of a drawing, and left of its time axis.
const SIZE: (f64, f64) = (960.0, 110.0);
const LEFT: f64 = 112.0;
/// Top and height of the bars.
const BARS: (f64, f64) = (8.0, 76.0);
/// Seconds of one bar, and how many there are.
const STEP: f64 = 0.1;
const STEPS: usize = 40;

/// The whole page.
pub fn page(blocks: &[Block], claims: &[Claim]) -> String {
    let mut sheet = Sheet::new("Bimetal demo: a retry storm", include_str!("intro.html"));
    let most = blocks.iter().flat_map(bars).max().unwrap_or(1).max(1);
    for block in blocks {
        sheet.picture(block.arm.name(), &draw(block, most));
    }
    let rows: Vec<_> = blocks.iter().map(verdict::row).collect();
    sheet.end(&verdict::COLUMNS, &rows, verdict::EXPLAINED, claims)
}

/// Tries in each tenth of a second, from the first one on.
fn bars(block: &Block) -> Vec<usize> {
    let first = block.tries.iter().copied().fold(f64::MAX, f64::min);
    let mut bars = vec![0; STEPS];
    for at in &block.tries {
        if let Some(bar) = bars.get_mut(((at - first) / STEP) as usize) {
            *bar += 1;
        }
    }
    bars
}

/// All arms have one scale: what is to be seen is their ratio.
fn draw(block: &Block, most: usize) -> String {
    let (width, height) = SIZE;
    let class = if block.arm == Arm::Naive { "failed" } else { "rejected" };
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\"><title>{}: {:.2} tries of one call</title>\
         <text class=\"row\" x=\"0\" y=\"{}\">tries</text>",
        escape(block.arm.name()),
        block.amplification(),
        BARS.0 + 12.0
    );
    let step = (width - LEFT) / STEPS as f64;
    for (level, down) in [(format!("{:.0}/s", most as f64 / STEP), 0.0), ("0".to_owned(), 1.0)] {
        let y = BARS.0 + BARS.1 * down + 4.0;
        // Writing to a text cannot fail.
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{level}</text>",
            LEFT - 6.0
        );
    }
    for (at, tries) in bars(block).into_iter().enumerate() {
        let tall = BARS.1 * tries as f64 / most as f64;
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"/>",
            LEFT + step * at as f64,
            BARS.0 + BARS.1 - tall,
            step - 1.0
        );
    }
    for second in 0..=4 {
        let x = LEFT + step * f64::from(second) / STEP;
        let _ = write!(
            svg,
            "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{second} s</text>",
            height - 8.0,
            if second == 4 { "end" } else { "middle" }
        );
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arms_have_one_scale() {
        let block =
            |arm, tries: usize| Block { arm, statuses: vec![503; 30], tries: vec![7.25; tries] };
        let page = page(&[block(Arm::Naive, 810), block(Arm::Budgeted, 81)], &[]);
        assert_eq!(page.matches("8100/s").count(), 2);
        assert_eq!(page.matches(&format!("height=\"{:.1}\"/>", BARS.1)).count(), 1);
        assert_eq!(page.matches(&format!("height=\"{:.1}\"/>", BARS.1 / 10.0)).count(), 1);
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
