//! What was seen, put together by time.

use super::script::LENGTH;
use std::time::Duration;

/// The unit of the timeline.
pub const TICK: Duration = Duration::from_millis(250);

/// A way to the echo server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Through the native proxy.
    Native,
    /// Through Envoy with the filter.
    Envoy,
    /// Straight to the echo server: what the others are compared with.
    Direct,
}

impl Arm {
    /// Every arm.
    pub const ALL: [Self; 3] = [Self::Native, Self::Envoy, Self::Direct];

    /// The hosts of a breaker.
    pub const HOSTS: [Self; 2] = [Self::Native, Self::Envoy];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native proxy",
            Self::Envoy => "Envoy + filter",
            Self::Direct => "direct",
        }
    }
}

/// What the client got, judged by the bytes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A good answer.
    Good,
    /// An error of the upstream, or none at all.
    Failed,
    /// A rejection by the breaker, as its header says.
    Rejected,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The way it went.
    pub arm: Arm,
    /// When it was due, from the start.
    pub due: Duration,
    /// From then until the whole answer was there.
    pub latency: Duration,
    /// What came back.
    pub seen: Seen,
}

/// A breaker's state, as its host publishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Probes pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl State {
    /// The name in the metric's label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// A quarter of a second of one arm.
#[derive(Clone, Debug, Default)]
pub struct Tick {
    /// Calls with a good answer.
    pub good: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that were rejected.
    pub rejected: u32,
    /// The state last seen in it.
    pub state: Option<State>,
    /// Latencies of the calls that went upstream.
    latencies: Vec<Duration>,
}

impl Tick {
    /// The middle latency of the calls that went upstream.
    pub fn median(&self) -> Option<Duration> {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// The longest latency of the calls that went upstream.
    pub fn longest(&self) -> Option<Duration> {
        self.latencies.iter().max().copied()
    }
}

/// All that was seen of one arm.
#[derive(Clone, Debug)]
pub struct Line {
    /// Every tick of the demo, from the start.
    pub ticks: Vec<Tick>,
    /// Every call, in the order of the answers.
    pub samples: Vec<Sample>,
}

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Record([Line; 3]);

impl Default for Record {
    fn default() -> Self {
        let ticks = LENGTH.as_millis().div_ceil(TICK.as_millis());
        let ticks = vec![Tick::default(); usize::try_from(ticks).unwrap_or(0)];
        Self([(); 3].map(|()| Line { ticks: ticks.clone(), samples: Vec::new() }))
    }
}

impl Record {
    /// What was seen of one arm.
    pub fn line(&self, arm: Arm) -> &Line {
        &self.0[arm as usize]
    }

    /// Notes a call.
    pub fn add(&mut self, sample: Sample) {
        let line = &mut self.0[sample.arm as usize];
        line.samples.push(sample);
        let Some(tick) = line.ticks.get_mut(index(sample.due)) else {
            return;
        };
        match sample.seen {
            Seen::Good => tick.good += 1,
            Seen::Failed => tick.failed += 1,
            Seen::Rejected => tick.rejected += 1,
        }
        if sample.seen != Seen::Rejected {
            tick.latencies.push(sample.latency);
        }
    }

    /// Notes a host's state.
    pub fn sighted(&mut self, arm: Arm, at: Duration, state: State) {
        if let Some(tick) = self.0[arm as usize].ticks.get_mut(index(at)) {
            tick.state = Some(state);
        }
    }
}

/// The tick of a time.
pub fn index(at: Duration) -> usize {
    usize::try_from(at.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_in_the_tick_in_which_it_was_due() {
        let mut record = Record::default();
        let sample = |due_ms, seen| Sample {
            arm: Arm::Envoy,
            due: Duration::from_millis(due_ms),
            latency: Duration::from_millis(900),
            seen,
        };
        record.add(sample(249, Seen::Good));
        record.add(sample(250, Seen::Rejected));
        record.add(sample(9_999_999, Seen::Failed));
        let line = record.line(Arm::Envoy);
        assert_eq!((line.ticks[0].good, line.ticks[1].rejected), (1, 1));
        assert_eq!(line.ticks[0].median(), Some(Duration::from_millis(900)));
        assert_eq!(line.ticks[1].median(), None, "a rejection says nothing about the upstream");
        assert_eq!(line.samples.len(), 3);
    }
}
