//! The overload as text: a picture that is drawn over itself, or one line a second.

use super::arm::Arm;
use super::attack::{LENGTH, RATE};
use super::record::{Block, Hit, Seen, TICK, Tick, quantile, ticks};
use super::verdict::Verdict;
use crossterm::style::{Color, Stylize};
use std::time::Duration;

/// Space for the names of the rows.
const MARGIN: usize = 22;

/// Bars by height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Every arm so far; the one at hand last in its round.
pub fn picture(before: &[Block], at_hand: &Block, width: usize) -> Vec<String> {
    let mut lines = vec![
        format!(
            "bimetal overload   {RATE} calls a second, capacity {:.0}   now: {}",
            at_hand.capacity,
            at_hand.arm.name().bold()
        ),
        String::new(),
    ];
    for arm in Arm::ALL {
        let latest = [at_hand].into_iter().chain(before.iter().rev());
        let Some(block) = latest.into_iter().find(|block| block.arm == arm) else {
            lines.push(format!("{:<MARGIN$}-", arm.name()));
            lines.extend([String::new(), String::new()]);
            continue;
        };
        let columns = width.saturating_sub(MARGIN + 1);
        let cells: String = ticks(&block.hits).iter().take(columns).map(cell).collect();
        let verdict = Verdict::of(std::slice::from_ref(block), arm);
        let p99 = verdict.waited[2].map_or(0, |time| time.as_millis());
        lines.push(format!("{:<MARGIN$}{cells}", arm.name()));
        lines.push(format!(
            "{:<MARGIN$}good {}  rejected {}  lost {}  p99 {p99} ms",
            "", verdict.good, verdict.rejected, verdict.lost
        ));
        lines.push(String::new());
    }
    lines.push(format!(
        "height: good answers   {} all answered or turned away at once {} some lost {} most lost   one mark = {} ms",
        "█".with(Color::Green),
        "█".with(Color::Yellow),
        "█".with(Color::Red),
        TICK.as_millis(),
    ));
    lines
}

/// How many good answers, by height; how many lost calls, by colour.
fn cell(tick: &Tick) -> String {
    let all = tick.good + tick.rejected + tick.lost;
    if all == 0 {
        return " ".to_owned();
    }
    let most = f64::from(RATE) * TICK.as_secs_f64();
    let step = (f64::from(tick.good) / most * BARS.len() as f64) as usize;
    let bar = BARS.get(step).unwrap_or(&'█');
    let color = match (tick.lost, tick.lost * 2 > all) {
        (0, _) => Color::Green,
        (_, false) => Color::Yellow,
        (_, true) => Color::Red,
    };
    bar.with(color).to_string()
}

/// What became of the calls that were sent in the second before `end`, as one line.
pub fn line(block: &Block, end: Duration) -> String {
    let begin = end.saturating_sub(Duration::from_secs(1));
    let hits: Vec<&Hit> =
        block.hits.iter().filter(|hit| begin <= hit.due && hit.due < end.min(LENGTH)).collect();
    let count = |seen| hits.iter().filter(|hit| hit.seen == seen).count();
    let middle = quantile(hits.iter().copied(), 0.5);
    format!(
        "{:<20} {:>3} s   good {:>4}  rejected {:>4}  lost {:>4}  p50 {:>4} ms",
        block.arm.name(),
        end.as_secs(),
        count(Seen::Good),
        count(Seen::Rejected),
        count(Seen::Lost),
        middle.map_or(0, |time| time.as_millis()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(seen: Seen) -> Block {
        let hit = |number: u64| Hit {
            due: Duration::from_millis(number),
            latency: Duration::from_millis(20),
            seen,
        };
        let hits = (0..10_000).map(hit).collect();
        Block { arm: Arm::Native, capacity: 880.0, hits, done: 0.0, metrics: None }
    }

    #[test]
    fn the_picture_keeps_within_the_terminal() {
        let picture = picture(&[], &block(Seen::Good), 50);
        let row = picture.iter().find(|line| line.starts_with("Bimetal natively")).unwrap();
        assert_eq!(row.matches('█').count(), 50 - MARGIN - 1);
        assert_eq!(picture.len(), 3 + 3 * Arm::ALL.len());
    }

    #[test]
    fn a_lost_call_is_never_hidden() {
        let tick = Tick { good: 249, rejected: 0, lost: 1 };
        assert_ne!(cell(&tick), cell(&Tick { lost: 0, ..tick }));
        assert_ne!(cell(&tick), cell(&Tick { lost: 250, ..tick }));
    }

    #[test]
    fn a_line_tells_of_one_second() {
        let line = line(&block(Seen::Lost), Duration::from_secs(3));
        assert!(
            line.contains("  3 s   good    0  rejected    0  lost 1000  p50  500 ms"),
            "{line}"
        );
    }
}
