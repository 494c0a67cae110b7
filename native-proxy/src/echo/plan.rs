//! The fault plan: which requests fail how, and when.
//!
//! A plan is a list of rules. At any moment the first rule that is due, still has requests to
//! take and whose share takes this one decides; without one the answer is good. Faults that a
//! request asks for itself (`x-fault-*`) stand in place of the plan.

use super::fault::Fault;
use super::fields;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A checked plan; its times count from when it was put in force.
#[derive(Debug, Default)]
pub struct Plan {
    rules: Vec<Rule>,
    source: Value,
}

/// One thing that is wrong with a plan: where, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: String,
    what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

#[derive(Debug)]
struct Rule {
    from: Duration,
    to: Duration,
    share: f64,
    count: u64,
    does: Does,
    offered: AtomicU64,
    taken: AtomicU64,
}

#[derive(Debug)]
enum Does {
    /// The port is closed.
    Refuse,
    /// Requests get this.
    Fail(Fault),
}

/// What a rule does to the port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Port {
    Open,
    Closed,
}

/// Fields that only a rule has.
const RULE_FIELDS: [&str; 5] = ["from_s", "to_s", "share", "count", "refuse"];

impl Plan {
    /// Reads `{"plan": [rule, …]}`.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn parse(document: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        match document.as_object() {
            Some(fields) => {
                for key in fields.keys().filter(|key| *key != "plan") {
                    problems.push(problem(key, r#"unknown field; "plan" is the only one"#));
                }
                match fields.get("plan").and_then(Value::as_array) {
                    Some(list) => {
                        for (at, rule) in list.iter().enumerate() {
                            rules.extend(Rule::parse(rule, &format!("plan[{at}]"), &mut problems));
                        }
                    }
                    None => problems.push(problem("plan", "must be a list of rules")),
                }
            }
            None => problems.push(problem("document", r#"must be an object: {"plan": […]}"#)),
        }
        if problems.is_empty() {
            Ok(Self { rules, source: document.clone() })
        } else {
            Err(problems)
        }
    }

    /// Reads rules written as `field=value,field=value`, one text a rule.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn from_flags(texts: &[String]) -> Result<Self, Vec<Problem>> {
        let mut list = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let mut rule = Map::new();
            for part in text.split(',').filter(|part| !part.trim().is_empty()) {
                let Some((field, value)) = part.split_once('=') else {
                    let what = format!("{part:?} is not field=value");
                    return Err(vec![problem(&format!("plan[{at}]"), &what)]);
                };
                let (field, value) = (field.trim(), value.trim());
                rule.insert(field.to_owned(), fields::from_text(field, value));
            }
            list.push(Value::Object(rule));
        }
        Self::parse(&serde_json::json!({ "plan": list }))
    }

    /// Whether no rule is in it: then nothing needs a decision.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules as they were given.
    pub(super) fn source(&self) -> &Value {
        &self.source["plan"]
    }

    /// What happens to a request that arrives `elapsed` after the plan came into force.
    pub(super) fn take(&self, elapsed: Duration) -> Option<&Fault> {
        self.rules.iter().filter(|rule| rule.is_due(elapsed)).find_map(|rule| match &rule.does {
            Does::Fail(fault) if rule.takes_this_one() => Some(fault),
            _ => None,
        })
    }

    /// Whether the port is open `elapsed` after the plan came into force.
    pub(super) fn accepts(&self, elapsed: Duration) -> bool {
        !self.refusals().any(|rule| rule.is_due(elapsed))
    }

    /// When the port next opens or closes, if it ever does.
    pub(super) fn next_change(&self, elapsed: Duration) -> Option<Duration> {
        self.refusals().flat_map(|rule| [rule.from, rule.to]).filter(|at| *at > elapsed).min()
    }

    fn refusals(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| matches!(rule.does, Does::Refuse))
    }
}

impl Rule {
    fn is_due(&self, elapsed: Duration) -> bool {
        self.from <= elapsed && elapsed < self.to
    }

    /// Draws on the share and the count. Deterministic: request by request, not by chance, so a
    /// run can be repeated.
    fn takes_this_one(&self) -> bool {
        if self.share < 1.0 {
            let number = self.offered.fetch_add(1, Ordering::Relaxed);
            if unit_interval(number) >= self.share {
                return false;
            }
        }
        self.count == u64::MAX || self.taken.fetch_add(1, Ordering::Relaxed) < self.count
    }

    fn parse(rule: &Value, path: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let before = problems.len();
        let Some(given) = rule.as_object() else {
            problems.push(problem(path, "must be an object"));
            return None;
        };
        let mut read = Self {
            from: Duration::ZERO,
            to: Duration::MAX,
            share: 1.0,
            count: u64::MAX,
            does: Does::Refuse,
            offered: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        };
        let mut fault = Fault::default();
        let mut port = Port::Open;
        for (field, value) in given {
            let outcome = match field.as_str() {
                "from_s" => fields::seconds(value).map(|at| read.from = at),
                "to_s" => fields::seconds(value).map(|at| read.to = at),
                "share" => fields::share(value).map(|share| read.share = share),
                "count" => fields::whole(value, 1, 1_000_000_000).map(|n| read.count = n),
                "refuse" => fields::flag(value).map(|flag| {
                    port = if flag { Port::Closed } else { Port::Open };
                }),
                field => fault.set(field, value, &RULE_FIELDS),
            };
            if let Err(what) = outcome {
                problems.push(problem(&format!("{path}.{field}"), &what));
            }
        }
        if problems.len() > before {
            return None;
        }
        if let Err((field, what)) = read.check(&fault, port) {
            problems.push(problem(&format!("{path}{field}"), what));
            return None;
        }
        if port == Port::Open {
            read.does = Does::Fail(fault);
        }
        Some(read)
    }

