//! The tables of `docs/anomalies.md`.

use crate::judge::{ByEvent, Confusion, alarms};
use crate::judges::Judge;
use crate::made::{self, DAY, Kind, Made};
use crate::nab::{Profile, Scorer};
use crate::series::Series;
use cpu_time::ThreadTime;
use std::ops::RangeInclusive;

/// Days of a made series that are for learning.
pub const LEARNING: usize = 3 * DAY;
/// Days of a made series with events of all kinds.
pub const MIXED_DAYS: usize = 106;
/// The seeds of the made series: each table is over all of them.
pub const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

/// The judge's confusion on the origin's kind of series, after a first window.
pub fn origin(judge: &Judge) -> Confusion {
    let mut all = Confusion::default();
    for seed in SEEDS {
        let made = made::origin(20_000, seed);
        let said = judge.clone().run(&made.times, &made.values);
        let mut is_wrong = vec![false; said.len()];
        made.events.iter().for_each(|event| is_wrong[*event.rows.start()] = true);
        let rows = is_wrong.into_iter().zip(said.iter().map(|one| one.map(|(_, flag)| flag)));
        all.add(Confusion::count(rows.skip(50)));
    }
    all
}

/// By kind, how the judge does on the series with all of them; the last is all kinds together.
pub fn mixed(judge: &Judge) -> (Vec<(Kind, ByEvent)>, ByEvent) {
    by_kinds(judge, &SEEDS.map(|seed| made::mixed(MIXED_DAYS, seed)))
}

/// The same on given series.
pub fn by_kinds(judge: &Judge, made: &[Made]) -> (Vec<(Kind, ByEvent)>, ByEvent) {
    let mut kinds: Vec<_> = Kind::ALL.iter().map(|kind| (*kind, ByEvent::default())).collect();
    let mut all = ByEvent::default();
    for made in made {
        let alarms = told(judge, made);
        let rows = made.values.len();
        for (kind, counts) in &mut kinds {
            let events: Vec<_> =
                made.events.iter().filter(|one| one.kind == *kind).map(heard).collect();
            counts.add(ByEvent::count(&alarms, &events, LEARNING, rows));
        }
        let events: Vec<_> = made.events.iter().map(heard).collect();
        all.add(ByEvent::count(&alarms, &events, LEARNING, rows));
    }
    (kinds, all)
}

/// An hour longer than the event itself: its end is news too.
fn heard(event: &made::Event) -> RangeInclusive<usize> {
    *event.rows.start()..=event.rows.end() + 12
}

fn told(judge: &Judge, made: &Made) -> Vec<usize> {
    let said = judge.clone().run(&made.times, &made.values);
    alarms(said.iter().map(|one| one.is_some_and(|(_, flag)| flag)))
}

/// What a judge does on labelled series.
#[derive(Clone, Debug)]
pub struct Labelled {
    /// The benchmark's three scores at the best threshold.
    pub best: [f64; 3],
    /// The standard score at the judge's fixed threshold.
    pub fixed: f64,
    /// Alarms of the flag against the windows.
    pub by_event: ByEvent,
    /// The same where the threshold lets at most one alarm a day through, over all series.
    pub at_budget: ByEvent,
    /// Days that were judged.
    pub days: f64,
}

/// How `judge` does on `all`.
pub fn labelled(judge: &Judge, all: &[&Series]) -> Labelled {
    let said: Vec<_> =
        all.iter().map(|series| judge.clone().run(&series.times, &series.values)).collect();
    let pick = |one: fn((f64, bool)) -> f64| -> Vec<Vec<f64>> {
        said.iter().map(|rows| rows.iter().map(|row| row.map_or(0.0, one)).collect()).collect()
    };
    let scores = pick(|(score, _)| score);
    let flags = pick(|(_, flag)| f64::from(u8::from(flag)));
    let best = [Profile::STANDARD, Profile::FEW_FALSE_ALARMS, Profile::FEW_MISSES]
        .map(|profile| Scorer::new(all, profile).best(&scores).score);
    let days = all.iter().map(|series| days(series)).sum();
    Labelled {
        best,
        fixed: Scorer::new(all, Profile::STANDARD).at(&flags, 1.0),
        by_event: by_event(all, &flags, 1.0),
        at_budget: by_event(all, &scores, threshold_of_budget(all, &scores, days)),
        days,
    }
}

fn days(series: &Series) -> f64 {
    let times = series.times.get(series.probation()..).unwrap_or_default();
    let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return 0.0 };
    last.since(*first).as_secs_f64() / 86_400.0
}

fn by_event(all: &[&Series], scores: &[Vec<f64>], threshold: f64) -> ByEvent {
    let mut counts = ByEvent::default();
    for (series, scores) in all.iter().zip(scores) {
        let alarms = alarms(scores.iter().map(|score| *score >= threshold));
        counts.add(ByEvent::count(&alarms, &series.windows, series.probation(), scores.len()));
    }
    counts
}

/// The lowest threshold with at most one alarm a day, to a thousandth of the scores' ranks.
fn threshold_of_budget(all: &[&Series], scores: &[Vec<f64>], days: f64) -> f64 {
    let mut ranked: Vec<f64> = scores.iter().flatten().copied().filter(|one| *one > 0.0).collect();
    ranked.sort_by(|one, other| other.total_cmp(one));
    let fits = |threshold: f64| by_event(all, scores, threshold).alarms() as f64 <= days;
    let mut lowest = f64::INFINITY;
    let step = (ranked.len() / 1_000).max(1);
    for threshold in ranked.into_iter().step_by(step) {
        if !fits(threshold) {
            break;
        }
        lowest = threshold;
    }
    lowest
}

/// CPU nanoseconds for a sample, the least of several rounds.
pub fn nanos_per_sample(judge: &Judge) -> f64 {
    let made = made::mixed(200, 1);
    let round = |_| {
        let mut judge = judge.clone();
        let start = ThreadTime::now();
        let mut flags = 0_usize;
        for (now, value) in made.times.iter().zip(&made.values) {
            flags += usize::from(judge.observe(*now, *value).is_some_and(|(_, flag)| flag));
        }
        std::hint::black_box(flags);
        start.elapsed().as_nanos() as f64 / made.values.len() as f64
    };
    (0..20).map(round).fold(f64::INFINITY, f64::min)
}
