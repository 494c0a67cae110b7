//! The user's page of the language says what is so.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::deadline::DEADLINE_MS;
use bimetal_core::doc::{Kind, Node, Object};
use bimetal_core::outcome::Outcome;
use bimetal_core::policy::table::DOCUMENT;
use bimetal_core::policy::{Document, Host};
use bimetal_core::retry::{FailedTry, RetryAsk, RetryCase, Tries, TryFailure};
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use policy::{compile, problems};
use serde_json::{Value, json};
use std::borrow::Cow;

const PAGE: &str = include_str!("../../docs/policy.md");

/// The page's examples in YAML, as that host reads them.
fn examples(host: Host) -> Vec<Document> {
    let blocks = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // What the proxy alone can do.
    let natives =
        ["warnings:", "connections:", "bandwidth:", "upstream:", "stale:", "queue: {max: 2,"];
    let is_for_all = |block: &&str| !natives.iter().any(|part| block.contains(part));
    let blocks = blocks.filter(|block| host == Host::Native || is_for_all(block));
    blocks
        .map(|block| {
            let node: Node = serde_saphyr::from_str(block).unwrap();
            Document::compile(&node, host).unwrap_or_else(|problems| panic!("{block}\n{problems}"))
        })
        .collect()
}

/// The example of this place.
fn example(place: usize) -> Document {
    examples(Host::Native).swap_remove(place)
}

/// The example that says this.
fn example_with(part: &str) -> Document {
    let block = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let block = block.into_iter().find(|block| block.contains(part)).unwrap();
    Document::compile(&serde_saphyr::from_str(block).unwrap(), Host::Native).unwrap()
}

#[test]
fn its_examples_are_fine() {
    assert_eq!([Host::Native, Host::Wasm].map(|host| examples(host).len()), [16, 10]);
}

#[test]
fn a_deadline_is_told_as_it_says() {
    let document = example(1);
    let deadline = document.policies[0].deadline_applied().unwrap();
    let [left, waited] = [300, 40].map(Duration::from_millis);
    let told = deadline.check(left, waited).unwrap().as_millis();
    assert!(PAGE.contains(&format!("a call with `{DEADLINE_MS}: 300` that waited\n  40 ms")));
    assert!(PAGE.contains(&format!("is sent with `{DEADLINE_MS}: {told}`")));
}

struct Call;

impl Facts for Call {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(b"/api".into())
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(b"192.0.2.1".into())
    }
}

#[test]
fn a_limit_answers_as_it_says() {
    let mut engine = Engine::new(1);
    let policies = engine.load(&example(4));
    let mut ask = || match engine.admit(Instant::ZERO, &policies, &Call) {
        Verdict::Reject(rejected) => {
            let fields = rejected.reply().fields;
            Some(fields.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>())
        }
        _ => None,
    };
    // Its bucket has 20, and the first limit more.
    assert_eq!((0..20).filter_map(|_| ask()).count(), 0);
    let fields = ask().unwrap();
    let block = PAGE.split("HTTP/1.1 429 Too Many Requests\n").nth(1).unwrap();
    for line in block.split("```").next().unwrap().lines() {
        assert!(fields.iter().any(|field| field == line), "{line} is not in {fields:#?}");
    }
}

/// What may wait, and goes on when it comes.
#[test]
fn a_queue_of_a_limit_looks_as_it_is_drawn() {
    const SIGN: u64 = 33;
    let document = example(5);
    let mut engine = Engine::new(1);
    engine.set_can_wait(true);
    let policies = engine.load(&document);
    let mut rows = [[' '; 11]; 3];
    let mut mark = |row: usize, millis: u64| rows[row][(millis / SIGN) as usize] = '▮';
    for call in 0..5_u64 {
        let millis = call * SIGN;
        let now = Instant::from_millis(millis);
        mark(0, millis);
        match engine.admit(now, &policies, &Call) {
            Verdict::Admit(_) => mark(1, millis),
            Verdict::Wait(wait) => mark(1, wait.until.as_nanos() / 1_000_000),
            Verdict::Reject(_) => mark(2, millis),
            other => panic!("{other:?}"),
        }
    }
    for (name, row) in ["comes     ", "goes on   ", "rejected  "].iter().zip(rows) {
        let line = format!("{name}{}", row.iter().collect::<String>());
        let line = line.trim_end();
        assert!(PAGE.lines().any(|one| one == line), "{line}");
    }
}

