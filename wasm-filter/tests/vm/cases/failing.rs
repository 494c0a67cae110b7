//! A host whose calls fail, one kind at a time.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Action, Machine, Vm, policy};
use crate::process::{Fault, Process, status};
use serde_json::{Value, json};

/// Host calls that the filter makes, and whether one that fails is noticed.
const CALLS: [(&str, Noticed); 19] = [
    ("proxy_log", Noticed::Never),
    ("proxy_get_log_level", Noticed::Never),
    ("proxy_set_tick_period_milliseconds", Noticed::WhileConfiguring),
    ("proxy_get_buffer_bytes", Noticed::Never),
    ("proxy_get_header_map_value", Noticed::Maybe),
    ("proxy_get_header_map_pairs", Noticed::Maybe),
    ("proxy_replace_header_map_value", Noticed::Counted),
    ("proxy_remove_header_map_value", Noticed::Counted),
    ("proxy_get_property", Noticed::Counted),
    ("proxy_send_local_response", Noticed::Counted),
    ("proxy_set_effective_context", Noticed::Maybe),
    ("proxy_continue_stream", Noticed::Maybe),
    ("proxy_define_metric", Noticed::Maybe),
    ("proxy_increment_metric", Noticed::Counted),
    ("proxy_record_metric", Noticed::Counted),
    ("proxy_get_shared_data", Noticed::Counted),
    ("proxy_set_shared_data", Noticed::Counted),
    ("proxy_get_metric", Noticed::Counted),
    ("clock_time_get", Noticed::Counted),
];

/// Whether `bimetal_decision_errors_total` counts a call that returns an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Noticed {
    Counted,
    WhileConfiguring,
    /// It is not always made.
    Maybe,
    Never,
}

const FAULTS: [Fault; 9] = [
    Fault::Status(status::INTERNAL_FAILURE),
    Fault::Status(status::BAD_ARGUMENT),
    Fault::Status(status::NOT_FOUND),
    Fault::Status(u32::MAX),
    Fault::Null(0),
    Fault::Null(100),
    Fault::Empty,
    Fault::Garbage,
    Fault::Short,
];

const fn is_error(fault: Fault) -> bool {
    matches!(fault, Fault::Status(_))
}

/// A policy that makes every host call.
fn everything() -> Value {
    json!({"scope": "destination", "debug_headers": true, "timeout": {"request": "1s"},
        "match": {"hosts": ["*"], "path_prefix": "/", "methods": ["GET"],
            "direction": "any"},
        "breaker": {"trip": {"consecutive_failures": 3, "slow_rate": {"threshold": 1,
            "slower_than": "100ms", "window": {"calls": 10}, "minimum_calls": 10}},
            "open": {"base": "1s", "jitter": 0}}})
}

/// One request of each kind: good, failed, broken off, gRPC, slow.
fn traffic(vm: &mut Vm, root: u32) -> wasmtime::Result<Vec<Action>> {
    let mut actions = Vec::new();
    let plays: [fn(&mut Vm, u32) -> TestResult; 5] = [
        |vm, call| {
            vm.answer(call, "200", "via_upstream");
            vm.response(call, 0)?;
            vm.ask(call, "proxy_on_response_body", (call, 1_u32, 1_u32)).map(drop)
        },
        |vm, call| {
            vm.answer(call, "500", "via_upstream");
            vm.response(call, 1).map(drop)
        },
        |vm, call| {
            vm.know(call, |context| {
                context.properties.insert("response\0flags", 0x40_u64.to_le_bytes().to_vec())
            });
            Ok(())
        },
        |vm, call| {
            vm.answer(call, "200", "via_upstream");
            vm.know(call, |context| {
                let grpc = (b"content-type".to_vec(), b"application/grpc".to_vec());
                context.response.get_or_insert_default().push(grpc);
            });
            vm.response(call, 0)?;
            vm.know(call, |context| {
                context.response = None;
                context.trailers = Some(vec![(b"grpc-status".to_vec(), b"14".to_vec())]);
            });
            vm.ask(call, "proxy_on_response_trailers", (call, 1_u32)).map(drop)
        },
        |vm, call| {
            vm.process().pass(200);
            vm.answer(call, "200", "via_upstream");
            vm.response(call, 1).map(drop)
        },
    ];
    for play in plays {
        let call = vm.begin(root)?;
        vm.know(call, |context| {
            // What the client may not set: the filter removes it.
            let limit = (b"x-envoy-upstream-rq-timeout-ms".to_vec(), b"1".to_vec());
            context.request.get_or_insert_default().push(limit);
        });
        actions.push(vm.request(call)?);
        play(vm, call)?;
        vm.end(call)?;
    }
    Ok(actions)
}

