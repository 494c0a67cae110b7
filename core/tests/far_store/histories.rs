//! Thousands of seeded histories: replicas with clocks of their own that jump, a store that forgets and is
//! gone for a while, records of another version and somebody else's bytes, replicas that end and are cut
//! off, an upstream that fails for all, for some or at random. After every step the rules must hold; at the
//! end all is well again, and a new trip must reach everybody.

use super::fleet::{Fleet, KEYS, document};
use super::rules::Rules;
use super::store::Weather;
use bimetal_core::outcome::Outcome::{self, Failure, Neutral, Slow, Success};
use bimetal_core::policy::Document;
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};

/// Histories in the ordinary run.
const SEEDS: u64 = 3_000;
const STEPS: usize = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many seeds a test plays that plays `ordinary` of them where nothing else is asked for.
pub(crate) fn seeds(ordinary: u64) -> u64 {
    number("BIMETAL_SEEDS").unwrap_or(ordinary)
}

/// What histories came by: a simulation that never gets anywhere proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub tripped: u64,
    pub followed_open: u64,
    pub followed_close: u64,
    pub tripped_by_all: u64,
    pub refused: u64,
    pub restarts: u64,
    pub converged: u64,
}

impl Coverage {
    fn add(&mut self, other: &Self) {
        self.tripped += other.tripped;
        self.followed_open += other.followed_open;
        self.followed_close += other.followed_close;
        self.tripped_by_all += other.tripped_by_all;
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.converged += other.converged;
    }
}

#[test]
fn the_rules_hold_in_every_history() {
    let seeds = match number("BIMETAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..seeds(SEEDS),
    };
    let mut seen = Coverage::default();
    for seed in seeds.clone() {
        match History::new(seed).play() {
            Ok(coverage) => seen.add(&coverage),
            Err(broken) => panic!("BIMETAL_SEED={seed}: {broken}"),
        }
    }
    let count = seeds.count() as u64;
    println!("{count} histories: {seen:?}");
    if count >= SEEDS {
        let Coverage { tripped, followed_open, followed_close, tripped_by_all, .. } = seen;
        let all = [tripped, followed_open, followed_close, tripped_by_all, seen.refused];
        let all = all.into_iter().chain([seen.restarts, seen.converged]);
        assert!(all.into_iter().all(|count| count > 30), "{seen:?}");
    }
}

/// How the upstream is.
#[derive(Clone, Copy, Debug)]
enum Upstream {
    Well,
    Gone,
    /// These replicas do not reach it, bit by bit.
    GoneFor(u64),
    /// A share of all calls fails.
    Flaky(f64),
}

struct History {
    fleet: Fleet,
    rules: Rules,
    rng: Rng,
    upstream: Upstream,
    quorum: u16,
    coverage: Coverage,
}

