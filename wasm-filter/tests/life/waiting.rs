//! Calls that wait for a slot.

use crate::fake::Fake;
use crate::{END_OF_STREAM, MORE_FOLLOWS, answer, flags, pass, plugin};
use bimetal_filter::call::Call;
use bimetal_filter::root::Root;
use serde_json::json;

/// One at a time, and so many may wait, for a second.
fn queue(name: &str, max: u32) -> (Fake, Root<Fake>) {
    plugin(name, json!({"concurrency": {"max": 1, "queue": {"max": max, "max_wait": "1s"}}}))
}

fn ends_well(host: &Fake, call: &mut Call<Fake>) {
    answer(host, "200", "via_upstream");
    call.response_headers(END_OF_STREAM);
    call.log();
}

fn let_go(host: &Fake) -> Vec<u32> {
    host.set(|state| state.let_go.clone())
}

#[test]
fn who_waits_goes_on_with_the_end_of_another() {
    let (host, root) = queue("goes on", 9);
    let mut calls = [1, 2, 3].map(|context| root.call(context));
    let goes = calls.each_mut().map(|call| call.request_headers(END_OF_STREAM));
    assert_eq!(goes, [true, false, false]);
    assert_eq!(host.events("decision").len(), 1);
    let [first, second, third] = &mut calls;
    ends_well(&host, first);
    assert_eq!(let_go(&host), [2]);
    // Its own callbacks begin where they were.
    ends_well(&host, second);
    assert_eq!(let_go(&host), [2, 3]);
    // Its client leaves once it is under way.
    flags(&host, &["DC"]);
    third.log();
    assert_eq!(host.outcomes(), ["success", "success", "neutral"]);
    host.set(|state| assert_eq!((&*state.visits, state.entered), (&[2, 3][..], None)));
}

#[test]
fn its_upload_is_the_clients_time_also_behind_the_wait() {
    let (host, root) = queue("upload", 9);
    let (mut first, mut second) = (root.call(1), root.call(2));
    assert!(first.request_headers(END_OF_STREAM));
    assert!(!second.request_headers(MORE_FOLLOWS));
    ends_well(&host, &mut first);
    // Of a second beyond `slower_than` nothing is the upstream's.
    pass(&host, 5_000);
    second.request_body(END_OF_STREAM);
    ends_well(&host, &mut second);
    assert_eq!(host.outcomes(), ["success", "success"]);
}

#[test]
fn who_waits_in_vain_is_answered_by_the_tick() {
    let (host, mut root) = queue("in vain", 9);
    let (mut first, mut second) = (root.call(1), root.call(2));
    assert!(first.request_headers(END_OF_STREAM));
    assert!(!second.request_headers(END_OF_STREAM));
    pass(&host, 999);
    root.tick();
    assert_eq!(host.set(|state| state.reply.take()), None);
    pass(&host, 1);
    root.tick();
    let reply = host.set(|state| state.reply.take()).unwrap();
    assert_eq!((reply.status, &*reply.details), (503, "bimetal_echo_concurrency"));
    host.set(|state| assert_eq!((&*state.visits, state.entered), (&[2][..], None)));
    answer(&host, "503", "bimetal_echo_concurrency");
    second.response_headers(MORE_FOLLOWS);
    second.log();
    ends_well(&host, &mut first);
    assert_eq!((host.outcomes(), let_go(&host)), (vec!["slow".to_owned()], vec![]));
}

/// Envoy stops the request that it is at where a local reply is asked for: so who is turned away within
/// another one's callback is answered by the next tick.
#[test]
fn nobody_is_answered_within_another_ones_callback() {
    let (host, mut root) = queue("within", 9);
    let (mut first, mut second) = (root.call(1), root.call(2));
    assert!(first.request_headers(END_OF_STREAM));
    assert!(!second.request_headers(END_OF_STREAM));
    // It opens the breaker.
    answer(&host, "500", "via_upstream");
    first.response_headers(END_OF_STREAM);
    assert_eq!(host.set(|state| state.reply.take()), None);
    assert_eq!(host.events("decision").len(), 2);
    root.tick();
    let reply = host.set(|state| state.reply.take()).unwrap();
    assert_eq!(&*reply.details, "bimetal_echo_breaker");
    root.tick();
    assert_eq!(host.set(|state| state.reply.take()), None);
    assert_eq!(let_go(&host), [0; 0]);
}

