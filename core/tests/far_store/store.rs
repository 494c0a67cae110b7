//! A store far away and the network before it, as the worst ones are: they lose, delay, repeat, reorder
//! and forget.

use bimetal_core::board::far::{Gathered, Refused};
use bimetal_core::engine::Exchange;
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};
use std::collections::BTreeMap;

/// Keys with what a member or the store says of them.
pub(crate) type Records = Vec<(Box<[u8]>, Vec<u8>)>;

/// What a store has, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub gathered: BTreeMap<Box<[u8]>, Gathered>,
    /// How far its clock is ahead.
    pub ahead: u64,
    pub refused: u64,
}

impl Store {
    fn now(&self, time: u64) -> Instant {
        Instant::from_nanos(time.saturating_add(self.ahead))
    }

    /// Takes what a member tells; answers with what it knows of every key.
    pub(crate) fn exchange(&mut self, time: u64, exchange: &Exchange) -> Records {
        let now = self.now(time);
        for delta in &exchange.deltas {
            self.add(time, &delta.key, &delta.record).ok();
        }
        self.gathered.retain(|_, gathered| !gathered.is_empty(now));
        let all = self.gathered.iter_mut();
        all.map(|(key, gathered)| (key.clone(), gathered.merged(now))).collect()
    }

    pub(crate) fn add(&mut self, time: u64, key: &[u8], record: &[u8]) -> Result<bool, Refused> {
        let now = self.now(time);
        let gathered = self.gathered.entry(key.into()).or_insert_with(|| Gathered::new(key));
        let added = gathered.add(now, record);
        self.refused += u64::from(added.is_err());
        added
    }

    pub(crate) fn sum(
        &mut self,
        time: u64,
        key: &[u8],
    ) -> Option<bimetal_core::board::far::Merged> {
        let now = self.now(time);
        self.gathered.get_mut(key).map(|gathered| gathered.sum(now))
    }
}

/// How bad a network is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Share of packets that are lost.
    pub loss: f64,
    /// Share that come twice, or more often.
    pub repeat: f64,
    /// The longest that one is under way.
    pub delay: Duration,
}

/// Packets under way; each delivers itself when it is due.
#[derive(Debug)]
pub(crate) struct Net<T> {
    under_way: Vec<(u64, T)>,
}

impl<T> Default for Net<T> {
    fn default() -> Self {
        Self { under_way: Vec::new() }
    }
}

impl<T: Clone> Net<T> {
    pub(crate) fn send(&mut self, time: u64, packet: &T, weather: &Weather, rng: &mut Rng) {
        if rng.next_share() < weather.loss {
            return;
        }
        loop {
            let late = rng.next_u64() % (weather.delay.as_nanos() + 1);
            self.under_way.push((time + late, packet.clone()));
            if rng.next_share() >= weather.repeat {
                return;
            }
        }
    }

    /// The next packet that is due, whatever was sent first.
    pub(crate) fn receive(&mut self, time: u64) -> Option<T> {
        let due = self.under_way.iter().enumerate().filter(|(_, (at, _))| *at <= time);
        let (index, _) = due.min_by_key(|(_, (at, _))| *at)?;
        Some(self.under_way.swap_remove(index).1)
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.under_way.len()
    }
}
