//! Accounts that workers lease from.

use super::super::bucket::ROOM;
use super::fake::Fake;
use super::*;
use bimetal_core::Engine;
use bimetal_core::board::account::Replaced;
use bimetal_core::policy::{Document, Host};

const fn at(millis: u64) -> Instant {
    Instant::from_millis(1_000_000 + millis)
}

/// A policy with a limit of this size, shared.
fn limited(max_keys: u32) -> Arc<Policy> {
    let document = format!(
        r#"{{"version":"v1","policies":[{{"name":"echo","scope":"authority",
            "concurrency":{{"max":9}},
            "rate_limits":[{{"rate":"1000/s","key":["client"],"max_keys":{max_keys}}}]}}]}}"#
    );
    Document::parse(document.as_bytes(), Host::Wasm).unwrap().policies[0].clone()
}

fn accounts(fake: &Fake, policy: &Policy, keys: u32) -> Vec<Arc<dyn Account>> {
    let board = SharedBoard::new(fake.clone(), b"", 1);
    board.expect(policy);
    let hash = policy.rate_limits[0].hash.to_le_bytes();
    let key = |number: u32| [hash.as_slice(), &number.to_le_bytes()].concat();
    (0..keys).map(|number| board.account(&key(number)).unwrap()).collect()
}

fn read(account: &dyn Account) -> Option<Vec<u64>> {
    let mut words = vec![7];
    account.read(&mut words).then_some(words)
}

#[test]
fn what_one_worker_wrote_another_reads() {
    let (fake, policy) = (Fake::default(), limited(100));
    let (one, other) = (accounts(&fake, &policy, 1), accounts(&fake, &policy, 1));
    let told = fake.store().told;
    assert_eq!(read(&*one[0]), Some(vec![]));
    assert_eq!(one[0].replace(at(0), &[1, 0, 3], at(50)), Replaced::Done);
    assert_eq!(read(&*other[0]), Some(vec![1, 0, 3]));
    // Nobody is told: a worker that leases reads by itself, and those that do not read nothing more.
    assert_eq!(fake.store().told, told);
    assert_eq!(read(&*one[0]), Some(vec![1, 0, 3]));
    assert_eq!(other[0].replace(at(0), &[2, 0, 3], at(50)), Replaced::Done);
    assert_eq!(one[0].replace(at(0), &[9, 0, 3], at(50)), Replaced::Changed);
    assert_eq!(read(&*one[0]), Some(vec![2, 0, 3]));
}

/// Envoy never frees a key, and clients choose them: a table has a bounded number of buckets.
#[test]
fn a_full_bucket_has_room_for_what_means_something() {
    let (fake, policy) = (Fake::default(), limited(1));
    let all = accounts(&fake, &policy, ROOM as u32 + 2);
    for account in &all[..ROOM] {
        assert_eq!(read(&**account), Some(vec![]));
        assert_eq!(account.replace(at(0), &[1], at(100)), Replaced::Done);
    }
    let buckets = fake.buckets().len();
    let late = &*all[ROOM];
    read(late);
    assert_eq!(
        late.replace(at(99), &[1], at(500)),
        Replaced::Refused,
        "all of them mean something"
    );
    read(late);
    assert_eq!(late.replace(at(100), &[1], at(500)), Replaced::Done, "they are full again");
    assert_eq!(fake.buckets().len(), buckets);
    assert_eq!(read(&*all[0]), Some(vec![]), "the longest unchanged gave way");
}

#[test]
fn who_finds_no_place_is_counted_once_and_goes_on_alone() {
    let (fake, policy) = (Fake::default(), limited(1));
    let board = SharedBoard::new(fake.clone(), b"", 1);
    board.expect(&policy);
    let account = board.account(&policy.rate_limits[0].hash.to_le_bytes()).unwrap();
    read(&*account);
    assert_eq!(account.replace(at(0), &[1; 256], at(100)), Replaced::Refused);
    read(&*account);
    assert_eq!(account.replace(at(0), &[1; 256], at(100)), Replaced::Refused);
    assert_eq!(board.unshared(), 1);
    // Somebody else's bytes are left alone.
    assert_eq!(account.replace(at(0), &[1], at(100)), Replaced::Refused, "nothing was read");
    read(&*account);
    assert_eq!(account.replace(at(0), &[1], at(100)), Replaced::Done);
    let (key, _) = fake.buckets().pop().unwrap();
    fake.put(&key, b"nobody's");
    assert_eq!(read(&*account), None);
    assert_eq!(fake.buckets(), [(key, b"nobody's".to_vec())]);
    // Nor is a host that fails anybody's end.
    fake.store().broken = true;
    assert_eq!((read(&*account), board.take_errors()), (None, 1));
}

