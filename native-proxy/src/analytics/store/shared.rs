//! What one replica knows of all, and what it owes the store: sans I/O, so that every order of
//! failures can be played.

use super::super::analysis::Totals;
use super::super::sample::Sample;
use super::super::statistics::Judged;
use super::super::window::{WINDOW, Window};
use super::counters::{ANOMALIES, Counters, SAMPLES, SEQUENCE, UNCACHED, UNCACHED_ANOMALIES};
use super::debts::Debts;
use super::kept::{self, Kept};
use std::collections::HashSet;

/// What goes to the store at once. It is taken in whole or not at all, and once only.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Exchange {
    pub(super) replica: String,
    /// The group's number; 0 where there is no group.
    pub(super) sequence: u64,
    /// Counters that the store has to know at least so far.
    pub(super) raised: Vec<(String, u64)>,
    /// Samples of the window that the store does not show.
    pub(super) restored: Vec<Kept>,
    /// Samples that are only counted, and the anomalies among them.
    pub(super) counted: (u64, u64),
    pub(super) entries: Vec<Entry>,
}

/// A sample of a group that has a name, or may get into the window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    /// Its sender's name for it; empty where it has none.
    pub(super) name: String,
    pub(super) is_anomaly: bool,
    pub(super) kept: Kept,
}

/// What the store answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Reply {
    /// Whether the group was taken in now; else it had been before.
    pub(super) is_new: bool,
    /// Samples and anomalies that it added.
    pub(super) added: (u64, u64),
    /// Names of the group that the store knew.
    pub(super) known: Vec<String>,
    pub(super) counters: Vec<(String, String)>,
    pub(super) window: Vec<String>,
}

/// The replica's side of the store.
#[derive(Debug)]
pub(in super::super) struct Shared {
    replica: String,
    counters: Counters,
    debts: Debts,
    /// The number of the group that is not confirmed, or of the last one that was.
    sequence: u64,
    /// What the store did not tell although it was known.
    raised: Counters,
    restored: Vec<Kept>,
    /// Why the last exchange failed.
    error: Option<String>,
}

impl Shared {
    /// The side of a replica that has exchanged nothing.
    pub(in super::super) fn new(replica: String) -> Self {
        Self {
            replica,
            counters: Counters::default(),
            debts: Debts::default(),
            sequence: 0,
            raised: Counters::default(),
            restored: Vec::new(),
            error: None,
        }
    }

    /// Owes the store these.
    pub(in super::super) fn owe(&mut self, judged: Vec<Judged>) {
        let given_up = self.debts.add(judged);
        if given_up.samples > 0 {
            for (counter, more) in
                [(UNCACHED, given_up.samples), (UNCACHED_ANOMALIES, given_up.anomalies)]
            {
                let now = self.counters.get(&self.replica, counter) + more;
                self.counters.raise(&self.replica, counter, now);
                self.raised.raise(&self.replica, counter, now);
            }
        }
    }

    /// What to send now. Until [`Self::merge`] has the answer it is the same group.
    pub(in super::super) fn exchange(&mut self) -> Exchange {
        let is_unconfirmed = self.debts.is_under_way();
        let group = self.debts.group();
        if !group.is_empty() && !is_unconfirmed {
            self.sequence += 1;
        }
        let mut exchange = Exchange {
            replica: self.replica.clone(),
            sequence: if group.is_empty() { 0 } else { self.sequence },
            restored: self.restored.clone(),
            ..Exchange::default()
        };
        // Of those without a name only the latest can get into the window. Those with one count less
        // where the store knows them, and others may move up.
        let mut unnamed: Vec<&Judged> = group.iter().filter(|one| !one.sample.is_named).collect();
        unnamed.sort_unstable_by(|one, other| other.sample.place().cmp(&one.sample.place()));
        for (rank, one) in unnamed.into_iter().enumerate() {
            if rank < WINDOW {
                exchange.entries.push(entry(one, ""));
            } else {
                exchange.counted.0 += 1;
                exchange.counted.1 += u64::from(one.is_anomaly);
            }
        }
        let named = group.iter().filter(|one| one.sample.is_named);
        exchange.entries.extend(named.map(|one| entry(one, &one.sample.id)));
        // The store adds to these: it has to know them before.
        for counter in [SAMPLES, ANOMALIES] {
            let known = self.counters.get(&self.replica, counter);
            self.raised.raise(&self.replica, counter, known);
        }
        exchange.raised =
            self.raised.fields().map(|(field, value)| (field.to_owned(), value)).collect();
        exchange
    }

    /// Takes in the answer; `window` becomes that of all.
    pub(in super::super) fn merge(&mut self, reply: &Reply, window: &mut Window) {
        self.error = None;
        if reply.is_new {
            for (counter, added) in [(SAMPLES, reply.added.0), (ANOMALIES, reply.added.1)] {
                let now = self.counters.get(&self.replica, counter) + added;
                self.counters.raise(&self.replica, counter, now);
            }
        }
        if self.debts.is_under_way() {
            self.counters.raise(&self.replica, SEQUENCE, self.sequence);
        }
        self.debts.confirm();
        // What the store tells of this replica holds what a lost answer would have told.
        self.counters.merge(&reply.counters);
        self.raised = self.counters.missing_in(&reply.counters);
        let known: HashSet<&str> = reply.known.iter().map(String::as_str).collect();
        window.forget(|sample| sample.is_named && known.contains(&*sample.id));
        let told: Vec<Sample> = reply.window.iter().filter_map(|one| kept::read(one)).collect();
        let is_told: HashSet<(u64, &str)> = told.iter().map(Sample::place).collect();
        for sample in &told {
            window.insert(sample.clone());
        }
        let is_owed: HashSet<&str> = self.debts.names().collect();
        let missing = window
            .samples()
            .iter()
            .filter(|sample| !is_told.contains(&sample.place()) && !is_owed.contains(&*sample.id));
        self.restored = missing.map(Kept::of).collect();
    }

    /// The store did not answer, or not so that it can be read.
    pub(in super::super) fn fail(&mut self, why: String) {
        if self.error.is_none() {
            tracing::warn!("the store fails: {why}; samples wait for it");
        }
        self.error = Some(why);
    }

    /// Whether the last exchange went well.
    pub(in super::super) const fn is_up(&self) -> bool {
        self.error.is_none()
    }

    /// What all replicas took in, as far as this one knows.
    pub(in super::super) fn totals(&self) -> Totals {
        let Totals { samples, anomalies } = self.counters.totals();
        Totals {
            samples: samples + self.debts.len(),
            anomalies: anomalies + self.debts.anomalies(),
        }
    }

    /// The mark of the last sample that was owed, and that up to which all is settled.
    pub(in super::super) fn marks(&self) -> (u64, u64) {
        (self.debts.mark(), self.debts.settled())
    }

    /// Whether no more should be taken in while the store works.
    pub(in super::super) fn owes_much(&self) -> bool {
        self.debts.is_much()
    }

    /// What `/analyze` tells of the store.
    pub(in super::super) fn told(&self) -> serde_json::Value {
        serde_json::json!({
            "kind": "redis",
            "state": if self.is_up() { "up" } else { "down" },
            "error": self.error,
            "waiting": self.debts.len(),
            "uncached": self.counters.sum(UNCACHED),
            "replicas": self.counters.replicas(),
        })
    }
}

fn entry(one: &Judged, name: &str) -> Entry {
    Entry { name: name.to_owned(), is_anomaly: one.is_anomaly, kept: Kept::of(&one.sample) }
}
