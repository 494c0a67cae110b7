//! Limits that several VMs have together, by leases.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Action, Machine, Vm};
use crate::process::Process;
use serde_json::{Value, json};

fn fleet(machine: &Machine, process: &Process, policy: &Value) -> wasmtime::Result<Vec<(Vm, u32)>> {
    (1..=4).map(|number| plugin(machine, process, number, policy.clone())).collect()
}

/// A request; its context where it may go on.
fn ask((vm, root): &mut (Vm, u32)) -> wasmtime::Result<Option<u32>> {
    let call = vm.begin(*root)?;
    match vm.request(call)? {
        Action::Continue => Ok(Some(call)),
        Action::Pause => {
            vm.answer(call, "503", "bimetal_echo_rate_limit");
            vm.response(call, 1)?;
            vm.end(call)?;
            Ok(None)
        }
    }
}

fn end((vm, _): &mut (Vm, u32), call: u32) -> TestResult {
    vm.answer(call, "200", "via_upstream");
    vm.response(call, 1)?;
    vm.end(call)
}

/// A quarter of a second at 400/s, with four times as much offered.
pub(super) fn four_vms_have_one_rate_limit(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    process.lock().log_level = 2;
    let policy = json!({"rate_limits": [{"rate": "400/s", "capacity": 100, "key": ["policy"]}]});
    let mut vms = fleet(machine, &process, &policy)?;
    let mut admitted = 0;
    for step in 0..250 {
        for one in &mut vms {
            if let Some(call) = ask(one)? {
                admitted += 1;
                end(one, call)?;
            }
            if step % 100 == 99 {
                one.0.tick(one.1)?;
            }
        }
        process.pass(1);
    }
    // The bucket, what flows in, and six tokens in each of four leases; alone each would have had as much.
    assert!((200 - 24..=200 + 24).contains(&admitted), "{admitted}");
    assert_eq!(counted(&process), 0);
    Ok(())
}

pub(super) fn four_vms_have_one_limit_of_calls(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    process.lock().log_level = 2;
    let mut vms = fleet(machine, &process, &json!({"concurrency": {"max": 100}}))?;
    let mut under_way = Vec::new();
    for _ in 0..60 {
        for (number, one) in vms.iter_mut().enumerate() {
            under_way.extend(ask(one)?.map(|call| (number, call)));
        }
    }
    assert_eq!(under_way.len(), 100);
    process.pass(100);
    for (vm, root) in &mut vms {
        vm.tick(*root)?;
    }
    for (number, call) in under_way {
        end(&mut vms[number], call)?;
    }
    // Three times four slots at most lie elsewhere, until a tick.
    let mut alone = Vec::new();
    for _ in 0..120 {
        alone.extend(ask(&mut vms[0])?);
    }
    assert!((88..=100).contains(&alone.len()), "{}", alone.len());
    for call in alone {
        end(&mut vms[0], call)?;
    }
    balanced_after_a_tick(&mut vms, &process)
}

fn balanced_after_a_tick(vms: &mut [(Vm, u32)], process: &Process) -> TestResult {
    process.pass(100);
    vms.iter_mut().try_for_each(|(vm, root)| vm.tick(*root))?;
    balanced(process, "leases");
    assert_eq!(counted(process), 0);
    Ok(())
}

/// Nobody tells of its end; the others find out by its silence.
pub(super) fn a_vm_that_traps_keeps_no_slots(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    process.lock().log_level = 2;
    let mut vms = fleet(machine, &process, &json!({"concurrency": {"max": 20}}))?;
    let mut dead = vms.remove(0);
    for _ in 0..20 {
        assert!(ask(&mut dead)?.is_some());
    }
    drop(dead);
    assert_eq!(ask(&mut vms[0])?, None);
    for tick in 1..=20 {
        process.pass(100);
        for (vm, root) in &mut vms {
            vm.tick(*root)?;
        }
        let call = ask(&mut vms[0])?;
        assert_eq!(call.is_some(), tick == 20, "after {tick} ticks");
        if let Some(call) = call {
            end(&mut vms[0], call)?;
        }
    }
    Ok(())
}