pub(super) fn each_host_call_in_turn(machine: &Machine) -> TestResult {
    for (call, noticed) in CALLS {
        for fault in FAULTS {
            let about = format!("{call} {fault:?}");
            let process = Process::new(3);
            let (mut vm, root) = plugin(machine, &process, 1, everything())?;
            process.fail(call, fault);
            for round in 0..2 {
                let actions =
                    traffic(&mut vm, root).map_err(|error| error.context(about.clone()))?;
                // The fifth request finds the breaker open, and so do all of the second round: who
                // can be given no answer passes.
                let no_answer = call == "proxy_send_local_response" && is_error(fault);
                let pass = if no_answer { 5 } else { 4 * (1 - round) };
                let passed = actions.iter().take(pass).all(|action| *action == Action::Continue);
                assert!(passed, "{about}: {actions:?}");
                for _ in 0..3 {
                    vm.serve(root, "500")?;
                }
                vm.tick(root).map_err(|error| error.context(about.clone()))?;
                process.pass(if round == 0 { 0 } else { 2_000 });
            }
            process.heal();
            vm.tick(root)?;
            traffic(&mut vm, root)?;
            process.pass(5_000);
            vm.tick(root)?;
            if noticed == Noticed::Counted && fault == FAULTS[0] {
                assert!(counted(&process) > 0, "{about}: nobody was told");
            }
            let made = process.lock().calls.get(call).copied().unwrap_or(0);
            assert!(made > 0 || noticed == Noticed::Maybe, "{about}: it is never made");
            if !matches!(call, "proxy_define_metric" | "proxy_increment_metric") {
                balanced(&process, &about);
            }
            // A clock that went to the end of time and back leaves a breaker open until then.
            if (call, fault) == ("clock_time_get", Fault::Garbage) {
                continue;
            }
            // Without faults the breaker works as ever.
            process.pass(60_000);
            vm.serve(root, "200")?;
            for _ in 0..3 {
                assert_eq!(vm.serve(root, "500")?, None, "{about}");
            }
            assert!(vm.serve(root, "200")?.is_some(), "{about}: it does not trip any more");
        }
    }
    Ok(())
}

pub(super) fn each_host_call_in_turn_while_configuring(machine: &Machine) -> TestResult {
    for (call, noticed) in CALLS.into_iter().chain([("random_get", Noticed::WhileConfiguring)]) {
        // Where nobody can say whether the host counts, copies go by their age.
        let noticed = if call == "proxy_get_metric" { Noticed::Maybe } else { noticed };
        for fault in FAULTS {
            let about = format!("{call} {fault:?}");
            let process = Process::new(3);
            let mut vm = machine.vm(&process, 1)?;
            process.fail(call, fault);
            let (root, taken) = vm
                .configure(&policy(everything()))
                .map_err(|error| error.context(about.clone()))?;
            // Only the document itself decides whether it is taken.
            assert_eq!(taken, call != "proxy_get_buffer_bytes", "{about}");
            traffic(&mut vm, root)?;
            // What a configuration that serves publishes, it publishes now.
            vm.tick(root).map_err(|error| error.context(about.clone()))?;
            process.heal();
            vm.tick(root)?;
            let noticed = matches!(noticed, Noticed::Counted | Noticed::WhileConfiguring);
            if noticed && fault == FAULTS[0] {
                assert!(counted(&process) > 0, "{about}: nobody was told");
            }
            if !matches!(call, "proxy_define_metric" | "proxy_increment_metric") {
                balanced(&process, &about);
            }
            vm.delete(root)?;
        }
    }
    Ok(())
}

