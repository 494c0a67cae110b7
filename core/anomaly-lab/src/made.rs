//! Made series: what is wrong in them is known to the sample. The seed fixes every one of them.

use bimetal_core::Instant;
use fastrand::Rng;
use std::f64::consts::TAU;
use std::ops::RangeInclusive;

/// Samples come every five minutes.
pub const STEP_S: u64 = 300;
/// So many are a day.
pub const DAY: usize = 288;

/// A made series.
#[derive(Clone, Debug)]
pub struct Made {
    /// When each sample was taken.
    pub times: Vec<Instant>,
    /// The samples; NaN where one is missing.
    pub values: Vec<f64>,
    /// What was done to it, in order, none touching another.
    pub events: Vec<Event>,
}

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Event {
    /// What it is.
    pub kind: Kind,
    /// The samples that are not as they would have been.
    pub rows: RangeInclusive<usize>,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One sample far above.
    Peak,
    /// One sample far below.
    Dip,
    /// Half an hour far above.
    Burst,
    /// A new level that stays for a day.
    Level,
    /// A slow rise over eight hours.
    Drift,
    /// Four times the noise for four hours.
    Noise,
    /// One value for four hours.
    Stuck,
    /// Six hours of the day's other half.
    Season,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Peak,
        Self::Dip,
        Self::Burst,
        Self::Level,
        Self::Drift,
        Self::Noise,
        Self::Stuck,
        Self::Season,
    ];

    /// Its name in a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peak => "peak",
            Self::Dip => "dip",
            Self::Burst => "burst",
            Self::Level => "level",
            Self::Drift => "drift",
            Self::Noise => "noise",
            Self::Stuck => "stuck",
            Self::Season => "season",
        }
    }

    const fn rows(self) -> usize {
        match self {
            Self::Peak | Self::Dip => 1,
            Self::Burst => 6,
            Self::Level => DAY,
            Self::Drift => 96,
            Self::Noise | Self::Stuck => 48,
            Self::Season => 72,
        }
    }
}

/// The origin's kind: steady traffic of 200 requests a second, Gaussian noise of deviation 15, and 5 %
/// of the samples are peaks of 6 to 12 deviations, each alone.
pub fn origin(samples: usize, seed: u64) -> Made {
    let mut rng = Rng::with_seed(seed);
    let mut made = empty(samples);
    for row in 0..samples {
        made.values.push(200.0 + 15.0 * gauss(&mut rng));
        if rng.f64() < 0.05 {
            made.values[row] += 15.0 * (6.0 + 6.0 * rng.f64());
            made.events.push(Event { kind: Kind::Peak, rows: row..=row });
        }
    }
    made
}

/// What the origin has not: a daily curve, heavy tails (Student's t with 4 degrees of freedom), one
/// sample in a hundred missing, and after ten quiet days an event of each kind in turn, one every two
/// days.
pub fn mixed(days: usize, seed: u64) -> Made {
    let mut rng = Rng::with_seed(seed);
    let samples = days * DAY;
    let mut made = empty(samples);
    let curve = |row: usize| 60.0 * (TAU * row as f64 / DAY as f64).sin();
    let noise: Vec<f64> = (0..samples).map(|_| 5.0 * student(&mut rng)).collect();
    made.values.extend(noise.iter().enumerate().map(|(row, noise)| 200.0 + curve(row) + noise));
    for (index, from) in (10 * DAY..samples.saturating_sub(2 * DAY)).step_by(2 * DAY).enumerate() {
        let kind = Kind::ALL[index % Kind::ALL.len()];
        let from = from + rng.usize(..DAY / 2);
        let to = from + kind.rows() - 1;
        let size = 5.0 * (9.0 + 6.0 * rng.f64());
        let stuck = made.values[from];
        for (row, value) in made.values.iter_mut().enumerate().skip(from).take(kind.rows()) {
            match kind {
                Kind::Peak | Kind::Burst | Kind::Level => *value += size,
                Kind::Dip => *value -= size,
                Kind::Drift => *value += size * (row - from) as f64 / kind.rows() as f64,
                Kind::Noise => *value += 3.0 * noise[row],
                Kind::Stuck => *value = stuck,
                Kind::Season => *value -= 2.0 * curve(row),
            }
        }
        made.events.push(Event { kind, rows: from..=to });
    }
    for value in &mut made.values {
        if rng.f64() < 0.01 {
            *value = f64::NAN;
        }
    }
    made
}

fn empty(samples: usize) -> Made {
    let at = |row| Instant::from_nanos(row as u64 * STEP_S * 1_000_000_000);
    let times = (0..samples).map(at).collect();
    Made { times, values: Vec::with_capacity(samples), events: Vec::new() }
}

/// A Gaussian of deviation 1 (Box and Muller, 1958).
fn gauss(rng: &mut Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (TAU * rng.f64()).cos()
}

fn student(rng: &mut Rng) -> f64 {
    let freedom = 4;
    let chi: f64 = (0..freedom).map(|_| gauss(rng).powi(2)).sum();
    gauss(rng) / (chi / f64::from(freedom)).sqrt()
}
