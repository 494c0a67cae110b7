//! What each mode must show.

use super::access::until;
use super::answer::{Answer, metric};
use super::bench::{Bench, Call};
use super::objects::Mode;
use super::proofs::Proofs;
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::time::Duration;

/// How long a breaker or an ejection of five seconds may take to be over.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// How long a new configuration may take to reach a sidecar, a fetch of the module included.
const PUSH_LIMIT: Duration = Duration::from_secs(120);

/// A call that fails, as often as it takes to trip, and one that the server would answer.
pub(super) const OUTAGE: [Call; 5] =
    [Call::Good, Call::Failing(500), Call::Failing(500), Call::Failing(500), Call::Good];

/// Shows every mode; a mode that the cluster cannot have is skipped.
pub(super) fn show_all(bench: &Bench, proofs: &mut Proofs) {
    for mode in Mode::ALL {
        if mode.needs_mesh() && !bench.mesh {
            proofs.skipped(&format!("mode {}", mode.name()), "the cluster has no Istio");
            continue;
        }
        match mode {
            Mode::None => show_none(bench, proofs),
            Mode::Native => show_native(bench, proofs),
            Mode::Wasm => show_wasm(bench, proofs),
            Mode::Istio => show_istio(bench, proofs),
        }
    }
}

fn show_none(bench: &Bench, proofs: &mut Proofs) {
    let calls = [Call::Good, Call::Failing(500), Call::Failing(500), Call::Failing(500)];
    let calls = [&calls[..], &[Call::Failing(500); 4], &[Call::Good]].concat();
    let shown = bench.calls(Mode::None, &calls).and_then(|answers| {
        let wanted = [vec![200], vec![500; 7], vec![200]].concat();
        ensure!(statuses(&answers) == wanted, "answers {:?}", statuses(&answers));
        ensure!(!answers.iter().any(Answer::is_rejection), "a rejection: {answers:?}");
        Ok("7 failures in a row reach the caller, the next call is answered 200".to_owned())
    });
    proofs.record("none: nothing trips", shown);
}

fn show_native(bench: &Bench, proofs: &mut Proofs) {
    let page = |bench: &Bench| bench.page(Mode::Native, "proxy", ":9001/metrics");
    show_breaker(bench, Mode::Native, proofs, page);
}

fn show_wasm(bench: &Bench, proofs: &mut Proofs) {
    let page = |bench: &Bench| bench.page(Mode::Wasm, "proxy", ":15090/stats/prometheus");
    let loaded = until("the filter in the sidecar", PUSH_LIMIT, || {
        let page = page(bench)?;
        let created = metric(&page, "bimetal_breaker_replicas", &[("state", "closed")]);
        bench.call(Mode::Wasm, Call::Good)?;
        match created {
            Some(closed) if closed >= 1.0 => {
                Ok("its breaker is closed in Envoy's own metrics".to_owned())
            }
            _ => bail!("Envoy has no metric of the filter yet"),
        }
    });
    proofs.record("wasm: the sidecar loads the filter from the registry", loaded);
    show_breaker(bench, Mode::Wasm, proofs, page);
    proofs
        .record("wasm: faults that the mesh injects are no evidence", injected_faults(bench, page));
    proofs.record("wasm: a wrong policy is refused, the one in force stays", wrong_policy(bench));
}

/// The same for both hosts: trips, rejects by the contract, closes again, and says so.
fn show_breaker(
    bench: &Bench,
    mode: Mode,
    proofs: &mut Proofs,
    page: impl Fn(&Bench) -> Result<String>,
) {
    let name = mode.name();
    let rejection = trip(bench, mode);
    let tripped = rejection
        .as_ref()
        .map(|_| "answers 200 500 500 500 503; the fifth call never reached the server".to_owned());
    proofs.record(&format!("{name}: 3 failures trip the breaker"), tripped.map_err(again));
    // What follows means something only of a breaker that tripped.
    let rejected = rejection.as_ref().map_err(again);
    let rejected =
        rejected.and_then(|answer| answer.rejected_by("echo/breaker", "3 consecutive failures"));
    proofs.record(&format!("{name}: the rejection is the contract's"), rejected);
    let closed = rejection.and_then(|_| closes(bench, mode));
    proofs.record(&format!("{name}: it closes again"), closed);
    let told = until(&format!("{name}: metrics"), RECOVERY_LIMIT, || transitions(&page(bench)?));
    proofs.record(&format!("{name}: metrics tell the same"), told);
}

/// One outage: three failures reach the caller, the good call after them is rejected without
/// reaching the server. Returns the rejection.
fn trip(bench: &Bench, mode: Mode) -> Result<Answer> {
    let before = bench.received(mode)?;
    let mut answers = bench.calls(mode, &OUTAGE)?;
    let last = answers.pop().context("no answers")?;
    let first = statuses(&answers);
    ensure!(first == [200, 500, 500, 500], "first four answers {first:?}");
    ensure!(!answers.iter().any(Answer::is_rejection), "rejected early: {answers:?}");
    ensure!(last.is_rejection(), "the call after them is not rejected: {last:?}");
    let reached = bench.received(mode)? - before;
    ensure!(reached == 4, "{reached} of 5 calls reached the server instead of 4");
    Ok(last)
}

