//! Stores that fail, lose, refuse and lie.

use super::super::log::Log;
use super::*;

/// Two workers that have seen a breaker open.
fn opened(policy: &Policy) -> (Fake, Vec<SharedBoard<Fake>>, Vec<Arc<dyn Words>>) {
    let (fake, boards) = boards(2, &[policy]);
    let words = all_open(&boards, &key(policy, 1), 1);
    words[0].compare_exchange(0, 0, open(1)).unwrap();
    assert_eq!((words[0].load(0), words[1].load(0)), (open(1), open(1)));
    assert_eq!((boards[0].take_errors(), boards[1].take_errors()), (0, 0));
    (fake, boards, words)
}

fn log_key(fake: &Fake) -> String {
    let store = fake.store();
    store.table.keys().find(|key| key.ends_with("/log")).unwrap().clone()
}

#[test]
fn a_write_that_never_comes_through_stays_with_its_worker_and_is_counted() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    fake.store().races = u32::MAX;
    assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
    assert_eq!((words[0].load(0), words[1].load(0)), (open(2), open(1)));
    assert_eq!((boards[0].take_errors(), boards[0].take_errors()), (1, 0));
    fake.store().races = 0;
    // The others' word stands: what was kept back lost.
    words[1].compare_exchange(0, open(1), open(3)).unwrap();
    assert_eq!(words[0].load(0), open(3));
}

#[test]
fn a_few_races_lose_nothing() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    for (round, races) in (2..).zip([1, 5, 60]) {
        fake.store().races = races;
        assert_eq!(words[0].compare_exchange(0, open(round - 1), open(round)), Ok(()));
        assert_eq!(fake.store().races, 0);
        assert_eq!(words[1].load(0), open(round));
    }
    assert_eq!(boards[0].take_errors(), 0);
}

#[test]
fn another_worker_writes_between_read_and_write() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    let interrupting = words[1].clone();
    let result = Arc::new(std::sync::Mutex::new(None));
    let told = result.clone();
    fake.store().interruption = Some(Box::new(move || {
        *told.lock().unwrap() = Some(interrupting.compare_exchange(0, open(1), open(2)));
    }));
    assert_eq!(words[0].compare_exchange(0, open(1), open(3)), Err(open(2)));
    assert_eq!(*result.lock().unwrap(), Some(Ok(())));
    // The same where two claim a place at once.
    let pair = all_open(&boards, &key(&policy, 2), 1);
    let interrupting = pair[1].clone();
    fake.store().interruption =
        Some(Box::new(move || interrupting.compare_exchange(0, 0, streak(1)).unwrap()));
    assert_eq!(pair[0].compare_exchange(0, 0, streak(1)), Err(streak(1)));
    assert_eq!(pair[0].compare_exchange(0, streak(1), streak(2)), Ok(()));
    assert_eq!(pair[1].load(0), streak(2));
}

#[test]
fn a_host_that_fails_leaves_each_worker_to_itself_and_is_counted() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    fake.store().broken = true;
    assert_eq!(words[0].load(0), open(1), "what it knew");
    assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
    assert_eq!(words[0].load(0), open(2));
    assert!(boards[0].take_errors() >= 3);
    assert_eq!(boards[0].unshared(), 0, "no place was looked for");
    fake.store().broken = false;
    assert_eq!(words[0].load(0), open(1), "it learns again");
    assert_eq!(words[0].compare_exchange(0, open(1), open(4)), Ok(()));
    assert_eq!(words[1].load(0), open(4));
}

#[test]
fn a_host_that_fails_from_the_start_is_met_later() {
    let policy = policy("echo", 8, 10);
    let fake = Fake::default();
    fake.store().broken = true;
    let boards = [(), ()].map(|()| SharedBoard::new(fake.clone(), b"", 1));
    boards.iter().for_each(|board| board.expect(&policy));
    let words = all_open(&boards, &key(&policy, 1), 1);
    assert_eq!(words[0].compare_exchange(0, 0, streak(1)), Ok(()));
    assert_eq!((words[0].load(0), words[1].load(0)), (streak(1), 0));
    fake.store().broken = false;
    // Nobody could say at the start whether the host counts, so copies go by their age.
    fake.store().nanos = STALE;
    words.iter().for_each(|words| _ = words.load(0));
    assert_eq!(words[0].compare_exchange(0, streak(1), streak(2)), Ok(()));
    fake.store().nanos = 2 * STALE;
    assert_eq!(words[1].load(0), streak(2));
}

