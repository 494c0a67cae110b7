//! A limit of calls under way that finds itself: it follows the upstream's latency.
//!
//! What an upstream can do at once is seldom known, and changes. But it shows: while it has room a call
//! takes as long as it takes, and beyond that calls wait for one another. So the limit is measured
//! against a *floor*, the latency without a queue in the upstream. Latencies are averaged over a window;
//! at its end one of two published rules moves the limit:
//!
//! - [`Algorithm::Gradient`], as in Envoy's adaptive concurrency filter and Netflix' concurrency-limits:
//!   the limit is multiplied by how far the latency is from the floor, and gets a little room on top.
//! - [`Algorithm::Aimd`], the rule of TCP (Chiu and Jain, 1989) that concurrency-limits has as well: one
//!   more after a good window, a tenth less after a bad one.
//!
//! The floor is measured anew from time to time, for an upstream may become slower for good. A *probe*
//! halves the limit, waits until those who came before are gone, and then averages a window. (Envoy lets
//! three calls through meanwhile, and its users lose requests by that: half of a limit that was a little
//! too high is nearly what the upstream can do.) There is no probe while the limit is not reached: a
//! window in which no more than half of it was used says the same for nothing.
//!
//! The state is five words, of one worker or of all on a [board](crate::board). A window is closed by the
//! worker that is first to move its beginning. Nothing here allocates.
//!
//! Which rule is the default, and why, is in `docs/decisions/0023-adaptive-concurrency.md`.

mod words;

use crate::board::{HeldWords, Words};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use words::{
    LEARNED, Learned, MEASURED, Measured, Phase, SAMPLES, SEEN, Samples, Seen, WINDOW, WORDS,
    Window, floor,
};

/// What a limit that finds itself may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdaptivePolicy {
    /// It begins at this and never falls below it; at least 1.
    pub min: u32,
    /// It never rises above this; not below `min`, and at most a million.
    pub max: u32,
    /// By which rule it moves.
    pub algorithm: Algorithm,
}

/// By which rule a limit moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// By the ratio of the latency to its floor.
    #[default]
    Gradient,
    /// One up, or a tenth down.
    Aimd,
}

impl Algorithm {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Gradient, Self::Aimd];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient",
            Self::Aimd => "aimd",
        }
    }
}

/// Fewer latencies than these make no window.
const LEAST_SAMPLES: u64 = 10;
/// Fewer than these make no floor, if more come in time.
const LEAST_FLOOR_SAMPLES: u64 = 40;
/// The first floor is of so many, if more come in time: nothing corrects it for a while.
const FIRST_SAMPLES: u64 = 100;
/// The shortest window. It is twice the floor where that is longer: calls that came before the limit was
/// moved must not move it again.
const WINDOW_TIME: Duration = Duration::from_millis(100);
/// The shortest window of a probe.
const PROBE_TIME: Duration = Duration::from_millis(50);
/// A floor is of fewer latencies, or is given up, so long after its window should have ended.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a floor is believed while the limit is reached...
const FLOOR_TIME: Duration = Duration::from_secs(3);
/// ... or so many times what it took to measure, where that is longer: what a probe costs is a share.
const PROBE_SHARE: u64 = 10;
/// A floor that is seen to be wrong is measured anew so soon.
const SOON: Duration = Duration::from_millis(750);
/// Up to this many times its floor a latency is near it,
const NEAR: f64 = 1.15;
/// and below this it is so much faster that the floor is wrong.
const FASTER: f64 = 0.9;
/// Gradient: how far the latency may be above its floor, and by how much the limit rises at once.
const TOLERANCE: f64 = 1.3;
/// Gradient: the limit falls to no less than this share of itself at once.
const LEAST_GRADIENT: f64 = 0.5;
/// Gradient: a fall counts half that only so many latencies ask for. A few slow calls are chance.
const DOUBT: f64 = 30.0;
/// AIMD: beyond this many times the floor the upstream is loaded too much.
const CONGESTED: f64 = 2.0;
/// AIMD: what is left of the limit then.
const BACKOFF: f64 = 0.9;

