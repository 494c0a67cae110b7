//! Several VMs on one store of shared data.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Machine, Vm};
use crate::process::{Fault, Process, status};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// VMs with one document in force, each with its root.
fn fleet(machine: &Machine, process: &Process, size: u32) -> wasmtime::Result<Vec<(Vm, u32)>> {
    (1..=size).map(|number| plugin(machine, process, number, json!({}))).collect()
}

fn settle(vms: &mut [(Vm, u32)]) -> TestResult {
    vms.iter_mut().try_for_each(|(vm, root)| vm.tick(*root))
}

pub(super) fn three_vms_trip_one_breaker_and_a_fourth_learns_on_its_tick(
    machine: &Machine,
) -> TestResult {
    let process = Process::new(1);
    let mut vms = fleet(machine, &process, 4)?;
    for (vm, root) in &mut vms {
        assert_eq!(vm.serve(*root, "200")?, None);
    }
    for (vm, root) in &mut vms[..3] {
        assert_eq!(vm.serve(*root, "500")?, None);
    }
    // The fourth sees no request, only its tick.
    let (idle, root) = &mut vms[3];
    idle.tick(*root)?;
    assert_eq!(process.metric(&["state=.=open", "breaker_replicas"]), 1);
    settle(&mut vms)?;
    assert_eq!(process.metric(&["state=.=open", "breaker_replicas"]), 4);
    // It was open before their first ticks: nobody ever counted it as closed.
    assert_eq!(process.find_metric(&["state=.=closed", "breaker_replicas"]), None);
    for (vm, root) in &mut vms {
        assert!(vm.serve(*root, "200")?.is_some());
    }
    assert_eq!(process.events("transition").len(), 4, "each VM says once that it is open");
    assert_eq!(process.metric(&["to=.=open", "breaker_transitions_total"]), 1, "it is one trip");
    // One probe over all of them.
    process.pass(10_001);
    let (vm, root) = &mut vms[1];
    let probe = vm.begin(*root)?;
    vm.request(probe)?;
    for index in [0, 2, 3] {
        let (vm, root) = &mut vms[index];
        assert!(vm.serve(*root, "200")?.is_some(), "a second probe");
    }
    let (vm, _) = &mut vms[1];
    vm.answer(probe, "200", "via_upstream");
    vm.response(probe, 1)?;
    vm.end(probe)?;
    for (vm, root) in &mut vms {
        assert_eq!(vm.serve(*root, "200")?, None);
    }
    settle(&mut vms)?;
    assert_eq!(process.metric(&["state=.=closed", "breaker_replicas"]), 4);
    balanced(&process, "four VMs");
    assert_eq!(counted(&process), 0);
    Ok(())
}

/// Without the counter of writes a copy is as good as new for 20 ms.
pub(super) fn vms_share_where_the_host_keeps_no_counter(machine: &Machine) -> TestResult {
    for fault in [Fault::Status(status::INTERNAL_FAILURE), Fault::Null(0)] {
        let process = Process::new(1);
        process.fail("proxy_get_metric", fault);
        let mut vms = fleet(machine, &process, 4)?;
        for (vm, root) in &mut vms {
            assert_eq!(vm.serve(*root, "200")?, None);
        }
        for (vm, root) in &mut vms[..3] {
            assert_eq!(vm.serve(*root, "500")?, None);
        }
        process.pass(20);
        let (idle, root) = &mut vms[3];
        assert!(idle.serve(*root, "200")?.is_some(), "{fault:?}: it did not learn");
        settle(&mut vms)?;
        assert_eq!(process.metric(&["state=.=open", "breaker_replicas"]), 4);
        balanced(&process, "no counter");
        assert_eq!(counted(&process), 0);
    }
    Ok(())
}

