//! Tables as the workers' answers make them.

use super::*;
use bimetal_core::Duration;
use bimetal_core::breaker::{Cause, Held, View};

fn view(state: State, generation: u32, since: u64) -> View {
    View {
        state,
        since: Instant::from_millis(since),
        cause: Some(Cause::ConsecutiveFailures { count: 3 }),
        generation,
        level: 0,
        calls: 3,
        failures: 3,
        slow: 0,
        next_probe: None,
        held: None,
    }
}

fn of(scope: &str, worker: usize, view: View) -> BreakerRow {
    let at = Instant::ZERO + Duration::from_secs(100);
    BreakerRow { policy: "p".into(), scope: scope.into(), worker, at, view }
}

fn tables(rows: &[BreakerRow]) -> Tables {
    let mut tables = Tables::default();
    tables.breakers(rows.iter());
    tables
}

fn told(tables: &Tables, before: &Tables) -> Value {
    tables.changes(before).remove("breakers").unwrap_or_default()
}

#[test]
fn workers_have_one_breaker_and_the_newest_state_counts() {
    let rows = [
        of("a", 0, view(State::Open, 5, 1_000)),
        of("a", 1, view(State::Open, 5, 900)),
        of("a", 2, view(State::Closed, 4, 10)),
    ];
    let told = told(&tables(&rows), &Tables::default());
    let row = &told["set"][0];
    assert_eq!(told["set"].as_array().unwrap().len(), 1);
    assert_eq!((row["state"].as_str(), row["since_ms"].as_f64()), (Some("open"), Some(900.0)));
    assert_eq!(row["workers"], json!({"open": 2, "half_open": 0, "closed": 1}));
    assert_eq!(row["why"], "3 consecutive failures");
}

#[test]
fn only_what_changed_is_told() {
    let closed = view(State::Closed, 0, 0);
    let before = tables(&[of("a", 0, closed), of("b", 0, closed), of("c", 0, closed)]);
    assert_eq!(told(&before, &before), Value::Null);
    let now =
        tables(&[of("a", 0, closed), of("b", 0, view(State::Open, 1, 5)), of("d", 0, closed)]);
    let change = told(&now, &before);
    let scopes: Vec<_> =
        change["set"].as_array().unwrap().iter().map(|row| &row["scope"]).collect();
    assert_eq!(scopes, ["b", "d"]);
    assert_eq!(change["gone"], json!([r#"["/breakers/p/c"]"#]));
    // What is the same later is not told again, though its time passed.
    let mut later = of("b", 0, view(State::Open, 1, 5));
    later.at += Duration::from_secs(60);
    let later = tables(&[of("a", 0, closed), later, of("d", 0, closed)]);
    assert_eq!(told(&later, &now), Value::Null);
}

#[test]
fn what_is_not_closed_comes_first_where_there_are_too_many() {
    let closed = |number: usize| of(&format!("{number:05}"), 0, view(State::Closed, 0, 0));
    let mut rows: Vec<_> = (0..MOST_BREAKERS + 10).map(closed).collect();
    rows.push(of("y", 0, view(State::HalfOpen, 2, 5)));
    rows.push(of("z", 0, View { held: Some(Held::Closed), ..view(State::Closed, 1, 5) }));
    let tables = tables(&rows);
    assert_eq!(tables.hidden, 12);
    let told = told(&tables, &Tables::default());
    let set = told["set"].as_array().unwrap();
    assert_eq!(set.len(), MOST_BREAKERS);
    for scope in ["y", "z", "00000"] {
        assert!(set.iter().any(|row| row["scope"] == scope), "{scope}");
    }
}
