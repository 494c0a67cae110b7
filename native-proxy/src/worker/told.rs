//! What the log says of the core's events, where it does not have all of them as they are.

use bimetal_core::event::{Anomaly, Decimal, Event, EventKind, State, Transition};

/// Writes the line of an event that an operator wants to know of.
pub(super) fn tell(event: &Event) {
    match &event.kind {
        // Whoever made the change tells of it: one line, however many workers follow.
        EventKind::Transition(change) if !change.adopted => {
            transition(&event.policy, &event.scope_name(), change);
        }
        EventKind::Anomaly(anomaly) => tell_anomaly(&event.policy, &event.scope_name(), anomaly),
        _ => {}
    }
}

fn transition(policy: &str, scope: &str, change: &Transition) {
    let (from, to, why) = (change.from.name(), change.to.name(), change.cause);
    let length = match change.to {
        State::Open => format!(" for {}", change.open_for),
        _ => String::new(),
    };
    tracing::info!(
        policy,
        scope,
        from,
        to,
        cause = why.name(),
        "breaker {policy}, scope {scope}: {from} to {to}{length} after {why}"
    );
}

fn tell_anomaly(policy: &str, scope: &str, anomaly: &Anomaly) {
    let Anomaly { signal, value, mean, deviation, score } = *anomaly;
    let signal = signal.name();
    let [told, usual, far] = [value, mean, score].map(Decimal);
    tracing::info!(
        policy,
        scope,
        signal,
        value,
        mean,
        deviation,
        score,
        "anomaly in {policy}, scope {scope}: {signal} is {told}, {far} deviations from {usual}"
    );
}