pub(super) fn no_property_is_there(machine: &Machine) -> TestResult {
    for scope in ["destination", "route", "authority", "client", "policy", "header:x-tenant"] {
        let process = Process::new(3);
        let mut vm = machine.vm(&process, 1)?;
        let document = policy(json!({"scope": scope, "match": {"direction": "any"}}));
        let (root, taken) = vm.configure(&document)?;
        assert!(taken);
        for status in ["200", "500"] {
            let call = vm.create(root)?;
            vm.know(call, |context| context.request = Some(Vec::new()));
            assert_eq!(vm.request(call)?, Action::Continue, "{scope}");
            vm.know(call, |context| {
                context.response = Some(vec![(b":status".to_vec(), status.into())]);
            });
            vm.response(call, 1)?;
            vm.end(call)?;
        }
        vm.tick(root)?;
        // Without a word of who answered, nothing is held against the upstream.
        assert_eq!(process.outcomes(), ["neutral"; 2], "{scope}");
        balanced(&process, scope);
    }
    Ok(())
}

pub(super) fn no_map_is_there(machine: &Machine) -> TestResult {
    let process = Process::new(3);
    let (mut vm, root) = plugin(machine, &process, 1, everything())?;
    for _ in 0..4 {
        let call = vm.create(root)?;
        assert_eq!(vm.request(call)?, Action::Continue);
        vm.response(call, 0)?;
        vm.ask(call, "proxy_on_response_body", (call, 0_u32, 1_u32))?;
        vm.ask(call, "proxy_on_response_trailers", (call, 0_u32))?;
        vm.end(call)?;
    }
    vm.tick(root)?;
    assert!(counted(&process) > 0);
    balanced(&process, "no map");
    Ok(())
}

/// Envoy withholds `random_get` where `capability_restriction_config` does not list it.
pub(super) fn a_host_without_random_numbers(machine: &Machine) -> TestResult {
    let not_capable = Fault::Status(76);
    let process = Process::new(3);
    process.fail("random_get", not_capable);
    let (mut vm, root) = plugin(machine, &process, 1, everything())?;
    // Nobody but the engine's seed asks for one, and what a hash table of the standard library
    // would ask for is a panic.
    assert_eq!(process.lock().calls.get("random_get"), Some(&1));
    traffic(&mut vm, root)?;
    vm.tick(root)?;
    assert_eq!(process.lock().calls.get("random_get"), Some(&1));
    assert_eq!(counted(&process), 1);
    let told = "host call random_get failed with status 76; 1 failures so far";
    assert!(process.lock().lines.iter().any(|(_, line)| line == told));
    balanced(&process, "no random numbers");
    // Workers that begin at different times do not open and close in step.
    process.heal();
    let opened = |nanos: u64| -> wasmtime::Result<String> {
        let process = Process::new(3);
        process.lock().nanos = nanos;
        process.fail("random_get", not_capable);
        let jittery = json!({"breaker": {"trip": {"consecutive_failures": 1},
            "open": {"base": "100s", "jitter": 1}}});
        let (mut vm, root) = plugin(machine, &process, 1, jittery)?;
        process.lock().nanos = 1_000_000_000_000;
        vm.serve(root, "500")?;
        let reply = vm.serve(root, "200")?.expect("a rejection");
        Ok(String::from_utf8_lossy(&reply.headers).into_owned())
    };
    assert_eq!(opened(1)?, opened(1)?);
    assert_ne!(opened(1)?, opened(2)?);
    Ok(())
}
