//! Whether something happened that is worth waking up for.

use super::attention::Attention;
use super::setting::{SIGNS, Setting, Sign};
use super::signs::Signs;
use super::tail::Tail;
use super::within_range;
use crate::time::Instant;

/// The first samples teach, and raise no alarm.
const LEARNING: u32 = 100;

/// The detector. Fixed size (see [`Detector::BYTES`]), no allocation, a few hundred nanoseconds a sample.
///
/// Each sample is looked at by eleven [`Sign`]s. Each sign's size is judged by the tail of the sizes
/// that the series itself has shown. The largest surprise, and a share of the others, is held
/// against what was heard of late: an incident is told once, and again when it grows.
#[derive(Clone, Debug)]
pub struct Detector {
    setting: Setting,
    signs: Signs,
    tails: [Tail; SIGNS],
    own: Tail,
    attention: Attention,
    seen: u32,
}

/// What the detector says of one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// How worth waking up for it is, in 0–1.
    pub score: f64,
    /// Whether the score is at least 0.5: the fixed threshold.
    pub is_alarm: bool,
    /// How rare the sample is, whatever was told before: about −ln of the share of samples like it.
    pub surprise: f64,
    /// The sign that surprised most; none where nothing did.
    pub sign: Option<Sign>,
}

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// What one detector occupies: all of it, as it owns nothing elsewhere.
    pub const BYTES: usize = size_of::<Self>();

    /// A detector that has seen nothing.
    pub const fn new() -> Self {
        Self::with(Setting::PRODUCT)
    }

    /// The same with other constants, for measurements. A setting outside its ranges gives readings
    /// that mean nothing.
    pub const fn with(setting: Setting) -> Self {
        Self {
            setting,
            signs: Signs::new(),
            tails: [const { Tail::new() }; SIGNS],
            own: Tail::new(),
            attention: Attention::new(),
            seen: 0,
        }
    }

    /// Judges the sample of `now`, then learns it. `None` for a value that is not finite: a missing
    /// sample is no sample. Of `now` the time of day alone matters, by whatever origin; a clock that goes
    /// backwards does no harm.
    pub fn observe(&mut self, now: Instant, value: f64) -> Option<Reading> {
        let value = within_range(value)?;
        let setting = self.setting;
        let sizes = self.signs.observe(now, value, &setting);
        let (mut largest, mut sum, mut sign) = (0.0, 0.0, None);
        let rows = sizes.into_iter().zip(&mut self.tails).zip(setting.weights).zip(Sign::ALL);
        for (((size, tail), weight), of) in rows {
            let surprise = weight * tail.surprise(size, setting.least_excess, &setting);
            sum += surprise;
            if surprise > largest {
                (largest, sign) = (surprise, Some(of));
            }
        }
        let combined = largest + setting.others * (sum - largest);
        let own = self.own.surprise(combined, setting.own_excess, &setting);
        let surprise = combined + setting.own * (own - combined);
        self.seen = self.seen.saturating_add(1);
        // Everything is new to who has seen nothing.
        let left = if self.seen > LEARNING { self.attention.hear(surprise, &setting) } else { 0.0 };
        let score = left / (left + setting.alarm);
        Some(Reading { score, is_alarm: left >= setting.alarm, surprise, sign })
    }
}
