//! Leases by themselves: members and a store that answers at once.

extern crate std;
use super::*;
use crate::board::far::{Gathered, Member};
use std::vec::Vec;

const KEY: &[u8] = b"key";
const ALL: &[u8] = b"all";

/// Members of one limit and their store, in virtual time.
struct Mesh {
    rate: LeasedRate,
    members: Vec<(Fleet, Lease)>,
    key: Gathered,
    all: Gathered,
    now: u64,
    sequence: u64,
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn rate(tokens: u32, capacity: u32) -> LeasedRate {
    let rate = Rate { tokens, period: Duration::from_secs(1) };
    LeasedRate::new(&RateLimitPolicy { rate, capacity, burst: None })
}

impl Mesh {
    /// So many members that know of each other.
    fn new(rate: LeasedRate, members: usize, when_silent: WhenStoreFails) -> Self {
        let mut mesh = Self {
            rate,
            members: Vec::new(),
            key: Gathered::new(KEY),
            all: Gathered::new(ALL),
            now: 1_000,
            sequence: 0,
        };
        let mut fleets: Vec<_> = (0..members).map(|_| Fleet::new(when_silent)).collect();
        // The store has known them for more than a lease then.
        for _ in 0..13 {
            mesh.now = mesh.now / 100 * 100 + 100;
            for (number, fleet) in fleets.iter_mut().enumerate() {
                mesh.sequence += 1;
                fleet.begin_exchange(member(number), mesh.sequence, at(mesh.now));
                mesh.all.add(at(mesh.now), &fleet.presence().encode(ALL)).unwrap();
                mesh.now += 1;
                let answer = Claims::decode(&mesh.all.merged(at(mesh.now)), ALL).unwrap();
                fleet.learn_presence(&answer, at(mesh.now));
            }
        }
        for fleet in fleets {
            let lease = Lease::new(&mesh.rate, &fleet, at(mesh.now));
            mesh.members.push((fleet, lease));
        }
        mesh
    }

    /// Calls of a member at once; how many were admitted.
    fn calls(&mut self, number: usize, count: u32) -> u32 {
        let (rate, now) = (self.rate, at(self.now));
        let (fleet, lease) = &mut self.members[number];
        let admitted = (0..count).filter(|_| {
            lease.peek(&rate, fleet, now).is_ok() && lease.commit(&rate, fleet, now).is_ok()
        });
        admitted.count() as u32
    }

    /// A member tells what it claims.
    fn tell(&mut self, number: usize) -> Option<Claim> {
        self.sequence += 1;
        let (fleet, lease) = &mut self.members[number];
        fleet.begin_exchange(member(number), self.sequence, at(self.now));
        self.all.add(at(self.now), &fleet.presence().encode(ALL)).unwrap();
        let claim = lease.claim(&self.rate, fleet, at(self.now))?;
        self.key.add(at(self.now), &claim.encode(KEY)).unwrap();
        Some(claim)
    }

    /// A member learns what all claim.
    fn learn(&mut self, number: usize) -> bool {
        self.now += 1;
        let now = at(self.now);
        let (fleet, lease) = &mut self.members[number];
        fleet.learn_presence(&Claims::decode(&self.all.merged(now), ALL).unwrap(), now);
        let claims = self.key.claims(now);
        claims.is_some_and(|claims| lease.learn(&self.rate, fleet, &claims, now))
    }

    /// One exchange of each member; who is asked to tells once more.
    fn round(&mut self) {
        for number in 0..self.members.len() {
            self.tell(number);
            if self.learn(number) {
                self.tell(number);
                self.learn(number);
            }
        }
        self.now = self.now / 100 * 100 + 100;
    }

    /// Rounds in which each member has so many calls.
    fn rounds(&mut self, count: usize, calls: &[u32]) -> Vec<u32> {
        let mut admitted = std::vec![0; calls.len()];
        for _ in 0..count {
            for (number, calls) in calls.iter().enumerate() {
                admitted[number] += self.calls(number, *calls);
            }
            self.round();
        }
        admitted
    }

    fn share(&self, number: usize) -> f64 {
        let (fleet, lease) = &self.members[number];
        match lease.in_force(fleet, at(self.now)) {
            InForce::Share(share) => f64::from(share) / f64::from(WHOLE),
            other => panic!("{other:?}"),
        }
    }

