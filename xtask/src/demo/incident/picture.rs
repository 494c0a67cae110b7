//! The incident as text: a picture that is drawn over itself, or one line a second.

use super::numbers::{LENGTH, SLOW_FROM, SLOW_TO};
use super::record::{Part, Record, TICK};
use crossterm::style::{Color, Stylize};
use std::time::Duration;

/// Space for the names of the rows.
const MARGIN: usize = 14;

/// One arm as of `now`, for a terminal that is `width` wide.
pub fn picture(arm: &str, record: &Record, now: Duration, width: usize) -> Vec<String> {
    let columns = width.saturating_sub(MARGIN + 1);
    let sight = record.last();
    let mut lines = vec![
        format!(
            "bimetal incident   {arm}   {:>4.1} s of {} s   the error tracker is {}",
            now.as_secs_f64(),
            LENGTH.as_secs(),
            if is_slow(now) { "slow".with(Color::Red) } else { "well".with(Color::Green) }
        ),
        String::new(),
    ];
    for part in Part::all() {
        let cells: String = record.ticks(part).iter().take(columns).map(cell).collect();
        lines.push(format!("{:<MARGIN$}{cells}", part.name()));
    }
    lines.push(String::new());
    lines.push(format!(
        "waiting: for the monolith {:>5}   for checkout's database {:>5} ({} connections in use)   in the shards {:?}",
        sight.monolith_waiting, sight.checkout_waiting, sight.database, sight.backlog
    ));
    lines.push(format!(
        "{} all in time {} some {} none   one mark = {} ms",
        "█".with(Color::Green),
        "▄".with(Color::Yellow),
        "x".with(Color::Red),
        TICK.as_millis()
    ));
    lines
}

/// Whether the tracker is slow at that time.
pub fn is_slow(at: Duration) -> bool {
    SLOW_FROM <= at && at < SLOW_TO
}

fn cell((good, failed): &(u32, u32)) -> String {
    match (good, failed) {
        (0, 0) => " ".to_owned(),
        (_, 0) => "█".with(Color::Green).to_string(),
        (0, _) => "x".with(Color::Red).to_string(),
        _ => "▄".with(Color::Yellow).to_string(),
    }
}

/// What is known in the second before `now`, as one line.
pub fn line(arm: &str, record: &Record, now: Duration) -> String {
    let sight = record.last();
    format!(
        "{arm:<12} {:>3} s  tracker {:<4}  waiting for the monolith {:>5}  for the database {:>5} ({:>2} in use)  in the shards {:?}",
        now.as_secs(),
        if is_slow(now) { "slow" } else { "well" },
        sight.monolith_waiting,
        sight.checkout_waiting,
        sight.database,
        sight.backlog
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    #[test]
    fn the_picture_keeps_within_the_terminal_and_hides_no_failure() {
        let mut record = Record::default();
        for number in 0..90 {
            let due = TICK * number;
            let event = Event { part: Part::Monolith, due, is_good: true };
            record.events.extend([event; 20]);
        }
        record.events.push(Event { part: Part::Monolith, due: Duration::ZERO, is_good: false });
        let picture = picture("bare", &record, LENGTH, 60);
        let row = picture.iter().find(|line| line.starts_with("monolith")).unwrap();
        assert_eq!(row.matches('█').count() + row.matches('▄').count(), 60 - MARGIN - 1);
        assert_eq!(row.matches('▄').count(), 1);
    }
}