/// As many changes follow as there were before: a number that began again would be one that is known.
pub(super) fn counters_that_are_reset_hide_no_trip(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    let mut vms = fleet(machine, &process, 3)?;
    for (vm, root) in &mut vms {
        assert_eq!(vm.serve(*root, "200")?, None);
    }
    let before = process.metric(&["board_changes"]);
    assert_eq!(before, 3, "one of each VM");
    process.reset_counters();
    let (vm, root) = &mut vms[0];
    for _ in 0..3 {
        assert_eq!(vm.serve(*root, "500")?, None);
    }
    for (vm, root) in &mut vms {
        assert!(vm.serve(*root, "200")?.is_some());
    }
    assert_eq!(process.metric(&["board_changes"]), before + 3);
    Ok(())
}

pub(super) fn stale_tokens_lose_no_failure(machine: &Machine) -> TestResult {
    for races in [1, 2, 7] {
        let process = Process::new(1);
        let mut vms = fleet(machine, &process, 3)?;
        for (vm, root) in &mut vms {
            process.lock().races = races;
            assert_eq!(vm.serve(*root, "500")?, None);
            assert_eq!(process.lock().races, 0, "nothing was written");
        }
        for (vm, root) in &mut vms {
            assert!(vm.serve(*root, "200")?.is_some(), "{races} races lost a failure");
        }
        settle(&mut vms)?;
        balanced(&process, "stale tokens");
        assert_eq!(counted(&process), 0);
    }
    Ok(())
}

pub(super) fn a_token_that_is_always_stale_stops_nobody(machine: &Machine) -> TestResult {
    let process = Process::new(1);
    let mut vms = fleet(machine, &process, 2)?;
    process.lock().races = u32::MAX;
    // The calls pass, and the VM says that it could not share. (The next read of the board undoes
    // what it kept to itself, so it does not trip; no real host is like this.)
    for (vm, root) in &mut vms {
        for _ in 0..3 {
            assert_eq!(vm.serve(*root, "500")?, None);
        }
    }
    process.heal();
    settle(&mut vms)?;
    assert!(counted(&process) > 0, "nobody was told");
    balanced(&process, "a token that is always stale");
    // And goes on sharing when it can again.
    process.pass(60_000);
    for (vm, root) in &mut vms {
        vm.serve(*root, "200")?;
        vm.serve(*root, "200")?;
    }
    let trips = process.events("transition").len();
    for _ in 0..2 {
        let (vm, root) = &mut vms[0];
        vm.serve(*root, "500")?;
    }
    let (vm, root) = &mut vms[1];
    vm.serve(*root, "500")?;
    settle(&mut vms)?;
    assert_eq!(process.events("transition").len(), trips + 2, "they do not share any more");
    Ok(())
}

pub(super) fn another_vm_writes_between_read_and_write(machine: &Machine) -> TestResult {
    // What the other one does in between, and whether both are open after it and our failure.
    for (between, open) in [(1, false), (2, true), (3, true)] {
        let process = Process::new(1);
        let (mut vm, root) = plugin(machine, &process, 1, json!({}))?;
        let (mut other, its_root) = plugin(machine, &process, 2, json!({}))?;
        vm.serve(root, "200")?;
        other.serve(its_root, "200")?;
        let other = Arc::new(Mutex::new(other));
        let interrupting = other.clone();
        process.lock().interruption = Some(Box::new(move || {
            let mut other = interrupting.lock().unwrap_or_else(PoisonError::into_inner);
            for _ in 0..between {
                other.serve(its_root, "500").unwrap();
            }
        }));
        assert_eq!(vm.serve(root, "500")?, None);
        assert!(process.lock().interruption.is_none(), "nothing was written");
        let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
        let rejected = (vm.serve(root, "404")?.is_some(), other.serve(its_root, "404")?.is_some());
        assert_eq!(rejected, (open, open), "{between} failures in between");
        vm.tick(root)?;
        other.tick(its_root)?;
        balanced(&process, "a write in between");
        let trips = process.find_metric(&["to=.=open", "breaker_transitions_total"]);
        let wanted = open.then_some(1);
        assert_eq!(trips, wanted, "{between} failures in between: one trip, told once");
    }
    Ok(())
}

