//! Engines whose policies have limits of a mesh, and a store between them.

use bimetal_core::board::far::{Gathered, Member, Refused};
use bimetal_core::engine::{Exchange, MAX_DELTAS, Policies};
use bimetal_core::limiter::escrow::WhenStoreFails;
use bimetal_core::policy::{Document, Host, Policy, Share};
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

struct Client(u32);

impl Facts for Client {
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.to_string().into_bytes().into())
    }
}

/// A policy with these limits, which are those of a mesh.
fn document(limits: &str, when: WhenStoreFails) -> Document {
    let text = format!(
        r#"{{"policies": [{{"name": "echo", "scope": "policy", "rate_limits": [{limits}],
            "breaker": {{"trip": {{"consecutive_failures": 1}}}}}}]}}"#
    );
    let mut document = Document::parse(text.as_bytes(), Host::Native).unwrap();
    let mut policy = Policy::clone(&document.policies[0]);
    for limit in &mut policy.rate_limits {
        (limit.share, limit.when_store_fails) = (Share::Mesh { quorum: 1 }, when);
    }
    document.policies[0] = Arc::new(policy);
    document
}

struct Mesh {
    engines: Vec<(Engine, Policies)>,
    store: BTreeMap<Box<[u8]>, Gathered>,
    now: u64,
}

impl Mesh {
    fn new(document: &Document, engines: u16) -> Self {
        let engine = |number: u16| {
            let mut engine = Engine::new(number.into());
            engine.join_mesh(Member { replica: 7, worker: number }, 0);
            let policies = engine.load(document);
            (engine, policies)
        };
        let engines = (0..engines).map(engine).collect();
        let mut mesh = Self { engines, store: BTreeMap::new(), now: 1_000 };
        (0..12).for_each(|_| mesh.round());
        mesh
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.now)
    }

    fn calls(&mut self, number: usize, client: u32, count: usize) -> usize {
        let now = self.now();
        let (engine, policies) = &mut self.engines[number];
        let admitted = (0..count)
            .filter(|_| matches!(engine.admit(now, policies, &Client(client)), Verdict::Admit(_)));
        admitted.count()
    }

    fn exchange(&mut self, number: usize) -> Exchange {
        let now = self.now();
        let (engine, _) = &mut self.engines[number];
        let exchange = engine.take_deltas(now);
        let mut answers = Vec::new();
        for delta in &exchange.deltas {
            let gathered = self.store.entry(delta.key.clone());
            let gathered = gathered.or_insert_with(|| Gathered::new(&delta.key));
            gathered.add(now, &delta.record).unwrap();
            answers.push((delta.key.clone(), gathered.merged(now)));
        }
        for (key, record) in answers {
            engine.merge(now, &key, &record).unwrap();
        }
        exchange
    }

    /// One exchange of each, a tenth of a second apart.
    fn round(&mut self) {
        for number in 0..self.engines.len() {
            self.now += 1;
            self.exchange(number);
            if self.engines[number].0.wants_exchange() {
                self.now += 1;
                self.exchange(number);
            }
        }
        self.now = self.now / 100 * 100 + 100;
    }
}

#[test]
fn engines_share_a_limit_by_demand() {
    let limit = r#"{"rate": "100/s", "key": ["policy"]}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 3);
    let mut admitted = [0; 3];
    for round in 0..60 {
        for (number, calls) in [20, 5, 0].into_iter().enumerate() {
            let passed = mesh.calls(number, 0, calls);
            admitted[number] += if round >= 20 { passed } else { 0 };
        }
        mesh.round();
    }
    // Four fifths of 31/32 of 100/s in four seconds, and a fifth.
    assert!((300..=325).contains(&admitted[0]), "{admitted:?}");
    assert!((75..=85).contains(&admitted[1]), "{admitted:?}");
}

#[test]
fn the_store_is_silent_and_the_policy_decides() {
    let limit = r#"{"rate": "10/s", "key": ["policy"]}"#;
    for (when, admitted) in
        [(WhenStoreFails::Local, 5), (WhenStoreFails::Allow, 100), (WhenStoreFails::Deny, 0)]
    {
        let mut mesh = Mesh::new(&document(limit, when), 2);
        mesh.now += 5_000;
        assert_eq!(mesh.calls(0, 0, 100), admitted, "{when:?}");
    }
}

