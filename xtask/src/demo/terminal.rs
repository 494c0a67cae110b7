//! The live picture on a terminal: both hosts side by side, drawn over itself four times a second.

use super::record::{Arm, Line, Record, State, TICK, Tick, index};
use super::script;
use super::verdict::Verdict;
use crossterm::style::{Color, Stylize};
use crossterm::{cursor, queue, terminal};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Space for the names of the rows.
const MARGIN: usize = 14;

/// Bars by height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Latency of the highest bar; the lowest is a quarter of a millisecond, and each bar in between
/// is about three times the one below.
const LATENCY_STEPS_MS: [f64; 7] = [0.5, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// The place on the terminal that is drawn over.
#[derive(Debug, Default)]
pub struct Screen {
    lines: u16,
}

impl Screen {
    /// How many columns a picture may have.
    pub fn width() -> usize {
        let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        width.clamp(40, 220)
    }

    /// Draws a picture over the one before.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn draw(&mut self, picture: &[String]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.lines > 0 {
            queue!(out, cursor::MoveUp(self.lines))?;
        }
        queue!(out, cursor::Hide, cursor::MoveToColumn(0))?;
        for line in picture {
            queue!(out, terminal::Clear(terminal::ClearType::CurrentLine))?;
            writeln!(out, "{line}")?;
        }
        self.lines = u16::try_from(picture.len()).unwrap_or(0);
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Gives the terminal its cursor back. Does nothing where there is none.
pub fn restore() {
    if io::stdout().is_terminal() {
        let _ = crossterm::execute!(io::stdout(), cursor::Show);
    }
}

/// Both hosts as of `now`, for a terminal that is `width` wide.
pub fn picture(record: &Record, now: Duration, width: usize) -> Vec<String> {
    let columns = width.saturating_sub(MARGIN + 1);
    let end = (index(now) + 1).min(record.line(Arm::Direct).ticks.len());
    let begin = end.saturating_sub(columns);
    let phase = script::phase_at(now);
    let mut lines = vec![format!(
        "bimetal demo   {:>4.1} s of {} s   the echo server: {}",
        now.as_secs_f64(),
        script::LENGTH.as_secs(),
        phase.name.bold()
    )];
    lines.push(String::new());
    lines.push(row("outage", &outage_cells(begin, end)));
    for host in Arm::HOSTS {
        let line = record.line(host);
        let ticks = line.ticks.get(begin..end).unwrap_or_default();
        lines.push(String::new());
        lines.push(format!("{}   {}", host.name().bold(), totals(record, host)));
        lines.push(row("  state", &cells(ticks, state_cell)));
        lines.push(row("  decisions", &cells(ticks, decision_cell)));
        lines.push(row("  latency", &cells(ticks, latency_cell)));
    }
    lines.push(String::new());
    lines.push(format!(
        "state {} closed {} half-open {} open   decisions {} good {} some failed {} rejected   one mark = {} ms",
        "▁".with(Color::Green),
        "▄".with(Color::Yellow),
        "█".with(Color::Red),
        "·".with(Color::Green),
        "x".with(Color::Red),
        "■".with(Color::Blue),
        TICK.as_millis(),
    ));
    lines
}

fn row(name: &str, cells: &str) -> String {
    format!("{name:<MARGIN$}{cells}")
}

fn cells(ticks: &[Tick], cell: fn(&Tick) -> String) -> String {
    ticks.iter().map(cell).collect()
}

fn outage_cells(begin: usize, end: usize) -> String {
    let tick = u32::try_from(TICK.as_millis()).unwrap_or(u32::MAX);
    (begin..end)
        .map(|at| {
            let at = Duration::from_millis(u64::from(tick) * at as u64);
            match script::phase_at(at).trouble {
                script::Trouble::None => "·".dark_grey().to_string(),
                script::Trouble::Errors => "!".with(Color::Red).to_string(),
                script::Trouble::Hangs => "~".with(Color::Magenta).to_string(),
            }
        })
        .collect()
}

fn state_cell(tick: &Tick) -> String {
    match tick.state {
        Some(State::Closed) => "▁".with(Color::Green).to_string(),
        Some(State::HalfOpen) => "▄".with(Color::Yellow).to_string(),
        Some(State::Open) => "█".with(Color::Red).to_string(),
        None => " ".to_owned(),
    }
}

fn decision_cell(tick: &Tick) -> String {
    match (tick.failed, tick.rejected, tick.good) {
        (1.., ..) => "x".with(Color::Red).to_string(),
        (0, 1.., _) => "■".with(Color::Blue).to_string(),
        (0, 0, 1..) => "·".with(Color::Green).to_string(),
        (0, 0, 0) => " ".to_owned(),
    }
}

fn latency_cell(tick: &Tick) -> String {
    let Some(median) = tick.median() else {
        return " ".to_owned();
    };
    let ms = median.as_secs_f64() * 1e3;
    let step = LATENCY_STEPS_MS.iter().filter(|step| ms >= **step).count();
    BARS.get(step).unwrap_or(&'█').to_string()
}

/// The numbers of one host so far, as one line.
pub fn totals(record: &Record, host: Arm) -> String {
    let Verdict { calls, good, failed, rejected, .. } = Verdict::of(record, host);
    format!("calls {calls}  good {good}  failed {failed}  rejected {rejected}")
}

/// The last state that was seen at or before a tick.
pub fn state_at(line: &Line, tick: usize) -> Option<State> {
    line.ticks.get(..=tick)?.iter().rev().find_map(|tick| tick.state)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Sample, Seen};
    use super::*;

    #[test]
    fn the_picture_keeps_within_the_terminal() {
        let mut record = Record::default();
        for ms in (0..46_000).step_by(10) {
            record.add(Sample {
                arm: Arm::Native,
                due: Duration::from_millis(ms),
                latency: Duration::from_millis(1),
                seen: Seen::Good,
            });
        }
        let picture = picture(&record, Duration::from_secs(40), 60);
        let decisions = picture.iter().find(|line| line.contains("decisions")).unwrap();
        assert_eq!(decisions.matches('·').count(), 60 - MARGIN - 1);
    }

    #[test]
    fn a_failure_is_never_hidden_behind_rejections() {
        let mut tick = Tick::default();
        (tick.failed, tick.rejected) = (1, 24);
        assert!(decision_cell(&tick).contains('x'));
    }
}