#[test]
fn who_leaves_is_forgotten() {
    for dropped in [false, true] {
        let (host, mut root) = queue(&format!("leaves {dropped}"), 9);
        let (mut first, mut second, mut third) = (root.call(1), root.call(2), root.call(3));
        assert!(first.request_headers(END_OF_STREAM));
        assert!(!second.request_headers(END_OF_STREAM));
        assert!(!third.request_headers(END_OF_STREAM));
        let mut second = Some(second);
        if dropped {
            second = None;
        } else if let Some(second) = &mut second {
            flags(&host, &["DC"]);
            second.log();
        }
        flags(&host, &[]);
        ends_well(&host, &mut first);
        assert_eq!(let_go(&host), [3]);
        ends_well(&host, &mut third);
        drop(second);
        root.tick();
        assert_eq!(host.find_metric(&["calls_outstanding"]).unwrap_or(0), 0);
        assert!(root.call(4).request_headers(END_OF_STREAM), "the slot is free");
    }
}

#[test]
fn a_full_queue_drops_its_oldest() {
    let (host, mut root) = queue("full", 1);
    let (mut first, mut second, mut third) = (root.call(1), root.call(2), root.call(3));
    assert!(first.request_headers(END_OF_STREAM));
    assert!(!second.request_headers(END_OF_STREAM));
    assert!(!third.request_headers(END_OF_STREAM));
    root.tick();
    let reply = host.set(|state| state.reply.take()).unwrap();
    assert_eq!(&*reply.details, "bimetal_echo_concurrency");
    host.set(|state| assert_eq!(state.visits.last(), Some(&2)));
    ends_well(&host, &mut first);
    assert_eq!(let_go(&host), [3]);
}

/// Nobody hangs for a host call that failed: it is made again by the tick.
#[test]
fn a_host_that_does_not_let_a_request_go_is_asked_again() {
    // Where it could not even be asked, it asks when its time is over.
    for (failing, millis) in [("go_on", 0), ("enter", 1_000)] {
        let (host, mut root) = queue(&format!("again {failing}"), 9);
        let (mut first, mut second) = (root.call(1), root.call(2));
        assert!(first.request_headers(END_OF_STREAM));
        assert!(!second.request_headers(END_OF_STREAM));
        host.set(|state| state.failing.insert(failing));
        ends_well(&host, &mut first);
        assert_eq!(let_go(&host), [0; 0]);
        host.set(|state| state.failing.clear());
        pass(&host, millis);
        root.tick();
        assert_eq!(let_go(&host), [2], "{failing}");
        ends_well(&host, &mut second);
        assert_eq!(host.outcomes().len(), 2, "{failing}");
    }
}

/// What it waited is gone of what its caller has.
#[test]
fn a_callers_time_goes_on_while_it_waits() {
    let more = json!({"concurrency": {"max": 1, "queue": {"max": 9, "max_wait": "1s"}},
        "deadline": {"margin": "0s"}});
    let (host, root) = plugin("waits with a deadline", more);
    let (mut first, mut second) = (root.call(1), root.call(2));
    assert!(first.request_headers(END_OF_STREAM));
    host.header(bimetal_filter::port::Map::Request, "x-request-deadline-ms", "300");
    assert!(!second.request_headers(END_OF_STREAM));
    pass(&host, 100);
    ends_well(&host, &mut first);
    assert_eq!(let_go(&host), [2]);
    let told = host.set(|state| {
        let name = "x-request-deadline-ms".to_owned();
        state.headers.get(&("request", name)).cloned()
    });
    assert_eq!(told.as_deref(), Some(&b"200"[..]));
}

#[test]
fn how_many_wait_is_published() {
    let (host, mut root) = queue("length", 9);
    let mut calls = [1, 2, 3].map(|context| root.call(context));
    let goes = calls.each_mut().map(|call| call.request_headers(END_OF_STREAM));
    assert_eq!(goes, [true, false, false]);
    root.tick();
    let length = |host: &Fake| host.metric(&["policy=.=echo", "bimetal_queue_length"]);
    assert_eq!(length(&host), 2);
    let [first, second, third] = &mut calls;
    ends_well(&host, first);
    root.tick();
    assert_eq!(length(&host), 1);
    ends_well(&host, second);
    ends_well(&host, third);
    root.tick();
    assert_eq!(length(&host), 0);
}
