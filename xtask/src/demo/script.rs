//! What happens in the demo, and when.

use serde_json::{Value, json};
use std::time::Duration;

/// What is wrong with the echo server in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It answers 500 to every request.
    Errors,
    /// It answers, but long after the policy's timeout.
    Hangs,
}

/// A part of the demo.
#[derive(Clone, Copy, Debug)]
pub struct Phase {
    /// What the echo server does, for people.
    pub name: &'static str,
    /// The same for programs.
    pub trouble: Trouble,
    /// Its begin, in seconds from the start.
    pub from_s: u64,
    /// Its end, in seconds from the start.
    pub to_s: u64,
}

const fn phase(name: &'static str, trouble: Trouble, from_s: u64, to_s: u64) -> Phase {
    Phase { name, trouble, from_s, to_s }
}

/// The phases, without a gap. The second outage is of another kind, since a breaker that counts
/// errors alone would not see it.
pub const SCRIPT: [Phase; 5] = [
    phase("healthy", Trouble::None, 0, 8),
    phase("answers 500", Trouble::Errors, 8, 17),
    phase("healthy", Trouble::None, 17, 27),
    phase("hangs", Trouble::Hangs, 27, 36),
    phase("healthy", Trouble::None, 36, 46),
];

/// How long it all takes.
pub const LENGTH: Duration = Duration::from_secs(46);

/// The policy of both hosts.
pub const POLICY: &str = include_str!("policy.json");

impl Phase {
    /// Its begin.
    pub const fn from(&self) -> Duration {
        Duration::from_secs(self.from_s)
    }

    /// Its end.
    pub const fn to(&self) -> Duration {
        Duration::from_secs(self.to_s)
    }

    /// Whether `at` lies in it.
    pub fn holds(&self, at: Duration) -> bool {
        self.from() <= at && at < self.to()
    }
}

/// The phase at a time; the last one after the end.
pub fn phase_at(at: Duration) -> &'static Phase {
    let last = &SCRIPT[SCRIPT.len() - 1];
    SCRIPT.iter().find(|phase| phase.holds(at)).unwrap_or(last)
}

/// The outages, each with the end of the healthy time after it.
pub fn outages() -> impl Iterator<Item = (&'static Phase, Duration)> {
    SCRIPT
        .windows(2)
        .filter(|pair| pair[0].trouble != Trouble::None)
        .map(|pair| (&pair[0], pair[1].to()))
}

/// The echo server's fault plan.
pub fn plan() -> Value {
    let rules: Vec<Value> = SCRIPT
        .iter()
        .filter_map(|phase| {
            let (from, to) = (phase.from_s, phase.to_s);
            match phase.trouble {
                Trouble::None => None,
                Trouble::Errors => Some(json!({"from_s": from, "to_s": to, "status": 500})),
                Trouble::Hangs => Some(json!({"from_s": from, "to_s": to, "delay_ms": 3000})),
            }
        })
        .collect();
    json!({ "plan": rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_to_the_end() {
        for pair in SCRIPT.windows(2) {
            assert_eq!(pair[0].to(), pair[1].from());
        }
        assert_eq!(SCRIPT[4].to(), LENGTH);
        assert_eq!(outages().count(), 2);
    }

    #[test]
    fn the_policy_is_one_that_both_hosts_take() {
        use bimetal_core::policy::{Document, Host};
        for host in [Host::Native, Host::Wasm] {
            assert!(Document::parse(POLICY.as_bytes(), host).is_ok());
        }
    }
}
