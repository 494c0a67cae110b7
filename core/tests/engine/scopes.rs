//! Scopes and their table.

use super::*;

#[test]
fn scopes_trip_apart() {
    let mut world = World::new(TENANTS);
    world.trip(Request("/echo", "gold"));
    world.call(Request("/echo", "silver"), Success);
    let states = world.counts("*").states;
    assert_eq!(states, [1, 0, 1], "both behind one label");
}

#[test]
fn long_keys_are_kept_apart_and_short() {
    let mut world = World::new(TENANTS);
    let (one, two) = ("x".repeat(60_000) + "1", "x".repeat(60_000) + "2");
    world.trip(Request("/echo", &one));
    world.call(Request("/echo", &two), Success);
    let keys: Vec<_> = world.engine.breakers(world.now).map(|seen| seen.key.to_vec()).collect();
    assert_eq!(keys.len(), 2);
    assert_ne!(keys[0], keys[1]);
    assert!(keys.iter().all(|key| key.len() <= 128), "{:?}", keys.iter().map(Vec::len));
}

#[test]
fn labels_hold_nothing_that_could_break_a_line() {
    let mut world = World::new(r#""scope": "authority", "breaker": {"profile": "origin-study"}"#);
    world.call(ECHO, Success);
    assert_eq!(
        world.counts("echo").decisions[..4],
        [1, 0, 0, 0],
        "lower case and without the port"
    );
}

#[test]
fn a_full_table_gives_up_the_idle_scope_that_was_not_used_for_longest() {
    let mut world = World::new(&format!(r#""scopes": {{"max": 2}}, {TENANTS}"#));
    world.trip(Request("", "open"));
    world.call(Request("", "idle"), Failure);
    world.call(Request("", "idle"), Failure);
    world.call(Request("", "new"), Success);
    world.rejected(Request("", "open"));
    world.call(Request("", "idle"), Failure);
    world.call(Request("", "idle"), Failure);
    assert_eq!(world.counts("*").states, [1, 0, 1], "`idle` began anew, `open` stayed");
}

#[test]
fn a_scope_with_a_call_under_way_stays() {
    let mut world =
        World::new(&format!(r#""scopes": {{"max": 1, "when_full": "pass"}}, {TENANTS}"#));
    let busy = world.ticket(Request("", "busy"));
    let verdict = world.ask(Request("", "other"));
    assert!(matches!(verdict, Verdict::Pass(pass) if pass.why == PassReason::TableFull));
    assert_eq!(world.counts("*").unprotected, 1);
    world.settles_late(busy, Success);
    world.call(Request("", "other"), Success);
}

#[test]
fn a_table_full_of_busy_scopes_shares_one_more() {
    let mut world = World::new(&format!(r#""scopes": {{"max": 1}}, {TENANTS}"#));
    let busy = world.ticket(Request("", "busy"));
    for tenant in ["a", "b", "c"] {
        world.call(Request("", tenant), Failure);
    }
    world.rejected(Request("", "d"));
    world.settles_late(busy, Success);
    world.call(Request("", "d"), Success);
    assert_eq!(world.engine.totals().scopes, 2);
}

#[test]
fn a_table_without_memory_for_one_more_is_full() {
    let mut world = World::new(TENANTS);
    world.engine.set_room(|scopes| scopes < 2);
    world.load(&format!(r#""scopes": {{"max": 100, "when_full": "pass"}}, {TENANTS}"#));
    let busy = ["a", "b"].map(|tenant| world.ticket(Request("", tenant)));
    for tenant in ["c", "d"] {
        let verdict = world.ask(Request("", tenant));
        assert!(matches!(verdict, Verdict::Pass(pass) if pass.why == PassReason::TableFull));
    }
    assert_eq!((world.engine.totals().scopes, world.counts("*").unprotected), (2, 2));
    // An idle one makes room.
    let [busy, other] = busy;
    world.settles_late(busy, Success);
    world.call(Request("", "c"), Success);
    world.settles_late(other, Success);
    assert_eq!(world.engine.totals().scopes, 2);
}

#[test]
fn flooding_keys_resets_nobody() {
    let mut world = World::new(&format!(r#""scopes": {{"max": 100}}, {TENANTS}"#));
    world.trip(Request("", "open"));
    for key in 0..10_000 {
        world.call(Request("", &key.to_string()), Success);
    }
    world.rejected(Request("", "open"));
    assert_eq!(world.engine.totals().scopes, 100);
    assert_eq!(world.counts("*").states, [99, 0, 1]);
}
