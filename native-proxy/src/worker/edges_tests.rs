//! Edges as requests make them.

use super::*;
use crate::account::RequestEnded;
use crate::worker::ended::tests::{request, route, status};
use crate::worker::tests::worker;
use std::net::Ipv4Addr;

fn address(number: u32) -> Option<IpAddr> {
    Some(Ipv4Addr::from(number).into())
}

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

#[test]
fn an_edge_counts_what_its_calls_were() {
    let (worker, _) = worker();
    let edges = Edges::default();
    let of = |caller| RequestEnded {
        route: route(&worker),
        caller: address(caller),
        end: End::Answered,
        status: status(200),
        by: AnsweredBy::Upstream,
        attempts: 1,
        ..request()
    };
    edges.add(&RequestEnded {
        patience: Some(Duration::from_secs(30)),
        duration: Duration::from_millis(3),
        ..of(1)
    });
    edges.add(&RequestEnded { patience: Some(Duration::from_secs(1)), attempts: 3, ..of(1) });
    edges.add(&RequestEnded { status: status(500), warned: Kind::DbTransaction.bit(), ..of(1) });
    edges.add(&RequestEnded { end: End::BrokeOff, ..of(1) });
    edges.add(&RequestEnded { end: End::ClientGone, status: None, ..of(1) });
    let rejected = Decision::Rejected(bimetal_core::decision::Rule::Breaker);
    edges.add(&RequestEnded {
        decision: rejected,
        status: status(503),
        by: AnsweredBy::Proxy,
        ..of(1)
    });
    edges.add(&of(2));
    // Without a route nobody was called.
    edges.add(&RequestEnded { route: None, ..of(3) });
    let all = edges.all();
    assert_eq!(all.len(), 2);
    let edge = all.iter().find(|edge| edge.caller == address(1)).unwrap();
    let counts = [edge.calls, edge.rejected, edge.failed, edge.left, edge.retries];
    assert_eq!(counts, [6, 1, 2, 1, 2]);
    assert_eq!(edge.latency.counts.iter().sum::<u64>(), 5, "not of what was turned away");
    assert_eq!(edge.patience, Some((Duration::from_secs(1), Duration::from_secs(30))));
    assert_eq!(edge.warnings, [0, 0, 1]);
    assert_eq!((&*edge.route, &*edge.upstream), ("*/echo", "echo"));
}

#[test]
fn callers_are_bounded_and_idle_ones_make_room() {
    let (worker, _) = worker();
    let edges = Edges::default();
    let of = |caller, begun| RequestEnded {
        route: route(&worker),
        caller: address(caller),
        begun: at(begun),
        ..request()
    };
    for caller in 0..1_000 {
        edges.add(&of(caller, 1));
    }
    let all = edges.all();
    assert_eq!(all.len(), MOST_EDGES + 1);
    let others = all.iter().find(|edge| edge.caller.is_none()).unwrap();
    assert_eq!(others.calls, 1_000 - MOST_EDGES as u64);
    // The first caller is still busy, the others are not.
    edges.add(&of(0, 700));
    edges.add(&of(5_000, 701));
    let mut callers: Vec<_> = edges.all().into_iter().map(|edge| edge.caller).collect();
    callers.sort_unstable();
    assert_eq!(callers, [None, address(0), address(5_000)]);
}

#[test]
fn edges_of_workers_are_added_up() {
    let (worker, _) = worker();
    let seen = |patience, begun| {
        let edges = Edges::default();
        let patience = Some(Duration::from_secs(patience));
        let (route, begun) = (route(&worker), at(begun));
        edges.add(&RequestEnded { route, patience, begun, warned: 1, ..request() });
        edges.all().remove(0)
    };
    let mut edge = seen(3, 5);
    edge.merge(&seen(1, 9));
    edge.merge(&seen(2, 2));
    assert_eq!((edge.calls, edge.warnings[0], edge.last), (3, 3, at(9)));
    assert_eq!(edge.patience, Some((Duration::from_secs(1), Duration::from_secs(3))));
}