fn documents(seed: u64, quorum: u16) -> Document {
    const RATE: &str = r#"{"threshold": 0.5, "window": {"time": "5s"}, "minimum_calls": 8"#;
    let streak = r#""consecutive_failures": 3"#;
    let rates = format!(r#""failure_rate": {RATE}}}, "slow_rate": {RATE}, "slower_than": "1s"}}"#);
    let calls = r#""slow_rate": {"threshold": 0.5, "slower_than": "1s", "window": {"calls": 8}, "minimum_calls": 4}"#;
    let trip = match seed % 4 {
        0 => streak.to_string(),
        1 => rates,
        2 => format!("{streak}, {rates}"),
        _ => format!("{streak}, {calls}"),
    };
    let ramp = if seed.is_multiple_of(5) { "1s" } else { "0s" };
    let open = r#""open": {"base": "2s", "max": "8s", "jitter": 0.1}"#;
    document(&format!(r#""trip": {{{trip}}}, {open}, "recovery": {{"ramp": "{ramp}"}}"#), quorum)
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0xfa5);
        let quorum = 1 + (rng.next_u64() % 3) as u16;
        let replicas = 2 + (rng.next_u64() % 4) as usize;
        let workers = 1 + (rng.next_u64() % 2) as usize;
        let mut fleet = Fleet::new(documents(seed, quorum), replicas, workers, seed);
        fleet.weather = Weather {
            loss: 0.3 * rng.next_share(),
            repeat: 0.3 * rng.next_share(),
            delay: Duration::from_millis(rng.next_u64() % 400),
        };
        let rules = Rules::new(quorum);
        let coverage = Coverage::default();
        Self { fleet, rules, rng, upstream: Upstream::Well, quorum, coverage }
    }

    fn play(mut self) -> Result<Coverage, String> {
        for step in 0..STEPS {
            self.step();
            let told = |broken| format!("step {step}: {broken}");
            self.rules.check(&self.fleet, &mut self.coverage).map_err(told)?;
        }
        self.heal()?;
        self.converge()?;
        self.rules.check(&self.fleet, &mut self.coverage)?;
        Ok(self.coverage)
    }

    fn replica(&mut self) -> usize {
        (self.rng.next_u64() % self.fleet.replicas.len() as u64) as usize
    }

    fn worker(&mut self) -> usize {
        (self.rng.next_u64() % self.fleet.replicas[0].workers.len() as u64) as usize
    }

    fn outcome(&mut self, replica: usize) -> Outcome {
        let fails = match self.upstream {
            Upstream::Well => false,
            Upstream::Gone => true,
            Upstream::GoneFor(bits) => bits >> replica & 1 == 1,
            Upstream::Flaky(share) => self.rng.next_share() < share,
        };
        match self.rng.next_u64() % 8 {
            0 => Neutral,
            1 if fails => Slow,
            _ if fails => Failure,
            _ => Success,
        }
    }

    fn step(&mut self) {
        let (replica, worker) = (self.replica(), self.worker());
        match self.rng.next_u64() % 100 {
            0..=44 => {
                let key = usize::from(self.rng.next_u64().is_multiple_of(5));
                for _ in 0..=self.rng.next_u64() % 3 {
                    let outcome = self.outcome(replica);
                    self.fleet.call(replica, worker, key, outcome);
                }
            }
            45..=69 => self.fleet.tell(replica, worker),
            70..=83 => self.fleet.wait(self.rng.next_u64() % 150),
            84..=85 => self.fleet.wait(self.rng.next_u64() % 6_000),
            86..=88 => self.upstream = self.draw_upstream(),
            89 => {
                self.fleet.restart(replica);
                self.coverage.restarts += 1;
            }
            90 => self.fleet.store.gathered.clear(),
            91 => self.fleet.is_store_gone ^= true,
            92 => self.fleet.replicas[replica].is_cut_off ^= true,
            93 => self.fleet.store.ahead = self.rng.next_u64() % 100_000_000_000,
            94..=97 => self.foreign_bytes(replica, worker),
            _ => self.jump(replica, worker),
        }
    }

    fn draw_upstream(&mut self) -> Upstream {
        match self.rng.next_u64() % 4 {
            0 => Upstream::Well,
            1 => Upstream::Gone,
            2 => Upstream::GoneFor(self.rng.next_u64()),
            _ => Upstream::Flaky(self.rng.next_share()),
        }
    }

    /// Another version's records, somebody else's, damaged ones: at the store and at a member.
    fn foreign_bytes(&mut self, replica: usize, worker: usize) {
        let key = self.fleet.key(0);
        let now = self.fleet.now(replica);
        let known = self.fleet.store.gathered.get_mut(&key);
        let ours = known.map(|gathered| gathered.merged(now)).unwrap_or_default();
        let mut bytes = ours;
        match self.rng.next_u64() % 4 {
            0 => bytes.iter_mut().skip(1).take(1).for_each(|version| *version = 2),
            1 => bytes = (0..80).map(|_| self.rng.next_u64() as u8).collect(),
            2 => bytes = b"WRONGTYPE Operation against a key".to_vec(),
            _ => {
                let at = (self.rng.next_u64() % 80) as usize;
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 0x10);
            }
        }
        let before = self.fleet.view(replica, worker, 0);
        let added = self.fleet.store.add(self.fleet.time, &key, &bytes);
        let engine = &mut self.fleet.replicas[replica].workers[worker].engine;
        assert!(engine.merge(now, &key, &bytes).is_err() && added.is_err());
        assert_eq!(self.fleet.view(replica, worker, 0), before);
        self.coverage.refused += 1;
    }

    /// A replica's clock is elsewhere for a moment, or from now on.
    fn jump(&mut self, replica: usize, worker: usize) {
        let at = &mut self.fleet.replicas[replica];
        if self.rng.next_u64().is_multiple_of(2) {
            // A host's clock is monotonic, as long as it is well.
            at.ahead += self.rng.next_u64() % 100_000_000_000;
        } else {
            let ends = [Instant::FAR_FUTURE, Instant::ZERO, Instant::from_millis(u64::MAX)];
            at.jumped_to = Some(ends[(self.rng.next_u64() % 3) as usize]);
            let outcome = self.outcome(replica);
            self.fleet.call(replica, worker, 0, outcome);
            self.fleet.tell(replica, worker);
            self.fleet.deliver();
            self.fleet.replicas[replica].jumped_to = None;
        }
    }

    /// All is well from now on. Every breaker closes, however bad it was before.
    fn heal(&mut self) -> Result<(), String> {
        self.upstream = Upstream::Well;
        self.fleet.weather = Weather::default();
        self.fleet.is_store_gone = false;
        self.fleet.store.ahead = 0;
        self.fleet.replicas.iter_mut().for_each(|replica| replica.is_cut_off = false);
        // What is under way still arrives; what clocks broke is bounded by the longest open time.
        self.fleet.wait(12_000);
        for _ in 0..4 {
            self.fleet.round();
            for replica in 0..self.fleet.replicas.len() {
                for key in 0..KEYS.len() {
                    self.fleet.calls(3, replica, key, Success);
                }
            }
            self.fleet.wait(9_000);
        }
        self.fleet.round();
        self.rules.check(&self.fleet, &mut self.coverage)?;
        for key in 0..KEYS.len() {
            let states = self.fleet.states(key);
            if states.iter().any(|state| state.name() != "closed") {
                return Err(format!("{states:?} when all is well"));
            }
        }
        Ok(())
    }

    /// Three replicas fail once each, or so many trip as the quorum asks for: within two exchanges nobody is
    /// closed.
    fn converge(&mut self) -> Result<(), String> {
        let trips_on_three = self.fleet.policy().trip.consecutive_failures == Some(3);
        if trips_on_three && self.fleet.replicas.len() >= 3 && self.rng.next_u64().is_multiple_of(2)
        {
            for replica in 0..3 {
                self.fleet.wait(2);
                self.fleet.call(replica, 0, 0, Failure);
            }
            return self.all_open_in_two_exchanges("three failed");
        }
        let voters = usize::from(self.quorum).min(self.fleet.replicas.len());
        if voters < usize::from(self.quorum) {
            return Ok(());
        }
        for replica in 0..voters {
            // Nine of ten: a rate trips on fewer than that.
            self.fleet.calls(30, replica, 0, Failure);
            if self.fleet.state(replica, 0).name() != "open" {
                return Err(format!("replica {replica} did not trip"));
            }
        }
        self.all_open_in_two_exchanges("a quorum tripped")
    }

    fn all_open_in_two_exchanges(&mut self, what: &str) -> Result<(), String> {
        self.fleet.round();
        self.fleet.round();
        let states = self.fleet.states(0);
        if states.iter().any(|state| state.name() != "open") {
            return Err(format!("{states:?} two exchanges after {what}"));
        }
        self.coverage.converged += 1;
        Ok(())
    }
}
