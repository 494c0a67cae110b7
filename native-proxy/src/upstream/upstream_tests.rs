use super::*;
use bimetal_core::Instant;
use std::collections::BTreeSet;
use std::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

/// To whichever is best.
const ANY: Aim<'static> = Aim::Avoiding(&[]);

/// An upstream of one worker as `text` says, and the endpoints of the process.
fn written(text: &str) -> (Rc<Upstream>, Directory) {
    let settings = config::parse(text, config::Syntax::Yaml).unwrap();
    let directory = Directory::new(Clock::start());
    directory.load(&settings);
    let around =
        Surroundings { resolver: &Rc::default(), directory: &directory, workers: 1, seed: 1 };
    (Rc::new(Upstream::new(settings.upstreams[0].clone(), around)), directory)
}

/// An upstream of one worker with these listeners for endpoints.
fn upstream(listeners: &[TcpListener], more: &str) -> Rc<Upstream> {
    let list: Vec<_> =
        listeners.iter().map(|listener| format!("'{}'", listener.local_addr().unwrap())).collect();
    written(&format!("upstreams: {{echo: {{endpoints: [{}]{more}}}}}", list.join(", "))).0
}

fn listeners(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()
}

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(test)
}

/// Opens a connection to each endpoint and lets them wait.
async fn fill(upstream: &Rc<Upstream>, count: usize) {
    let mut open = Vec::new();
    let mut avoided = Vec::new();
    for _ in 0..count {
        let Some(Checkout::Slot(slot)) = upstream.take(Aim::Avoiding(&avoided)) else {
            panic!("no place")
        };
        avoided.push(slot.endpoint().unwrap().clone());
        open.push(upstream.open(slot, Duration::from_secs(30)).await.unwrap());
    }
    open.into_iter().for_each(|connection| connection.release(Instant::ZERO));
}

#[test]
fn a_call_on_a_connection_that_waits_allocates_nothing() {
    for (count, more) in [(1, ""), (1, ", outlier: {}"), (3, ""), (3, ", outlier: {}")] {
        let listeners = listeners(count);
        let upstream = upstream(&listeners, more);
        run(async {
            fill(&upstream, count).await;
            let call = || {
                let Some(Checkout::Connection(connection)) = upstream.take(ANY) else {
                    panic!("no connection")
                };
                let endpoint = connection.slot.endpoint().unwrap().clone();
                endpoint.saw(Outcome::Success);
                // Of one endpoint alone nobody asks how many there are.
                assert_eq!(endpoint.member.calls(), usize::from(count > 1));
                connection.slot.pool().put(connection, Instant::ZERO);
                assert_eq!(endpoint.member.calls(), 0);
            };
            call();
            let counted = allocation_counter::measure(|| (0..100).for_each(|_| call()));
            assert_eq!(counted.count_total, 0, "{count} {more}");
        });
    }
}

#[test]
fn who_failed_a_call_is_avoided_by_the_next_try_while_there_are_others() {
    let listeners = listeners(3);
    for balance in ["least_request", "round_robin", "random"] {
        let upstream = upstream(&listeners, &format!(", balance: {balance}"));
        run(async {
            let mut seen = BTreeSet::new();
            let mut avoided = Vec::new();
            for _ in 0..3 {
                let Some(Checkout::Slot(slot)) = upstream.take(Aim::Avoiding(&avoided)) else {
                    panic!("none")
                };
                let endpoint = slot.endpoint().unwrap();
                seen.insert(endpoint.member.place.to_string());
                avoided.push(endpoint.clone());
            }
            assert_eq!(seen.len(), 3, "{balance}");
            // All failed it: any is better than none.
            assert!(upstream.take(Aim::Avoiding(&avoided)).is_some());
        });
    }
}

/// One that refuses is stood in for, and the call counts where it went.
#[test]
fn a_connection_counts_where_it_leads() {
    let mut listeners = listeners(2);
    let upstream = upstream(&listeners, ", balance: round_robin, outlier: {}");
    let gone = listeners.remove(0);
    // Nobody else gets its port: a socket that does not listen has it.
    let address = gone.local_addr().unwrap();
    drop(gone);
    let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    held.set_reuse_address(true).unwrap();
    held.bind(&address.into()).unwrap();
    run(async {
        let Some(Checkout::Slot(slot)) = upstream.take(ANY) else { panic!("no place") };
        let chosen = slot.endpoint().unwrap().clone();
        assert_eq!(chosen.member.place, config::Endpoint::Address(address));
        let connection = upstream.open(slot, Duration::from_secs(30)).await.unwrap();
        let other = connection.slot.endpoint().unwrap().clone();
        assert_eq!((chosen.member.calls(), other.member.calls()), (0, 1));
        assert_eq!((chosen.member.streak.failures(), other.member.streak.failures()), (1, 0));
        drop(connection);
        assert_eq!((other.member.calls(), upstream.pool.open()), (0, 0));
    });
}