    fn check(&self, fault: &Fault, port: Port) -> Result<(), (&'static str, &'static str)> {
        if self.from >= self.to {
            return Err((".to_s", "must be later than from_s"));
        }
        match (port, *fault == Fault::default()) {
            (Port::Closed, true) if self.share < 1.0 || self.count != u64::MAX => {
                Err((".refuse", "cannot have share or count: a port is open or closed"))
            }
            (Port::Closed, true) => Ok(()),
            (Port::Closed, false) => Err((".refuse", "cannot stand beside another fault")),
            (Port::Open, true) => Err(("", "says no fault")),
            (Port::Open, false) => fault.check(),
        }
    }
}

fn problem(path: &str, what: &str) -> Problem {
    Problem { path: path.to_owned(), what: what.to_owned() }
}

/// The `number`th point of a fixed sequence that fills 0–1 evenly (SplitMix64's finalizer).
fn unit_interval(number: u64) -> f64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(document: Value) -> Vec<String> {
        Plan::parse(&document).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_is_reported_by_path() {
        let wrong = json!({"plan": [
            {"status": 99, "share": 1.5},
            {"statsu": 500},
            {"from_s": 5, "to_s": 5, "status": 500},
            {"refuse": true, "status": 500},
            {"from_s": 1},
            7
        ], "more": 1});
        assert_eq!(
            problems(wrong),
            [
                r#"more: unknown field; "plan" is the only one"#,
                "plan[0].share: 1.5 is outside 0–1",
                "plan[0].status: 99 is not a whole number in 200–599",
                r#"plan[1].statsu: unknown field; did you mean "status"?"#,
                "plan[2].to_s: must be later than from_s",
                "plan[3].refuse: cannot stand beside another fault",
                "plan[4]: says no fault",
                "plan[5]: must be an object",
            ]
        );
        assert_eq!(problems(json!([])), [r#"document: must be an object: {"plan": […]}"#]);
        assert_eq!(problems(json!({"plan": 1})), ["plan: must be a list of rules"]);
    }

    #[test]
    fn a_rule_holds_in_its_window_alone() {
        let plan = json!({"plan": [{"from_s": 1, "to_s": 2, "status": 500}]});
        let plan = Plan::parse(&plan).unwrap();
        let status = |ms| plan.take(Duration::from_millis(ms)).and_then(|fault| fault.status);
        assert_eq!([status(999), status(1_000), status(1_999), status(2_000)], {
            [None, Some(500), Some(500), None]
        });
    }

    #[test]
    fn a_count_ends_a_rule_and_the_next_one_takes_over() {
        let plan = json!({"plan": [{"count": 2, "status": 500}, {"status": 404}]});
        let plan = Plan::parse(&plan).unwrap();
        let took: Vec<_> = (0..4).map(|_| plan.take(Duration::ZERO).unwrap().status).collect();
        assert_eq!(took, [Some(500), Some(500), Some(404), Some(404)]);
    }

    #[test]
    fn a_share_takes_about_its_share() {
        let plan = Plan::parse(&json!({"plan": [{"share": 0.3, "status": 500}]})).unwrap();
        let taken = (0..10_000).filter(|_| plan.take(Duration::ZERO).is_some()).count();
        assert!((2_800..3_200).contains(&taken), "{taken}");
        let never = Plan::parse(&json!({"plan": [{"share": 0, "status": 500}]})).unwrap();
        assert!((0..100).all(|_| never.take(Duration::ZERO).is_none()));
    }

    #[test]
    fn the_port_opens_and_closes_at_the_rules_edges() {
        let plan = json!({"plan": [{"from_s": 1, "to_s": 2, "refuse": true}, {"status": 500}]});
        let plan = Plan::parse(&plan).unwrap();
        let at = Duration::from_secs;
        assert_eq!([0, 1, 2].map(|s| plan.accepts(at(s))), [true, false, true]);
        assert_eq!([0, 1, 2].map(|s| plan.next_change(at(s))), [Some(at(1)), Some(at(2)), None]);
    }

    #[test]
    fn flags_read_like_json() {
        let flags = ["from_s=1.5, status=503".to_owned(), "hold=7".to_owned()];
        let plan = Plan::from_flags(&flags).unwrap();
        assert_eq!(plan.source(), &json!([{"from_s": 1.5, "status": 503}, {"hold": "7"}]));
        let wrong = Plan::from_flags(&["status".to_owned()]).unwrap_err();
        assert_eq!(wrong[0].to_string(), r#"plan[0]: "status" is not field=value"#);
    }
}