    fn shares(&self) -> Vec<f64> {
        (0..self.members.len()).map(|number| self.share(number)).collect()
    }
}

fn member(number: usize) -> Member {
    Member { replica: number as u64, worker: 0 }
}

fn near(shares: &[f64], wanted: &[f64]) {
    let is_near = shares.iter().zip(wanted).all(|(share, wanted)| (share - wanted).abs() < 0.01);
    assert!(is_near && shares.len() == wanted.len(), "{shares:?}, not {wanted:?}");
}

#[test]
fn shares_follow_demand() {
    let mut mesh = Mesh::new(rate(1_000, 100), 4, WhenStoreFails::Local);
    near(&mesh.shares(), &[0.25; 4]);
    mesh.rounds(7, &[200, 100, 100, 0]);
    let floor = 1.0 / 32.0 / 4.0;
    let of = |demand: f64| 31.0 / 32.0 * demand + floor;
    near(&mesh.shares(), &[of(0.5), of(0.25), of(0.25), floor]);
}

/// What replicas that divide a limit by their number report: whoever has the sticky sessions has its part of the
/// limit and no more (nginx/nginx-gateway-fabric#4346).
#[test]
fn a_replica_with_all_the_sessions_has_nearly_all_of_the_limit() {
    let mut mesh = Mesh::new(rate(1_000, 200), 6, WhenStoreFails::Local);
    mesh.rounds(10, &[200, 1, 0, 0, 0, 0]);
    let admitted = mesh.rounds(10, &[200, 1, 0, 0, 0, 0]);
    assert!((950..=1_010).contains(&admitted[0]), "{admitted:?}");
    assert_eq!(admitted[1], 10, "and the other what it asks for");
}

#[test]
fn what_nobody_asks_for_is_divided_equally() {
    let mut mesh = Mesh::new(rate(1_000, 100), 4, WhenStoreFails::Local);
    mesh.rounds(3, &[30, 10, 10, 10]);
    // The first one asks for no more than it has, nor do the others: nothing moves.
    assert_eq!(mesh.rounds(20, &[30, 10, 10, 10]), [600, 200, 200, 200]);
}

/// Two exchanges behind the one that told of it, where a lowered claim is told at once.
#[test]
fn a_share_moves_within_two_exchanges() {
    let mut mesh = Mesh::new(rate(1_000, 10), 2, WhenStoreFails::Local);
    mesh.rounds(5, &[200, 2]);
    assert!(mesh.share(0) > 0.9 && mesh.share(1) < 0.1, "{:?}", mesh.shares());
    mesh.rounds(1, &[2, 200]);
    mesh.rounds(2, &[2, 200]);
    assert!(mesh.share(0) < 0.1 && mesh.share(1) > 0.9, "{:?}", mesh.shares());
}

/// Nobody uses more because it told so, before the others gave it back.
#[test]
fn a_larger_share_is_told_before_it_is_used() {
    let mut mesh = Mesh::new(rate(1_000, 10), 2, WhenStoreFails::Local);
    mesh.rounds(5, &[200, 200]);
    near(&mesh.shares(), &[0.5, 0.5]);
    for _ in 0..5 {
        mesh.calls(0, 1_000);
        mesh.now += 100;
        mesh.tell(0);
        mesh.learn(0);
        near(&[mesh.share(0)], &[0.5]);
    }
    assert!(mesh.tell(0).unwrap().share > WHOLE / 4 * 3, "it asks for more");
    // The other one's lease ends at itself before it ends at the store.
    let (fleet, lease) = &mesh.members[1];
    let now = at(mesh.now);
    assert!(lease.until.unwrap() < now + LEASE && !fleet.is_silent(now));
}

/// New pods that begin with full buckets are what is reported where limits are counted by each process
/// (kyma-project/api-gateway#2829).
#[test]
fn a_member_that_comes_has_a_share_of_the_bucket_and_no_more() {
    let mut mesh = Mesh::new(rate(10, 60), 6, WhenStoreFails::Local);
    let begins: Vec<_> = (0..6).map(|number| mesh.calls(number, 100)).collect();
    assert_eq!(begins, [10; 6], "60 in all");
}

#[test]
fn whoever_has_a_key_alone_has_its_whole_bucket() {
    let mut mesh = Mesh::new(rate(10, 60), 6, WhenStoreFails::Local);
    assert_eq!(mesh.calls(3, 100), 10);
    let mut admitted = 10;
    for _ in 0..3 {
        mesh.tell(3);
        mesh.learn(3);
        mesh.now += 100;
        admitted += mesh.calls(3, 100);
    }
    assert!((59..=63).contains(&admitted), "{admitted}");
    // Another one finds the key in use: it has its part of the bucket, and the first keeps what it has.
    assert_eq!(mesh.calls(4, 100), 10);
    let more = mesh.rounds(3, &[0, 0, 0, 100, 100, 0]);
    assert!(more[3] + more[4] <= 5, "{more:?}");
}

#[test]
fn a_limit_that_is_smaller_than_the_mesh_has_a_token_for_each() {
    let mut mesh = Mesh::new(rate(1, 1), 6, WhenStoreFails::Local);
    assert_eq!(mesh.rounds(1, &[5; 6]), [1; 6]);
    let later: u32 = mesh.rounds(600, &[5; 6]).iter().sum();
    assert!((54..=61).contains(&later), "{later} in a minute");
}

#[test]
fn what_is_not_used_goes_back() {
    let mut mesh = Mesh::new(rate(1_000, 10), 2, WhenStoreFails::Local);
    mesh.rounds(5, &[200, 200]);
    mesh.rounds(15, &[200, 0]);
    assert_eq!(mesh.tell(1), None, "it has nothing to tell");
    near(&mesh.shares()[..1], &[1.0]);
    let claims = mesh.key.claims(at(mesh.now)).unwrap();
    assert_eq!(claims.of.iter().filter(|claim| claim.share > 0).count(), 1);
}

#[test]
fn a_bucket_that_is_not_full_keeps_its_key() {
    let mut mesh = Mesh::new(rate(1, 100), 2, WhenStoreFails::Local);
    mesh.calls(0, 40);
    mesh.rounds(30, &[0, 0]);
    let (rate, now) = (mesh.rate, at(mesh.now));
    let (fleet, lease) = &mesh.members[0];
    assert!(!lease.is_idle(&rate, fleet, now), "or its calls would be forgotten");
    assert!(mesh.tell(0).is_some());
    mesh.rounds(1_000, &[0, 0]);
    assert!(mesh.tell(0).is_none());
    let (fleet, lease) = &mesh.members[0];
    assert!(lease.is_idle(&rate, fleet, at(mesh.now)));
}

/// Without a store each process had all of the limit (go-chi/httprate-redis#15), or began to count anew
/// (JhaSourav07/commitpulse#6138), or none had any.
#[test]
fn a_silent_store_leaves_what_the_policy_says() {
    for (when, admitted) in
        [(WhenStoreFails::Local, 50), (WhenStoreFails::Allow, 1_000), (WhenStoreFails::Deny, 0)]
    {
        let mut mesh = Mesh::new(rate(100, 1), 2, when);
        mesh.rounds(5, &[100, 100]);
        mesh.now += 2_000;
        mesh.calls(0, 1);
        let mut counted = 0;
        for _ in 0..100 {
            mesh.now += 10;
            counted += mesh.calls(0, 10);
        }
        assert!((admitted..=admitted + 1).contains(&counted), "{when:?}: {counted}");
        // It comes back with the next answers.
        mesh.rounds(5, &[100, 100]);
        near(&mesh.shares(), &[0.5, 0.5]);
    }
}

/// A store that forgot all would tell the first to come that it is alone.
#[test]
fn a_store_that_forgot_all_gives_nobody_more() {
    let mut mesh = Mesh::new(rate(1_000, 10), 4, WhenStoreFails::Local);
    mesh.rounds(5, &[100, 100, 0, 0]);
    for pause in [0, 5_000] {
        mesh.now += pause;
        (mesh.key, mesh.all) = (Gathered::new(KEY), Gathered::new(ALL));
        for _ in 0..20 {
            mesh.rounds(1, &[100, 100, 0, 0]);
            let all: f64 = mesh.shares()[..2].iter().sum();
            assert!(all <= 1.04, "{pause}: {:?}", mesh.shares());
            assert!(all >= 0.5, "{pause}: {:?}", mesh.shares());
        }
        near(&mesh.shares()[..2], &[0.5, 0.5]);
    }
}

/// What a member held that vanished is used by the others, two leases later.
#[test]
fn what_a_vanished_member_held_comes_back() {
    let mut mesh = Mesh::new(rate(1_000, 10), 3, WhenStoreFails::Local);
    mesh.rounds(5, &[100, 100, 100]);
    mesh.members.pop();
    let before: Vec<_> = (0..25).map(|_| mesh.rounds(1, &[100, 100])).collect();
    assert!(before.iter().take(7).flatten().all(|calls| *calls <= 35), "{before:?}");
    near(&mesh.shares(), &[0.5, 0.5]);
}

#[test]
fn a_token_comes_back() {
    let mut mesh = Mesh::new(rate(1, 1), 1, WhenStoreFails::Local);
    let (rate, now) = (mesh.rate, at(mesh.now));
    let (fleet, lease) = &mut mesh.members[0];
    let token = lease.commit(&rate, fleet, now).unwrap();
    let until = lease.peek(&rate, fleet, now).unwrap_err().until;
    assert_eq!(until.since(now).as_millis_ceil(), 1_000);
    lease.give_back(&rate, token);
    assert_eq!(lease.peek(&rate, fleet, now), Ok(()));
    assert_eq!(lease.remaining(&rate, fleet, now), 1);
}

/// Answers that are repeated or overtaken, or to another member's exchanges, lend nothing.
#[test]
fn an_old_answer_lends_nothing() {
    let mut mesh = Mesh::new(rate(1_000, 10), 2, WhenStoreFails::Local);
    mesh.rounds(5, &[200, 2]);
    let old = mesh.key.claims(at(mesh.now)).unwrap();
    mesh.rounds(5, &[2, 200]);
    let shares = mesh.shares();
    let (rate, now) = (mesh.rate, at(mesh.now));
    for number in 0..2 {
        let (fleet, lease) = &mut mesh.members[number];
        assert!(!lease.learn(&rate, fleet, &old, now));
        let mut strange = old.clone();
        strange.at = now;
        strange.of.retain(|claim| claim.member != member(number));
        assert!(!lease.learn(&rate, fleet, &strange, now), "its own claim is not there");
    }
    near(&mesh.shares(), &shares);
}