/// A limit that finds itself, or one replica of a shared one.
#[derive(Clone, Debug)]
pub struct Adaptive {
    words: HeldWords<WORDS>,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl Adaptive {
    /// How many words a shared one needs.
    pub const WORDS: usize = WORDS;

    /// A limit that one worker has for itself.
    pub const fn new() -> Self {
        Self { words: HeldWords::own() }
    }

    /// A replica of the limit whose state lies in `words`; there must be [`Adaptive::WORDS`] of them.
    pub const fn shared(words: Arc<dyn Words>) -> Self {
        Self { words: HeldWords::Shared(words) }
    }

    /// How many calls may be under way now. To be asked for each call: it closes the window that is over.
    #[inline]
    pub fn limit(&mut self, now: Instant, policy: &AdaptivePolicy) -> u32 {
        let window = Window::unpack(self.words.load(WINDOW));
        let learned = Learned::unpack(self.words.load(LEARNED), policy);
        if window.age(now) >= window.length(learned.floor) || window.is_ahead(now) {
            return self.close(now, policy, window, learned);
        }
        learned.allowed(window.phase, policy)
    }

    /// The limit as it is, for whoever wants to see it.
    pub fn current(&self, policy: &AdaptivePolicy) -> u32 {
        let phase = Window::unpack(self.words.load(WINDOW)).phase;
        Learned::unpack(self.words.load(LEARNED), policy).allowed(phase, policy)
    }

    /// The latency without a queue in the upstream; zero where none is known yet.
    pub fn floor(&self) -> Duration {
        Duration::from_nanos(u64::from(floor(self.words.load(LEARNED))) * 1_000)
    }

    /// A call was let through by `limit`, and now so many are under way.
    #[inline]
    pub fn took(&mut self, taken: u32, limit: u32) {
        self.saw(Seen { most: taken, is_full: taken >= limit, lost: 0 });
    }

    /// A call found the limit reached.
    #[inline]
    pub fn denied(&mut self) {
        self.saw(Seen { is_full: true, ..Seen::default() });
    }

    /// Most calls show nothing new, and then nothing is written.
    #[inline]
    fn saw(&mut self, new: Seen) {
        let old = self.words.load(SEEN);
        if Seen::unpack(old).and(new).pack() != old {
            self.words.update(SEEN, |word| Some(Seen::unpack(word).and(new).pack()));
        }
    }

    /// A call was answered after so long upstream. Answers that are failures are not to be told: a server
    /// that fails at once is not fast.
    #[inline]
    pub fn answered(&mut self, latency: Duration) {
        self.words.update(SAMPLES, |word| Samples::unpack(word).and(latency).map(Samples::pack));
    }

    /// A call was given up after so long upstream. Where most are, latencies are those of a time limit:
    /// they are high, and no floor. Else the limit would rise before an upstream that answers nothing.
    #[cold]
    pub fn lost(&mut self, after: Duration) {
        self.answered(after);
        self.saw(Seen { lost: 1, ..Seen::default() });
    }

    /// Closes a window that has lasted long enough, if it saw enough and nobody else closed it.
    #[cold]
    fn close(
        &mut self,
        now: Instant,
        policy: &AdaptivePolicy,
        window: Window,
        learned: Learned,
    ) -> u32 {
        let samples = Samples::unpack(self.words.load(SAMPLES));
        let gives_up = window.age(now) > window.length(learned.floor) + PROBE_PATIENCE;
        let is_over = window.is_ahead(now)
            || match window.phase {
                Phase::Normal if learned.floor > 0 => samples.count >= LEAST_SAMPLES,
                Phase::Drain => Seen::unpack(self.words.load(SEEN)).most > 0,
                Phase::Settle => true,
                Phase::Normal => {
                    samples.count >= FIRST_SAMPLES || (gives_up && samples.count >= LEAST_SAMPLES)
                }
                Phase::Probe => samples.count >= LEAST_FLOOR_SAMPLES || gives_up,
            };
        let (old, next) = (window.pack(), Window::new(now, window.phase));
        let take_over = |word| (word == old).then_some(next.pack());
        if !is_over || self.words.update(WINDOW, take_over).is_none() {
            return learned.allowed(window.phase, policy);
        }
        // From here on this worker alone is at it: to others the window has just begun.
        let samples = Samples::unpack(self.words.take(SAMPLES));
        let seen = Seen::unpack(self.words.take(SEEN));
        let closed = Closed { window, samples, seen };
        let (phase, learned) = self.learn(now, policy, closed, learned);
        self.words.update(LEARNED, |_| Some(learned.pack()));
        if phase != window.phase {
            let next = Window { phase, ..next };
            self.words.update(WINDOW, |_| Some(next.pack()));
        }
        learned.allowed(phase, policy)
    }

    /// What a window teaches, and what the next one is for.
    fn learn(
        &mut self,
        now: Instant,
        policy: &AdaptivePolicy,
        closed: Closed,
        learned: Learned,
    ) -> (Phase, Learned) {
        let Closed { window, samples, seen } = closed;
        let mean = samples.mean().filter(|_| samples.count >= LEAST_SAMPLES);
        let are_lost = u64::from(seen.lost) * 2 > samples.count;
        match (window.phase, mean) {
            (Phase::Drain, _) => (Phase::Settle, learned),
            (Phase::Settle, _) => (Phase::Probe, learned),
            (Phase::Normal, None) => (Phase::Normal, learned),
            (Phase::Probe, mean) => {
                let (old, mean) = (learned.floor, mean.filter(|_| !are_lost));
                let learned = Learned { floor: mean.unwrap_or(learned.floor), ..learned };
                self.measured(now, window.age(now), old, &learned);
                (Phase::Normal, learned)
            }
            (Phase::Normal, Some(mean)) => {
                // Without a queue upstream the latency is the floor.
                let is_free = samples.count >= LEAST_FLOOR_SAMPLES
                    && !seen.is_full
                    && f64::from(seen.most) * 2.0 <= learned.limit;
                let is_floor = (learned.floor == 0 || is_free) && !are_lost;
                let floor = if is_floor { mean } else { learned.floor };
                let learned = Learned { floor, ..learned };
                let learned = learned.moved(samples.count, mean, seen.is_full, policy);
                let measured = Measured::unpack(self.words.load(MEASURED));
                if is_floor {
                    self.measured(now, Duration::ZERO, 0, &learned);
                    return (Phase::Normal, learned);
                }
                let measured = measured.and(&learned);
                self.words.update(MEASURED, |_| Some(measured.pack()));
                if seen.is_full && measured.is_due(now, mean, &learned, policy) {
                    return (Phase::Drain, learned);
                }
                (Phase::Normal, learned)
            }
        }
    }

    fn measured(&mut self, now: Instant, probe: Duration, old: u32, learned: &Learned) {
        let measured = Measured::new(now, probe, old, learned);
        self.words.update(MEASURED, |_| Some(measured.pack()));
    }
}

/// A window that is over.
#[derive(Clone, Copy, Debug)]
struct Closed {
    window: Window,
    samples: Samples,
    seen: Seen,
}
