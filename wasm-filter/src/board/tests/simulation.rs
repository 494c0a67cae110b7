//! Several workers on one store, in every order that a seed gives: claims, frees, changes in the
//! middle of others' changes, workers that come and go, logs that overflow. Beside them stands what
//! must hold: a scope has one word, and every worker that looks sees it.

use super::super::bucket::{Bucket, ROOM};
use super::super::log::LENGTH;
use super::*;
use bimetal_core::board;
use bimetal_core::rng::Rng;
use std::collections::BTreeSet;
use std::sync::Mutex;

const SEEDS: u64 = 20;
const STEPS: u32 = 400;
const WORKERS: usize = 4;

/// A worker, its scopes' words, and what had been told when it looked last.
struct Member {
    board: SharedBoard<Fake>,
    scopes: Vec<Arc<dyn Words>>,
    looked: u64,
}

struct World {
    seed: u64,
    rng: Rng,
    fake: Fake,
    policy: Arc<Policy>,
    scopes: u32,
    members: Vec<Member>,
    /// What each scope's word is, while all have a place.
    truth: Vec<u64>,
}

/// Whether two words say the same: a breaker at rest may be forgotten.
fn alike(one: u64, other: u64) -> bool {
    one == other || [one, other].iter().all(|word| board::is_at_rest(&[*word]))
}

/// Which scope a word belongs to: it stands where a breaker has its generation.
const fn scope_of(word: u64) -> u64 {
    word >> 11 & 0xffff
}

impl World {
    fn new(seed: u64, planned: u32, scopes: u32) -> Self {
        let (fake, policy) = (Fake::default(), policy("echo", planned, 10));
        let truth = vec![0; scopes as usize];
        let mut world =
            Self { seed, rng: Rng::new(seed), fake, policy, scopes, members: Vec::new(), truth };
        (0..WORKERS).for_each(|_| {
            let member = world.member();
            world.members.push(member);
        });
        world
    }

    fn member(&self) -> Member {
        let board = SharedBoard::new(self.fake.clone(), b"", self.seed);
        board.expect(&self.policy);
        let open = |scope| board.open(&key(&self.policy, scope), 1).unwrap();
        let scopes = (0..self.scopes).map(open).collect();
        Member { board, scopes, looked: 0 }
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.rng.next_u64() % bound as u64).unwrap()
    }

    /// A word of this scope: as good as new, at rest, with failures, open.
    fn word(&mut self, scope: usize) -> u64 {
        let (kind, number) = (self.below(4), self.rng.next_u64() >> 40);
        let owner = (scope as u64 + 1) << 11;
        match kind {
            0 => 0,
            1 => owner,
            2 => owner | streak(number + 1),
            _ => owner | open(number + 1),
        }
    }

    fn load(&mut self, who: usize, scope: usize) -> u64 {
        let word = self.members[who].scopes[scope].load(0);
        self.members[who].looked = self.fake.store().told;
        assert!(word == 0 || scope_of(word) == scope as u64 + 1, "another scope's word");
        word
    }

    fn replace(&self, who: usize, scope: usize, old: u64, new: u64) -> Result<(), u64> {
        self.members[who].scopes[scope].compare_exchange(0, old, new)
    }

    /// What the board says of a scope, where it has a place.
    fn on_board(&self, scope: usize) -> Option<u64> {
        let owner = place::owner(place::hash(&b""[..]), &key(&self.policy, scope as u32));
        let mut found = Vec::new();
        for (_, value) in self.fake.buckets() {
            let bucket = Bucket::parse(&value).unwrap();
            assert!(bucket.records().len() <= ROOM);
            found.extend(bucket.find(owner).map(|words| words[0]));
        }
        assert!(found.len() <= 1, "two places of one scope");
        found.pop()
    }

    /// A change, and in the middle of it another worker's.
    fn interrupted(&mut self, who: usize, scope: usize) {
        let other = (who + 1 + self.below(WORKERS - 1)) % WORKERS;
        let same = self.below(2) == 0;
        let its_scope = if same { scope } else { self.below(self.scopes as usize) };
        let (old, its_old) = (self.load(who, scope), self.load(other, its_scope));
        let (new, its_new) = (self.word(scope), self.word(its_scope));
        let words = self.members[other].scopes[its_scope].clone();
        let result = Arc::new(Mutex::new(None));
        let told = result.clone();
        self.fake.store().interruption = Some(Box::new(move || {
            *told.lock().unwrap() = Some(words.compare_exchange(0, its_old, its_new));
        }));
        let mine = self.replace(who, scope, old, new);
        self.fake.store().interruption = None;
        let theirs = *result.lock().unwrap();
        match theirs {
            // Nothing was to be written.
            None => self.truth[scope] = new,
            Some(theirs) => {
                assert_eq!(theirs, Ok(()));
                self.truth[its_scope] = its_new;
                // Where both wrote the same the second finds nothing in its way.
                let forgotten = its_new == 0 && board::is_at_rest(&[old]);
                let in_the_way = its_scope == scope && its_new != old && !forgotten;
                assert_eq!(mine, if in_the_way { Err(its_new) } else { Ok(()) });
                if !in_the_way {
                    self.truth[scope] = new;
                }
            }
        }
    }

    fn tick(&mut self, who: usize) {
        let member = &mut self.members[who];
        let mut seen = Vec::new();
        member.board.tick(&mut || seen.extend(member.scopes.iter().map(|words| words.load(0))));
        let told = self.fake.store().told;
        // With one bucket in a tick's sweep, or a few, it is over at once.
        for (seen, truth) in seen.iter().zip(&self.truth) {
            let behind = told - member.looked;
            assert!(alike(*seen, *truth), "{seen} is {truth}, {behind} changes later");
        }
        member.looked = told;
    }

    fn step(&mut self) {
        let (who, scope) = (self.below(WORKERS), self.below(self.scopes as usize));
        match self.below(400) {
            0..4 => self.members[who] = self.member(),
            4 => {
                for _ in 0..=LENGTH {
                    let (old, new) = (self.load(who, scope), self.word(scope));
                    assert_eq!(self.replace(who, scope, old, new), Ok(()));
                    self.truth[scope] = new;
                }
            }
            5..40 => self.tick(who),
            40..160 => assert!(alike(self.load(who, scope), self.truth[scope])),
            160..240 => self.interrupted(who, scope),
            240..260 => {
                let (known, new) = (self.load(who, scope), self.word(scope));
                assert_eq!(self.replace(who, scope, known ^ streak(1), new), Err(known));
            }
            _ => {
                let (old, new) = (self.load(who, scope), self.word(scope));
                assert!(alike(old, self.truth[scope]));
                assert_eq!(self.replace(who, scope, old, new), Ok(()));
                self.truth[scope] = new;
                assert_eq!(self.on_board(scope).unwrap_or(0), new);
            }
        }
    }
}

