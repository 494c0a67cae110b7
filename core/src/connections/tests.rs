extern crate std;
use super::*;
use crate::board::{AtomicWords, Words};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use std::collections::HashMap;
use std::sync::Mutex;

#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<Box<[u8]>, Arc<AtomicWords>>>);

impl Board for Memory {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let mut words = self.0.lock().unwrap();
        let known = words.entry(key.into()).or_insert_with(|| Arc::new(AtomicWords::new(count)));
        Some(known.clone())
    }
}

fn policy(per_client: u32) -> ConnectionsPolicy {
    ConnectionsPolicy { per_client, allow: Vec::new(), status: 429, hash: 7 }
}

fn at(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[test]
fn one_more_than_there_may_be_is_refused_until_one_leaves() {
    let mut all = ClientConnections::default();
    let mut enter = |of: &str| all.enter(&policy(2), at(of), None);
    let first = enter("192.0.2.1").unwrap();
    let second = enter("192.0.2.1").unwrap();
    assert_eq!(enter("192.0.2.1"), Err(2));
    // Nobody else's.
    let other = enter("192.0.2.2").unwrap();
    all.leave(first);
    let third = all.enter(&policy(2), at("192.0.2.1"), None).unwrap();
    // A changed limit holds at once.
    assert_eq!(all.enter(&policy(1), at("192.0.2.1"), None), Err(1));
    [second, third, other].into_iter().for_each(|connection| all.leave(connection));
    assert!(all.enter(&policy(1), at("192.0.2.1"), None).is_ok());
}

#[test]
fn a_client_is_an_ipv4_address_or_the_network_of_an_ipv6_address() {
    let mut all = ClientConnections::default();
    let mut is_let_in = |of: &str| all.enter(&policy(1), at(of), None).map(|_| ()).is_ok();
    assert!(is_let_in("2001:db8::1"));
    assert!(!is_let_in("2001:db8::ffff:1"));
    assert!(is_let_in("2001:db8:0:1::1"));
    // A socket of both families shows the same client so.
    assert!(is_let_in("192.0.2.1") && !is_let_in("::ffff:192.0.2.1"));
    assert!(is_let_in("192.0.2.2"));
}

#[test]
fn policies_count_apart() {
    let mut all = ClientConnections::default();
    let other = ConnectionsPolicy { hash: 8, ..policy(1) };
    let _one = all.enter(&policy(1), at("192.0.2.1"), None).unwrap();
    assert!(all.enter(&other, at("192.0.2.1"), None).is_ok());
}

#[test]
fn workers_count_together_and_leave_nothing_behind() {
    let board = Memory::default();
    let board: Option<&dyn Board> = Some(&board);
    let [mut one, mut other] = [(); 2].map(|()| ClientConnections::default());
    let _held = one.enter(&policy(2), at("192.0.2.1"), board).unwrap();
    let _lost = other.enter(&policy(2), at("192.0.2.1"), board).unwrap();
    assert_eq!(one.enter(&policy(2), at("192.0.2.1"), board), Err(2));
    drop(other);
    assert!(one.enter(&policy(2), at("192.0.2.1"), board).is_ok());
}

#[test]
fn a_crowd_of_addresses_leaves_no_crowd_behind() {
    let mut all = ClientConnections::default();
    let kept = all.enter(&policy(1), at("192.0.2.1"), None).unwrap();
    for client in 0..100_000_u32 {
        let address = IpAddr::V4(client.into());
        let connection = all.enter(&policy(1), address, None).unwrap();
        all.leave(connection);
        assert!(all.len() <= FEW);
    }
    assert_eq!(all.enter(&policy(1), at("192.0.2.1"), None), Err(1));
    all.leave(kept);
    // Who has calls under way stays, however many they are.
    let crowd: Vec<_> = (0..10_000_u32)
        .map(|client| all.enter(&policy(1), IpAddr::V4(client.into()), None).unwrap())
        .collect();
    assert!(
        (0..10_000_u32).all(|one| all.enter(&policy(1), IpAddr::V4(one.into()), None).is_err())
    );
    crowd.into_iter().for_each(|connection| all.leave(connection));
    let _one = all.enter(&policy(1), at("198.51.100.1"), None).unwrap();
    let _ = all.enter(&policy(1), at("198.51.100.2"), None).unwrap();
}

// WASI has no threads.
#[cfg(not(target_family = "wasm"))]
#[test]
fn threads_never_have_more_than_there_may_be() {
    let board = Memory::default();
    let under_way = Mutex::new(vec![0_u32; 1]);
    std::thread::scope(|scope| {
        let work = || {
            let mut own = ClientConnections::default();
            for _ in 0..2_000 {
                if let Ok(connection) = own.enter(&policy(3), at("192.0.2.1"), Some(&board)) {
                    {
                        let mut held = under_way.lock().unwrap();
                        held[0] += 1;
                        assert!(held[0] <= 3);
                    }
                    under_way.lock().unwrap()[0] -= 1;
                    own.leave(connection);
                }
            }
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let mut last = ClientConnections::default();
    let left = (0..4).map(|_| last.enter(&policy(3), at("192.0.2.1"), Some(&board)).is_ok());
    assert_eq!(left.collect::<Vec<_>>(), [true, true, true, false]);
}
