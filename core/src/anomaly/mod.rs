//! Anomalies in a stream of samples: three judges, each usable alone.
//!
//! - [`ZScore`]: the rolling z-score of the load-analytics service, rule for rule.
//! - [`Outlier`]: whether one sample is unlike those before it. Robust: peaks do not hide each other.
//! - [`Detector`]: whether something happened that is worth waking up for. It knows levels, the daily
//!   curve and heavy tails, has one fixed setting, and says a thing once.
//!
//! [`Watch`] feeds the first two from what is counted of a scope's calls.
//!
//! All of them need a fixed amount of memory, allocate nothing after they are built, and see nothing
//! but the samples so far: neither a series' end nor its minimum or maximum. They know neither guard
//! nor engine. How good they are is measured in `core/anomaly-lab`.

mod attention;
mod detector;
mod outlier;
mod season;
mod setting;
mod signs;
mod tail;
mod watch;
mod zscore;

pub use detector::{Detector, Reading};
pub use outlier::{Outlier, OutlierReading};
pub use setting::{Setting, Sign};
pub use watch::{Anomaly, AnomalyPolicy, Judging, Seen, Signal, Watch};
pub use zscore::{ZReading, ZScore};

/// Far beyond any measured value, and far from where sums and products overflow.
const LARGEST: f64 = 1e150;

/// `value` within ±10¹⁵⁰; `None` where it is not a number or infinite.
fn within_range(value: f64) -> Option<f64> {
    value.is_finite().then(|| value.clamp(-LARGEST, LARGEST))
}