/// Calls until one is answered well; then all are.
fn closes(bench: &Bench, mode: Mode) -> Result<String> {
    until("the breaker closes", RECOVERY_LIMIT, || {
        let answer = bench.call(mode, Call::Good)?;
        ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
        Ok(())
    })?;
    let answers = statuses(&bench.calls(mode, &[Call::Good; 3])?);
    ensure!(answers == [200; 3], "then answers {answers:?}");
    Ok("after its open time a probe is answered 200, and so are all calls after it".to_owned())
}

/// Reads the three transitions of one outage and the state after it from a metrics page.
fn transitions(page: &str) -> Result<String> {
    let policy = ("policy", "echo");
    let steps = [("closed", "open"), ("open", "half_open"), ("half_open", "closed")];
    for (from, to) in steps {
        let labels = [policy, ("from", from), ("to", to)];
        let count = metric(page, "bimetal_breaker_transitions_total", &labels);
        ensure!(count == Some(1.0), "{count:?} transitions {from} → {to} instead of 1");
    }
    let closed = metric(page, "bimetal_breaker_replicas", &[policy, ("state", "closed")]);
    ensure!(closed == Some(1.0), "{closed:?} closed breakers instead of 1");
    let open = metric(page, "bimetal_breaker_replicas", &[policy, ("state", "open")]);
    ensure!(open.is_none_or(|open| open == 0.0), "{open:?} open breakers instead of 0");
    Ok("closed → open → half_open → closed, once each; 1 breaker closed".to_owned())
}

/// Every call is aborted by the sidecar for a while; then calls pass at once.
fn injected_faults(bench: &Bench, page: impl Fn(&Bench) -> Result<String>) -> Result<String> {
    let neutral = || -> Result<f64> {
        let labels = [("policy", "echo"), ("outcome", "neutral")];
        Ok(metric(&page(bench)?, "bimetal_outcomes_total", &labels).unwrap_or(0.0))
    };
    let fault = json!({ "abort": { "percentage": { "value": 100 }, "httpStatus": 500 } });
    bench.install(Mode::Wasm, &json!({ "fault": fault }))?;
    until("the VirtualService's fault", PUSH_LIMIT, || {
        let answer = bench.call(Mode::Wasm, Call::Good)?;
        ensure!(answer.status == 500, "answered {}", answer.status);
        Ok(())
    })?;
    let (before, uncounted) = (bench.received(Mode::Wasm)?, neutral()?);
    let answers = bench.calls(Mode::Wasm, &[Call::Good; 6])?;
    ensure!(statuses(&answers) == [500; 6], "answers {:?}", statuses(&answers));
    ensure!(!answers.iter().any(Answer::is_rejection), "rejected: {answers:?}");
    ensure!(bench.received(Mode::Wasm)? == before, "a call reached the server");
    until("the filter's count of them", PUSH_LIMIT, || {
        let counted = neutral()? - uncounted;
        ensure!(counted >= 6.0, "{counted} neutral outcomes instead of 6");
        Ok(())
    })?;
    bench.install(Mode::Wasm, &json!({ "fault": null }))?;
    until("the end of the fault", PUSH_LIMIT, || {
        let answer = bench.call(Mode::Wasm, Call::Good)?;
        ensure!(!answer.is_rejection(), "a rejection: {answer:?}");
        ensure!(answer.status == 200, "answered {}", answer.status);
        Ok(())
    })?;
    Ok("6 calls aborted with 500 in a row: 6 neutral outcomes, none rejected".to_owned())
}

/// A policy whose open time is nothing: Envoy refuses it with its path, and the policy before it
/// trips as it did.
fn wrong_policy(bench: &Bench) -> Result<String> {
    bench.change_plugin(&json!({ "policies": [{
        "name": "echo",
        "breaker": { "profile": "origin-study", "open": { "base": "0s" } },
    }] }))?;
    let told = until("the refusal in the sidecar's log", PUSH_LIMIT, || {
        let log = bench.sidecar_log(Mode::Wasm)?;
        let line = log.lines().find(|line| line.contains("policies[0].breaker.open.base"));
        line.and_then(|line| line.split('\t').find_map(|part| part.strip_prefix("wasm log: ")))
            .map(str::to_owned)
            .context("the sidecar's log has no refusal yet")
    })?;
    let answers = bench.calls(Mode::Wasm, &OUTAGE)?;
    ensure!(statuses(&answers) == [200, 500, 500, 500, 503], "answers {:?}", statuses(&answers));
    answers[4].rejected_by("echo/breaker", "3 consecutive failures")?;
    Ok(format!("{told}; then 3 failures trip the breaker as before"))
}