pub(super) fn four_vms_at_once(machine: &Machine) -> TestResult {
    let process = Process::new(21);
    let vms = fleet(machine, &process, 4)?;
    let mut vms = std::thread::scope(|scope| {
        let threads = vms.into_iter().enumerate().map(|(which, (mut vm, root))| {
            let process = &process;
            scope.spawn(move || {
                for number in 0..1_000 {
                    // Every fifth fails, in each VM at other times; time passes for all of them.
                    let failed = (number + which * 2) % 5 < 2;
                    vm.serve(root, if failed { "500" } else { "200" })?;
                    if number % 50 == 0 {
                        process.pass(700);
                        vm.tick(root)?;
                    }
                }
                Ok((vm, root))
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<wasmtime::Result<Vec<_>>>()
    })?;
    settle(&mut vms)?;
    balanced(&process, "four VMs in four threads");
    assert_eq!(counted(&process), 0);
    assert!(process.metric(&["to=.=open", "breaker_transitions_total"]) > 0, "nothing tripped");
    // They agree.
    let states = ["closed", "half_open", "open"];
    let replicas =
        states.map(|name| process.find_metric(&[&format!("state=.={name};"), "breaker_replicas"]));
    assert!(replicas.contains(&Some(4)), "{replicas:?}");
    Ok(())
}

pub(super) fn whatever_lies_under_our_key(machine: &Machine) -> TestResult {
    let process = Process::new(7);
    let mut vms = fleet(machine, &process, 2)?;
    for (vm, root) in &mut vms {
        vm.serve(*root, "200")?;
    }
    let keys: Vec<Vec<u8>> = process.lock().shared.keys().cloned().collect();
    assert!(!keys.is_empty(), "nothing is shared");
    let good: Vec<Vec<u8>> = keys.iter().map(|key| process.lock().shared[key].0.clone()).collect();
    let value = |process: &Process, kind: usize, good: &[u8]| -> Vec<u8> {
        let mut state = process.lock();
        let mut noise = |size: usize| -> Vec<u8> {
            (0..size).map(|_| state.random().to_le_bytes()[0]).collect()
        };
        match kind {
            0 => Vec::new(),
            1 => noise(1),
            2 => good[..good.len() / 2].to_vec(),
            3 => good[..8].to_vec(),
            4 => [good, &noise(100_000)].concat(),
            5 => noise(good.len()),
            // Ours by its owner, and then anything.
            _ => [&good[..8], &noise(good.len() - 8)].concat(),
        }
    };
    for round in 0..60 {
        for (key, good) in keys.iter().zip(&good) {
            let value = value(&process, round % 12, good);
            process.lock().put_shared(key, &value);
        }
        for (vm, root) in &mut vms {
            for status in ["500", "500", "500", "200"] {
                vm.serve(*root, status)?;
            }
            vm.tick(*root)?;
        }
        process.pass(3_000);
    }
    balanced(&process, "foreign values");
    // A foreign value that is not idle is left alone: its owner may live. A breaker without a
    // place trips by itself.
    let process = Process::new(8);
    let mut vms = fleet(machine, &process, 2)?;
    let (vm, root) = &mut vms[0];
    vm.serve(*root, "200")?;
    let keys: Vec<Vec<u8>> = process.lock().shared.keys().cloned().collect();
    for key in &keys {
        process.lock().put_shared(key, &[0xee; 64]);
    }
    for _ in 0..3 {
        assert_eq!(vm.serve(*root, "500")?, None);
    }
    assert!(vm.serve(*root, "200")?.is_some());
    for key in &keys {
        assert_eq!(process.lock().shared[key].0, [0xee; 64], "a foreign value was overwritten");
    }
    Ok(())
}
