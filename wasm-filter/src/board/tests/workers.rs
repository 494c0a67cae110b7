//! What workers learn of each other, and what they ask for it.

use super::super::log::LENGTH;
use super::super::worker::SWEPT_PER_TICK;
use super::*;

#[test]
fn what_one_worker_writes_all_see() {
    let policy = policy("echo", 100, 10);
    let (_, boards) = boards(2, &[&policy]);
    let words = all_open(&boards, &key(&policy, 1), 3);
    assert_eq!(words[0].compare_exchange(2, 0, 7), Ok(()));
    assert_eq!((words[1].load(2), words[1].load(0)), (7, 0));
    assert_eq!(words[1].compare_exchange(2, 0, 8), Err(7));
    assert_eq!(words[1].compare_exchange(2, 7, 8), Ok(()));
    assert_eq!(words[0].load(2), 8);
    assert_eq!(words[0].compare_exchange(3, 0, 1), Err(0), "a word that nobody asked for");
    assert_eq!(words[0].load(3), 0);
}

#[test]
fn the_same_key_gives_the_same_words() {
    let policy = policy("echo", 100, 10);
    let (_, boards) = boards(1, &[&policy]);
    let first = boards[0].open(&key(&policy, 1), 1).unwrap();
    let second = boards[0].open(&key(&policy, 1), 1).unwrap();
    assert_eq!(first.compare_exchange(0, 0, open(9)), Ok(()));
    drop(first);
    assert_eq!(second.load(0), open(9));
    assert!(boards[0].open(&key(&policy, 2), 257).is_none(), "no record has so many words");
}

#[test]
fn a_worker_that_comes_later_does_not_reset_what_is_there() {
    let policy = policy("echo", 100, 10);
    let (fake, first) = boards(1, &[&policy]);
    let words = first[0].open(&key(&policy, 1), 1).unwrap();
    words.compare_exchange(0, 0, streak(1)).unwrap();
    let later = SharedBoard::new(fake, b"", 1);
    later.expect(&policy);
    assert_eq!(later.open(&key(&policy, 1), 1).unwrap().load(0), streak(1));
}