#[test]
fn shared_data_that_is_read_but_not_written() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    fake.store().read_only = true;
    assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
    assert_eq!((words[0].load(0), words[1].load(0)), (open(2), open(1)), "each its own");
    assert!(boards[0].take_errors() > 0);
    fake.store().read_only = false;
    assert_eq!(words[1].compare_exchange(0, open(1), open(3)), Ok(()));
    assert_eq!(words[0].load(0), open(3));
}

#[test]
fn a_change_that_cannot_be_logged_is_found_by_all() {
    let policy = policy("echo", 400, 10);
    let (fake, boards, words) = opened(&policy);
    for round in 2..5 {
        fake.store().refuses = Some("/log");
        assert_eq!(words[0].compare_exchange(0, open(round - 1), open(round)), Ok(()));
        fake.store().refuses = None;
        assert_eq!(words[1].load(0), open(round));
        assert_eq!(words[0].load(0), open(round));
        assert!(boards[0].take_errors() > 0);
    }
    // A change that is logged again is no reason to look through everything.
    boards[1].tick(&mut || ());
    words[0].compare_exchange(0, open(4), open(5)).unwrap();
    let (reads, ..) = fake.calls();
    boards[1].tick(&mut || assert_eq!(words[1].load(0), open(5)));
    assert!(fake.calls().0 - reads <= 3);
}

#[test]
fn a_change_that_cannot_be_told_is_told_with_the_next() {
    let policy = policy("echo", 8, 10);
    let (fake, _, words) = opened(&policy);
    fake.store().dumb = true;
    assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
    let told = fake.store().told;
    fake.store().dumb = false;
    assert_eq!(words[0].compare_exchange(0, open(2), open(3)), Ok(()));
    assert_eq!(fake.store().told, told + 2, "both of them");
    assert_eq!(words[1].load(0), open(3));
}

#[test]
fn a_store_that_loses_what_it_had() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    // The bucket alone: what is not there is closed.
    let (bucket, _) = fake.buckets()[0].clone();
    fake.store().table.remove(&bucket);
    assert_eq!(words[1].compare_exchange(0, open(1), open(2)), Err(0));
    assert_eq!(words[1].compare_exchange(0, 0, open(3)), Ok(()));
    assert_eq!(words[0].load(0), open(3));
    // Everything, and the count goes on.
    fake.store().table.clear();
    assert_eq!(words[0].compare_exchange(0, open(3), open(4)), Err(0));
    assert_eq!(words[0].compare_exchange(0, 0, open(5)), Ok(()));
    assert_eq!(words[1].load(0), open(5));
    assert_eq!(words[1].compare_exchange(0, open(5), open(6)), Ok(()));
    assert_eq!(words[0].load(0), open(6));
    // The log, while somebody is behind it.
    let log = log_key(&fake);
    let other = all_open(&boards, &key(&policy, 2), 1);
    other[0].compare_exchange(0, 0, open(1)).unwrap();
    fake.store().table.remove(&log);
    other[0].compare_exchange(0, open(1), open(2)).unwrap();
    assert_eq!(other[1].load(0), open(2));
}

#[test]
fn somebody_elses_bytes_are_left_alone_and_decide_nothing() {
    let policy = policy("echo", 8, 10);
    let junk: [&[u8]; 4] = [&[0xee; 64], b"x", b"bimetal\x01", b"bimetal\x02\x00"];
    for junk in junk {
        let (fake, boards, words) = opened(&policy);
        let (bucket, _) = fake.buckets()[0].clone();
        fake.put(&bucket, junk);
        assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
        assert_eq!((words[0].load(0), words[1].load(0)), (open(2), open(1)));
        assert_eq!(boards[0].unshared(), 1, "no place");
        assert_eq!(fake.buckets(), [(bucket.clone(), junk.to_vec())]);
        // Who comes later finds nothing, and need not look twice.
        let later = SharedBoard::new(fake.clone(), b"", 3);
        later.expect(&policy);
        let its_words = later.open(&key(&policy, 1), 1).unwrap();
        assert_eq!(its_words.load(0), 0);
        let (reads, ..) = fake.calls();
        assert_eq!((its_words.load(0), fake.calls().0), (0, reads));
        // Once they are gone it shares again.
        fake.put(&bucket, b"");
        assert_eq!(words[0].compare_exchange(0, open(2), open(3)), Ok(()));
        assert_eq!(words[1].load(0), open(3));
    }
}

