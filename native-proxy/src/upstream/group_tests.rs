use super::*;
use crate::config::{Syntax, parse};
use std::time::Duration;

fn upstream(more: &str) -> Arc<config::Upstream> {
    let endpoints = "endpoints: ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']";
    let text = format!("upstreams: {{echo: {{{endpoints}, {more}}}}}");
    parse(&text, Syntax::Yaml).unwrap().upstreams[0].clone()
}

fn group(more: &str) -> Group {
    Group::new(upstream(more), Clock::start(), None)
}

const OUTLIER: &str = "outlier: {consecutive_failures: 2}, slow_start: 10s";

fn fail(group: &Group, member: &Arc<Member>) {
    (0..2).for_each(|_| group.saw(member, Outcome::Failure));
}

fn usable(group: &Group, now: Instant) -> Vec<usize> {
    group.standing(now, &group.members().list).usable
}

fn secs(secs: u64) -> bimetal_core::Duration {
    bimetal_core::Duration::from_secs(secs)
}

#[test]
fn who_fails_is_left_out_and_comes_back_slowly() {
    let group = group(OUTLIER);
    let mut changes = group.watch();
    let list = group.members().list;
    group.saw(&list[1], Outcome::Failure);
    group.saw(&list[1], Outcome::Neutral);
    assert!(!changes.has_changed().unwrap() && usable(&group, Instant::ZERO) == [0, 1, 2]);
    group.saw(&list[1], Outcome::Failure);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let back = list[1].out_until();
    let before = Instant::from_nanos(back.as_nanos() - 1);
    let standing = group.standing(before, &list);
    assert_eq!(standing, Standing { usable: vec![0, 2], some_return: false, until: back });
    assert_eq!(group.states(), [2, 1, 0]);
    // Half of three is one: the others stay, whatever they do.
    fail(&group, &list[0]);
    assert_eq!((group.ejections(), usable(&group, before)), (1, vec![0, 2]));
    // While it is out, calls from before say nothing: one of them would be the first of the next ejection's.
    group.saw(&list[1], Outcome::Failure);
    assert_eq!((list[1].streak.failures(), list[1].record().ejections()), (0, 1));
    let standing = group.standing(back, &list);
    let until = back + secs(10);
    assert_eq!(standing, Standing { usable: vec![0, 1, 2], some_return: true, until });
    assert_eq!([back + secs(5), until].map(|now| group.share(now, &list[1])), [0.5, 1.0]);
    let standing = group.standing(until, &list);
    assert_eq!((standing.some_return, standing.until), (false, Instant::FAR_FUTURE));
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn without_settings_nobody_is_judged() {
    let group = group("balance: random");
    let list = group.members().list;
    (0..99).for_each(|_| group.saw(&list[0], Outcome::Failure));
    assert_eq!((list[0].streak.failures(), group.ejections()), (0, 0));
}

/// The share that is in is that of those whose checks pass: who fails them is no reason to send calls to who
/// is ejected, but the last one is.
#[test]
fn checks_come_first_and_there_is_always_somebody() {
    let both = format!("{OUTLIER}, health: {{path: /}}");
    let group = group(&both);
    let list = group.members().list;
    let now = group.clock().now();
    group.checked(&list[0], Health::Unhealthy, Some("no"));
    assert_eq!(usable(&group, now), [1, 2]);
    fail(&group, &list[1]);
    assert_eq!(usable(&group, now), [2]);
    assert_eq!(group.states(), [1, 1, 1]);
    group.checked(&list[2], Health::Unhealthy, Some("no"));
    // One passes, and that one is ejected.
    assert_eq!(usable(&group, now), [1]);
    group.checked(&list[1], Health::Unhealthy, Some("no"));
    assert_eq!(usable(&group, now), [0, 2]);
    group.checked(&list[0], Health::Healthy, None);
    assert_eq!(usable(&group, now), [0]);
    // It comes back slowly.
    assert!(group.share(group.clock().now(), &list[0]) < 0.5);
}

/// traefik/traefik 13218: each reload made every server healthy until somebody looked again.
#[test]
fn a_reload_keeps_what_is_known_of_endpoints_that_stay() {
    let both = format!("{OUTLIER}, health: {{path: /}}");
    let before = group(&both);
    let list = before.members().list;
    fail(&before, &list[0]);
    before.checked(&list[1], Health::Unhealthy, Some("no"));
    list[2].enter();
    let clock = before.clock();
    let now = clock.now();
    let changed = upstream(&format!("pool: {{max_connections: 7}}, {both}"));
    let after = Group::new(changed, clock, Some(&before));
    assert_eq!((usable(&after, now), after.ejections()), (vec![2], 1));
    assert_eq!(after.members().list[2].calls(), 1);
    // One that is new waits for its first check. Without checks it begins slowly.
    let places = |group: &Group| {
        group.members().list[1..]
            .iter()
            .map(|one| one.place.clone())
            .chain([Endpoint::Address(([127, 0, 0, 1], 4).into())])
            .collect::<Vec<_>>()
    };
    after.set(places(&after).into_iter());
    assert_eq!((usable(&after, now), after.states()), (vec![1], [1, 0, 2]));
    after.checked(&after.members().list[2], Health::Healthy, None);
    assert_eq!(usable(&after, now), [1, 2]);
    let unchecked = Group::new(upstream(OUTLIER), clock, Some(&before));
    assert_eq!(usable(&unchecked, now), [1, 2]);
    unchecked.set(places(&unchecked).into_iter());
    let list = unchecked.members().list;
    assert!(usable(&unchecked, now) == [0, 1, 2] && unchecked.share(clock.now(), &list[2]) < 1.0);
    // What nobody looks after any more does not stay as it is, also where a check was under way.
    let without = Group::new(upstream("balance: random"), clock, Some(&before));
    before.checked(&before.members().list[2], Health::Unhealthy, Some("late"));
    fail(&before, &before.members().list[0]);
    assert_eq!(usable(&without, clock.now()), [0, 1, 2]);
    assert_eq!(without.states(), [3, 0, 0]);
}

/// Workers that fail at once: however many there are, no more are out than may be, and each is out once.
#[test]
fn the_bound_holds_over_threads() {
    let places: Vec<_> = (1..=9).map(|port| format!("'127.0.0.1:{port}'")).collect();
    let text = format!(
        "upstreams: {{echo: {{endpoints: [{}], outlier: {{max_ejection: 1.0, min_healthy: 0}}}}}}",
        places.join(", ")
    );
    let settings = parse(&text, Syntax::Yaml).unwrap().upstreams[0].clone();
    let group = Group::new(settings, Clock::start(), None);
    let list = group.members().list;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    list.iter().for_each(|member| group.saw(member, Outcome::Failure));
                }
            });
        }
    });
    assert_eq!((group.ejections(), usable(&group, group.clock().now()).len()), (8, 1));
    assert!(list.iter().all(|member| member.record().ejections() <= 1));
}

