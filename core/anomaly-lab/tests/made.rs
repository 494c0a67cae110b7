//! The judges on made series: the figures that the project promises.

use bimetal_anomaly_lab::judge::{ByEvent, Confusion, alarms};
use bimetal_anomaly_lab::judges::Judge;
use bimetal_anomaly_lab::made::{self, DAY, Kind};
use bimetal_anomaly_lab::report;

fn confusion(name: &str) -> Confusion {
    let judge = Judge::all().into_iter().find(|judge| judge.name() == name).unwrap();
    report::origin(&judge)
}

/// The origin's promise, met by its own rule as it stands.
#[test]
fn the_z_score_is_right_in_more_than_seventy_percent() {
    let counts = confusion("z-score");
    assert!(counts.accuracy() > 0.7 && counts.precision() > 0.7, "{counts:?}");
    assert!(counts.false_alarm_share() < 0.1, "{counts:?}");
    assert!(counts.recall() > 0.9, "{counts:?}");
}

#[test]
fn the_outlier_judge_is_right_in_more_than_ninety_five_percent() {
    let counts = confusion("outlier");
    assert!(counts.accuracy() >= 0.95 && counts.precision() >= 0.95, "{counts:?}");
    assert!(counts.false_alarm_share() <= 0.01 && counts.recall() > 0.9, "{counts:?}");
}

/// A person is woken by the detector less than once in five days for nothing, and by the others daily.
#[test]
fn the_detector_is_the_one_to_be_woken_by() {
    let [z_score, outlier, detector] = Judge::all().map(|judge| report::mixed(&judge).1);
    assert!(detector.f1() > outlier.f1() && outlier.f1() > z_score.f1());
    let days = (report::SEEDS.len() * 103) as f64;
    assert!(detector.false_alarms as f64 / days < 0.2, "{detector:?}");
    assert!(detector.recall() > 0.35 && detector.precision() > 0.5, "{detector:?}");
}

#[test]
fn a_seed_fixes_a_made_series() {
    let same = |one: &made::Made, other: &made::Made| {
        one.values.iter().map(|value| value.to_bits()).eq(other.values.iter().map(|x| x.to_bits()))
    };
    assert!(same(&made::mixed(40, 1), &made::mixed(40, 1)));
    assert!(!same(&made::mixed(40, 1), &made::mixed(40, 2)));
    assert!(same(&made::origin(500, 1), &made::origin(500, 1)));
}

#[test]
fn shares_and_kinds_are_what_they_are_said_to_be() {
    let made = made::origin(20_000, 1);
    assert!((900..1_100).contains(&made.events.len()), "{}", made.events.len());
    let made = made::mixed(106, 1);
    for kind in Kind::ALL {
        let count = made.events.iter().filter(|event| event.kind == kind).count();
        assert!((5..=6).contains(&count), "{kind:?}: {count}");
    }
    assert!(made.events.iter().all(|event| *event.rows.start() >= 10 * DAY));
    let ends = made.events.iter().map(|event| *event.rows.end());
    let next = made.events.iter().skip(1).map(|event| *event.rows.start());
    assert!(ends.zip(next).all(|(end, next)| end + 12 < next));
    let missing = made.values.iter().filter(|value| value.is_nan()).count() as f64;
    assert!((0.007..0.013).contains(&(missing / made.values.len() as f64)));
}

#[test]
fn a_confusion_is_counted_by_hand() {
    let said = [
        (true, Some(true)),
        (true, Some(true)),
        (true, Some(false)),
        (false, Some(true)),
        (false, Some(false)),
        (false, Some(false)),
        (false, Some(false)),
        (true, None),
    ];
    let counts = Confusion::count(said.into_iter());
    assert_eq!(counts, Confusion { hits: 2, misses: 1, false_alarms: 1, quiet: 3 });
    assert_eq!(counts.accuracy(), 5.0 / 7.0);
    assert_eq!(counts.precision(), 2.0 / 3.0);
    assert_eq!(counts.recall(), 2.0 / 3.0);
    assert_eq!(counts.false_alarm_share(), 0.25);
}

#[test]
fn flags_within_an_hour_of_each_other_are_one_alarm() {
    let rows = [3, 4, 16, 28, 41, 60];
    let flags = (0..70).map(|row| rows.contains(&row));
    assert_eq!(alarms(flags), [3, 41, 60]);
}

#[test]
fn alarms_are_held_against_events_by_hand() {
    // Judged from 10 of 110 rows: the alarm at 5 and the event before 10 do not count.
    let counts = ByEvent::count(&[5, 25, 28, 60], &[0..=8, 20..=29, 80..=89], 10, 110);
    assert_eq!((counts.found, counts.missed), (1, 1));
    assert_eq!((counts.true_alarms, counts.false_alarms, counts.delay), (2, 1, 5));
    // Three alarms at random find a tenth of the rows with 1 − 0.9³.
    assert!((counts.by_luck - 2.0 * (1.0 - 0.729)).abs() < 1e-12);
    assert_eq!(counts.f1(), 0.5);
}