/// Tries of each second at an upstream that is dead from 10 s to 30 s, for 10 calls a second.
fn tries(budget: &str) -> [usize; 40] {
    let retry = format!(r#"{{"tries": 3, "on": ["503"]{budget}}}"#);
    let json = format!(r#"{{"policies": [{{"name": "a", "scope": "policy", "retry": {retry}}}]}}"#);
    let document = Document::parse(json.as_bytes(), Host::Native).unwrap();
    let mut engine = Engine::new(1);
    let policies = engine.load(&document);
    let mut seconds = [0; 40];
    for step in 0..400_u64 {
        let now = Instant::from_millis(step * 100);
        let Verdict::Admit(mut call) = engine.admit(now, &policies, &Call) else { panic!() };
        let second = &mut seconds[step as usize / 10];
        *second += 1;
        if (100..300).contains(&step) {
            let ask = RetryAsk { method: "GET", has_key: false, can_be_sent_again: true };
            let how = TryFailure::Answer { status: 503, grpc: None };
            let failed = FailedTry { how, retry_after: None, is_exhausted: false };
            let case = RetryCase { now, ask, failed, left: None };
            let told = (&case, Outcome::Failure.into());
            let mut tries = Tries::default();
            while engine.plan_retry(now, call.policy, &mut call.ticket, &mut tries, told).is_ok() {
                engine.try_again(now, &mut call.ticket, &mut tries).unwrap();
                *second += 1;
            }
        }
        let _ = engine.settle(now, call.ticket, Outcome::Neutral.into());
    }
    seconds
}

#[test]
fn retries_look_as_they_are_drawn() {
    let heights: Vec<char> = " ▁▂▃▄▅▆▇█".chars().collect();
    let drawn = |name: &str, tries: [usize; 40]| {
        let line: String = tries.iter().map(|tries| heights[(tries * 8).div_ceil(30)]).collect();
        format!("{name:<10} {line}")
    };
    let picture = [
        drawn("calls", [10; 40]),
        drawn("no budget", tries("")),
        drawn("share 0.2", tries(r#", "budget": {"share": 0.2}"#)),
    ];
    let picture = format!("```text\n{}\n```", picture.join("\n"));
    assert!(PAGE.contains(&picture), "{picture}");
}

/// What each policy of the example tells of a rate.
#[test]
fn anomalies_look_as_they_are_drawn() {
    let heights: Vec<char> = "▁▂▃▄▅▆▇█".chars().collect();
    let calls = |second: u64| match second {
        60 | 68 | 76 => 95,
        90..=92 => 0,
        _ => 40 + second * 7 % 10,
    };
    let shown = 50..110_u64;
    let heights = shown.clone().map(|second| heights[calls(second) as usize * 7 / 95]);
    let mut picture = vec![format!("calls      {}", heights.collect::<String>())];
    let document = example_with("anomaly:");
    for (policy, path) in document.policies.iter().zip(["/orders", "/search"]) {
        let mut engine = Engine::new(1);
        let policies = engine.load(&document);
        let mut marks = String::new();
        for second in 0..shown.end {
            for _ in 0..calls(second) {
                let now = Instant::from_millis(second * 1000);
                let verdict = engine.admit(now, &policies, &At(path));
                let Verdict::Admit(call) = verdict else { panic!() };
                let _ = engine.settle(now, call.ticket, Outcome::Success.into());
            }
            engine.poll(Instant::from_millis((second + 1) * 1000));
            let told = std::iter::from_fn(|| engine.take_event()).count();
            if shown.contains(&second) {
                marks.push(if told > 0 { '▲' } else { ' ' });
            }
        }
        let name = policy.anomaly.as_ref().unwrap().detector.name();
        picture.push(format!("{name:<10} {}", marks.trim_end()));
    }
    let picture = format!("```text\n{}\n```", picture.join("\n"));
    assert!(PAGE.contains(&picture), "{picture}");
}

struct At(&'static str);

impl Facts for At {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.as_bytes().into())
    }
}

#[test]
fn each_profile_is_what_it_says() {
    let documents = examples(Host::Wasm);
    let policies = documents.iter().flat_map(|document| &document.policies);
    let mut written = Vec::new();
    for policy in policies {
        let Some(name) = policy.name.strip_prefix("the-same-as-") else {
            continue;
        };
        let profile = json!({"policies": [{"name": *policy.name, "breaker": {"profile": name}}]});
        let profile = compile(&profile, Host::Wasm).policies.remove(0);
        assert_eq!(policy.hash, profile.hash, "{name}");
        written.push(name);
    }
    let all = ["origin-study", "resilience4j", "hystrix", "polly", "gobreaker", "istio-outlier"];
    assert_eq!(written, all);
}

#[test]
fn its_errors_are_the_errors() {
    let document: Value = json!({"policies": [
        {
            "name": "echo",
            "breaker": {
                "trip": {"failure_rate": {"threshold": 1.5, "window": {"calls": 50}}},
                "half_opn": {}, "half_open": {"lease": "1s"}, "open": {"base": 30},
            },
            "timeout": {"request": "3s", "connect": "1s"},
            "rate_limits": [{"rate": "1/s", "share": "mesh"}],
            "retry": {"backoff": {}},
        },
        {"name": "echo"},
    ]});
    let problems = problems(&document, Host::Wasm);
    assert_eq!(problems.len(), 8, "{problems:#?}");
    for line in problems {
        assert!(PAGE.contains(&line), "{line}");
    }
}

#[test]
fn it_names_every_field() {
    fn walk(object: &Object) {
        for field in object.fields {
            let named = |before, after| PAGE.contains(&format!("{before}{}{after}", field.name));
            assert!(
                named("`", "`")
                    || named("`", ".")
                    || named(".", "`")
                    || named("`", ":")
                    || named("`{", ":"),
                "{}",
                field.name
            );
            match field.kind {
                Kind::Object(object) => walk(object),
                Kind::List { of: Kind::Object(object), .. } => walk(object),
                _ => {}
            }
        }
    }
    walk(&DOCUMENT);
}
