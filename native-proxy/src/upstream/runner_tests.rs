use super::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A runner of one name, and what its look-up tells.
fn told(found: Found) -> (Runner<'static>, watch::Sender<Found>) {
    let name = Endpoint::Name { host: "svc".into(), port: 80 };
    let endpoint: &'static Endpoint = Box::leak(Box::new(name));
    let (tell, receiver) = watch::channel(found);
    let mut runner = Runner::new(endpoint, false);
    runner.names = Names::of(receiver);
    (runner, tell)
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn all(runner: &mut Runner<'_>) -> Vec<IpAddr> {
    std::iter::from_fn(|| runner.next()).map(|address| address.ip()).collect()
}

#[test]
fn families_alternate_beginning_with_six() {
    let found = Found {
        v6: Some(vec![v6(1), v6(2), v6(3)]),
        v4: Some(vec![v4(1), v4(2)]),
        is_over: true,
        ..Found::default()
    };
    let (mut runner, _tell) = told(found.clone());
    assert_eq!(runner.take_found(0), (true, None));
    assert_eq!(all(&mut runner), [v6(1), v4(1), v6(2), v4(2), v6(3)]);
    // Within a family they are taken in turn.
    let (mut runner, _tell) = told(found.clone());
    runner.take_found(4);
    assert_eq!(all(&mut runner), [v6(2), v4(1), v6(3), v4(2), v6(1)]);
    // Where version 6 lost before, it comes second.
    let (mut runner, _tell) = told(found);
    runner.v4_next = true;
    runner.take_found(0);
    assert_eq!(all(&mut runner), [v4(1), v6(1), v4(2), v6(2), v6(3)]);
}

#[test]
fn four_waits_for_six_a_little_and_six_may_come_later() {
    let (mut runner, tell) = told(Found { v4: Some(vec![v4(1), v4(2)]), ..Found::default() });
    assert_eq!(runner.take_found(0), (true, None));
    assert!(runner.waits_until().is_some());
    // That there is none of version 6 ends the wait at once.
    let (mut other, _) =
        told(Found { v4: Some(vec![v4(1)]), v6: Some(Vec::new()), ..Found::default() });
    other.take_found(0);
    assert_eq!(other.waits_until(), None);
    assert_eq!(runner.next().map(|address| address.ip()), Some(v4(1)));
    tell.send_modify(|found| found.v6 = Some(vec![v6(1)]));
    assert_eq!(runner.take_found(0), (true, None));
    assert_eq!(all(&mut runner), [v6(1), v4(2)]);
    tell.send_modify(|found| found.is_over = true);
    assert_eq!(runner.take_found(0), (false, None));
    assert!(matches!(runner.names, Names::Over));
}

#[test]
fn a_name_without_address_and_a_look_up_that_died_are_told() {
    let why = Some("there is no such name".to_owned());
    let (mut runner, _tell) = told(Found { is_over: true, why, ..Found::default() });
    let told_why = (false, Some(("cannot resolve svc: there is no such name".to_owned(), false)));
    assert_eq!(runner.take_found(0), told_why);
    let (mut runner, tell) = told(Found::default());
    drop(tell);
    let (_, why) = runner.take_found(0);
    assert_eq!(why.unwrap().0, "cannot resolve svc: the look-up broke off");
}
