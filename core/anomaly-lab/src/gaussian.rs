//! The benchmark's windowed Gaussian, the baseline that the scorer is checked by: how far out a value
//! lies in the tails of a Gaussian over the last 6400 values, renewed every 100.

const WINDOW: usize = 6_400;
const RENEWED: usize = 100;
/// What stands for a deviation of 0.
const LEAST_DEVIATION: f64 = 1e-6;
/// The benchmark's result files hold so many decimals; what rounds to 1 is all alike.
const DECIMALS: f64 = 1e12;

/// The score of each value, as the benchmark's result files have it.
pub fn scores(values: &[f64]) -> Vec<f64> {
    let (mut mean, mut deviation) = (0.0, 1.0);
    let mut from = 0;
    let mut scores = Vec::with_capacity(values.len());
    for (row, value) in values.iter().enumerate() {
        let off = (value - mean).abs() / deviation;
        let tail = 0.5 * libm::erfc(off / std::f64::consts::SQRT_2);
        let score = if row == 0 { 0.0 } else { 1.0 - tail };
        scores.push((score * DECIMALS).round() / DECIMALS);
        let held = row + 1 - from;
        let is_renewed = held == WINDOW + RENEWED;
        if is_renewed {
            from += RENEWED;
        }
        if held <= WINDOW || is_renewed {
            (mean, deviation) = fit(&values[from..=row]);
        }
    }
    scores
}

fn fit(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / count).sqrt();
    (mean, if deviation == 0.0 { LEAST_DEVIATION } else { deviation })
}