#[test]
fn somebody_elses_log_costs_reads_but_no_change() {
    let policy = policy("echo", 8, 10);
    let (fake, boards, words) = opened(&policy);
    let log = log_key(&fake);
    for (round, junk) in (2..).zip([&[0xee; 64][..], b"", b"bimelog\x01"]) {
        fake.put(&log, junk);
        assert_eq!(words[0].compare_exchange(0, open(round - 1), open(round)), Ok(()));
        assert_eq!(words[1].load(0), open(round));
        assert!(boards[0].take_errors() > 0 && boards[1].take_errors() > 0);
        assert_eq!(fake.store().table[&log].0, junk, "it is left alone");
    }
    // Another process's log: its workers spread scopes in another way.
    fake.put(&log, &Log::new(5).encode());
    for round in 5..8 {
        let known = words[0].load(0);
        assert_eq!(words[0].compare_exchange(0, known, open(round)), Ok(()));
        assert_eq!(words[1].load(0), open(round));
    }
}

#[test]
fn tokens_that_are_wrong_stop_nobody() {
    let policy = policy("echo", 8, 10);
    for token in [0, 1, ONLY_IF_ABSENT] {
        let (fake, boards, words) = opened(&policy);
        fake.store().wrong_token = Some(token);
        assert_eq!(words[0].compare_exchange(0, open(1), open(2)), Ok(()));
        assert_eq!(words[0].load(0), open(2));
        let shared = words[1].load(0) == open(2);
        // Zero means to Envoy: whatever is there.
        assert_eq!(shared, token == 0);
        assert_eq!(boards[0].take_errors() > 0, token != 0);
    }
}

#[test]
fn clocks_at_the_end_of_time() {
    let policy = policy("echo", 8, 10);
    let fake = Fake::default();
    fake.store().uncounted = true;
    let boards = [(), ()].map(|()| SharedBoard::new(fake.clone(), b"", 1));
    let words = all_open(&boards, &key(&policy, 1), 1);
    fake.store().nanos = u64::MAX;
    assert_eq!(words[1].load_for_result(0, Instant::FAR_FUTURE), 0);
    words[0].compare_exchange(0, 0, open(1)).unwrap();
    // It came back: the copy is not as young as it says.
    fake.store().nanos = 0;
    assert_eq!(words[1].load(0), open(1));
    // The same for a result, by the time of the call.
    let (_, boards, words) = opened(&policy);
    assert_eq!(words[1].load_for_result(0, Instant::FAR_FUTURE), open(1));
    words[0].compare_exchange(0, open(1), open(2)).unwrap();
    assert_eq!(words[1].load_for_result(0, Instant::ZERO), open(2));
    assert_eq!(boards[1].take_errors(), 0);
}

/// A policy with 50 buckets, a worker that has not looked for long, and all its buckets in turn.
#[test]
fn what_lies_in_a_bucket_that_is_not_its_own_decides_nothing() {
    let policy = policy("echo", 400, 10);
    let (fake, boards, words) = opened(&policy);
    let (key, old) = fake.buckets()[0].clone();
    let (table, _) = key.rsplit_once('/').unwrap();
    words[0].compare_exchange(0, open(1), open(2)).unwrap();
    for bucket in (0..50).map(|number| format!("{table}/{number}")).filter(|other| *other != key) {
        fake.put(&bucket, &old);
    }
    fake.store().refuses = Some("/log");
    words[0].compare_exchange(0, open(2), open(3)).unwrap();
    fake.store().refuses = None;
    boards[1].tick(&mut || assert_eq!(words[1].load(0), open(3)));
    // Another process's log: what lay there lies elsewhere now, where nothing is.
    for (bucket, _) in fake.buckets() {
        fake.put(&bucket, b"");
    }
    fake.put(&log_key(&fake), &Log::new(5).encode());
    fake.store().told += 1;
    boards[1].tick(&mut || assert_eq!(words[1].load(0), 0));
}
