use super::*;
use crate::config::Endpoint;
use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use tokio::runtime::{Builder, LocalOptions};

/// A time that no test needs: who waits for it hangs.
const LONG: Duration = Duration::from_secs(60);

fn run<T>(test: impl Future<Output = T>) -> T {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
    let test = async { tokio::time::timeout(LONG / 2, test).await.expect("the test hangs") };
    runtime.block_on(test)
}

/// An address that takes no connection and says nothing: its queue is full.
struct BlackHole {
    address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    fn at(ip: IpAddr, port: u16) -> Self {
        let domain = Domain::for_address((ip, 0).into());
        let socket = || Socket::new(domain, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::new(ip, port).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..6 {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address.into());
            sockets.push(client);
        }
        Self { address, _sockets: sockets }
    }

    fn v4() -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), 0)
    }
}

fn listener() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint::Address(listener.local_addr().unwrap());
    (listener, endpoint)
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn race(endpoints: &[Endpoint], turn: usize) -> Result<SocketAddr, NoConnection> {
    race_by(&Resolver::default(), &WonLast::default(), endpoints, turn, LONG).await
}

async fn race_by(
    resolver: &Resolver,
    won_last: &WonLast,
    endpoints: &[Endpoint],
    turn: usize,
    limit: Duration,
) -> Result<SocketAddr, NoConnection> {
    let (before, from) = endpoints.split_at(turn % endpoints.len().max(1));
    let order = from.iter().chain(before);
    let turn = turn / endpoints.len().max(1);
    let (stream, _) = Race::new(order, turn, resolver, won_last).run(limit).await.end?;
    Ok(stream.peer_addr().unwrap())
}

#[test]
fn endpoints_are_taken_in_turn_and_the_others_stand_in() {
    let (_one, first) = listener();
    let (_two, second) = listener();
    let address = |endpoint: &Endpoint| match endpoint {
        Endpoint::Address(address) => *address,
        Endpoint::Name { .. } => unreachable!(),
    };
    let both = [first, second];
    for turn in 0..4 {
        assert_eq!(run(race(&both, turn)).unwrap(), address(&both[turn % 2]));
    }
    let with_dead = [Endpoint::Address(nobody()), both[1].clone(), Endpoint::Address(nobody())];
    for turn in 0..3 {
        assert_eq!(run(race(&with_dead, turn)).unwrap(), address(&both[1]), "{turn}");
    }
}

#[test]
fn an_address_that_says_nothing_does_not_use_up_the_time() {
    let holes = [BlackHole::v4(), BlackHole::v4(), BlackHole::v4()];
    let (listener, good) = listener();
    let mut endpoints: Vec<_> = holes.iter().map(|hole| Endpoint::Address(hole.address)).collect();
    endpoints.push(good);
    // The limit is far longer than the test may take.
    assert_eq!(run(race(&endpoints, 0)).unwrap(), listener.local_addr().unwrap());
    // Also where the limit is shorter than one usual step.
    let short = Duration::from_millis(240);
    let (resolver, won_last) = (Resolver::default(), WonLast::default());
    let won = run(race_by(&resolver, &won_last, &endpoints, 0, short));
    assert_eq!(won.unwrap(), listener.local_addr().unwrap());
}

#[test]
fn steps_share_the_time_there_is() {
    let resolver = Resolver::default();
    let won_last = WonLast::default();
    let pace = |count: usize, time: u64| {
        let endpoints = vec![Endpoint::Address(nobody()); count];
        let race = Race::new(endpoints.iter(), 0, &resolver, &won_last);
        race.pace(Instant::now() + Duration::from_millis(time))
    };
    assert_eq!(pace(1, 5_000), LONGEST_STEP);
    assert_eq!(pace(10_000, 5_000), SHORTEST_STEP);
    let ten = pace(9, 1_000);
    assert!(ten <= Duration::from_millis(100) && ten > Duration::from_millis(50), "{ten:?}");
    assert_eq!(pace(1, 0), SHORTEST_STEP);
}

#[test]
fn the_loser_is_closed() {
    let hole = BlackHole::v4();
    let (listener, good) = listener();
    let endpoints = [Endpoint::Address(hole.address), good];
    run(async {
        let resolver = Resolver::default();
        let won_last = WonLast::default();
        let race = Race::new(endpoints.iter(), 0, &resolver, &won_last);
        let (stream, _) = race.run(LONG).await.end.unwrap();
        // What is left of the race is this one connection.
        let (peer, _) = listener.accept().unwrap();
        assert_eq!(peer.peer_addr().unwrap(), stream.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err());
    });
}