#[test]
fn with_a_place_for_each_scope_all_workers_are_one() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 40, 40);
        (0..STEPS).for_each(|_| world.step());
        for who in 0..WORKERS {
            world.tick(who);
            for scope in 0..40 {
                assert!(alike(world.load(who, scope), world.truth[scope]), "seed {seed}");
            }
        }
        let lost: u64 = world.members.iter().map(|member| member.board.unshared()).sum();
        assert_eq!(lost, 0, "seed {seed}");
    }
}

/// 100 scopes for 32 places: who has none is alone, and nobody gets another's.
#[test]
fn with_fewer_places_than_scopes_nobody_sees_anothers() {
    let mut unshared = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed, 8, 100);
        for _ in 0..STEPS {
            let (who, scope) = (world.below(WORKERS), world.below(100));
            if world.below(100) == 0 {
                world.members[who] = world.member();
            }
            let (old, new) = (world.load(who, scope), world.word(scope));
            assert_eq!(world.replace(who, scope, old, new), Ok(()), "seed {seed}");
            if let Some(word) = world.on_board(scope) {
                assert_eq!(word, new);
                for other in 0..WORKERS {
                    assert_eq!(world.load(other, scope), new, "seed {seed}: a record unseen");
                }
            }
        }
        unshared += world.members.iter().map(|member| member.board.unshared()).sum::<u64>();
        // When all are as good as new they are one again.
        for (scope, who) in (0..100).flat_map(|scope| (0..WORKERS).map(move |who| (scope, who))) {
            let known = world.load(who, scope);
            assert_eq!(world.replace(who, scope, known, 0), Ok(()));
        }
        let left: BTreeSet<_> = (0..100).filter_map(|scope| world.on_board(scope)).collect();
        assert_eq!(left.len(), 0, "seed {seed}");
        for scope in 0..ROOM {
            let word = (scope as u64 + 1) << 11 | open(1);
            assert_eq!(world.replace(scope % WORKERS, scope, 0, word), Ok(()), "seed {seed}");
            (0..WORKERS).for_each(|who| assert_eq!(world.load(who, scope), word, "seed {seed}"));
        }
    }
    assert!(unshared > SEEDS, "places were never scarce");
}
