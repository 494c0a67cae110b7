//! The board on a table that behaves as Envoy's.

use super::*;
use std::collections::HashMap;

/// Shared data as Envoy has it, and counts of calls.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<FakeTable>);

#[derive(Debug, Default)]
struct FakeTable {
    table: Mutex<HashMap<String, (Vec<u8>, u32)>>,
    token: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    asked: AtomicU64,
    broken: AtomicU64,
    hidden: AtomicU64,
    raced: AtomicU64,
    nanos: AtomicU64,
}

impl Fake {
    fn check(&self) -> Result<(), HostError> {
        match self.0.broken.load(Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(HostError { call: "fake", status: 10 }),
        }
    }
}

impl SharedData for Fake {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        self.check()?;
        self.0.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.table.lock().unwrap().get(key).cloned())
    }
    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError> {
        self.check()?;
        let mut table = self.0.table.lock().unwrap();
        let next = self.0.token.fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let raced = self.0.raced.load(Ordering::Relaxed) > 0;
        match table.get(key) {
            Some((_, known)) if raced || (token != 0 && token != *known) => Ok(false),
            _ => {
                table.insert(key.into(), (value.into(), next));
                Ok(true)
            }
        }
    }
    fn writes(&self) -> Result<u64, HostError> {
        self.check()?;
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.0.writes.load(Ordering::Relaxed))
    }
    fn wrote(&self) -> Result<(), HostError> {
        if self.0.hidden.load(Ordering::Relaxed) == 0 {
            self.0.writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
    fn nanos(&self) -> Result<u64, HostError> {
        self.check()?;
        Ok(self.0.nanos.load(Ordering::Relaxed))
    }
}

fn boards(count: usize) -> (Fake, Vec<SharedBoard<Fake>>) {
    let fake = Fake::default();
    let boards = (0..count).map(|_| SharedBoard::new(fake.clone(), b"", Arc::default()));
    let boards = boards.collect();
    (fake, boards)
}

const CLOSED_WITH_A_FAILURE: u64 = 1 << 27;

#[test]
fn what_one_worker_writes_all_see() {
    let (_, boards) = boards(2);
    let words: Vec<_> = boards.iter().filter_map(|board| board.open(b"policyXX", 3)).collect();
    assert_eq!(words[0].compare_exchange(2, 0, 7), Ok(()));
    assert_eq!((words[1].load(2), words[1].load(0)), (7, 0));
    assert_eq!(words[1].compare_exchange(2, 0, 8), Err(7));
    assert_eq!(words[1].compare_exchange(2, 7, 8), Ok(()));
    assert_eq!(words[0].load(2), 8);
}

#[test]
fn nothing_is_read_while_nothing_is_written() {
    let (fake, boards) = boards(1);
    let words = boards[0].open(b"policyXX", 1).unwrap();
    words.load(0);
    let before = fake.0.reads.load(Ordering::Relaxed);
    (0..1_000).for_each(|_| assert_eq!(words.load(0), 0));
    assert_eq!(fake.0.reads.load(Ordering::Relaxed), before);
}

#[test]
fn where_the_host_does_not_count_a_copy_gets_20_ms_old() {
    let fake = Fake::default();
    fake.0.hidden.store(1, Ordering::Relaxed);
    let boards = [(), ()].map(|()| SharedBoard::new(fake.clone(), b"", Arc::default()));
    let words = boards.map(|board| board.open(b"policyXX", 1).unwrap());
    assert_eq!(words[1].load(0), 0);
    words[0].compare_exchange(0, 0, 7).unwrap();
    let before = fake.0.reads.load(Ordering::Relaxed);
    fake.0.nanos.store(STALE - 1, Ordering::Relaxed);
    assert_eq!(words[1].load(0), 0);
    assert_eq!(fake.0.reads.load(Ordering::Relaxed), before);
    fake.0.nanos.store(STALE, Ordering::Relaxed);
    assert_eq!(words[1].load(0), 7);
}

#[test]
fn a_worker_that_comes_later_does_not_reset_what_is_there() {
    let (_, boards) = boards(2);
    let first = boards[0].open(b"policyXX", 1).unwrap();
    first.compare_exchange(0, 0, CLOSED_WITH_A_FAILURE).unwrap();
    let later = boards[1].open(b"policyXX", 1).unwrap();
    assert_eq!(later.load(0), CLOSED_WITH_A_FAILURE);
}

#[test]
fn scopes_never_see_each_other_and_keys_are_bounded() {
    let (fake, boards) = boards(1);
    let scopes: Vec<_> = (0..20_000_u32)
        .filter_map(|scope| {
            let key = [b"policyXX".as_slice(), &scope.to_le_bytes()].concat();
            boards[0].open(&key, 1)
        })
        .collect();
    for words in &scopes {
        assert_eq!(words.compare_exchange(0, 0, CLOSED_WITH_A_FAILURE), Ok(()));
    }
    assert!(scopes.iter().all(|words| words.load(0) == CLOSED_WITH_A_FAILURE));
    for words in &scopes {
        assert_eq!(words.compare_exchange(0, CLOSED_WITH_A_FAILURE, 0), Ok(()));
    }
    assert!(scopes.iter().all(|words| words.load(0) == 0));
    assert!(fake.0.table.lock().unwrap().len() <= PLACES as usize);
}

#[test]
fn a_write_that_never_comes_through_stays_with_its_worker_and_is_counted() {
    let errors = Arc::new(AtomicU64::new(0));
    let fake = Fake::default();
    let board = SharedBoard::new(fake.clone(), b"", errors.clone());
    let words = board.open(b"policyXX", 1).unwrap();
    fake.0.raced.store(1, Ordering::Relaxed);
    assert_eq!(words.compare_exchange(0, 0, 5), Ok(()));
    assert_eq!(errors.load(Ordering::Relaxed), 1);
}

#[test]
fn a_host_that_fails_leaves_each_worker_to_itself_and_is_counted() {
    let errors = Arc::new(AtomicU64::new(0));
    let fake = Fake::default();
    let board = SharedBoard::new(fake.clone(), b"", errors.clone());
    fake.0.broken.store(1, Ordering::Relaxed);
    let words = board.open(b"policyXX", 1).unwrap();
    assert_eq!(words.compare_exchange(0, 0, 5), Ok(()));
    assert_eq!(words.load(0), 5);
    assert!(errors.load(Ordering::Relaxed) >= 3);
}

#[test]
fn a_result_asks_once_a_millisecond_and_an_admission_always() {
    let (fake, boards) = boards(2);
    let words: Vec<_> = boards.iter().filter_map(|board| board.open(b"policyXX", 1)).collect();
    let at = |micros: u64| Instant::from_nanos(micros * 1000);
    assert_eq!(words[0].load_for_result(0, at(10_000)), 0);
    assert_eq!(words[1].compare_exchange(0, 0, CLOSED_WITH_A_FAILURE), Ok(()));
    assert_eq!(words[0].load_for_result(0, at(10_999)), 0, "a moment later: not asked");
    assert_eq!(words[0].load_for_result(0, at(11_000)), CLOSED_WITH_A_FAILURE);
    assert_eq!(words[1].compare_exchange(0, CLOSED_WITH_A_FAILURE, 0), Ok(()));
    assert_eq!(words[0].load(0), 0, "an admission");
    assert_eq!(words[0].load_for_result(0, at(11_001)), 0, "knows what the admission knew");
    let asked = fake.0.asked.swap(0, Ordering::Relaxed);
    for call in 0..100 {
        words[0].load_for_result(0, at(12_000 + call * 10));
    }
    assert_eq!((asked, fake.0.asked.load(Ordering::Relaxed)), (5, 1));
}
