//! The detectors from outside: what they say of whole series.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::Instant;
use bimetal_core::anomaly::{Detector, Outlier, Reading, Setting, Sign, ZScore};
use bimetal_core::rng::Rng;
use proptest::prelude::*;

const DAY: usize = 288;

/// Five minutes after five minutes.
fn at(row: usize) -> Instant {
    Instant::from_millis(row as u64 * 300_000)
}

fn gauss(rng: &mut Rng) -> f64 {
    (0..12).map(|_| rng.next_share()).sum::<f64>() - 6.0
}

/// A week and a half of traffic with a daily curve and noise.
fn traffic(seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    let turn = |row: usize| (row as f64 * std::f64::consts::TAU / DAY as f64).sin();
    (0..11 * DAY).map(|row| 200.0 + 60.0 * turn(row) + 5.0 * gauss(&mut rng)).collect()
}

fn readings(values: &[f64]) -> Vec<Option<Reading>> {
    let mut detector = Detector::new();
    values.iter().enumerate().map(|(row, value)| detector.observe(at(row), *value)).collect()
}

/// The rows of the alarms after the first three days, which are for learning.
fn alarms(values: &[f64]) -> Vec<usize> {
    let readings = readings(values);
    (3 * DAY..values.len()).filter(|row| readings[*row].is_some_and(|one| one.is_alarm)).collect()
}

#[test]
fn usual_traffic_wakes_nobody_on_most_days() {
    let count: usize = (0..10).map(|seed| alarms(&traffic(seed)).len()).sum();
    assert!(count <= 40, "{count} alarms in 80 days");
}

#[test]
fn heavy_tails_are_no_daily_incident() {
    let mut rng = Rng::new(5);
    // Ratio of Gaussians: a Cauchy distribution, which has not even a mean.
    let values: Vec<f64> =
        (0..30 * DAY).map(|_| 100.0 + gauss(&mut rng) / gauss(&mut rng)).collect();
    let count = alarms(&values).len();
    assert!(count <= 27, "{count} alarms in 27 days");
}

/// A sample as it is in an incident, from the usual one and noise.
type Change = fn(f64, f64) -> f64;

#[test]
fn each_incident_is_told_within_hours_and_told_few_times() {
    let from = 9 * DAY + 30;
    let rows = |hours: usize| from..from + 12 * hours;
    for seed in 0..3 {
        let cases: [(&str, Change); 3] = [
            ("a level", |value, _| value + 120.0),
            ("an outage", |_, _| 0.0),
            ("noise", |value, noise| value + 60.0 * noise),
        ];
        for (what, change) in cases {
            let mut values = traffic(seed);
            let mut rng = Rng::new(99);
            for row in rows(6) {
                values[row] = change(values[row], gauss(&mut rng));
            }
            let told: Vec<_> =
                alarms(&values).into_iter().filter(|row| rows(6).contains(row)).collect();
            assert!((1..=6).contains(&told.len()), "{what}, seed {seed}: {told:?}");
            assert!(told[0] < from + 24, "{what}, seed {seed}: told at {told:?}, from {from}");
        }
    }
}

#[test]
fn the_curve_of_the_day_is_learnt_and_its_break_is_told() {
    let mut values = traffic(4);
    let from = 9 * DAY;
    for row in from..from + DAY {
        // The night's values at noon.
        values[row] = values[row - DAY / 2 - DAY];
    }
    let readings = readings(&values);
    let told = (from..from + DAY).filter_map(|row| readings[row]).any(|one| one.is_alarm);
    assert!(told);
}

#[test]
fn a_reading_names_its_sign() {
    let mut values = traffic(1);
    values[9 * DAY] += 500.0;
    let reading = readings(&values)[9 * DAY].unwrap();
    assert!(reading.is_alarm);
    assert!(Sign::ALL.contains(&reading.sign.unwrap()));
    assert_eq!(readings(&[1.0])[0].unwrap().sign, None);
}

