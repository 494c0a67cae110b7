//! Reading scenario files, and refusing what could not be judged.

use super::call::read_call;
use super::raw::{RawScenario, RawStep};
use super::{Scenario, Step, StepKind, show_span};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Steps are at least this many ticks apart.
pub const TICKS_APART: u32 = 5;

/// Calls of a whole scenario: a real host plays them one after the other, and a person reads the
/// log of them.
pub const MOST_CALLS: u32 = 1_000;

/// Bytes of a scenario's text.
pub const LONGEST_TEXT: usize = 256 * 1024;

/// Why a scenario was refused: which file, and what to change.
#[derive(Debug)]
pub struct ReadError {
    name: String,
    what: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.what)
    }
}

impl std::error::Error for ReadError {}

/// Every `*.yaml` of a folder, in order of their names.
///
/// # Errors
/// The first file that cannot be read, and why.
pub fn read_all(folder: &Path) -> Result<Vec<Scenario>, ReadError> {
    let named = |what: std::io::Error| ReadError {
        name: folder.display().to_string(),
        what: what.to_string(),
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    files.iter().map(|file| read_file(file)).collect()
}

/// One file.
///
/// # Errors
/// That it cannot be read, or cannot be judged.
pub fn read_file(file: &Path) -> Result<Scenario, ReadError> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = std::fs::read_to_string(file)
        .map_err(|e| ReadError { name: file.display().to_string(), what: e.to_string() })?;
    read_text(&name, &text)
}

/// A scenario's text.
///
/// # Errors
/// That it is no YAML of this form, or cannot be judged.
pub fn read_text(name: &str, text: &str) -> Result<Scenario, ReadError> {
    let refuse = |what: String| ReadError { name: name.to_owned(), what };
    if text.len() > LONGEST_TEXT {
        return Err(refuse(format!("{} bytes; at most {LONGEST_TEXT} are read", text.len())));
    }
    // What anchors and aliases may grow to, and how deep it may go, the reader of YAML bounds.
    let raw: RawScenario = serde_saphyr::from_str(text).map_err(|e| refuse(e.to_string()))?;
    let tick = raw.tick.map_or(Duration::from_millis(100), |tick| tick.0);
    let mut steps = Vec::new();
    for step in raw.steps {
        let named = step.step.clone();
        let read = read_step(step).map_err(|what| refuse(format!("step {named}: {what}")))?;
        steps.push(read);
    }
    let last = steps.last().map_or(Duration::ZERO, |step: &Step| step.at);
    let lines = raw.log.lines().map(str::trim).filter(|line| !line.is_empty());
    let scenario = Scenario {
        name: name.to_owned(),
        title: raw.title,
        tick,
        document: document(raw.policies),
        end: raw.end.map_or(last + tick * TICKS_APART, |end| end.0),
        log: lines.map(str::to_owned).collect(),
        steps,
    };
    judge(&scenario).map_err(refuse)?;
    Ok(scenario)
}

/// What must hold over all steps for a scenario to be judged at all.
fn judge(scenario: &Scenario) -> Result<(), String> {
    let gap = scenario.tick * TICKS_APART;
    if scenario.tick.is_zero() || scenario.steps.is_empty() {
        return Err("it needs a tick and a step".to_owned());
    }
    let calls: u64 = scenario.steps.iter().map(calls_of).sum();
    if calls > u64::from(MOST_CALLS) {
        return Err(format!("it makes {calls} calls; at most {MOST_CALLS} are played"));
    }
    for pair in scenario.steps.windows(2) {
        if pair[1].at < pair[0].at + gap {
            let (before, after) = (&pair[0].name, &pair[1].name);
            return Err(format!("step {after} must be at least {} after {before}", show_span(gap)));
        }
    }
    let last = scenario.steps.last().map_or(Duration::ZERO, |step| step.at);
    if scenario.end < last + gap {
        return Err(format!("it must end at least {} after its last step", show_span(gap)));
    }
    let mut names = BTreeSet::new();
    for step in &scenario.steps {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if step.name.is_empty() || !step.name.chars().all(plain) {
            return Err(format!("step {:?}: a name is letters, digits and dashes", step.name));
        }
        if !names.insert(&step.name) {
            return Err(format!("step {} is there twice", step.name));
        }
    }
    Ok(())
}

fn calls_of(step: &Step) -> u64 {
    match &step.kind {
        StepKind::Call(call) => u64::from(call.times),
        StepKind::Load(_) => 0,
    }
}