/// Who joined no mesh is one that the store says nothing to.
#[test]
fn without_a_store_at_all_it_is_the_same() {
    let document = document(r#"{"rate": "10/s", "key": ["policy"]}"#, WhenStoreFails::Local);
    let mut engine = Engine::new(1);
    let policies = engine.load(&document);
    let now = Instant::from_millis(5);
    let passes =
        |engine: &mut Engine| matches!(engine.admit(now, &policies, &Client(1)), Verdict::Admit(_));
    assert_eq!((0..100).filter(|_| passes(&mut engine)).count(), 10);
    assert!(engine.take_deltas(now).deltas.is_empty());
}

#[test]
fn what_another_rule_turns_away_takes_no_token() {
    let limits = r#"{"rate": "10/s", "key": ["policy"]}, {"rate": "3/s", "key": ["policy"]}"#;
    let mut mesh = Mesh::new(&document(limits, WhenStoreFails::Local), 1);
    assert_eq!(mesh.calls(0, 0, 100), 3);
    let now = mesh.now();
    let (engine, policies) = &mut mesh.engines[0];
    let Verdict::Reject(rejected) = engine.admit(now, policies, &Client(0)) else {
        panic!("admitted");
    };
    assert_eq!(rejected.rejection.rule().name(), "rate_limit");
    // The first has seven left, and a second later both are full.
    mesh.now += 1_000;
    assert_eq!(mesh.calls(0, 0, 100), 3);
}

#[test]
fn overrides_and_what_is_not_enforced_hold_as_elsewhere() {
    let limit = r#"{"rate": "2/s", "key": ["policy"], "enforced": 0.5}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 1);
    // Two have a token, of the others each second one is turned away.
    assert_eq!(mesh.calls(0, 0, 100), 2 + 49);
    let limit = r#"{"rate": "1/s", "key": ["client", "policy"],
        "overrides": [{"values": ["7", "*"], "rate": "5/s"}]}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 1);
    assert_eq!([mesh.calls(0, 6, 10), mesh.calls(0, 7, 10)], [1, 5]);
}

#[test]
fn an_exchange_is_bounded_and_all_keys_have_their_turn() {
    let limit = r#"{"rate": "1/h", "key": ["client"]}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 1);
    let clients = 2 * MAX_DELTAS as u32;
    (0..clients).for_each(|client| assert_eq!(mesh.calls(0, client, 2), 1));
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        let exchange = mesh.exchange(0);
        assert!(exchange.deltas.len() <= MAX_DELTAS);
        told.extend(exchange.deltas.into_iter().map(|delta| delta.key));
        mesh.now += 100;
    }
    // And that the member is there.
    assert_eq!(told.len(), clients as usize + 1);
}

#[test]
fn limits_that_are_not_of_a_mesh_tell_nothing() {
    let text = r#"{"policies": [{"name": "echo", "rate_limits": [{"rate": "10/s"}]}]}"#;
    let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
    let mut mesh = Mesh::new(&document, 1);
    assert_eq!(mesh.calls(0, 0, 20), 10);
    assert!(mesh.exchange(0).deltas.is_empty());
}

#[test]
fn what_is_not_ours_is_counted_and_lends_nothing() {
    let limit = r#"{"rate": "10/s", "key": ["policy"]}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 1);
    mesh.calls(0, 0, 20);
    let now = mesh.now();
    let deltas = mesh.exchange(0).deltas;
    assert_eq!(deltas.len(), 2);
    let key = deltas.iter().map(|delta| delta.key.clone()).max_by_key(|key| key.len()).unwrap();
    let good = mesh.store.get_mut(&key).unwrap().merged(now + Duration::from_millis(1));
    let mut broken = good.clone();
    broken[20] ^= 1;
    let before = mesh.engines[0].0.exchange_totals();
    let engine = &mut mesh.engines[0].0;
    assert_eq!(engine.merge(now, &key, &broken), Err(Refused::Foreign));
    let mut newer = good.clone();
    newer[1] += 1;
    assert_eq!(engine.merge(now, &key, &newer), Err(Refused::Version));
    assert_eq!(engine.merge(now, &key, &good), Ok(()));
    let strange = [&key[..], b"strange"].concat();
    let mut gathered = Gathered::new(&strange);
    gathered.add(now, &bimetal_core::board::far::Claim::default().encode(&strange)).unwrap();
    assert_eq!(engine.merge(now, &strange, &gathered.merged(now)), Ok(()));
    let after = engine.exchange_totals();
    assert_eq!(after.refused - before.refused, 2);
    assert_eq!((after.merged - before.merged, after.unknown - before.unknown), (1, 1));
}

#[test]
fn a_limit_that_nobody_has_any_more_is_forgotten() {
    let limit = r#"{"rate": "10/s", "key": ["client"]}"#;
    let mut mesh = Mesh::new(&document(limit, WhenStoreFails::Local), 1);
    mesh.calls(0, 0, 20);
    let (mut engine, policies) = mesh.engines.remove(0);
    let now = mesh.now();
    drop(policies);
    engine.poll(now);
    assert!(engine.take_deltas(now).deltas.is_empty());
}
