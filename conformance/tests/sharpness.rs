//! A scenario that real clocks could not judge is refused.

use bimetal_conformance::core_host::sharpness;
use bimetal_conformance::scenario::read_text;

fn with_probe_at(at: &str) -> String {
    format!(
        "title: t
policies:
  - name: echo
    scope: policy
    breaker: {{trip: {{consecutive_failures: 1}}, open: {{base: 1s, jitter: 0}}}}
steps:
  - {{step: 1, at: 0s, call: POST /echo, upstream: 500, expect: admitted}}
  - {{step: 2, at: {at}, call: POST /echo, expect: admitted}}
log: ''
"
    )
}

fn check(text: &str) -> Result<(), String> {
    sharpness::check(&read_text("s", text).unwrap_or_else(|error| panic!("{error}")))
}

#[test]
fn a_probe_at_the_end_of_the_open_time_is_too_sharp() {
    for (at, sharp) in [("1s", true), ("1050ms", true), ("950ms", true), ("1.5s", false)] {
        let refused = check(&with_probe_at(at)).is_err_and(|why| why.contains("too sharp"));
        assert_eq!(refused, sharp, "a probe at {at}");
    }
}

#[test]
fn an_answer_beside_a_step_is_too_sharp() {
    let slow =
        with_probe_at("1.5s").replace("upstream: 500", "upstream: {status: 500, after: 1.5s}");
    assert!(check(&slow).is_err(), "the trip and the next call come at once");
}
