//! Which scope a full table gives up.

extern crate std;

use super::*;
use crate::guard::Answer;
use crate::policy::{Document, Host};
use crate::time::Instant;
use std::format;

struct Table {
    registry: Registry,
    slots: Slots,
    series: SeriesTable,
}

impl Table {
    fn new(max: usize) -> Self {
        let text = format!(
            r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "header:x",
                "scopes": {{"max": {max}, "when_full": "pass"}}}}]}}"#
        );
        let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
        let registry = Registry::new(&document.policies[0], 1, None, |_| true);
        Self { registry, slots: Slots::default(), series: SeriesTable::new(1) }
    }

    /// Uses a scope.
    fn touch(&mut self, key: &str) -> Option<u32> {
        let Self { registry, slots, series } = self;
        let found = registry.find(key.as_bytes(), slots);
        let place = found.or_else(|| registry.make(key.as_bytes(), slots, series))?;
        slots.get_mut(place).unwrap().is_recent = true;
        Some(place)
    }

    /// Gives a scope a call that is under way.
    fn hold(&mut self, key: &str) {
        let place = self.touch(key).unwrap();
        let answer = self.slots.get_mut(place).unwrap().guard.admit(Instant::ZERO);
        assert!(matches!(answer, Answer::Admit(_)));
    }

    fn has(&self, key: &str) -> bool {
        let mut places = self.registry.places().iter();
        places.any(|place| self.slots.get(*place).unwrap().key.bytes() == key.as_bytes())
    }
}

#[test]
fn who_was_used_since_the_hand_came_by_stays() {
    let mut table = Table::new(3);
    for key in ["a", "b", "c"] {
        table.touch(key);
    }
    // All were used: the hand goes round once and takes the first.
    table.touch("d");
    assert!(!table.has("a") && table.has("b") && table.has("c"));
    table.touch("b");
    table.touch("e");
    assert!(table.has("b") && !table.has("c") && table.has("d") && table.has("e"));
}

#[test]
fn a_busy_scope_is_never_given_up() {
    let mut table = Table::new(4);
    table.hold("busy");
    for number in 0..1_000 {
        assert!(table.touch(&format!("{number}")).is_some());
        assert!(table.has("busy"), "{number}");
        assert_eq!(table.registry.places().len(), (number + 2).min(4));
    }
    for key in ["x", "y", "z"] {
        table.hold(key);
    }
    assert_eq!(table.touch("one more"), None);
}

#[test]
fn places_and_keys_stay_together_over_many_replacements() {
    let mut table = Table::new(50);
    for round in 0..2_000_u32 {
        let key = format!("{}", round.wrapping_mul(2_654_435_761) % 90);
        let place = table.touch(&key).unwrap();
        assert_eq!(table.slots.get(place).unwrap().key.bytes(), key.as_bytes());
        assert_eq!(table.touch(&key), Some(place), "found again");
    }
    assert_eq!((table.registry.index.len(), table.registry.places().len()), (50, 50));
}