#[test]
fn nothing_is_read_while_nothing_is_changed() {
    let policy = policy("echo", 10_000, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let scopes: Vec<_> =
        (0..1_000).map(|scope| boards[0].open(&key(&policy, scope), 1).unwrap()).collect();
    scopes.iter().for_each(|words| assert_eq!(words.load(0), 0));
    let (reads, asked, writes) = fake.calls();
    scopes.iter().for_each(|words| assert_eq!(words.load(0), 0));
    assert_eq!(fake.calls(), (reads, asked + 1_000, writes), "an admission asks for the count");
    for _ in 0..10 {
        boards[0].tick(&mut || scopes.iter().for_each(|words| assert_eq!(words.load(0), 0)));
    }
    assert_eq!(fake.calls(), (reads, asked + 1_010, writes), "a tick asks once");
}

#[test]
fn only_what_was_changed_is_read_again() {
    let policy = policy("echo", 10_000, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let scopes: Vec<_> = (0..100).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    scopes.iter().for_each(|words| assert_eq!(words[0].load(0), 0));
    scopes[7][1].compare_exchange(0, 0, open(1)).unwrap();
    scopes[8][1].compare_exchange(0, 0, open(2)).unwrap();
    let (reads, asked, writes) = fake.calls();
    let mut seen = Vec::new();
    boards[0].tick(&mut || seen.extend(scopes.iter().map(|words| words[0].load(0))));
    assert_eq!((seen[7], seen[8]), (open(1), open(2)), "an idle worker learns on its tick");
    assert_eq!(seen.iter().filter(|word| **word != 0).count(), 2);
    assert_eq!(fake.calls(), (reads + 3, asked + 1, writes), "the log and two records");
}

#[test]
fn who_changed_something_need_not_look_again() {
    let policy = policy("echo", 100, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let words = all_open(&boards, &key(&policy, 1), 1);
    for failures in 0..5 {
        words[0].load(0);
        let (reads, ..) = fake.calls();
        assert_eq!(words[0].load(0), streak(failures));
        assert_eq!(fake.calls().0, reads, "after its own change");
        words[0].compare_exchange(0, streak(failures), streak(failures + 1)).unwrap();
        assert_eq!(fake.calls().0, reads + 2, "the record and the log");
    }
    // But what others changed before is not taken for seen.
    words[1].compare_exchange(0, streak(5), streak(6)).unwrap();
    let other = all_open(&boards, &key(&policy, 2), 1);
    other[0].compare_exchange(0, 0, streak(1)).unwrap();
    assert_eq!(words[0].load(0), streak(6));
}

#[test]
fn where_the_host_does_not_count_a_copy_gets_20_ms_old() {
    let policy = policy("echo", 100, 10);
    let fake = Fake::default();
    fake.store().uncounted = true;
    let boards = [(), ()].map(|()| SharedBoard::new(fake.clone(), b"", 1));
    let words = all_open(&boards, &key(&policy, 1), 1);
    assert_eq!(words[1].load(0), 0);
    words[0].compare_exchange(0, 0, 7).unwrap();
    let (reads, ..) = fake.calls();
    fake.store().nanos = STALE - 1;
    assert_eq!(words[1].load(0), 0);
    assert_eq!(fake.calls().0, reads);
    fake.store().nanos = STALE;
    assert_eq!(words[1].load(0), 7);
}

#[test]
fn a_result_asks_once_a_millisecond_and_an_admission_always() {
    let policy = policy("echo", 100, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let words = all_open(&boards, &key(&policy, 1), 1);
    let at = |micros: u64| Instant::from_nanos(micros * 1000);
    assert_eq!(words[0].load_for_result(0, at(10_000)), 0);
    assert_eq!(words[1].compare_exchange(0, 0, streak(1)), Ok(()));
    assert_eq!(words[0].load_for_result(0, at(10_999)), 0, "a moment later: not asked");
    assert_eq!(words[0].load_for_result(0, at(11_000)), streak(1));
    assert_eq!(words[1].compare_exchange(0, streak(1), 0), Ok(()));
    assert_eq!(words[0].load(0), 0, "an admission");
    assert_eq!(words[0].load_for_result(0, at(11_001)), 0, "knows what the admission knew");
    let (_, asked, _) = fake.calls();
    for call in 0..100 {
        words[0].load_for_result(0, at(12_000 + call * 10));
    }
    assert_eq!(fake.calls().1, asked + 1);
}

/// More changes than the log keeps, and more scopes than one tick reads.
#[test]
fn a_worker_that_is_far_behind_learns_at_once_when_asked_and_else_by_a_bounded_sweep() {
    let scopes = 8 * (SWEPT_PER_TICK * 2 + 100);
    let policy = policy("echo", scopes, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let words: Vec<_> =
        (0..scopes).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    // The idle worker has seen all of them, some of them open.
    for pair in words.iter().step_by(100) {
        pair[1].compare_exchange(0, 0, open(1)).unwrap();
    }
    words.iter().for_each(|pair| _ = pair[0].load(0));
    for (scope, pair) in words.iter().enumerate().take(LENGTH * 4) {
        let (old, new) = if scope % 100 == 0 { (open(1), 0) } else { (0, open(2)) };
        pair[1].compare_exchange(0, old, new).unwrap();
    }
    let truth: Vec<u64> = words.iter().map(|pair| pair[1].load(0)).collect();
    let polled = || {
        let mut seen = Vec::new();
        let (reads, ..) = fake.calls();
        boards[0].tick(&mut || seen.extend(words.iter().map(|pair| pair[0].load(0))));
        (seen, fake.calls().0 - reads)
    };
    let bound = u64::from(SWEPT_PER_TICK) + 1;
    let (seen, reads) = polled();
    assert!(reads <= bound, "{reads} reads in one tick");
    assert_ne!(seen, truth, "the sweep was over in one tick");
    assert_eq!(words[1][0].load(0), open(2), "who is asked for reads at once");
    assert_eq!(words[0][0].load(0), 0, "also what is closed by now");
    assert!(polled().1 <= bound);
    let (seen, reads) = polled();
    assert!(reads <= bound);
    assert!(seen == truth, "after {SWEPT_PER_TICK} buckets a tick");
    assert_eq!(polled(), (seen, 0), "and then nothing is read");
}

#[test]
fn a_sweep_that_always_begins_again_comes_to_every_bucket() {
    let scopes = 8 * SWEPT_PER_TICK * 3;
    let policy = policy("echo", scopes, 10);
    let (_, boards) = boards(2, &[&policy]);
    let words: Vec<_> =
        (0..scopes).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    words.iter().for_each(|pair| _ = pair[0].load(0));
    words.iter().for_each(|pair| pair[1].compare_exchange(0, 0, open(1)).unwrap());
    for round in 0..3 {
        for change in 0..LENGTH as u64 + 1 {
            let old = if change == 0 && round == 0 { open(1) } else { open(change + 1) };
            let new = if change == LENGTH as u64 { open(2) } else { open(change + 2) };
            let old = if change == 0 && round > 0 { open(2) } else { old };
            words[0][1].compare_exchange(0, old, new).unwrap();
        }
        boards[0].tick(&mut || ());
    }
    let mut seen = Vec::new();
    boards[0].tick(&mut || seen.extend(words.iter().map(|pair| pair[0].load(0))));
    assert_eq!(seen.iter().filter(|word| **word == 0).count(), 0);
}

#[test]
fn an_idle_worker_is_told_which_breakers_others_changed() {
    let policy = policy("echo", 8, 10);
    let (_, boards) = boards(2, &[&policy]);
    let words: Vec<_> = (0..20).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    for (number, pair) in (100..).zip(&words).skip(1) {
        pair[0].load(0);
        pair[0].watch(number);
    }
    let told = || {
        let mut seen = Vec::new();
        boards[0].tick(&mut || {
            let mut numbers = Vec::new();
            assert!(boards[0].take_changed(&mut |number| numbers.push(number)));
            // Who is told looks at once.
            seen.extend(numbers.iter().map(|number| {
                let scope = usize::try_from(number - 100).unwrap();
                (*number, words[scope][0].load(0))
            }));
        });
        seen.sort_unstable();
        seen
    };
    assert_eq!(told(), []);
    words[9][0].compare_exchange(0, 0, open(1)).unwrap();
    words[0][1].compare_exchange(0, 0, open(1)).unwrap();
    words[3][1].compare_exchange(0, 0, open(1)).unwrap();
    words[7][1].compare_exchange(0, 0, streak(1)).unwrap();
    words[7][1].compare_exchange(0, streak(1), open(2)).unwrap();
    assert_eq!(told(), [(103, open(1)), (107, open(2))], "others' changes, each once");
    assert_eq!(told(), []);
    // Also when the log does not reach back: by the sweep.
    words[3][1].compare_exchange(0, open(1), 0).unwrap();
    for change in 2..LENGTH as u64 + 2 {
        words[7][1].compare_exchange(0, open(change), open(change + 1)).unwrap();
    }
    assert_eq!(told(), [(103, 0), (107, open(LENGTH as u64 + 2))]);
    assert_eq!(told(), []);
}

#[test]
fn a_scope_that_is_gone_is_not_followed() {
    let policy = policy("echo", 10_000, 10);
    let (fake, boards) = boards(2, &[&policy]);
    let words: Vec<_> = (0..50).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    words.iter().for_each(|pair| pair[0].compare_exchange(0, 0, open(1)).unwrap());
    let (idle, busy): (Vec<_>, Vec<_>) =
        words.into_iter().map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
    drop(idle);
    for change in 1..=LENGTH as u64 + 1 {
        busy[0].load(0);
        busy[0].compare_exchange(0, open(change), open(change + 1)).unwrap();
    }
    let (reads, ..) = fake.calls();
    (0..3).for_each(|_| boards[0].tick(&mut || ()));
    assert_eq!(fake.calls().0, reads + 1, "the log alone");
    // It is as if it had never been known, when it comes back.
    assert_eq!(boards[0].open(&key(&policy, 0), 1).unwrap().load(0), busy[0].load(0));
}

#[test]
fn a_table_that_comes_into_use_takes_no_turn_from_those_that_wait_for_theirs() {
    let each = 8 * (SWEPT_PER_TICK + 100);
    let policies = ["first", "late", "last"].map(|name| policy(name, each, 10));
    let (_, boards) = boards(2, &policies.each_ref().map(|policy| &**policy));
    let [first, late, last] = &policies;
    let _in_use = all_open(&boards, &key(first, 0), 1);
    let scopes: Vec<_> =
        (0..2 * LENGTH as u32).map(|scope| all_open(&boards, &key(last, scope), 1)).collect();
    scopes.iter().for_each(|words| assert_eq!(words[0].load(0), 0));
    // More changes than the log keeps.
    scopes.iter().for_each(|words| words[1].compare_exchange(0, 0, open(1)).unwrap());
    boards[0].tick(&mut || ());
    // The sweep is within the first table.
    let _comes_into_use = boards[0].open(&key(late, 0), 1).unwrap();
    for _ in 0..6 {
        boards[0].tick(&mut || ());
    }
    assert!(scopes.iter().all(|words| words[0].load(0) == open(1)));
}

#[test]
fn what_another_plugin_changes_makes_no_copy_old() {
    let policy = policy("echo", 10_000, 10);
    let fake = Fake::default();
    let boards = [b"a", b"b"].map(|plugin| SharedBoard::new(fake.clone(), plugin, 1));
    boards.iter().for_each(|board| board.expect(&policy));
    let words: Vec<_> = (0..100).map(|scope| all_open(&boards, &key(&policy, scope), 1)).collect();
    words.iter().for_each(|words| assert_eq!(words[0].load(0), 0));
    for change in 0..10 {
        words[change][1].compare_exchange(0, 0, open(1)).unwrap();
        let (reads, ..) = fake.calls();
        words.iter().for_each(|words| assert_eq!(words[0].load(0), 0));
        boards[0].tick(&mut || ());
        assert_eq!(fake.calls().0, reads + 1, "the log alone");
    }
}