/// A document of another size has another table: what is looked for in the wrong bucket would be missed.
#[test]
fn two_sizes_are_two_tables() {
    let fake = Fake::default();
    let (small, large) = (limited(100), limited(50_000));
    for policy in [&small, &large] {
        let one = accounts(&fake, policy, 1);
        read(&*one[0]);
        assert_eq!(one[0].replace(at(0), &[5], at(100)), Replaced::Done);
    }
    assert_eq!(fake.buckets().len(), 2);
}

/// Four workers of Envoy with one limit: what they admit is what one would, but for their leases.
#[test]
fn four_workers_have_one_limit() {
    struct Client;
    impl bimetal_core::Facts for Client {}
    let document = br#"{"version":"v1","policies":[{"name":"echo","scope":"policy",
        "rate_limits":[{"rate":"1000/s","capacity":1000,"key":["policy"]}]}]}"#;
    let document = Document::parse(document, Host::Wasm).unwrap();
    let fake = Fake::default();
    let mut workers: Vec<_> = (1..=4)
        .map(|seed| {
            let board = Arc::new(SharedBoard::new(fake.clone(), b"", seed));
            document.policies.iter().for_each(|policy| board.expect(policy));
            let mut engine = Engine::with_board(seed, board);
            let policies = engine.load(&document);
            (engine, policies)
        })
        .collect();
    let mut admitted = 0;
    for millis in 0..5_000 {
        for (engine, policies) in &mut workers {
            if millis % 100 == 0 {
                engine.poll(at(millis));
            }
            if let bimetal_core::Verdict::Admit(one) = engine.admit(at(millis), policies, &Client) {
                admitted += 1;
                let report =
                    bimetal_core::outcome::Report::from(bimetal_core::outcome::Outcome::Success);
                engine.settle(at(millis), one.ticket, report);
            }
        }
    }
    // 20,000 asked.
    assert!((5_850..=6_150).contains(&admitted), "{admitted}");
    let (reads, _, writes) = fake.calls();
    assert!(reads < 3_000 && writes < 2_000, "{reads} reads, {writes} writes");
}

/// istio-ecosystem/wasm-extensions#43: a filter that read and wrote shared data admitted anything between the
/// limit by the workers and the limit times the workers. Here another worker takes tokens between each read
/// and write of the first.
#[test]
fn no_token_is_lost_or_taken_twice_between_read_and_write() {
    use bimetal_core::limiter::{Rate, RateLimit, RateLimitPolicy};
    let (fake, policy) = (Fake::default(), limited(100));
    let rate = Rate { tokens: 1, period: bimetal_core::Duration::from_secs(3600) };
    let limit = RateLimitPolicy { rate, capacity: 100, burst: None };
    let new = || RateLimit::leased(&limit, accounts(&fake, &policy, 1).remove(0));
    let (mut first, second) = (new(), Arc::new(std::sync::Mutex::new((new(), 0))));
    let mut admitted = 0;
    for _ in 0..80 {
        let other = second.clone();
        fake.store().interruption = Some(Box::new(move || {
            let (limit, admitted) = &mut *other.lock().unwrap();
            *admitted += u32::from(limit.commit(at(0)).is_ok());
        }));
        admitted += u32::from(first.commit(at(0)).is_ok());
        fake.store().interruption = None;
    }
    let (limit, others) = &mut *second.lock().unwrap();
    let left = (0..100).filter(|_| limit.commit(at(0)).is_ok()).count() as u32;
    assert!(*others > 0, "nobody came between");
    assert_eq!(admitted + *others + left, 100);
}
