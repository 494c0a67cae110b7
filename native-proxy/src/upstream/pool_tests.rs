use super::*;
use crate::clock::Clock;
use crate::upstream::group::Group;
use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};

/// How long connections of these pools may wait unused.
const IDLE: Duration = Duration::from_secs(30);

const NOW: Instant = Instant::from_nanos(100_000_000_000);

fn pool(max_connections: usize, max_pending: usize) -> Rc<Pool> {
    limited(Limits {
        max_connections,
        max_pending,
        idle: IDLE,
        max_requests: None,
        max_requests_per_connection: None,
    })
}

fn limited(limits: Limits) -> Rc<Pool> {
    let pool = Pool::new("echo".into(), limits);
    pool.set_endpoints(vec![endpoint()]);
    pool
}

fn endpoint() -> Rc<Endpoint> {
    let settings = crate::config::builtin("127.0.0.1").unwrap().upstreams.remove(0);
    let group = Arc::new(Group::new(settings, Clock::start(), None));
    Endpoint::new(group.members().list[0].clone(), group, true)
}

/// What a call to the pool's first endpoint gets.
fn take(pool: &Rc<Pool>) -> Option<Checkout> {
    let first = pool.endpoints.borrow()[0].clone();
    pool.take(&first)
}

fn slot(checkout: Option<Checkout>) -> Slot {
    match checkout {
        Some(Checkout::Slot(slot)) => slot,
        other => panic!("{other:?}"),
    }
}

/// A connection of a pool, for as long as the test lasts.
fn connected(mut slot: Slot, test: impl AsyncFnOnce(Box<Connection>)) {
    if slot.endpoint().is_none() {
        // A place from the queue: who gets it chooses where to go.
        let first = slot.pool.endpoints.borrow()[0].clone();
        slot.lead_to(first);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        let stream = TcpStream::connect(address).await.unwrap();
        test(Connection::begin(stream, slot, IDLE.into()).await.unwrap()).await;
    });
}

#[test]
fn an_unused_connection_lives_as_long_as_it_may() {
    let pool = pool(1, 0);
    connected(slot(take(&pool)), async |connection| {
        connection.release(NOW);
        let almost = Duration::from_nanos(IDLE.as_nanos() - 1);
        pool.sweep(NOW + almost);
        // Used again, it may wait as long again.
        let Some(Checkout::Connection(connection)) = take(&pool) else { panic!("it is closed") };
        let later = NOW + IDLE;
        connection.release(later);
        pool.sweep(later + almost);
        assert_eq!(pool.open(), 1);
        pool.sweep(later + IDLE);
        assert_eq!(pool.open(), 0);
    });
}

#[test]
fn the_turn_of_those_who_gave_up_is_the_next_ones() {
    let pool = pool(1, 3);
    let held = slot(take(&pool));
    assert!(take(&pool).is_none());
    let (gone, live, last) = (pool.wait().unwrap(), pool.wait(), pool.wait());
    let (mut live, mut last) = (live.unwrap(), last.unwrap());
    drop(gone);
    drop(held);
    let held = slot(live.receiver.try_recv().ok());
    assert!(last.receiver.try_recv().is_err());
    // A connection that comes back is handed on alike.
    let (gone, mut live) = (pool.wait().unwrap(), pool.wait().unwrap());
    drop((last, gone));
    connected(held, async |connection| {
        connection.release(NOW);
        assert!(matches!(live.receiver.try_recv(), Ok(Checkout::Connection(_))));
    });
}

#[test]
fn those_who_gave_up_take_no_place_in_the_queue() {
    let pool = pool(1, 2);
    let _held = slot(take(&pool));
    let (gone, _live) = (pool.wait().unwrap(), pool.wait().unwrap());
    assert!(pool.wait().is_none());
    drop(gone);
    let _next = pool.wait().unwrap();
    assert!(pool.wait().is_none());
}

/// oracle/python-oracledb 581: each call that gave up waiting added one to the pool, beyond its bound.
#[test]
fn those_who_gave_up_do_not_make_the_pool_larger() {
    let pool = pool(2, 9);
    let held = [slot(take(&pool)), slot(take(&pool))];
    let waiting: Vec<_> = (0..9).map(|_| pool.wait().unwrap()).collect();
    let (gone, sent) = waiting.into_iter().enumerate().partition::<Vec<_>, _>(|(n, _)| n % 2 == 0);
    drop(gone);
    drop(held);
    // Two of those who stay have a slot each; they leave before they look.
    assert_eq!(pool.open(), 2);
    drop(sent);
    assert_eq!(pool.open(), 0);
    let _both = [slot(take(&pool)), slot(take(&pool))];
    assert!(take(&pool).is_none());
}

