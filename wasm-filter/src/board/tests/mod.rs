//! The board on a table that behaves as Envoy's.

mod accounts;
mod fake;
mod faults;
mod places;
mod simulation;
mod values;
mod workers;

use super::*;
use bimetal_core::policy::{Document, Host};
use fake::Fake;

/// A breaker's word: closed, so many failures in a row.
const fn streak(failures: u64) -> u64 {
    failures << 27
}

/// A breaker's word: open until so many milliseconds.
const fn open(until: u64) -> u64 {
    2 | until << 27
}

/// A breaker's word: closed after so many changes, and healthy.
const fn healed(changes: u64) -> u64 {
    changes << 11
}

/// A policy with room for so many scopes, under this name; the pause makes its state another one.
fn policy(name: &str, scopes: u32, pause: u32) -> Arc<Policy> {
    let document = format!(
        r#"{{"version":"v1","policies":[{{"name":"{name}","scope":"authority",
            "scopes":{{"max":{scopes}}},
            "breaker":{{"trip":{{"consecutive_failures":3}},"open":{{"base":"{pause}s"}}}}}}]}}"#
    );
    Document::parse(document.as_bytes(), Host::Wasm).unwrap().policies[0].clone()
}

/// A scope's key as the core makes it.
fn key(policy: &Policy, scope: u32) -> Vec<u8> {
    [policy.hashes.breaker.to_le_bytes().as_slice(), &scope.to_le_bytes()].concat()
}

/// Workers on one store, for each policy.
fn boards(count: usize, policies: &[&Policy]) -> (Fake, Vec<SharedBoard<Fake>>) {
    let fake = Fake::default();
    let boards = (1..).take(count).map(|seed| {
        let board = SharedBoard::new(fake.clone(), b"", seed);
        policies.iter().for_each(|policy| board.expect(policy));
        board
    });
    let boards = boards.collect();
    (fake, boards)
}

/// A scope's words for each worker.
fn all_open(boards: &[SharedBoard<Fake>], key: &[u8], count: usize) -> Vec<Arc<dyn Words>> {
    boards.iter().map(|board| board.open(key, count).unwrap()).collect()
}
