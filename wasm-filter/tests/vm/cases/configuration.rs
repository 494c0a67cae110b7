//! Documents: taken, refused, replaced.

use super::{TestResult, balanced, plugin};
use crate::machine::{Action, Machine, policy};
use crate::process::Process;
use serde_json::json;

pub(super) fn a_good_document_is_in_force(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
    for _ in 0..3 {
        assert_eq!(vm.serve(root, "500")?, None);
    }
    let reply = vm.serve(root, "200")?.expect("a rejection");
    assert_eq!((reply.status, &*reply.details), (503, "bimetal_echo_breaker"));
    assert!(reply.headers.windows(12).any(|part| part == b"echo/breaker"));
    process.pass(10_001);
    assert_eq!(vm.serve(root, "200")?, None);
    assert_eq!(vm.serve(root, "200")?, None);
    vm.tick(root)?;
    let outcomes = ["failure", "failure", "failure", "success", "success"];
    assert_eq!(process.outcomes(), outcomes);
    balanced(&process, "a good document");
    Ok(())
}

pub(super) fn a_wrong_document_is_refused_and_the_one_in_force_stays(
    machine: &Machine,
) -> TestResult {
    let process = Process::new(1);
    let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
    for _ in 0..3 {
        vm.serve(root, "500")?;
    }
    let two_errors = policy(json!({"mode": "enforced", "scopes": {"max": 0}}));
    let mut huge = policy(json!({"mode": "enforced"}));
    huge.resize(4 << 20, b' ');
    let cases: [(&str, &[u8], &[&str]); 6] = [
        ("empty", b"", &["document: there is none"]),
        ("no JSON", b"{\"version\": \"v1\", ", &["document"]),
        ("not UTF-8", b"{\"version\": \"\xff\xfe\"}", &["document"]),
        ("wrong", &two_errors, &["policies[0].mode", "policies[0].scopes.max"]),
        ("huge", &huge, &["policies[0].mode"]),
        ("another type", b"[1, 2]", &["document"]),
    ];
    for (name, document, paths) in cases {
        let before = process.errors().len();
        let (refused, taken) = vm.configure(document)?;
        assert!(!taken, "{name}: it was taken");
        let errors = process.errors().split_off(before);
        assert_eq!(errors.len(), paths.len(), "{name}: {errors:?}");
        for path in paths {
            let start = format!("policy refused: {path}");
            assert!(errors.iter().any(|error| error.starts_with(&start)), "{name}: {errors:?}");
        }
        // Its requests would pass, as those of a plugin without a document do.
        assert_eq!(vm.serve(refused, "200")?, None, "{name}");
        vm.delete(refused)?;
        // What was in force still is, with its open breaker.
        assert!(vm.serve(root, "200")?.is_some(), "{name}");
    }
    vm.tick(root)?;
    balanced(&process, "refusals");
    Ok(())
}

/// What Envoy 1.40 hands over of a `Struct` with the field `version` and of a `TypedStruct`, and text with
/// the same bytes.
pub(super) fn a_serialised_message_is_told_what_to_do(machine: &Machine) -> TestResult {
    let told = "policy refused: document: it is binary, as Envoy hands over a \
                google.protobuf.Struct; give the policy document as JSON in a \
                google.protobuf.StringValue";
    let cases: [(&str, &[u8], bool); 5] = [
        ("Struct", b"\n\x0f\n\x07version\x12\x04\x1a\x02v1", true),
        ("long Struct", b"\n{\n\x08policies\x12o2m", true),
        ("TypedStruct", b"\n\x01x\x12\x11\n\x0f\n\x07version\x12\x04\x1a\x02v1", true),
        ("text", b"\n\t\r version: v1", false),
        ("text with a control character", b"{\"version\": \"\x12\"}", false),
    ];
    for (name, document, binary) in cases {
        let process = Process::new(1);
        let mut vm = machine.vm(&process, 1)?;
        let (_, taken) = vm.configure(document)?;
        assert!(!taken, "{name}: it was taken");
        let errors = process.errors();
        assert_eq!((errors.len(), errors[0] == told), (1, binary), "{name}: {errors:?}");
    }
    Ok(())
}

pub(super) fn a_refusal_in_one_vm_is_nothing_to_another(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    let (mut worker, root) = plugin(machine, &process, 1, json!({}))?;
    for _ in 0..2 {
        worker.serve(root, "500")?;
    }
    // As Envoy does: a document is tried in a VM of its own, which goes when it is refused.
    let mut canary = machine.vm(&process, 9)?;
    let (refused, taken) = canary.configure(b"{")?;
    assert!(!taken);
    canary.tick(refused)?;
    canary.delete(refused)?;
    drop(canary);
    worker.serve(root, "500")?;
    assert!(worker.serve(root, "200")?.is_some());
    worker.tick(root)?;
    balanced(&process, "a refusal elsewhere");
    assert_eq!(process.metric(&["breaker_replicas"]), 1);
    Ok(())
}

pub(super) fn an_update_keeps_the_breaker_and_the_calls_under_way(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    let (mut vm, first) = plugin(machine, &process, 1, json!({}))?;
    let under_way = vm.begin(first)?;
    assert_eq!(vm.request(under_way)?, Action::Continue);
    for _ in 0..3 {
        vm.serve(first, "500")?;
    }
    let (second, taken) = vm.configure(&policy(json!({"debug_headers": true})))?;
    assert!(taken);
    // The old root goes before its stream; Envoy is kinder.
    vm.tick(first)?;
    vm.delete(first)?;
    assert!(vm.serve(second, "200")?.is_some(), "the update closed the breaker");
    vm.answer(under_way, "200", "via_upstream");
    vm.response(under_way, 1)?;
    vm.end(under_way)?;
    vm.tick(second)?;
    balanced(&process, "an update");
    assert_eq!(process.metric(&["state=.=open", "breaker_replicas"]), 1);
    vm.delete(second)?;
    assert_eq!(process.metric(&["breaker_replicas"]), 0, "a plugin that went left its gauge");
    Ok(())
}
