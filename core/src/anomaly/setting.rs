//! What the detector's judgement depends on. One setting serves every series.

/// How many signs there are.
pub(super) const SIGNS: usize = 11;

/// A way in which a sample can be unusual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sign {
    /// Far from the long-run mean.
    Value,
    /// Far from the mean of the last few samples.
    Recent,
    /// The last hour's mean is far from the long-run one.
    HourLevel,
    /// The last hour's mean is far from that of the six hours.
    HourShift,
    /// The last hour is more or less noisy than the long run.
    HourNoise,
    /// Far from the sample before.
    Step,
    /// Far from what is usual at this time of day.
    Season,
    /// Far from the sample before, the last few and the time of day, all three.
    Unforeseen,
    /// The mean of a longer while is far from the long-run one.
    LongLevel,
    /// Beyond every value of late.
    Range,
    /// A longer while is more or less noisy than the long run.
    LongNoise,
}

impl Sign {
    /// All signs, in the order of [`Setting::weights`].
    pub const ALL: [Self; SIGNS] = [
        Self::Value,
        Self::Recent,
        Self::HourLevel,
        Self::HourShift,
        Self::HourNoise,
        Self::Step,
        Self::Season,
        Self::Unforeseen,
        Self::LongLevel,
        Self::Range,
        Self::LongNoise,
    ];

    /// Its name in texts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Recent => "recent",
            Self::HourLevel => "hour-level",
            Self::HourShift => "hour-shift",
            Self::HourNoise => "hour-noise",
            Self::Step => "step",
            Self::Season => "season",
            Self::Unforeseen => "unforeseen",
            Self::LongLevel => "long-level",
            Self::Range => "range",
            Self::LongNoise => "long-noise",
        }
    }
}

/// The detector's constants. The default is the one that the product uses; others are for whoever
/// measures what a constant is worth. "An hour" is [`Setting::hour`] samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Samples over which a mean of the long run is learnt; above 1.
    pub slow: f64,
    /// Samples of the last few.
    pub fast: f64,
    /// Samples of an hour.
    pub hour: f64,
    /// Samples of a longer while.
    pub long: f64,
    /// Samples that a tail remembers; at least 1.
    pub memory: f64,
    /// The share of sizes that are its tail, in 0–1.
    pub tail: f64,
    /// The least mean excess that is believed, as a logarithm; above 0.
    pub least_excess: f64,
    /// Samples of the tail that the first guess of its excess is worth; at least 1.
    pub prior: f64,
    /// Days over which the daily curve is learnt.
    pub season: f64,
    /// What a surprise of each sign counts, in the order of [`Sign::ALL`].
    pub weights: [f64; SIGNS],
    /// What the surprises beside the largest count.
    pub others: f64,
    /// How much of a surprise is replaced by how rare it is among the series' own, in 0–1.
    pub own: f64,
    /// The least mean excess of surprises that is believed, as a logarithm; above 0.
    pub own_excess: f64,
    /// Samples after which a third of what was heard is left; above 1.
    pub calm: f64,
    /// How many times louder than what was heard is news.
    pub louder: f64,
    /// By how much each alarm of late lessens a surprise.
    pub weariness: f64,
    /// Samples after which a third of an alarm's weariness is left; above 1.
    pub recovery: f64,
    /// The surprise from which an alarm is raised; above 0. Its score is 0.5.
    pub alarm: f64,
}

impl Setting {
    /// The setting of the product, chosen as `docs/anomalies.md` says.
    pub const PRODUCT: Self = Self {
        slow: 4010.0,
        fast: 32.3,
        hour: 13.3,
        long: 41.9,
        memory: 1790.0,
        tail: 0.0417,
        least_excess: 0.0756,
        prior: 196.0,
        season: 29.4,
        weights: [0.79, 0.49, 1.49, 0.87, 1.27, 1.09, 1.55, 1.71, 0.95, 0.79, 0.60],
        others: 0.112,
        own: 0.297,
        own_excess: 0.131,
        calm: 148.0,
        louder: 1.36,
        weariness: 0.392,
        recovery: 18_100.0,
        alarm: 8.0,
    };
}

impl Default for Setting {
    fn default() -> Self {
        Self::PRODUCT
    }
}
