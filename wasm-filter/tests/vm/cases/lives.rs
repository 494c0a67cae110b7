//! Contexts that die early, and events in orders that Envoy does not promise against.

use super::{TestResult, balanced, plugin};
use crate::machine::{Action, Machine, Vm};
use crate::process::Process;
use serde_json::json;

/// A way in which a host ends a context.
type End = fn(&mut Vm, u32) -> TestResult;

/// How far a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Created,
    Request,
    Response,
    Body,
    Trailers,
}

const STAGES: [Stage; 5] =
    [Stage::Created, Stage::Request, Stage::Response, Stage::Body, Stage::Trailers];

fn reach(vm: &mut Vm, root: u32, stage: Stage) -> wasmtime::Result<u32> {
    let call = vm.begin(root)?;
    if stage >= Stage::Request {
        vm.request(call)?;
    }
    if stage >= Stage::Response {
        vm.answer(call, "200", "via_upstream");
        vm.response(call, 0)?;
    }
    if stage >= Stage::Body {
        vm.ask(call, "proxy_on_response_body", (call, 9_u32, 0_u32))?;
    }
    if stage >= Stage::Trailers {
        vm.know(call, |context| context.trailers = Some(Vec::new()));
        vm.ask(call, "proxy_on_response_trailers", (call, 0_u32))?;
    }
    Ok(call)
}

pub(super) fn contexts_that_die_early(machine: &Machine) -> TestResult {
    let ends: [(&str, End); 4] = [
        ("done, log, delete", |vm, call| vm.end(call)),
        ("delete alone", |vm, call| vm.delete(call)),
        ("done, delete", |vm, call| {
            vm.ask(call, "proxy_on_done", (call,))?;
            vm.delete(call)
        }),
        ("log, delete", |vm, call| {
            vm.call(call, "proxy_on_log", (call,))?;
            vm.delete(call)
        }),
    ];
    for stage in STAGES {
        for (name, end) in ends {
            let process = Process::new(5);
            let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
            let call = reach(&mut vm, root, stage)?;
            end(&mut vm, call)?;
            let expected: &[&str] = match stage {
                Stage::Created => &[],
                Stage::Trailers => &["success"],
                Stage::Request | Stage::Response | Stage::Body => &["neutral"],
            };
            assert_eq!(process.outcomes(), expected, "{stage:?}, {name}");
            vm.tick(root)?;
            balanced(&process, name);
            // A probe that dies so frees its slot.
            for _ in 0..3 {
                vm.serve(root, "500")?;
            }
            process.pass(10_001);
            let probe = reach(&mut vm, root, stage)?;
            end(&mut vm, probe)?;
            assert_eq!(vm.serve(root, "200")?, None, "{stage:?}, {name}: the slot is taken");
        }
    }
    Ok(())
}

pub(super) fn events_out_of_order(machine: &Machine) -> TestResult {
    let process = Process::new(5);
    let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
    let events: [fn(&mut Vm, u32) -> TestResult; 7] = [
        |vm, call| vm.request(call).map(drop),
        |vm, call| vm.response(call, 0).map(drop),
        |vm, call| vm.response(call, 1).map(drop),
        |vm, call| vm.ask(call, "proxy_on_response_body", (call, 1_u32, 1_u32)).map(drop),
        |vm, call| vm.ask(call, "proxy_on_response_trailers", (call, 1_u32)).map(drop),
        |vm, call| vm.ask(call, "proxy_on_done", (call,)).map(drop),
        |vm, call| vm.call(call, "proxy_on_log", (call,)),
    ];
    // Every three of them in every order, with repeats.
    for number in 0..events.len().pow(3) {
        let call = vm.begin(root)?;
        vm.answer(call, "200", "via_upstream");
        vm.know(call, |context| context.trailers = Some(Vec::new()));
        let mut rest = number;
        for _ in 0..3 {
            events[rest % events.len()](&mut vm, call)?;
            rest /= events.len();
        }
        vm.delete(call)?;
        // Nothing that came twice settled twice.
        let admitted = process.events("decision").len();
        assert_eq!(process.outcomes().len(), admitted, "order {number}");
        process.lock().lines.clear();
    }
    vm.tick(root)?;
    balanced(&process, "out of order");
    Ok(())
}

/// The SDK ends the VM at an id that it does not know. No Envoy calls so; but should it happen,
/// other VMs must not notice.
pub(super) fn an_id_that_the_host_never_gave_ends_one_vm_alone(machine: &Machine) -> TestResult {
    let calls: [fn(&mut Vm) -> TestResult; 4] = [
        |vm| vm.request(999).map(drop),
        |vm| vm.call(999, "proxy_on_log", (999_u32,)),
        |vm| vm.delete(999),
        |vm| {
            let call = vm.create(1)?;
            vm.delete(call)?;
            vm.delete(call)
        },
    ];
    for call in calls {
        let process = Process::new(5);
        let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
        let (mut other, its_root) = plugin(machine, &process, 2, json!({}))?;
        for _ in 0..3 {
            vm.serve(root, "500")?;
        }
        process.pass(10_001);
        let probe = vm.begin(root)?;
        assert_eq!(vm.request(probe)?, Action::Continue);
        assert!(call(&mut vm).is_err());
        drop(vm);
        // Its probe is lost; the lease gives the slot back to the others.
        assert!(other.serve(its_root, "200")?.is_some());
        let mut passed = 0;
        while other.serve(its_root, "200")?.is_some() {
            assert!(passed < 60, "a dead worker holds the slot");
            process.pass(1_000);
            other.tick(its_root)?;
            passed += 1;
        }
    }
    Ok(())
}
