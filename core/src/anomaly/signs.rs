//! The signs by which a sample can be unusual, each as a multiple of its own usual size.

use super::season::Season;
use super::setting::{SIGNS, Setting, Sign};
use crate::time::Instant;

/// Differences below this share of the usual value are rounding.
const ROUNDING: f64 = 1e-6;
/// The hour is held against what came before it: so many hours.
const BEFORE: f64 = 6.0;

/// Running means of a series, over shorter and longer times.
#[derive(Clone, Debug)]
pub(super) struct Signs {
    seen: f64,
    previous: f64,
    usual: f64,
    recent: f64,
    hour: f64,
    hours: f64,
    long: f64,
    /// Mean steps from sample to sample.
    step: f64,
    hour_step: f64,
    long_step: f64,
    /// The largest and smallest value, slowly drawn towards the usual one.
    high: f64,
    low: f64,
    season: Season,
    /// The usual size of each sign.
    sizes: [f64; SIGNS],
}

impl Signs {
    pub(super) const fn new() -> Self {
        Self {
            seen: 0.0,
            previous: 0.0,
            usual: 0.0,
            recent: 0.0,
            hour: 0.0,
            hours: 0.0,
            long: 0.0,
            step: 0.0,
            hour_step: 0.0,
            long_step: 0.0,
            high: 0.0,
            low: 0.0,
            season: Season::new(),
            sizes: [0.0; SIGNS],
        }
    }

    /// The size of each sign of `value`, in multiples of what is usual for it; learns `value`.
    pub(super) fn observe(&mut self, now: Instant, value: f64, setting: &Setting) -> [f64; SIGNS] {
        if self.seen == 0.0 {
            self.start(value);
        }
        self.seen += 1.0;
        let seen = self.seen;
        let rate = |span: f64| 1.0 / seen.min(span).max(1.0);
        let learn = |mean: &mut f64, value: f64, span: f64| *mean += rate(span) * (value - *mean);

        let step = (value - self.previous).abs();
        let off_recent = (value - self.recent).abs();
        let off_usual = (value - self.usual).abs();
        let curve = self.season.observe(now, value, setting.season);
        let off_curve = curve.map_or(off_usual, |curve| (value - curve).abs());
        let rounding = ROUNDING * self.usual.abs() + f64::MIN_POSITIVE;
        let beyond = (value - self.high).max(self.low - value).max(0.0);

        learn(&mut self.hour, value, setting.hour);
        learn(&mut self.hours, value, setting.hour * BEFORE);
        learn(&mut self.long, value, setting.long);
        learn(&mut self.hour_step, step, setting.hour);
        learn(&mut self.long_step, step, setting.long);
        let change =
            |mean: f64, usual: f64| libm::log((mean + rounding) / (usual + rounding)).abs();
        let mut sizes = [0.0; SIGNS];
        let mut put = |sign: Sign, size: f64| {
            if let Some(place) = sizes.get_mut(sign as usize) {
                *place = size;
            }
        };
        put(Sign::Value, off_usual);
        put(Sign::Recent, off_recent);
        put(Sign::Step, step);
        put(Sign::Season, off_curve);
        put(Sign::Unforeseen, off_curve.min(step).min(off_recent));
        put(Sign::HourLevel, (self.hour - self.usual).abs());
        put(Sign::HourShift, (self.hour - self.hours).abs());
        put(Sign::LongLevel, (self.long - self.usual).abs());
        put(Sign::HourNoise, change(self.hour_step, self.step));
        put(Sign::LongNoise, change(self.long_step, self.step));
        put(Sign::Range, beyond / (self.high - self.low + rounding));

        for (sign, (size, usual)) in sizes.iter_mut().zip(&mut self.sizes).enumerate() {
            // These three are ratios already.
            let is_ratio = [Sign::HourNoise, Sign::LongNoise, Sign::Range]
                .iter()
                .any(|ratio| *ratio as usize == sign);
            let now = *size;
            if !is_ratio {
                *size = now / (*usual + rounding);
            }
            learn(usual, now, setting.slow);
        }
        learn(&mut self.step, step, setting.slow);
        learn(&mut self.usual, value, setting.slow);
        learn(&mut self.recent, value, setting.fast);
        self.previous = value;
        let drawn = 1.0 / setting.slow;
        self.high = value.max(self.high - drawn * (self.high - self.usual));
        self.low = value.min(self.low + drawn * (self.usual - self.low));
        sizes
    }

    fn start(&mut self, value: f64) {
        for mean in [
            &mut self.previous,
            &mut self.usual,
            &mut self.recent,
            &mut self.hour,
            &mut self.hours,
            &mut self.long,
            &mut self.high,
            &mut self.low,
        ] {
            *mean = value;
        }
    }
}