/// Who did not take a connection, though it had its time.
#[test]
fn those_who_failed_are_named_and_those_who_had_no_time_are_not() {
    let hole = BlackHole::v4();
    let ((_one, good), (_two, unasked)) = (listener(), listener());
    let (hole, nobody) = (Endpoint::Address(hole.address), Endpoint::Address(nobody()));
    let resolver = Resolver::with_hosts("::1 svc\n127.0.0.1 svc\n");
    let won_last = WonLast::default();
    let race = async |endpoints: &[Endpoint], limit| {
        let race = Race::new(endpoints.iter(), 0, &resolver, &won_last);
        let Finish { end, failed } = race.run(limit).await;
        (end.ok().map(|(_, place)| place), failed)
    };
    run(async {
        let refused = [nobody.clone(), good.clone(), unasked.clone()];
        assert_eq!(race(&refused, LONG).await, (Some(1), vec![0]));
        // The other was passed over: it had its step, and said nothing.
        let silent = [hole.clone(), good.clone(), unasked];
        assert_eq!(race(&silent, LONG).await, (Some(1), vec![0]));
        let all = [nobody.clone(), hole];
        assert_eq!(race(&all, Duration::from_millis(50)).await, (None, vec![0, 1]));
        // One that is reached by another of its addresses has not failed.
        let Endpoint::Address(address) = good else { unreachable!() };
        let name = Endpoint::Name { host: "svc".into(), port: address.port() };
        assert_eq!(race(&[nobody, name], LONG).await, (Some(1), vec![0]));
    });
}

#[test]
fn errors_name_every_address_and_why() {
    let (one, other) = (nobody(), nobody());
    let endpoints = [Endpoint::Address(one), Endpoint::Address(other)];
    let Err(NoConnection::Connect(why)) = run(race(&endpoints, 0)) else { panic!("connected") };
    let refused = "Connection refused (os error 111)";
    assert_eq!(why, format!("{one}: {refused}; {other}: {refused}"));

    let hole = BlackHole::v4();
    let endpoints = [Endpoint::Address(one), Endpoint::Address(hole.address)];
    let (resolver, won_last) = (Resolver::default(), WonLast::default());
    let limit = Duration::from_millis(50);
    let lost = run(race_by(&resolver, &won_last, &endpoints, 0, limit));
    let Err(NoConnection::Connect(why)) = lost else { panic!("connected") };
    assert_eq!(why, format!("{one}: {refused}; {}: no answer, within 50ms", hole.address));

    let many = vec![Endpoint::Address(one); 9];
    let Err(NoConnection::Connect(why)) = run(race(&many, 0)) else { panic!("connected") };
    assert!(why.ends_with("; and 5 more"), "{why}");
}

#[test]
fn our_own_want_is_told_from_an_upstreams() {
    let resolver = Resolver::default();
    let won_last = WonLast::default();
    let endpoint = Endpoint::Address("[::1]:1".parse().unwrap());
    let lost = |errors: &[i32], limit| {
        let mut race = Race::new(std::iter::once(&endpoint), 0, &resolver, &won_last);
        for error in errors {
            let attempt = Attempt {
                place: 0,
                address: "[::1]:1".parse().unwrap(),
                connecting: Box::pin(std::future::pending()),
            };
            race.failed(&attempt, io::Error::from_raw_os_error(*error));
        }
        matches!(race.lost(limit), NoConnection::Exhausted(_))
    };
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: whatever the others said.
    for own in [24, 23, 105, 12] {
        assert!(lost(&[own], None) && lost(&[111, own], None) && lost(&[own], Some(LONG)));
    }
    // EADDRNOTAVAIL: no port of ours, or no version 6 here. Where another address was tried and
    // failed, it is that one's failure.
    assert!(lost(&[99], None));
    assert!(!lost(&[99, 111], None) && !lost(&[111, 99], None) && !lost(&[99], Some(LONG)));
    assert!(!lost(&[111], None) && !lost(&[101], None));
}

#[test]
fn four_is_remembered_where_six_lost() {
    let won_last = WonLast::default();
    assert!(!won_last.is_v4());
    won_last.note("192.0.2.1:80".parse().unwrap(), false);
    assert!(!won_last.is_v4());
    won_last.note("192.0.2.1:80".parse().unwrap(), true);
    assert!(won_last.is_v4());
    won_last.note("[2001:db8::1]:80".parse().unwrap(), false);
    assert!(!won_last.is_v4());
}

#[test]
fn a_name_with_a_dead_six_is_reached_by_four() {
    let (hole, good) = loop {
        let hole = BlackHole::at(Ipv6Addr::LOCALHOST.into(), 0);
        if let Ok(good) = TcpListener::bind(("127.0.0.1", hole.address.port())) {
            break (hole, good);
        }
    };
    let resolver = Resolver::with_hosts("::1 svc\n127.0.0.1 svc\n");
    let name = Endpoint::Name { host: "svc".into(), port: hole.address.port() };
    let won_last = WonLast::default();
    let won = run(race_by(&resolver, &won_last, &[name], 0, LONG));
    assert_eq!(won.unwrap(), good.local_addr().unwrap());
    assert!(won_last.is_v4());
}

#[test]
fn a_name_that_is_not_answered_does_not_hold_up_other_endpoints() {
    let (listener, good) = listener();
    let resolver = Resolver::with_silent_server();
    let name = Endpoint::Name { host: "svc.example".into(), port: 1 };
    let won = run(race_by(&resolver, &WonLast::default(), &[name, good], 0, LONG));
    assert_eq!(won.unwrap(), listener.local_addr().unwrap());
}