fn document(policies: Value) -> Value {
    json!({"version": "v1", "policies": policies})
}

fn read_step(raw: RawStep) -> Result<Step, String> {
    let (name, at) = (raw.step.clone(), raw.at.0);
    let kind = match raw.load.clone() {
        Some(policies) => {
            let alone = raw.call.is_none() && raw.upstream.is_none() && raw.expect.is_none();
            if !alone {
                return Err("load stands alone; its result is in the log".to_owned());
            }
            StepKind::Load(document(policies))
        }
        None => StepKind::Call(Box::new(read_call(raw)?)),
    };
    Ok(Step { name, at, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: &str = "{step: 1, at: 0s, call: POST /echo, expect: admitted}";

    fn refusal(steps: &[&str]) -> String {
        let steps: String = steps.iter().map(|step| format!("  - {step}\n")).collect();
        let text = format!("title: t\npolicies: []\nsteps:\n{steps}log: ''\n");
        match read_text("s", &text) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn what_cannot_be_judged_is_refused() {
        assert_eq!(refusal(&[STEP]), "accepted");
        for (second, why) in [
            ("{step: 2, at: 400ms, call: POST /echo, expect: admitted}", "at least 500ms after 1"),
            ("{step: 1, at: 1s, call: POST /echo, expect: admitted}", "step 1 is there twice"),
            ("{step: 1.1, at: 1s, call: POST /echo, expect: admitted}", "letters, digits"),
            ("{step: 2, at: 1m, call: POST /echo, expect: admitted}", "1m is no time"),
            ("{step: 2, at: 1s, call: /echo, expect: admitted}", "METHOD PATH"),
            ("{step: 2, at: 1s, call: POST /echo}", "it needs expect"),
            ("{step: 2, at: 1s, call: POST /echo, expect: maybe}", "expect: maybe is not"),
            ("{step: 2, at: 1s, call: POST /echo, expect: admitted, wait: 1s}", "wait"),
            ("{step: 2, at: 1s, load: [], expect: admitted}", "load stands alone"),
        ] {
            let refused = refusal(&[STEP, second]);
            assert!(refused.contains(why), "{second}: {refused}");
        }
    }

    #[test]
    fn a_scenario_cannot_ask_for_endless_work() {
        let times = |many: &str| {
            refusal(&[&format!("{{step: 1, at: 0s, call: GET /, times: {many}, expect: passed}}")])
        };
        assert_eq!(times("1000"), "accepted");
        for (many, why) in [
            ("1001", "it makes 1001 calls; at most 1000 are played"),
            ("4294967295", "it makes 4294967295 calls"),
            ("4294967296", "4294967296"),
            ("0", "times: 0 makes no call"),
            ("-1", "-1"),
        ] {
            assert!(times(many).contains(why), "{many}: {}", times(many));
        }
        let hangs = "{step: 1, at: 0s, call: GET /, times: 2, upstream: hangs, expect: passed}";
        assert!(refusal(&[hangs]).contains("waiting for ever"), "{}", refusal(&[hangs]));
        // Many steps count as well as one that says `times`.
        let steps: Vec<_> = (0..3)
            .map(|n| format!("{{step: {n}, at: {n}s, call: GET /, times: 400, expect: passed}}"))
            .collect();
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        assert_eq!(refusal(&steps[..2]), "accepted");
        assert!(refusal(&steps).contains("1200 calls"), "{}", refusal(&steps));
    }

    #[test]
    fn a_text_that_is_long_or_grows_is_refused() {
        let long = read_text("s", &"#".repeat(LONGEST_TEXT + 1)).unwrap_err().to_string();
        assert!(long.contains("262145 bytes; at most 262144"), "{long}");
        // Each line names the one before ten times: 10^9 words from 400 bytes.
        let mut bomb =
            String::from("title: t\npolicies:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n");
        for (name, before) in ('b'..='i').zip('a'..) {
            let ten = vec![format!("*{before}"); 10].join(", ");
            bomb += &format!("  {name}: &{name} [{ten}]\n");
        }
        bomb += &format!("steps:\n  - {STEP}\nlog: ''\n");
        let grown = read_text("s", &bomb).unwrap_err().to_string();
        assert!(grown.contains("budget"), "{grown}");
        let deep = format!("title: t\npolicies: {}\nlog: ''\n", "[".repeat(200_000));
        let deep = read_text("s", &deep).unwrap_err().to_string();
        assert!(deep.contains("recursion limit"), "{deep}");
    }
}