fn show_istio(bench: &Bench, proofs: &mut Proofs) {
    let pool = until("the DestinationRule in Envoy", PUSH_LIMIT, || {
        in_force(bench, "::default_priority::max_connections::1")
    });
    proofs.record("istio: the DestinationRule is in force", pool);
    let name = "istio: 3 failures eject the server";
    let ejected = bench.calls(Mode::Istio, &OUTAGE).and_then(|answers| {
        ensure!(
            statuses(&answers) == [200, 500, 500, 500, 503],
            "answers {:?}",
            statuses(&answers)
        );
        let last = &answers[4];
        ensure!(last.body.contains("no healthy upstream"), "503 for another reason: {last:?}");
        ensure!(!last.is_rejection(), "rejected by a policy: {last:?}");
        Ok(format!("the next call is answered 503 {:?}", last.body))
    });
    proofs.record(name, ejected);
    let back = until("istio: the server comes back", RECOVERY_LIMIT, || {
        let answer = bench.call(Mode::Istio, Call::Good)?;
        ensure!(answer.status == 200, "answered {} {}", answer.status, answer.body);
        Ok("answered 200 after the ejection".to_owned())
    });
    proofs.record("istio: it comes back", back);
    proofs.record("istio: http1MaxPendingRequests 0 is not applied", waiting(bench));
    proofs.record("istio: above 0 the pool overflows", overflow(bench));
}

/// With the study's 0, calls beyond the one connection wait.
fn waiting(bench: &Bench) -> Result<String> {
    let answers = bench.slow_calls_at_once(Mode::Istio, 3)?;
    ensure!(answers == ["200"; 3], "answers {answers:?}");
    Ok("3 calls at once over 1 connection all wait their turn".to_owned())
}

/// With 1, the same calls are refused by Envoy.
fn overflow(bench: &Bench) -> Result<String> {
    let http = json!({ "http1MaxPendingRequests": 1, "maxRequestsPerConnection": 1 });
    let policy = json!({ "trafficPolicy": { "connectionPool": { "http": http } } });
    bench.install(Mode::Istio, &json!({ "istio": policy }))?;
    until("the changed DestinationRule in Envoy", PUSH_LIMIT, || {
        in_force(bench, "::default_priority::max_pending_requests::1")
    })?;
    refusals(&bench.slow_calls_at_once(Mode::Istio, 8)?)
}

/// Counts the answers by which Envoy's pool refuses a call: each a status, and whether it has the
/// header `x-envoy-overloaded`. Without one nothing was shown.
fn refusals(answers: &[String]) -> Result<String> {
    let refused = answers.iter().filter(|answer| *answer == "503 true").count();
    ensure!(refused > 0, "answers {answers:?}");
    let calls = answers.len();
    Ok(format!("{refused} of {calls} calls at once are answered 503 with x-envoy-overloaded"))
}

/// Whether Envoy's list of clusters has a line of the echo server that ends so.
fn in_force(bench: &Bench, end: &str) -> Result<String> {
    let clusters = bench.sidecar(Mode::Istio, "clusters")?;
    let mut own = clusters.lines().filter(|line| line.starts_with("outbound|5001||"));
    match own.find(|line| line.ends_with(end)) {
        Some(line) => Ok(line.to_owned()),
        None => bail!("Envoy's clusters do not have {end}"),
    }
}

pub(super) fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|answer| answer.status).collect()
}

/// The same error once more: two claims rest on the same calls.
fn again(error: &anyhow::Error) -> anyhow::Error {
    anyhow::anyhow!("{error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_need_each_step_and_the_state() {
        let line = |from: &str, to: &str| {
            format!(
                "bimetal_breaker_transitions_total{{policy=\"echo\",from=\"{from}\",to=\"{to}\"}} 1\n"
            )
        };
        let state = "bimetal_breaker_replicas{policy=\"echo\",state=\"closed\"} 1\n";
        let page =
            line("closed", "open") + &line("open", "half_open") + &line("half_open", "closed");
        assert!(transitions(&format!("{page}{state}")).is_ok());
        assert!(transitions(&page).is_err());
        let (start, _) = page.rsplit_once("bimetal").unwrap();
        assert!(transitions(&format!("{start}{state}")).is_err());
    }

    #[test]
    fn an_overflow_needs_a_refusal() {
        let told = |answers: &[&str]| {
            let answers: Vec<_> = answers.iter().map(|answer| (*answer).to_owned()).collect();
            refusals(&answers).ok()
        };
        assert_eq!(told(&["200", "200"]), None);
        assert_eq!(told(&["200", "503"]), None, "a 503 of the server is no refusal");
        assert_eq!(
            told(&["200", "503 true"]).as_deref(),
            Some("1 of 2 calls at once are answered 503 with x-envoy-overloaded")
        );
    }
}
