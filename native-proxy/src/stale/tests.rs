//! What is kept and given again, on clocks of the test's own.

use super::*;
use std::time::Duration as Span;

const LIMITS: StalePolicy = StalePolicy {
    max_age: Duration::from_secs(60),
    max_bytes: 100,
    max_total: 4000,
    max_entries: 3,
};

type Pairs = &'static [(&'static str, &'static str)];

fn headers(pairs: Pairs) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in pairs {
        all.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    all
}

fn asked(path: &'static str, pairs: Pairs) -> Asked {
    let uri = Uri::from_static(path);
    let host = Some(HeaderValue::from_static("shop"));
    let mut headers = headers(pairs);
    headers.insert(HOST, HeaderValue::from_static("shop"));
    let target = Arc::new(Target { upstream: "echo".into(), host, uri });
    Asked { target, headers, is_head: false }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

struct World {
    store: Arc<StaleAnswers>,
    policy: Arc<str>,
}

impl World {
    fn new() -> Self {
        Self { store: Arc::default(), policy: "p".into() }
    }

    fn begin(&self, now: u64, asked: &Asked, answer: Pairs) -> Option<Filling> {
        let now = (at(now), SystemTime::UNIX_EPOCH + Span::from_secs(1_000_000 + now));
        let head = (StatusCode::OK, &headers(answer));
        self.store.begin((&self.policy, 1, LIMITS), now, asked, head, None)
    }

    /// Keeps `body`; whether that was done.
    fn keep(&self, now: u64, asked: &Asked, answer: Pairs, body: &str) -> bool {
        let Some(mut filling) = self.begin(now, asked, answer) else { return false };
        filling.add(body.as_bytes());
        filling.finish();
        self.find(now, asked).is_some_and(|found| found == body)
    }

    fn find(&self, now: u64, asked: &Asked) -> Option<String> {
        let (_, _, body) = self.store.find("p", LIMITS, at(now), asked)?;
        Some(String::from_utf8(body.to_vec()).unwrap())
    }

    /// What the store holds, counted anew.
    fn held(&self) -> (usize, usize) {
        let policies = self.store.lock();
        let Some(answers) = policies.get("p") else { return (0, 0) };
        let all: Vec<_> = answers.by_target.values().flatten().collect();
        assert_eq!(all.iter().map(|one| one.bytes).sum::<usize>(), answers.bytes);
        assert_eq!(all.len(), answers.order.len());
        (all.len(), answers.bytes)
    }
}

#[test]
fn an_answer_is_given_until_it_is_too_old() {
    let world = World::new();
    assert!(world.keep(10, &asked("/a", &[]), &[("age", "20"), ("link", "x")], "body"));
    let (status, headers, _) = world.store.find("p", LIMITS, at(50), &asked("/a", &[])).unwrap();
    assert_eq!(
        (status, &headers[AGE], &headers["link"]),
        (StatusCode::OK, &HeaderValue::from_static("60"), &HeaderValue::from_static("x"),)
    );
    assert_eq!(world.find(51, &asked("/a", &[])), None, "older than max_age");
    for other in ["/b", "/a?x"] {
        assert_eq!(world.find(10, &asked(other, &[])), None, "{other}");
    }
    assert!(world.store.find("q", LIMITS, at(10), &asked("/a", &[])).is_none());
}

#[test]
fn what_is_for_one_alone_is_not_kept() {
    for (request, answer) in [
        (&[][..], &[("cache-control", "no-store")][..]),
        (&[], &[("cache-control", "max-age=9, Private")]),
        (&[], &[("set-cookie", "a=b"), ("cache-control", "public")]),
        (&[], &[("vary", "*")]),
        (&[], &[("vary", "accept, *")]),
        (&[], &[("age", "18446744073709551615")]),
        (&[], &[("age", "-1")]),
        (&[], &[("content-range", "bytes 0-1/5")]),
        (&[("cache-control", "No-Store")], &[]),
        (&[("authorization", "Bearer x")], &[("cache-control", "max-age=9")]),
        (&[("cookie", "a=b")], &[("cache-control", "max-age=9")]),
        (&[("range", "bytes=0-1")], &[]),
    ] {
        let world = World::new();
        assert!(!world.keep(0, &asked("/a", request), answer, "x"), "{request:?} {answer:?}");
        assert_eq!(world.held().0, 0, "{request:?} {answer:?}");
    }
    for (request, answer) in [
        (&[][..], &[][..]),
        (&[("authorization", "Bearer x")], &[("cache-control", "public")]),
        (&[("cookie", "a=b")], &[("cache-control", "public, max-age=9")]),
    ] {
        assert!(World::new().keep(0, &asked("/a", request), answer, "x"), "{request:?} {answer:?}");
    }
}

/// nodejs/undici 5511, jonbaldie/varnish 71: stale answers were given although their servers forbid it.
#[test]
fn what_its_server_wants_validated_is_given_while_it_is_fresh() {
    for forbids in ["Must-Revalidate", "proxy-revalidate", "s-maxage=5"] {
        let world = World::new();
        let answer: &'static str = format!("max-age=5, {forbids}").leak();
        let answer: Pairs = vec![("cache-control", answer)].leak();
        let world_keeps = world.begin(0, &asked("/a", &[]), answer);
        world_keeps.unwrap().finish();
        let fresh = world.find(4, &asked("/a", &[])).is_some();
        // The crate takes proxy-revalidate for stale at once.
        assert_eq!(fresh, forbids != "proxy-revalidate", "{forbids}");
        assert_eq!(world.find(6, &asked("/a", &[])), None, "{forbids}");
    }
    let world = World::new();
    assert!(world.keep(0, &asked("/a", &[]), &[("cache-control", "max-age=5")], "x"));
    assert!(world.find(30, &asked("/a", &[])).is_some(), "nobody forbids it");
    let world = World::new();
    assert!(!world.keep(0, &asked("/a", &[]), &[("cache-control", "no-cache")], "x"));
}

#[test]
fn who_wants_none_of_that_age_gets_none() {
    let world = World::new();
    assert!(world.keep(0, &asked("/a", &[]), &[("cache-control", "max-age=5")], "x"));
    for (request, given) in [
        (&[("cache-control", "no-cache")][..], false),
        (&[("cache-control", "max-age=0")], false),
        (&[("cache-control", "max-age=3")], false),
        (&[("cache-control", "max-age=40")], true),
        (&[("cache-control", "min-fresh=1")], false),
        (&[("pragma", "no-cache")], false),
        (&[("cache-control", "max-stale=9")], true),
    ] {
        assert_eq!(world.find(30, &asked("/a", request)).is_some(), given, "{request:?}");
    }
}

#[test]
fn variants_are_told_apart_by_all_lines_of_their_fields() {
    let world = World::new();
    let varies: Pairs = &[("vary", "Accept-Language"), ("vary", "accept")];
    let german: Pairs = &[("accept-language", "de"), ("accept-language", "at")];
    let only_german: Pairs = &[("accept-language", "de")];
    assert!(world.keep(0, &asked("/a", german), varies, "servus"));
    assert_eq!(world.find(1, &asked("/a", only_german)), None);
    assert_eq!(world.find(1, &asked("/a", &[])), None);
    assert!(world.keep(1, &asked("/a", only_german), varies, "tag"));
    assert_eq!(world.find(2, &asked("/a", german)).unwrap(), "servus");
    assert!(world.keep(3, &asked("/a", german), varies, "gruezi"));
    assert_eq!(
        (world.find(3, &asked("/a", german)).unwrap(), world.held().0),
        ("gruezi".into(), 2)
    );
}

#[test]
fn bounds_hold_and_the_oldest_goes_first() {
    let world = World::new();
    for (now, path) in ["/a", "/b", "/c"].into_iter().enumerate() {
        assert!(world.keep(now as u64, &asked(path, &[]), &[], "x"));
    }
    assert!(world.keep(3, &asked("/a", &[]), &[], "y"), "kept anew");
    assert!(world.keep(4, &asked("/d", &[]), &[], "x"));
    assert_eq!(world.held().0, 3);
    assert_eq!(world.find(4, &asked("/b", &[])), None, "the oldest");
    assert_eq!(world.find(4, &asked("/a", &[])).unwrap(), "y");
    // What nobody may be given any more takes no room.
    assert!(world.keep(64, &asked("/e", &[]), &[], "x"));
    assert_eq!(world.held().0, 2, "of the second 4 and of the second 64");
    // By bytes.
    let long: &'static str = "h".repeat(1500).leak();
    let heavy: Pairs = vec![("x-a", long)].leak();
    assert!(world.keep(64, &asked("/f", &[]), heavy, "x"));
    let (count, bytes) = world.held();
    assert!(count == 1 && bytes <= 4000, "{count} {bytes}");
    // One that is beyond the bound alone is not kept.
    let longer: &'static str = "h".repeat(4000).leak();
    assert!(!world.keep(65, &asked("/g", &[]), vec![("x-a", longer)].leak(), "x"));
    assert_eq!(world.held().0, 0);
}

#[test]
fn half_an_answer_is_none() {
    let world = World::new();
    let mut filling = world.begin(0, &asked("/a", &[]), &[]).unwrap();
    filling.add(b"half");
    drop(filling);
    assert_eq!((world.find(0, &asked("/a", &[])), world.held().0), (None, 0));
    let mut filling = world.begin(0, &asked("/a", &[]), &[]).unwrap();
    [(); 3].iter().for_each(|()| filling.add(&[0; 40]));
    filling.finish();
    assert_eq!(world.held().0, 0, "longer than max_bytes");
}

#[test]
fn one_call_at_a_time_keeps_the_answer_of_a_target() {
    let world = World::new();
    let first = world.begin(0, &asked("/a", &[]), &[]);
    assert!(first.is_some() && world.begin(0, &asked("/a", &[]), &[]).is_none());
    drop(first);
    assert!(world.begin(0, &asked("/a", &[]), &[]).is_some());
}

#[test]
fn what_was_changed_or_belongs_to_another_policy_is_gone() {
    let world = World::new();
    assert!(world.keep(0, &asked("/a", &[]), &[], "x"));
    world.store.changed(&asked("/b", &[]).target);
    assert!(world.find(0, &asked("/a", &[])).is_some());
    world.store.changed(&asked("/a", &[]).target);
    assert!(world.find(0, &asked("/a", &[])).is_none());
    assert!(world.keep(0, &asked("/a", &[]), &[], "x"));
    let document =
        |json: &str| Document::parse(json.as_bytes(), bimetal_core::policy::Host::Native).unwrap();
    // Of that name, and yet another one.
    world.store.load(&document(r#"{"policies": [{"name": "p"}]}"#));
    assert!(world.find(0, &asked("/a", &[])).is_none());
}

#[test]
fn an_answer_that_was_being_read_while_something_changed_is_not_kept() {
    let world = World::new();
    let old = world.begin(0, &asked("/a", &[]), &[]).unwrap();
    assert!(world.store.has_any());
    world.store.changed(&asked("/a", &[]).target);
    let mut new = world.begin(1, &asked("/a", &[]), &[]).unwrap();
    old.finish();
    assert_eq!(world.find(1, &asked("/a", &[])), None);
    new.add(b"new");
    new.finish();
    assert_eq!(world.find(1, &asked("/a", &[])).unwrap(), "new");
}