#[test]
fn who_waited_is_not_sent_to_one_that_was_left_out_meanwhile() {
    let listeners = listeners(2);
    let upstream = upstream(&listeners, ", pool: {max_connections: 1}, outlier: {}");
    run(async {
        let Some(Checkout::Slot(slot)) = upstream.take(ANY) else { panic!("no place") };
        let connection = upstream.open(slot, Duration::from_secs(30)).await.unwrap();
        let bad = connection.slot.endpoint().unwrap().clone();
        let mut waiting = Box::pin(upstream.checkout(Duration::from_secs(30), ANY));
        let noop = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(noop).is_pending());
        // This worker has not looked since, and hands the connection on.
        (0..3).for_each(|_| bad.saw(Outcome::Failure));
        connection.release(Instant::ZERO);
        let Checkout::Slot(slot) = waiting.await.unwrap() else { panic!("sent to it") };
        assert!(!Rc::ptr_eq(slot.endpoint().unwrap(), &bad));
        assert_eq!((bad.member.calls(), upstream.pool.open()), (0, 1));
    });
}

/// Nobody looks names up here: what comes, and when, is the test's.
#[test]
fn a_call_before_the_first_answer_waits_for_it_and_one_after_it_does_not() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = config::Endpoint::Address(listener.local_addr().unwrap());
    let (upstream, directory) = written("upstreams: {echo: {dns: 'svc.example:80'}}");
    let group = directory.groups().remove(0);
    let long = Duration::from_secs(30);
    run(async {
        assert!(upstream.take(ANY).is_none());
        let none = upstream.checkout(Duration::from_millis(5), ANY).await.unwrap_err();
        assert_eq!(none, NoConnection::Connect("svc.example: no address yet".into()));
        group.none_found("there is no such name".into());
        let none = upstream.checkout(long, ANY).await.unwrap_err();
        assert_eq!(none, NoConnection::Connect("there is no such name".into()));
        let (waiting, come) = (upstream.clone(), group.clone());
        come.set(std::iter::empty());
        let call = tokio::task::spawn_local(async move { waiting.checkout(long, ANY).await });
        tokio::task::yield_now().await;
        group.set(std::iter::once(place.clone()));
        let Checkout::Slot(slot) = call.await.unwrap().unwrap() else { panic!("used before") };
        assert_eq!(slot.endpoint().unwrap().member.place, place);
        // An address that goes takes its connections along, when their calls are done.
        let connection = upstream.open(slot, long).await.unwrap();
        group.set(std::iter::once(config::Endpoint::Address(([127, 0, 0, 1], 1).into())));
        assert!(matches!(upstream.take(ANY), Some(Checkout::Slot(_))));
        assert_eq!(upstream.pool.open(), 1);
        connection.release(Instant::ZERO);
        assert_eq!(upstream.pool.open(), 0);
    });
}

/// A call that was admitted for one endpoint goes there or nowhere.
#[test]
fn a_call_that_is_for_one_endpoint_goes_to_no_other() {
    let listeners = listeners(2);
    let upstream = upstream(&listeners, ", pool: {max_connections: 1}, outlier: {}");
    let long = Duration::from_secs(30);
    run(async {
        let Some(Checkout::Slot(slot)) = upstream.take(ANY) else { panic!("no place") };
        let first = slot.endpoint().unwrap().clone();
        let other = upstream.choose(std::slice::from_ref(&first)).unwrap();
        assert!(!Rc::ptr_eq(&first, &other));
        let connection = upstream.open(slot, long).await.unwrap();
        connection.release(Instant::ZERO);
        // One to another endpoint waits, and there is no place for more.
        assert!(upstream.take(Aim::Only(&other)).is_none());
        let Some(Checkout::Connection(connection)) = upstream.take(Aim::Only(&first)) else {
            panic!("it is not used again")
        };
        let waiting = upstream.checkout(long, Aim::Only(&other));
        let (checkout, ()) = tokio::join!(waiting, async { connection.release(Instant::ZERO) });
        let Ok(Checkout::Slot(slot)) = checkout else { panic!("sent elsewhere") };
        assert!(Rc::ptr_eq(slot.endpoint().unwrap(), &other));
        // Nobody stands in for it.
        drop(listeners);
        let none = upstream.open_or_reuse(slot, long, Clock::start()).await.unwrap_err();
        let NoConnection::Connect(why) = none else { panic!("{none:?}") };
        assert!(why.starts_with(&*other.member.name) && !why.contains(';'), "{why}");
    });
}
