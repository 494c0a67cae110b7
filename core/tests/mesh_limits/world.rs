//! Members with a lease of one key each, their store and what lies between.

use bimetal_core::board::far::{Claim, Claims, Gathered, Member};
use bimetal_core::limiter::escrow::{
    Fleet, InForce, Lease, LeasedRate, POOL, WHOLE, WhenStoreFails,
};
use bimetal_core::limiter::{Rate, RateLimitPolicy};
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};

const KEY: &[u8] = b"key";
const ALL: &[u8] = b"all";
const MS: u64 = 1_000_000;

/// Time goes on by so much.
pub(crate) const TICK: u64 = 5 * MS;

/// How bad a network is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub loss: f64,
    pub repeat: f64,
    /// The longest that a packet is under way, in nanoseconds.
    pub delay: u64,
}

#[derive(Clone, Debug)]
enum Packet {
    Tell { from: usize, life: u64, presence: Vec<u8>, claim: Option<Vec<u8>> },
    Answer { to: usize, life: u64, presence: Vec<u8>, claims: Vec<u8> },
}

pub(crate) struct One {
    fleet: Fleet,
    lease: Option<Lease>,
    /// How far its clock is ahead.
    ahead: u64,
    next_exchange: u64,
    /// How often it was started.
    life: u64,
    /// When it came to the key last, and when it was answered last, in true time.
    came: u64,
    answered: Option<u64>,
    pub is_cut_off: bool,
    /// Calls in a second.
    pub demand: f64,
    due: f64,
    pub offered: u64,
    pub admitted: u64,
}

pub(crate) struct World {
    pub time: u64,
    pub interval: u64,
    pub members: Vec<One>,
    pub weather: Weather,
    pub is_store_gone: bool,
    pub rate: u32,
    pub capacity: u32,
    leased: LeasedRate,
    when_silent: WhenStoreFails,
    key: Gathered,
    all: Gathered,
    store_ahead: u64,
    net: Vec<(u64, Packet)>,
    rng: Rng,
    sequence: u64,
    /// Calls that the bound allows by now.
    pub allowed: f64,
    pub lent: u64,
}

