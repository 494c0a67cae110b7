//! What a report says of how fast the upstream is: to rules that want to know.

use bimetal_core::call::{AnsweredBy, Call, Effect, Fields, Head, Upload};
use bimetal_core::outcome::{AnswerSet, FailureRules, Report, Statuses, Transport};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A call that is handed over at 100 ms and has a second, under rules that want latencies.
fn call() -> Call {
    let mut statuses = Statuses::default();
    statuses.insert_class(5);
    let transport = Transport::ALL.to_vec();
    let failures = AnswerSet { statuses, grpc: 0, transport };
    let rules = FailureRules { failures, wants_latency: true, ..FailureRules::default() };
    let mut call = Call::new(Arc::new(rules), Some(Duration::from_secs(1)));
    let _ = call.handed_over(at(100), Upload::Complete);
    call
}

struct NoFields;

impl Fields for NoFields {
    fn content_type(&self) -> Option<&[u8]> {
        None
    }

    fn grpc_status(&self) -> Option<&[u8]> {
        None
    }

    fn retry_after(&self) -> Option<&[u8]> {
        None
    }
}

fn answered(status: u16, by: AnsweredBy) -> Effect {
    let head = Head { status, by, latency: None, end_of_stream: false, fields: &NoFields };
    let mut call = call();
    match call.headers(at(130), &head) {
        Effect::Settle(report) => Effect::Settle(report),
        // A long answer is no slow one.
        _ => call.ended(at(900)),
    }
}

fn latency(effect: Effect) -> Option<u64> {
    let Effect::Settle(Report { latency, .. }) = effect else { panic!("{effect:?}") };
    latency.map(|latency| latency.as_millis())
}

#[test]
fn it_is_the_time_to_good_headers() {
    assert_eq!(latency(answered(200, AnsweredBy::Upstream)), Some(30));
    // A server that fails at once is not fast, and what another says is not its time.
    assert_eq!(latency(answered(503, AnsweredBy::Upstream)), None);
    assert_eq!(latency(answered(200, AnsweredBy::Other)), None);
    assert_eq!(latency(call().broken(at(130), Transport::Reset)), None);
    assert_eq!(latency(call().client_gone(at(130))), None);
}

#[test]
fn a_call_that_ran_out_of_time_took_that_time() {
    assert_eq!(latency(call().broken(at(1_150), Transport::Timeout)), Some(1_050));
    // A host that did not look at its clock knows the limit.
    assert_eq!(latency(call().broken(at(100), Transport::Timeout)), Some(1_000));
    assert_eq!(latency(call().client_gone(at(1_130))), Some(1_030));
}
