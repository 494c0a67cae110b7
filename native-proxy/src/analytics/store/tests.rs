//! Histories of several replicas over one store that fails in every way between two exchanges.

use super::super::analysis::Totals;
use super::super::sample::Sample;
use super::super::statistics::Statistics;
use super::super::window::WINDOW;
use super::shared::{Exchange, Reply, Shared};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What the script does, by other means.
#[derive(Clone, Debug, Default)]
struct Store {
    counters: BTreeMap<String, u64>,
    names: HashSet<String>,
    window: BTreeSet<(u64, String)>,
}

impl Store {
    fn run(&mut self, asked: &Exchange) -> Reply {
        for (field, value) in &asked.raised {
            let held = self.counters.entry(field.clone()).or_default();
            *held = (*held).max(*value);
        }
        self.window.extend(asked.restored.iter().map(|kept| (kept.micros, kept.member.clone())));
        let field = |counter: &str| format!("{}/{counter}", asked.replica);
        let mut reply = Reply::default();
        if asked.sequence > self.counters.get(&field("sequence")).copied().unwrap_or_default() {
            reply.is_new = true;
            reply.added = asked.counted;
            for entry in &asked.entries {
                if entry.name.is_empty() || self.names.insert(entry.name.clone()) {
                    reply.added.0 += 1;
                    reply.added.1 += u64::from(entry.is_anomaly);
                    self.window.insert((entry.kept.micros, entry.kept.member.clone()));
                } else {
                    reply.known.push(entry.name.clone());
                }
            }
            *self.counters.entry(field("samples")).or_default() += reply.added.0;
            *self.counters.entry(field("anomalies")).or_default() += reply.added.1;
            self.counters.insert(field("sequence"), asked.sequence);
        }
        while self.window.len() > WINDOW {
            self.window.pop_first();
        }
        let told = self.counters.iter().map(|(field, value)| (field.clone(), value.to_string()));
        reply.counters = told.collect();
        reply.window = self.window.iter().map(|(_, member)| member.clone()).collect();
        reply
    }
}

struct Replica {
    statistics: Statistics,
    shared: Shared,
}

impl Replica {
    fn new(number: usize) -> Self {
        let name = format!("{number:016x}");
        Self { statistics: Statistics::new(name.clone()), shared: Shared::new(name) }
    }

    fn take(&mut self, samples: Vec<Sample>) {
        let judged = self.statistics.accept(samples);
        self.shared.owe(judged);
    }

    fn exchange(&mut self, store: &mut Store) {
        let reply = store.run(&self.shared.exchange());
        self.shared.merge(&reply, &mut self.statistics.window);
    }

    fn told(&self) -> (Totals, Vec<Sample>) {
        (self.shared.totals(), self.statistics.window.samples().to_vec())
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many samples at once, the first at this time.
    Take {
        replica: usize,
        count: u8,
        time: u64,
    },
    /// The same named sample as others may have had.
    Again {
        replica: usize,
        name: u8,
    },
    Exchange {
        replica: usize,
    },
    /// The store does it, but the answer is lost.
    Lost {
        replica: usize,
    },
    /// The store never hears of it.
    Refused {
        replica: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = 0_usize..3;
    let step = prop_oneof![
        3 => (replica.clone(), 1_u8..70, 0_u64..300)
            .prop_map(|(replica, count, time)| Step::Take { replica, count, time }),
        1 => (replica.clone(), 0_u8..20).prop_map(|(replica, name)| Step::Again { replica, name }),
        3 => replica.clone().prop_map(|replica| Step::Exchange { replica }),
        1 => replica.clone().prop_map(|replica| Step::Lost { replica }),
        1 => replica.prop_map(|replica| Step::Refused { replica }),
    ];
    prop::collection::vec(step, 1..60)
}

/// Plays the steps; `forget` may do something to the store after each.
fn play(steps: &[Step], mut forget: impl FnMut(usize, &mut Store)) {
    let mut store = Store::default();
    let mut replicas = [0, 1, 2].map(Replica::new);
    let (mut unnamed, mut names) = (0_u64, HashSet::new());
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Take { replica, count, time } => {
                let one = |micros| Sample {
                    micros,
                    cpu: 1.0,
                    rps: (micros % 10) as f64,
                    id: "".into(),
                    is_named: false,
                };
                replicas[replica].take((time..time + u64::from(count)).map(one).collect());
                unnamed += u64::from(count);
            }
            Step::Again { replica, name } => {
                let id = format!("n{name}");
                let micros = u64::from(name) * 20;
                names.insert(name);
                let one = Sample { micros, cpu: 1.0, rps: 1.0, id: (*id).into(), is_named: true };
                replicas[replica].take(vec![one]);
            }
            Step::Exchange { replica } => replicas[replica].exchange(&mut store),
            Step::Lost { replica } => {
                store.run(&replicas[replica].shared.exchange());
                replicas[replica].shared.fail("lost".to_owned());
            }
            Step::Refused { replica } => {
                replicas[replica].shared.exchange();
                replicas[replica].shared.fail("refused".to_owned());
            }
        }
        forget(number, &mut store);
    }
    // What is owed, what was forgotten, and what the others told meanwhile.
    for _ in 0..4 {
        replicas.iter_mut().for_each(|replica| replica.exchange(&mut store));
    }
    let told = replicas.each_ref().map(Replica::told);
    assert_eq!(told[0], told[1]);
    assert_eq!(told[1], told[2]);
    assert_eq!(told[0].0.samples, unnamed + names.len() as u64);
    let kept: Vec<String> = store.window.iter().map(|(_, member)| member.clone()).collect();
    let window: Vec<String> =
        told[0].1.iter().map(|one| super::kept::Kept::of(one).member).collect();
    assert_eq!(kept, window);
    assert!(replicas.iter().all(|one| one.shared.marks().0 == one.shared.marks().1));
}