#[test]
fn missing_samples_change_nothing() {
    let values = traffic(2);
    let mut rng = Rng::new(1);
    let (mut whole, mut holed) = (Detector::new(), Detector::new());
    for (row, value) in values.iter().enumerate() {
        while rng.next_share() < 0.2 {
            for missing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                assert_eq!(holed.observe(at(row), missing), None);
            }
        }
        assert_eq!(whole.observe(at(row), *value), holed.observe(at(row), *value));
    }
}

#[test]
fn the_first_samples_teach_and_raise_no_alarm() {
    let values: Vec<f64> = (0..100).map(|row| if row % 7 == 3 { 1e6 } else { 1.0 }).collect();
    let readings: Vec<_> = readings(&values).into_iter().flatten().collect();
    assert!(readings.iter().all(|one| one.score == 0.0 && !one.is_alarm));
    assert!(readings.iter().any(|one| one.surprise > Setting::PRODUCT.alarm));
}

#[test]
fn the_fixed_threshold_is_a_half() {
    let mut values = traffic(3);
    values[9 * DAY] += 300.0;
    let readings: Vec<_> = readings(&values).into_iter().flatten().collect();
    assert!(readings.iter().all(|one| one.is_alarm == (one.score >= 0.5)));
    assert!(readings.iter().any(|one| one.is_alarm) && readings.iter().any(|one| !one.is_alarm));
}

#[test]
fn memory_is_small_and_fixed() {
    const { assert!(Detector::BYTES <= 2_048 && size_of::<Outlier>() <= 512) };
    let values = traffic(1);
    let mut detector = Detector::new();
    let mut outlier = Outlier::new();
    let mut score = ZScore::default();
    let count = allocation_counter::measure(|| {
        for (row, value) in values.iter().enumerate() {
            detector.observe(at(row), *value);
            outlier.observe(*value);
            score.observe(*value);
        }
    });
    assert_eq!(count.count_total, 0);
}

#[test]
fn the_default_is_the_product_s_setting() {
    assert_eq!(Setting::default(), Setting::PRODUCT);
}

proptest! {
    #[test]
    fn any_number_at_any_time_gives_a_score(
        samples in prop::collection::vec((any::<u64>(), any::<f64>()), 0..400),
    ) {
        let mut detector = Detector::new();
        for (now, value) in samples {
            match detector.observe(Instant::from_nanos(now), value) {
                Some(reading) => {
                    prop_assert!((0.0..=1.0).contains(&reading.score), "{reading:?}");
                    prop_assert!(reading.surprise.is_finite() && reading.surprise >= 0.0);
                }
                None => prop_assert!(!value.is_finite()),
            }
        }
    }

    /// Nothing that comes later matters, and a copy of a detector goes on as the detector does.
    #[test]
    fn pieces_give_what_the_whole_gives(cut in 0_usize..400, seed in 0_u64..50) {
        let mut rng = Rng::new(seed);
        let values: Vec<f64> = (0..400).map(|_| gauss(&mut rng) / rng.next_share()).collect();
        let whole = readings(&values);
        let mut first = Detector::new();
        let mut pieces: Vec<_> =
            (0..cut).map(|row| first.observe(at(row), values[row])).collect();
        let mut second = first.clone();
        first.observe(at(cut), 1e9);
        pieces.extend((cut..400).map(|row| second.observe(at(row), values[row])));
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn the_unit_does_not_matter(seed in 0_u64..20, unit in prop::sample::select(vec![1e-6, 0.25, 1e3, 1e9])) {
        let values = &traffic(seed)[..1_000];
        let other: Vec<f64> = values.iter().map(|value| value * unit).collect();
        for (one, other) in readings(values).into_iter().zip(readings(&other)) {
            let (one, other) = (one.unwrap(), other.unwrap());
            prop_assert!((one.surprise - other.surprise).abs() < 1e-3 * (1.0 + one.surprise));
        }
    }
}