#[test]
fn the_end_of_an_ejection_is_told_and_the_next_is_waited_for() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let group = group("outlier: {consecutive_failures: 2, base_ejection: 1ms}");
    let list = group.members().list;
    runtime.block_on(async {
        let count = std::cell::Cell::new(0);
        let told = group.tell_of_returns(|member| {
            assert!(Arc::ptr_eq(member, &list[0]));
            count.set(count.get() + 1);
        });
        let failing = async {
            for number in 1..=3 {
                fail(&group, &list[0]);
                while count.get() < number {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        tokio::select! {
            () = told => panic!("it ended"),
            () = failing => {}
        }
    });
    assert_eq!(group.ejections(), 3);
}

/// haproxy/haproxy 51: a server whose name was resolved again was up without a check.
#[test]
fn one_that_went_and_comes_again_is_new() {
    let group = group("health: {path: /}");
    let places: Vec<_> = group.members().list.iter().map(|one| one.place.clone()).collect();
    let list = group.members().list;
    list.iter().for_each(|member| group.checked(member, Health::Healthy, None));
    group.checked(&list[0], Health::Unhealthy, Some("no"));
    group.set(places[1..].iter().cloned());
    group.set(places.iter().cloned());
    assert_eq!(usable(&group, group.clock().now()), [1, 2]);
    assert_eq!(group.members().list[0].health(), Health::New);
}

/// envoyproxy/envoy 29008: the slow start of some ended when others joined.
#[test]
fn who_joins_takes_nothing_from_those_that_return() {
    let group = group(OUTLIER);
    let mut places: Vec<_> = group.members().list.iter().map(|one| one.place.clone()).collect();
    fail(&group, &group.members().list[1]);
    let at = group.members().list[1].out_until() + secs(2);
    let before = group.share(at, &group.members().list[1]);
    places.push(Endpoint::Address(([127, 0, 0, 1], 9).into()));
    group.set(places.into_iter());
    assert_eq!((before, group.share(at, &group.members().list[1])), (0.2, 0.2));
}

/// Whatever calls and checks say, and however settings bound it: there is somebody for a call, nobody who fails
/// its checks beside one who passes them, and nobody who is ejected beside enough who are not.
#[test]
fn whatever_happens_there_is_somebody_for_a_call() {
    let (mut ejected, mut unhealthy, mut panics) = (0, 0, 0);
    for seed in 0..300 {
        let mut rng = bimetal_core::rng::Rng::new(seed);
        let mut below = |most: u64| rng.next_u64() % most;
        let count = 1 + below(6);
        let places: Vec<_> = (1..=count).map(|port| format!("'127.0.0.1:{port}'")).collect();
        let text = format!(
            "upstreams: {{echo: {{endpoints: [{}], outlier: {{consecutive_failures: {}, \
             max_ejection: 0.{}, min_healthy: 0.{}, minimum_hosts: {}}}, health: {{path: /}}}}}}",
            places.join(", "),
            1 + below(3),
            below(10),
            below(10),
            1 + below(4)
        );
        let settings = parse(&text, Syntax::Yaml).unwrap().upstreams[0].clone();
        let outlier = settings.outlier.unwrap();
        let group = Group::new(settings, Clock::start(), None);
        let list = group.members().list;
        for _ in 0..60 {
            let member = &list[usize::try_from(below(count)).unwrap()];
            match below(4) {
                0 => group.checked(member, Health::Healthy, None),
                1 if below(2) == 0 => group.checked(member, Health::Unhealthy, Some("no")),
                2 => group.saw(member, Outcome::Success),
                _ => group.saw(member, Outcome::Failure),
            }
            let now = group.clock().now();
            let usable = usable(&group, now);
            assert!(!usable.is_empty(), "seed {seed}");
            let gets_calls = |place: usize| usable.contains(&place);
            let fit: Vec<_> =
                (0..list.len()).filter(|place| list[*place].health().is_good()).collect();
            let (of, is_sick) =
                if fit.is_empty() { ((0..list.len()).collect(), true) } else { (fit, false) };
            let out = of.iter().filter(|place| list[**place].is_out(now)).count();
            assert!(
                (0..list.len()).all(|place| !gets_calls(place) || of.contains(&place)),
                "seed {seed}"
            );
            let panic = outlier.panics(of.len() - out, of.len());
            let wanted = |place: &&usize| panic || !list[**place].is_out(now);
            assert_eq!(usable.len(), of.iter().filter(wanted).count(), "seed {seed}");
            ejected += usize::from(out > 0);
            unhealthy += usize::from(is_sick);
            panics += usize::from(panic && out > 0);
        }
    }
    // A simulation that never gets anywhere proves nothing.
    assert!(ejected > 1_000 && unhealthy > 100 && panics > 100, "{ejected} {unhealthy} {panics}");
}
