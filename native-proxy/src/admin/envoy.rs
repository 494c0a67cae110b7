//! What an Envoy's page of metrics says of the filter in it, as tables of the dashboard.
//!
//! The filter has no listener of its own, so there is what it counts and no more: states by worker, decisions, the
//! changes of state since it began. No cause of the present state, no window, no time of the next probe.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

/// One line of the page: name, labels, value.
type Line = (String, BTreeMap<String, String>, f64);

/// What was counted before, for rates.
#[derive(Debug, Default)]
pub(super) struct Rates(Option<(Instant, Totals)>);

/// Decisions by policy.
type Totals = BTreeMap<String, BTreeMap<String, f64>>;

/// What the dashboard shows of it, at `now`.
pub(super) fn picture(page: &str, rates: &mut Rates, now: Instant) -> Value {
    let lines: Vec<Line> = page.lines().filter_map(line).collect();
    let of = |name: &'static str| lines.iter().filter(move |line| line.0.ends_with(name));
    let label = |line: &Line, name: &str| line.1.get(name).cloned().unwrap_or_default();
    let place = |line: &Line| (label(line, "policy"), label(line, "scope"));
    let mut states: BTreeMap<_, Map<String, Value>> = BTreeMap::new();
    for line in of("bimetal_breaker_replicas") {
        let counts = states.entry(place(line)).or_default();
        counts.insert(label(line, "state"), json!(line.2));
    }
    let mut moves: BTreeMap<_, f64> = BTreeMap::new();
    for line in of("bimetal_breaker_transitions_total") {
        *moves.entry(place(line)).or_default() += line.2;
    }
    let breakers = states.into_iter().filter_map(|((policy, scope), workers)| {
        let count = |state: &str| workers.get(state).and_then(Value::as_f64).unwrap_or(0.0);
        // The worst: a breaker that is open anywhere is one to look at.
        let state = ["open", "half_open", "closed"].into_iter().find(|one| count(one) > 0.0)?;
        let moves = moves.get(&(policy.clone(), scope.clone())).copied().unwrap_or(0.0);
        let why = format!("{moves} changes so far");
        Some(json!({
            "id": json!([policy, scope]).to_string(),
            "policy": policy,
            "scope": scope,
            "state": state,
            "workers": workers,
            "why": why,
            "held": null,
        }))
    });
    let anomalies = of("bimetal_anomalies_total").map(|line| {
        let ((policy, scope), signal) = (place(line), label(line, "signal"));
        json!({
            "id": json!([policy, scope, signal]).to_string(),
            "policy": policy, "scope": scope, "signal": signal, "total": line.2,
        })
    });
    let mut totals = Totals::new();
    for line in of("bimetal_requests_total") {
        let decisions = totals.entry(label(line, "policy")).or_default();
        *decisions.entry(label(line, "decision")).or_default() += line.2;
    }
    let traffic = traffic(&totals, rates.0.as_ref(), now);
    rates.0 = Some((now, totals));
    let set = |rows: Vec<Value>| json!({"set": rows, "gone": []});
    json!({
        "now_ms": 0.0,
        "proxy": {"metal": "envoy"},
        "tables": {
            "breakers": set(breakers.collect()),
            "anomalies": set(anomalies.collect()),
            "traffic": set(traffic),
        },
        "history": [],
    })
}

/// Decisions a second since the page before; none of them are known with the first page.
fn traffic(totals: &Totals, before: Option<&(Instant, Totals)>, now: Instant) -> Vec<Value> {
    let rows = totals.iter().map(|(policy, decisions)| {
        let per_s = decisions.iter().map(|(decision, count)| {
            let rate = before.map(|(at, totals)| {
                let old = totals.get(policy).and_then(|one| one.get(decision)).copied();
                let secs = now.duration_since(*at).as_secs_f64().max(1e-3);
                ((count - old.unwrap_or(0.0)).max(0.0) / secs * 10.0).round() / 10.0
            });
            (decision.clone(), json!(rate))
        });
        json!({
            "id": json!([policy]).to_string(),
            "policy": policy,
            "per_s": per_s.collect::<Map<_, _>>(),
        })
    });
    rows.collect()
}

/// A line of Prometheus' text format; none where it is a comment, or none of ours.
fn line(text: &str) -> Option<Line> {
    if text.starts_with('#') || !text.contains("bimetal_") {
        return None;
    }
    let (series, value) = text.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series.to_owned(), BTreeMap::new(), value));
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut found = BTreeMap::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut letters = quoted.char_indices();
        let end = loop {
            match letters.next()? {
                (at, '"') => break at,
                (_, '\\') => match letters.next()?.1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (_, other) => text.push(other),
            }
        };
        found.insert(label.trim_start_matches(',').to_owned(), text);
        rest = quoted.get(end + 1..)?;
    }
    Some((name.to_owned(), found, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# TYPE envoy_bimetal_breaker_replicas gauge\n\
        envoy_bimetal_breaker_replicas{policy=\"p\",scope=\"a\\\"}\\n\\\\\",state=\"open\"} 1\n\
        envoy_bimetal_breaker_replicas{policy=\"p\",scope=\"a\\\"}\\n\\\\\",state=\"closed\"} 3\n\
        envoy_bimetal_breaker_transitions_total{policy=\"p\",scope=\"a\\\"}\\n\\\\\",from=\"closed\",to=\"open\",cause=\"failure_rate\"} 2\n\
        envoy_bimetal_requests_total{policy=\"p\",scope=\"a\",decision=\"admitted\"} 7\n\
        envoy_bimetal_requests_total{policy=\"p\",scope=\"b\",decision=\"admitted\"} 5\n\
        envoy_bimetal_scopes{} 4\nenvoy_other{policy=\"p\"} 5\nenvoy_bimetal_scopes 4\nbimetal_broken{a=\"b} 1\n";

    #[test]
    fn a_page_of_envoy_is_told_as_the_filter_meant_it() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        let told = picture(PAGE, &mut rates, now);
        let breakers = &told["tables"]["breakers"]["set"];
        assert_eq!(breakers.as_array().unwrap().len(), 1);
        let row = &breakers[0];
        assert_eq!(
            (&row["policy"], &row["scope"], &row["state"]),
            (&json!("p"), &json!("a\"}\n\\"), &json!("open"))
        );
        assert_eq!(
            (&row["workers"]["open"], &row["workers"]["closed"]),
            (&json!(1.0), &json!(3.0))
        );
        assert_eq!(row["why"], "2 changes so far");
        assert_eq!(told["tables"]["traffic"]["set"][0]["per_s"]["admitted"], Value::Null);
        let more = PAGE.replace("} 7", "} 17");
        let told = picture(&more, &mut rates, now + std::time::Duration::from_secs(2));
        assert_eq!(told["tables"]["traffic"]["set"][0]["per_s"]["admitted"], 5.0);
    }

    #[test]
    fn what_is_no_page_shows_nothing() {
        for page in [
            "",
            "<html>bimetal_x",
            "bimetal_breaker_replicas{",
            "bimetal_breaker_replicas{policy=\"p} 1",
        ] {
            assert_eq!(
                picture(page, &mut Rates::default(), Instant::now())["tables"]["breakers"]["set"],
                json!([]),
                "{page}"
            );
        }
    }
}