/// boostorg/mysql 509: a call that was cancelled in the moment after a connection was meant for it left the
/// next one waiting.
#[test]
fn a_connection_for_one_who_left_is_the_next_ones() {
    let pool = pool(2, 2);
    let (held, _late) = (slot(take(&pool)), slot(take(&pool)));
    connected(held, async |connection| {
        let (gone, mut live) = (pool.wait().unwrap(), pool.wait().unwrap());
        connection.release(NOW);
        drop(gone);
        let Ok(Checkout::Connection(connection)) = live.receiver.try_recv() else {
            panic!("it is not handed on")
        };
        let mut gone = Box::pin(pool.returned());
        let mut live = Box::pin(pool.returned());
        assert!(poll(&mut gone).is_pending() && poll(&mut live).is_pending());
        connection.release(NOW);
        drop(gone);
        let Poll::Ready(Some(connection)) = poll(&mut live) else { panic!("it is not handed on") };
        // Nobody is left who waits.
        let mut gone = Box::pin(pool.returned());
        assert!(poll(&mut gone).is_pending());
        connection.release(NOW);
        drop(gone);
        assert!(matches!(take(&pool), Some(Checkout::Connection(_))));
    });
}

fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn at_the_limit_a_connection_to_another_endpoint_is_better_than_waiting() {
    let pool = pool(1, 1);
    let (first, second) = (pool.endpoints.borrow()[0].clone(), endpoint());
    pool.set_endpoints(vec![first.clone(), second.clone()]);
    connected(slot(pool.take(&first)), async |connection| {
        assert_eq!((first.member.calls(), second.member.calls()), (1, 0));
        connection.release(NOW);
        assert_eq!((first.member.calls(), second.member.calls()), (0, 0));
        let Some(Checkout::Connection(connection)) = pool.take(&second) else { panic!("none") };
        // It counts where it leads.
        assert_eq!((first.member.calls(), second.member.calls()), (1, 0));
        connection.release(NOW);
        // Nobody goes to one that is gone, and its connections close.
        first.leave();
        assert_eq!(pool.open(), 0);
        assert!(matches!(pool.take(&second), Some(Checkout::Slot(_))));
    });
}

#[test]
fn a_connection_to_an_endpoint_that_is_gone_makes_room_when_its_call_is_done() {
    let pool = pool(1, 1);
    let first = pool.endpoints.borrow()[0].clone();
    connected(slot(take(&pool)), async |connection| {
        let mut waiting = pool.wait().unwrap();
        first.leave();
        assert_eq!((first.member.calls(), pool.open()), (1, 1));
        connection.release(NOW);
        assert_eq!(first.member.calls(), 0);
        assert!(matches!(waiting.receiver.try_recv(), Ok(Checkout::Slot(_))));
    });
}

#[test]
fn no_more_calls_are_under_way_than_may_be_whatever_connections_there_are() {
    let max_requests = Some(1);
    let pool = limited(Limits { max_requests, ..pool(9, 9).limits });
    connected(slot(take(&pool)), async |connection| {
        assert!(take(&pool).is_none() && pool.is_busy());
        connection.release(NOW);
        // One that waits is none under way.
        assert!(!pool.is_busy());
        let Some(Checkout::Connection(connection)) = take(&pool) else { panic!("none") };
        assert!(take(&pool).is_none());
        drop(connection);
        assert!(matches!(take(&pool), Some(Checkout::Slot(_))));
    });
}

#[test]
fn a_connection_that_is_used_up_makes_room() {
    let most = NonZeroUsize::new(2);
    let pool = limited(Limits { max_requests_per_connection: most, ..pool(1, 1).limits });
    connected(slot(take(&pool)), async |mut connection| {
        connection.requests = 1;
        connection.release(NOW);
        let Some(Checkout::Connection(mut connection)) = take(&pool) else { panic!("none") };
        let mut waiting = pool.wait().unwrap();
        connection.requests = 2;
        connection.release(NOW);
        assert!(matches!(waiting.receiver.try_recv(), Ok(Checkout::Slot(_))));
    });
}