proptest! {
    #[test]
    fn replicas_agree_and_each_sample_counts_once(steps in steps()) {
        play(&steps, |_, _| ());
    }

    /// Of names it forgets which it has heard, so here each is sent to one replica only.
    #[test]
    fn a_store_that_forgets_is_told_again(
        mut steps in steps(), empties: [bool; 60], saves: [bool; 60], loads: [bool; 60],
    ) {
        for step in &mut steps {
            if let Step::Again { replica, name } = step {
                *replica = usize::from(*name % 3);
            }
        }
        let mut saved = Store::default();
        play(&steps, |number, store| {
            if saves[number] {
                saved = store.clone();
            }
            if empties[number] {
                *store = Store::default();
            } else if loads[number] {
                *store = saved.clone();
            }
        });
    }
}

#[test]
fn what_is_owed_counts_here_at_once() {
    let mut replica = Replica::new(0);
    replica.take(vec![Sample { micros: 1, cpu: 1.0, rps: 1.0, id: "".into(), is_named: false }]);
    replica.shared.fail("down".to_owned());
    assert_eq!(replica.shared.totals().samples, 1);
    let told = replica.shared.told();
    assert_eq!((&told["state"], &told["waiting"]), (&"down".into(), &1.into()));
    replica.exchange(&mut Store::default());
    let told = replica.shared.told();
    assert_eq!((&told["state"], &told["waiting"]), (&"up".into(), &0.into()));
    assert_eq!(replica.shared.totals().samples, 1);
}

#[test]
fn what_is_too_much_to_wait_is_counted_and_said() {
    let mut replica = Replica::new(0);
    let one = |micros| Sample { micros, cpu: 1.0, rps: 1.0, id: "".into(), is_named: false };
    replica.take((0..100_007).map(one).collect());
    assert_eq!(replica.shared.totals().samples, 100_007);
    assert_eq!(replica.shared.told()["uncached"], 7);
    let (mut store, mut other) = (Store::default(), Replica::new(1));
    while replica.shared.marks().0 > replica.shared.marks().1 {
        replica.exchange(&mut store);
    }
    other.exchange(&mut store);
    assert_eq!(other.told(), replica.told());
    assert_eq!((other.told().0.samples, &other.shared.told()["uncached"]), (100_007, &7.into()));
}

#[test]
fn what_a_dead_replica_took_in_is_told_by_those_who_knew_it() {
    let (mut store, mut dead, mut alive) = (Store::default(), Replica::new(0), Replica::new(1));
    let one = |micros| Sample { micros, cpu: 1.0, rps: 1.0, id: "".into(), is_named: false };
    dead.take((0..7).map(one).collect());
    dead.exchange(&mut store);
    alive.exchange(&mut store);
    drop(dead);
    // It forgets, and is told when that is seen.
    store = Store::default();
    alive.exchange(&mut store);
    alive.exchange(&mut store);
    let mut new = Replica::new(2);
    new.exchange(&mut store);
    assert_eq!((new.told().0.samples, new.told().1.len()), (7, 7));
    assert_eq!(new.told(), alive.told());
}
