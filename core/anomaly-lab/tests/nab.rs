//! The scorer and the detector on the labelled series, where they are there.

use bimetal_anomaly_lab::nab::{Profile, Scorer};
use bimetal_anomaly_lab::series::Series;
use bimetal_anomaly_lab::{fit, gaussian, series};
use bimetal_core::Instant;
use bimetal_core::anomaly::Setting;

/// The benchmark's published windowed Gaussian has 41.0 on these series.
#[test]
fn the_scorer_gives_the_published_baseline() {
    let Some(folder) = series::folder() else { return };
    let all = series::read(&folder).unwrap();
    assert_eq!(all.len(), 35);
    let scores: Vec<Vec<f64>> = all.iter().map(|one| gaussian::scores(&one.values)).collect();
    let all: Vec<_> = all.iter().collect();
    let standard = Scorer::new(&all, Profile::STANDARD).best(&scores).score;
    assert!((standard - 41.0).abs() < 0.05, "{standard}");
}

#[test]
fn the_detector_beats_the_published_leader() {
    let Some(folder) = series::folder() else { return };
    let all = series::read(&folder).unwrap();
    let all: Vec<_> = all.iter().collect();
    let result = fit::result(&all, Setting::PRODUCT);
    println!("{result:?}");
    assert!(result.best > 62.4 && result.fixed > 60.0, "{result:?}");
}

/// Ten thousand rows, of which 750 are not judged, with windows of 101 rows.
fn made(windows: &[usize]) -> Series {
    Series {
        name: String::new(),
        times: (0..10_000).map(Instant::from_nanos).collect(),
        values: vec![0.0; 10_000],
        windows: windows.iter().map(|from| *from..=from + 100).collect(),
    }
}

fn at(series: &Series, profile: Profile, detections: &[usize]) -> f64 {
    let mut scores = vec![0.0; series.values.len()];
    detections.iter().for_each(|row| scores[*row] = 1.0);
    Scorer::new(&[series], profile).at(&[scores], 1.0)
}

#[test]
fn silence_is_nothing_and_the_first_row_is_everything() {
    let series = made(&[2_000, 5_000]);
    for profile in [Profile::STANDARD, Profile::FEW_FALSE_ALARMS, Profile::FEW_MISSES] {
        assert_eq!(at(&series, profile, &[]), 0.0);
        assert_eq!(at(&series, profile, &[2_000, 5_000]), 100.0);
        // Further detections in a window neither earn nor cost.
        assert_eq!(at(&series, profile, &[2_000, 2_001, 2_100, 5_000]), 100.0);
    }
}

#[test]
fn each_rule_costs_what_is_published() {
    let series = made(&[2_000]);
    let worth = |row: usize| at(&series, Profile::STANDARD, &[2_000, row]) - 100.0;
    // A false alarm before any window: 0.11 of the 2 between silence and perfection.
    assert!((worth(1_000) + 5.5).abs() < 1e-9);
    assert!((at(&series, Profile::FEW_FALSE_ALARMS, &[2_000, 1_000]) - 89.0).abs() < 1e-9);
    assert!(
        (at(&series, Profile::FEW_MISSES, &[2_000, 1_000]) - (100.0 - 11.0 / 3.0)).abs() < 1e-9
    );
    // Just after a window it costs little, a window's width later nearly all, then all.
    let after = |rows: usize| worth(2_100 + rows);
    let sigmoid = |x: f64| 2.0 / (1.0 + (5.0 * x).exp()) - 1.0;
    assert!((after(1) - 5.5 * sigmoid(0.01)).abs() < 1e-9);
    assert!((after(100) - 5.5 * sigmoid(1.0)).abs() < 1e-9);
    assert!((after(301) + 5.5).abs() < 1e-9);
    // The last row of a window is worth nearly nothing: σ(−1/101)/σ(−1) of the half above silence.
    let last = 50.0 + 50.0 * sigmoid(-1.0 / 101.0) / sigmoid(-1.0);
    assert!((at(&series, Profile::STANDARD, &[2_100]) - last).abs() < 1e-9);
    // The probation is not judged.
    assert_eq!(worth(749), 0.0);
    assert!(worth(750) < 0.0);
}

#[test]
fn one_threshold_holds_for_all_series() {
    let (one, other) = (made(&[2_000]), made(&[]));
    let mut scores = [vec![0.0; 10_000], vec![0.0; 10_000]];
    scores[0][2_000] = 0.4;
    // Ten rows of the other series score higher: to find the window costs ten false alarms.
    scores[1][3_000..3_010].fill(0.6);
    let best = Scorer::new(&[&one, &other], Profile::STANDARD).best(&scores);
    assert_eq!(best.threshold, 0.4);
    assert!((best.score - (100.0 - 55.0)).abs() < 1e-9);
    scores[1][3_000..3_020].fill(0.6);
    let best = Scorer::new(&[&one, &other], Profile::STANDARD).best(&scores);
    assert_eq!((best.threshold, best.score), (f64::INFINITY, 0.0));
}
