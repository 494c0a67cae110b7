//! The live picture in a pipe: one line a second.

use super::record::{Arm, Record, Tick, index};
use super::script;
use super::terminal::state_at;
use std::fmt::Write as _;
use std::time::Duration;

/// What happened in the second before `now`, as one line.
pub fn line(record: &Record, now: Duration) -> String {
    let end = index(now);
    let begin = end.saturating_sub(4);
    let mut text = format!("{:>4.0} s  echo {:<11}", now.as_secs_f64(), echo_in(begin));
    for host in Arm::HOSTS {
        let line = record.line(host);
        let ticks = line.ticks.get(begin..end).unwrap_or_default();
        let sum = |count: fn(&Tick) -> u32| ticks.iter().map(count).sum::<u32>();
        let state = end.checked_sub(1).and_then(|last| state_at(line, last));
        let mut medians: Vec<Duration> = ticks.iter().filter_map(Tick::median).collect();
        medians.sort_unstable();
        let middle = medians.get(medians.len() / 2);
        let latency = middle.map_or_else(
            || "       -".to_owned(),
            |middle| format!("{:>5.1} ms", middle.as_secs_f64() * 1e3),
        );
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            " | {} {:<9} good {:>3} failed {:>3} rejected {:>3} {latency}",
            host.name(),
            state.map_or("-", |state| state.name()),
            sum(|tick| tick.good),
            sum(|tick| tick.failed),
            sum(|tick| tick.rejected),
        );
    }
    text
}

fn echo_in(tick: usize) -> &'static str {
    let at = super::record::TICK * u32::try_from(tick).unwrap_or(u32::MAX);
    script::phase_at(at).name
}
