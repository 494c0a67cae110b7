//! How places are claimed, freed and shared out.

use super::super::bucket::{Bucket, ROOM};
use super::*;

/// Records on the board.
fn records(fake: &Fake) -> usize {
    let buckets = fake.buckets();
    buckets.iter().map(|(_, value)| Bucket::parse(value).unwrap().records().len()).sum()
}

#[test]
fn a_place_is_claimed_by_the_first_word_and_freed_by_the_last() {
    let policy = policy("echo", 100, 10);
    let (fake, boards) = boards(1, &[&policy]);
    let words = boards[0].open(&key(&policy, 1), 2).unwrap();
    words.load(0);
    assert_eq!((records(&fake), fake.buckets().len()), (0, 0), "a healthy scope has no place");
    words.compare_exchange(1, 0, 7).unwrap();
    words.compare_exchange(0, 0, streak(1)).unwrap();
    assert_eq!(records(&fake), 1);
    words.compare_exchange(0, streak(1), 0).unwrap();
    assert_eq!(records(&fake), 1);
    words.compare_exchange(1, 7, 0).unwrap();
    assert_eq!(records(&fake), 0);
}

#[test]
fn twice_the_scopes_of_a_policy_find_a_place_and_keys_are_bounded() {
    let policy = policy("echo", 4_000, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let scopes: Vec<_> =
        (0..8_000).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    for (scope, words) in (1..).zip(&scopes) {
        assert_eq!(words[0].compare_exchange(0, 0, open(scope)), Ok(()));
    }
    let unshared = boards[0].unshared();
    assert!(unshared <= 8, "{unshared} of 8,000 found no place");
    assert_eq!(records(&fake) as u64 + unshared, 8_000);
    assert!(fake.buckets().len() <= 500);
    let others = (1..).zip(&scopes).filter(|(scope, words)| words[1].load(0) != open(*scope));
    assert_eq!(others.count() as u64, unshared, "and every other worker finds it");
    for (scope, words) in (1..).zip(&scopes) {
        assert_eq!(words[0].compare_exchange(0, open(scope), 0), Ok(()));
    }
    assert_eq!(records(&fake), 0);
    assert!(scopes.iter().all(|words| words[1].load(0) == 0));
    assert!(fake.buckets().len() <= 500);
}

/// All scopes of a policy that plans for few lie in one bucket.
#[test]
fn a_scope_without_a_place_is_counted_once_and_decided_by_each_worker_alone() {
    let policy = policy("echo", 8, 10);
    let (_, boards) = boards(2, &[&policy]);
    let scopes: Vec<_> =
        (0..=ROOM as u32).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    let (last, others) = scopes.split_last().unwrap();
    others.iter().for_each(|words| words[0].compare_exchange(0, 0, open(1)).unwrap());
    assert_eq!(boards[0].unshared(), 0);
    assert_eq!(last[0].compare_exchange(0, 0, streak(1)), Ok(()));
    assert_eq!(last[0].compare_exchange(0, 0, streak(1)), Err(streak(1)));
    assert_eq!(last[0].compare_exchange(0, streak(1), open(2)), Ok(()));
    assert_eq!(last[1].compare_exchange(0, 0, streak(1)), Ok(()));
    assert_eq!((last[0].load(0), last[1].load(0)), (open(2), streak(1)), "each its own");
    assert_eq!((boards[0].unshared(), boards[1].unshared()), (1, 1));
    // With the next change after a place became free all know what this one knew.
    others[3][1].compare_exchange(0, open(1), 0).unwrap();
    assert_eq!(last[0].compare_exchange(0, open(2), open(3)), Ok(()));
    assert_eq!(last[1].load(0), open(3));
    assert_eq!(last[1].compare_exchange(0, open(3), 0), Ok(()));
    assert_eq!(last[0].load(0), 0);
    assert_eq!((boards[0].unshared(), boards[1].unshared()), (1, 1));
    // And what healed alone is as good as new.
    others[3][1].compare_exchange(0, 0, open(1)).unwrap();
    last[0].compare_exchange(0, 0, streak(1)).unwrap();
    last[0].compare_exchange(0, streak(1), 0).unwrap();
    last[0].compare_exchange(0, 0, streak(1)).unwrap();
    assert_eq!(boards[0].unshared(), 3, "it parted from the others twice more");
}

#[test]
fn a_breaker_at_rest_gives_way_and_goes_on_from_where_it_was() {
    let policy = policy("echo", 8, 10);
    let (_, boards) = boards(3, &[&policy]);
    let scopes: Vec<_> =
        (0..=ROOM as u32).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    let (last, others) = scopes.split_last().unwrap();
    let first = &others[0];
    others.iter().for_each(|words| words[0].compare_exchange(0, 0, open(1)).unwrap());
    assert_eq!(first[2].load(0), open(1));
    first[0].compare_exchange(0, open(1), healed(3)).unwrap();
    assert_eq!(first[1].load(0), healed(3));
    assert_eq!(last[1].compare_exchange(0, 0, streak(1)), Ok(()));
    assert_eq!(last[0].load(0), streak(1), "it has the place");
    // Who knows that it healed goes on from there; who saw it open last sees that it is closed.
    assert_eq!((first[0].load(0), first[1].load(0), first[2].load(0)), (healed(3), healed(3), 0));
    assert_eq!(boards.iter().map(WorkerBoard::unshared).sum::<u64>(), 0);
    last[1].compare_exchange(0, streak(1), 0).unwrap();
    assert_eq!(first[1].compare_exchange(0, healed(3), open(9)), Ok(()));
    assert_eq!((first[0].load(0), first[2].load(0)), (open(9), open(9)));
}

#[test]
fn a_policy_that_changes_leaves_no_table_behind() {
    let fake = Fake::default();
    let board = SharedBoard::new(fake.clone(), b"", 1);
    for pause in 1..=200 {
        let policy = policy("echo", 8, pause);
        board.expect(&policy);
        let words = board.open(&key(&policy, 1), 1).unwrap();
        assert_eq!(words.load(0), 0, "what another document left is not its own");
        assert_eq!(words.compare_exchange(0, 0, open(u64::from(pause))), Ok(()));
    }
    assert_eq!(board.unshared(), 0, "records of older documents give way");
    assert_eq!((fake.buckets().len(), records(&fake)), (1, ROOM));
}

#[test]
fn plugins_and_policies_have_tables_of_their_own() {
    let (one, other) = (policy("one", 8, 10), policy("other", 8, 10));
    let fake = Fake::default();
    let boards = [b"a", b"b"].map(|plugin| SharedBoard::new(fake.clone(), plugin, 1));
    let mut words = Vec::new();
    for board in &boards {
        for policy in [&one, &other] {
            board.expect(policy);
            words.push(board.open(&key(policy, 1), 1).unwrap());
        }
    }
    for (number, words) in (1..).zip(&words) {
        assert_eq!(words.compare_exchange(0, 0, open(number)), Ok(()));
    }
    for (number, words) in (1..).zip(&words) {
        assert_eq!(words.load(0), open(number));
    }
    let keys: Vec<String> = fake.store().table.keys().cloned().collect();
    assert_eq!(keys.len(), 4 + 1, "{keys:?}");
}

/// Where a scope lies is not for its clients to know.
#[test]
fn every_process_spreads_scopes_in_its_own_way() {
    let policy = policy("echo", 10_000, 10);
    let spread = |seed| {
        let fake = Fake::default();
        let board = SharedBoard::new(fake.clone(), b"", seed);
        board.expect(&policy);
        for scope in 0..50 {
            let words = board.open(&key(&policy, scope), 1).unwrap();
            words.compare_exchange(0, 0, open(1)).unwrap();
        }
        fake.buckets().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(spread(1), spread(1));
    assert_ne!(spread(1), spread(2));
}
