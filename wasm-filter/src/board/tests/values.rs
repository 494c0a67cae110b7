//! The two kinds of values: what is written is read, and nothing else is.

use super::super::bucket::{Bucket, Full, MOST_WORDS, ROOM, Record};
use super::super::log::{LENGTH, Log};
use super::{healed, open, streak};
use bimetal_core::board::is_at_rest;

fn record(owner: u64, policy: u32, word: u64) -> Record {
    Record { owner, policy, words: vec![word, owner] }
}

fn put(bucket: &mut Bucket, record: Record) -> Result<(), Full> {
    bucket.put(record, |other| is_at_rest(&other.words))
}

fn full(word: u64) -> Bucket {
    let mut bucket = Bucket::default();
    for owner in 0..ROOM as u64 {
        assert_eq!(put(&mut bucket, record(owner, 7, word)), Ok(()));
    }
    bucket
}

#[test]
fn a_bucket_keeps_its_records() {
    let bucket = full(open(5));
    assert_eq!(Bucket::parse(&bucket.encode()), Some(bucket));
    assert_eq!(Bucket::parse(b""), Some(Bucket::default()));
    assert_eq!(Bucket::parse(&Bucket::default().encode()), Some(Bucket::default()));
}

#[test]
fn what_is_not_a_bucket_is_nobodys() {
    let good = full(open(5)).encode();
    for end in (1..good.len()).filter(|end| end % 32 != 8) {
        assert_eq!(Bucket::parse(&good[..end]), None, "the first {end} bytes");
    }
    let twice = [good.as_slice(), &good[8..40]].concat();
    assert_eq!(Bucket::parse(&twice), None, "more records than places");
    let mut other_version = good.clone();
    other_version[7] += 1;
    assert_eq!(Bucket::parse(&other_version), None);
    for count in [0, MOST_WORDS as u32 + 1, u32::MAX] {
        let mut other_count = good.clone();
        other_count[20..24].copy_from_slice(&count.to_le_bytes());
        assert_eq!(Bucket::parse(&other_count), None, "a record of {count} words");
    }
}

#[test]
fn a_place_is_replaced_freed_and_claimed_again() {
    let mut bucket = full(streak(1));
    assert_eq!(put(&mut bucket, record(3, 7, open(9))), Ok(()), "its own place");
    assert_eq!(bucket.find(3), Some(&[open(9), 3][..]));
    assert_eq!(put(&mut bucket, record(99, 7, open(9))), Err(Full));
    assert_eq!(bucket.records().len(), ROOM);
    bucket.remove(5);
    assert_eq!(bucket.find(5), None);
    assert_eq!(put(&mut bucket, record(99, 7, open(9))), Ok(()));
}

#[test]
fn a_breaker_at_rest_gives_way_the_longest_unchanged_first() {
    let mut bucket = full(streak(1));
    for owner in [9, 4] {
        put(&mut bucket, record(owner, 7, healed(3))).unwrap();
    }
    // Of another policy, and not at rest.
    put(&mut bucket, record(2, 8, open(9))).unwrap();
    for (owner, gone) in [(99, 9), (98, 4), (97, 2)] {
        assert!(bucket.find(gone).is_some());
        assert_eq!(put(&mut bucket, record(owner, 7, open(9))), Ok(()));
        assert_eq!(bucket.find(gone), None, "2 is of an older document");
    }
    assert_eq!(put(&mut bucket, record(96, 7, open(9))), Err(Full));
}

#[test]
fn the_log_keeps_the_last_entries_and_says_how_many_there_were() {
    let mut log = Log::new(77);
    assert_eq!(Log::parse(&log.encode()), Some(log.clone()));
    assert_eq!(log.since(0), Some(&[][..]));
    let entries: Vec<u64> = (0..LENGTH as u64 + 10).collect();
    entries.iter().for_each(|entry| log.append(*entry));
    assert_eq!(Log::parse(&log.encode()), Some(log.clone()));
    assert_eq!((log.secret, log.head), (77, entries.len() as u64));
    assert_eq!(log.since(log.head), Some(&[][..]));
    assert_eq!(log.since(log.head - 3), Some(&entries[LENGTH + 7..]));
    assert_eq!(log.since(10), Some(&entries[10..]));
    assert_eq!(log.since(9), None, "it does not reach back so far");
    assert_eq!(log.since(log.head + 1), None, "another log");
}

#[test]
fn what_is_not_a_log_is_nobodys() {
    let mut log = Log::new(77);
    [1, 2, 3].into_iter().for_each(|entry| log.append(entry));
    let good = log.encode();
    for end in 0..good.len() {
        assert_eq!(Log::parse(&good[..end]), None, "the first {end} bytes");
    }
    assert_eq!(Log::parse(&[good.as_slice(), &[0; 8]].concat()), None, "an entry too many");
    let mut other_version = good;
    other_version[7] += 1;
    assert_eq!(Log::parse(&other_version), None);
}