impl World {
    pub(crate) fn new(rate: u32, capacity: u32, members: usize, seed: u64) -> Self {
        let period = Duration::from_secs(1);
        let policy = RateLimitPolicy { rate: Rate { tokens: rate, period }, capacity, burst: None };
        let mut world = Self {
            time: 1_000_000 * MS,
            interval: 100 * MS,
            members: Vec::new(),
            weather: Weather::default(),
            is_store_gone: false,
            rate,
            capacity,
            leased: LeasedRate::new(&policy),
            when_silent: WhenStoreFails::Local,
            key: Gathered::new(KEY),
            all: Gathered::new(ALL),
            store_ahead: 0,
            net: Vec::new(),
            rng: Rng::new(seed),
            sequence: 0,
            allowed: 0.0,
            lent: 0,
        };
        world.store_ahead = world.draw(1_000_000_000 * MS);
        (0..members).for_each(|_| world.arrive());
        world
    }

    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below.max(1)
    }

    /// One more member.
    pub(crate) fn arrive(&mut self) {
        let (ahead, next) = (self.draw(1_000_000_000 * MS), self.draw(self.interval));
        self.members.push(One {
            fleet: Fleet::new(self.when_silent),
            lease: None,
            ahead,
            next_exchange: self.time + next,
            life: 0,
            came: 0,
            answered: None,
            is_cut_off: false,
            demand: 0.0,
            due: 0.0,
            offered: 0,
            admitted: 0,
        });
    }

    /// A member ends and begins anew in its place.
    pub(crate) fn restart(&mut self, number: usize) {
        let fleet = Fleet::new(self.when_silent);
        let ahead = self.draw(1_000_000_000 * MS);
        let one = &mut self.members[number];
        (one.fleet, one.lease, one.ahead, one.life) = (fleet, None, ahead, one.life + 1);
    }

    /// The store forgets all.
    pub(crate) fn forget(&mut self) {
        (self.key, self.all) = (Gathered::new(KEY), Gathered::new(ALL));
    }

    /// The store's clock is set.
    pub(crate) fn set_store_clock(&mut self, ahead: u64) {
        self.store_ahead = ahead;
    }

    fn clock(&self, number: usize) -> Instant {
        Instant::from_nanos(self.time + self.members[number].ahead)
    }

    fn send(&mut self, packet: &Packet) {
        if self.rng.next_share() < self.weather.loss {
            return;
        }
        loop {
            let late = self.draw(self.weather.delay + 1);
            self.net.push((self.time + late, packet.clone()));
            if self.rng.next_share() >= self.weather.repeat {
                return;
            }
        }
    }

    /// A member tells what it claims.
    pub(crate) fn tell(&mut self, number: usize) {
        self.sequence += 1;
        let (sequence, now, leased) = (self.sequence, self.clock(number), self.leased);
        let one = &mut self.members[number];
        one.fleet.begin_exchange(member(number), sequence, now);
        let claim = one.lease.as_mut().and_then(|lease| lease.claim(&leased, &one.fleet, now));
        let (presence, claim) =
            (one.fleet.presence().encode(ALL), claim.map(|one| one.encode(KEY)));
        let packet = Packet::Tell { from: number, life: one.life, presence, claim };
        if !one.is_cut_off && !self.is_store_gone {
            self.send(&packet);
        }
    }

    /// What is due arrives, whatever was sent first.
    pub(crate) fn deliver(&mut self) {
        loop {
            let due = self.net.iter().enumerate().filter(|(_, (at, _))| *at <= self.time);
            let Some((index, _)) = due.min_by_key(|(_, (at, _))| *at) else { return };
            match self.net.swap_remove(index).1 {
                Packet::Tell { .. } if self.is_store_gone => {}
                Packet::Tell { from, life, presence, claim } => {
                    let now = Instant::from_nanos(self.time + self.store_ahead);
                    self.all.add(now, &presence).unwrap();
                    claim.iter().for_each(|claim| _ = self.key.add(now, claim).unwrap());
                    let (presence, claims) = (self.all.merged(now), self.key.merged(now));
                    let answer = Packet::Answer { to: from, life, presence, claims };
                    if !self.members[from].is_cut_off {
                        self.send(&answer);
                    }
                }
                Packet::Answer { to, life, presence, claims } => {
                    if self.members[to].life == life && !self.members[to].is_cut_off {
                        self.learn(to, &presence, &claims);
                    }
                }
            }
        }
    }

    fn learn(&mut self, number: usize, presence: &[u8], claims: &[u8]) {
        let (now, leased, time) = (self.clock(number), self.leased, self.time);
        let one = &mut self.members[number];
        one.fleet.learn_presence(&Claims::decode(presence, ALL).unwrap(), now);
        let Some(lease) = &mut one.lease else { return };
        // Of a key that no member has the store says nothing of claims.
        let Ok(claims) = Claims::decode(claims, KEY) else { return };
        let wants = lease.learn(&leased, &one.fleet, &claims, now);
        if lease.leased(now).is_some() {
            one.answered = Some(time);
            self.lent += 1;
        }
        if wants {
            self.tell(number);
        }
    }

    fn call(&mut self, number: usize) {
        let (now, leased, time) = (self.clock(number), self.leased, self.time);
        let one = &mut self.members[number];
        one.offered += 1;
        let lease = one.lease.get_or_insert_with(|| {
            one.came = time;
            Lease::new(&leased, &one.fleet, now)
        });
        let admitted = lease.peek(&leased, &one.fleet, now).is_ok()
            && lease.commit(&leased, &one.fleet, now).is_ok();
        one.admitted += u64::from(admitted);
    }

    /// Calls at random times, as many in the mean as each member's demand says.
    fn calls(&mut self) {
        for number in 0..self.members.len() {
            self.members[number].due += self.members[number].demand * TICK as f64 / 1e9;
            while self.members[number].due > 0.0 {
                // The time to the next call of a Poisson process.
                let wait = -(1.0 - self.rng.next_share()).ln();
                self.members[number].due -= wait;
                self.call(number);
            }
        }
    }

    /// Time passes.
    pub(crate) fn run(&mut self, millis: u64) {
        let end = self.time + millis * MS;
        while self.time < end {
            self.time += TICK;
            self.deliver();
            for number in 0..self.members.len() {
                if self.members[number].next_exchange <= self.time {
                    self.tell(number);
                    let jitter = self.draw(self.interval / 10);
                    self.members[number].next_exchange = self.time + self.interval + jitter;
                }
            }
            self.deliver();
            self.allowed += self.in_force() * f64::from(self.rate) * TICK as f64 / 1e9;
            self.calls();
        }
    }

    /// What members with leases use of the pool together, of the whole rate.
    pub(crate) fn lent(&self) -> f64 {
        let used = |number: usize| {
            let lease = self.members[number].lease.as_ref()?;
            lease.leased(self.clock(number))
        };
        let used: u64 = (0..self.members.len()).filter_map(used).map(u64::from).sum();
        used as f64 / f64::from(POOL)
    }

    /// The shares that are in force at all members together, whatever lends them.
    pub(crate) fn in_force(&self) -> f64 {
        (0..self.members.len()).map(|number| self.share(number)).sum()
    }

    /// The share that is in force at a member.
    pub(crate) fn share(&self, number: usize) -> f64 {
        let one = &self.members[number];
        match one.lease.as_ref().map(|lease| lease.in_force(&one.fleet, self.clock(number))) {
            Some(InForce::Share(share)) => f64::from(share) / f64::from(WHOLE),
            Some(other) => panic!("{other:?}"),
            None => 0.0,
        }
    }

    pub(crate) fn is_leased(&self, number: usize) -> bool {
        let lease = self.members[number].lease.as_ref();
        lease.is_some_and(|lease| lease.leased(self.clock(number)).is_some())
    }

    pub(crate) fn admitted(&self) -> u64 {
        self.members.iter().map(|one| one.admitted).sum()
    }

    /// What is kept: records in the store, packets.
    pub(crate) fn kept(&mut self) -> (usize, usize) {
        (self.key.members().count() + self.all.members().count(), self.net.len())
    }

    /// The claims that hold in the store.
    pub(crate) fn claims(&mut self) -> Vec<Claim> {
        let now = Instant::from_nanos(self.time + self.store_ahead);
        self.key.claims(now).map(|claims| claims.of).unwrap_or_default()
    }
}

fn member(number: usize) -> Member {
    Member { replica: number as u64, worker: 0 }
}
