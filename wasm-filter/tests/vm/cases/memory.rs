//! Memory over many requests, and over more scopes than there is memory for.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Action, Machine, Vm, policy};
use crate::process::Process;
use serde_json::{Value, json};

/// Requests of the ordinary run; `BIMETAL_REQUESTS` asks for more.
const REQUESTS: u32 = 100_000;

pub(super) fn a_hundred_thousand_requests_in_flat_memory(machine: &Machine) -> TestResult {
    let asked = std::env::var("BIMETAL_REQUESTS").ok().and_then(|number| number.parse().ok());
    let requests: u32 = asked.unwrap_or(REQUESTS);
    let process = Process::new(11);
    // As in operation: events are not formatted.
    process.lock().log_level = 2;
    let more = json!({"scope": "header:x-tenant", "scopes": {"max": 100},
        "timeout": {"request": "1s"}});
    let (mut vm, root) = plugin(machine, &process, 1, more)?;
    let mut open: Vec<u32> = Vec::new();
    let mut pages = 0;
    for number in 0..requests {
        let call = vm.begin(root)?;
        // More keys than scopes: the table is always being renewed.
        let tenant = format!("tenant-{}", number % 1_000);
        vm.know(call, |context| {
            context.request.get_or_insert_default().push((b"x-tenant".to_vec(), tenant.into()));
        });
        if vm.request(call)? == Action::Continue {
            open.push(call);
        } else {
            vm.end(call)?;
        }
        // Up to 200 at once; then the older half ends, each in another way.
        if open.len() == 200 {
            for (index, call) in open.drain(..100).enumerate() {
                let status = if index % 10 == 0 { "503" } else { "200" };
                match index % 4 {
                    0 | 1 => {
                        vm.answer(call, status, "via_upstream");
                        vm.response(call, 1)?;
                        vm.end(call)?;
                    }
                    2 => vm.end(call)?,
                    _ => vm.delete(call)?,
                }
            }
            process.pass(50);
            vm.tick(root)?;
        }
        // By then the heap has the fragments that it will have.
        if number == requests / 2 {
            pages = vm.pages();
        }
    }
    assert_eq!(vm.pages(), pages, "the module's memory grew, in pages of 64 KiB");
    for call in open {
        vm.end(call)?;
    }
    vm.tick(root)?;
    balanced(&process, "many requests");
    assert_eq!(counted(&process), 0);
    println!("{requests} requests in {pages} pages of 64 KiB");
    Ok(())
}

/// Memory of the VMs that come to its end: with it a table ends at some thousand scopes.
const LITTLE: usize = 24 << 20;

/// One call of a tenant; whether it went upstream.
fn call(vm: &mut Vm, root: u32, tenant: u32, status: &str) -> wasmtime::Result<bool> {
    let call = vm.begin(root)?;
    vm.know(call, |context| {
        let header = (b"x-tenant".to_vec(), format!("tenant-{tenant}").into_bytes());
        context.request.get_or_insert_default().push(header);
    });
    let passed = vm.request(call)? == Action::Continue;
    if passed {
        vm.answer(call, status, "via_upstream");
        vm.response(call, 1)?;
    }
    vm.end(call)?;
    Ok(passed)
}

/// Every scope stays busy: failures open it, so none gives way to another.
pub(super) fn a_table_larger_than_memory_refuses_scopes_and_ends_nobody(
    machine: &Machine,
) -> TestResult {
    let document = |when_full: &str, more: Value| {
        let mut fields = json!({"scope": "header:x-tenant",
            "scopes": {"max": 1_000_000, "when_full": when_full},
            "breaker": {"trip": {"consecutive_failures": 1}, "open": {"base": "600s", "jitter": 0}}});
        fields["breaker"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        policy(fields)
    };
    for (when_full, more) in
        [("pass", json!({})), ("share", json!({})), ("pass", json!({"share": "none"}))]
    {
        let process = Process::new(13);
        process.lock().log_level = 2;
        let mut vm = machine.vm_within(&process, 1, LITTLE)?;
        let (root, taken) = vm.configure(&document(when_full, more))?;
        assert!(taken);
        for tenant in 0..8_000 {
            assert!(call(&mut vm, root, tenant, "500")? || when_full == "share", "{tenant}");
            if tenant % 1_000 == 0 {
                vm.tick(root)?;
            }
        }
        vm.tick(root)?;
        let scopes = process.metric(&["scopes"]);
        assert!((1_000..7_000).contains(&scopes), "{when_full}: {scopes} scopes");
        // Who is in the table is protected, and who is not goes on as the policy says.
        assert!(!call(&mut vm, root, 0, "200")?);
        assert_eq!(call(&mut vm, root, 70_000, "200")?, when_full == "pass");
        vm.tick(root)?;
        let unprotected = process.find_metric(&["unprotected_total"]).unwrap_or(0);
        assert_eq!(unprotected > 0, when_full == "pass");
        assert!(vm.pages() * 65_536 <= LITTLE as u64);
        // Breakers that heal make room again.
        process.pass(700_000);
        for tenant in 0..100 {
            assert!(call(&mut vm, root, tenant, "200")?, "a probe");
        }
        let mut has_place = false;
        // A new scope looks at some places for one that is idle; the next one goes on from there.
        for tenant in 80_000..80_100 {
            let tripped = call(&mut vm, root, tenant, "500")?;
            has_place |= tripped && !call(&mut vm, root, tenant, "200")?;
        }
        assert!(has_place, "{when_full}: nobody gave way");
        vm.tick(root)?;
        assert_eq!(process.metric(&["scopes"]), scopes);
        balanced(&process, when_full);
        println!("{scopes} scopes in {} pages of 64 KiB", vm.pages());
    }
    Ok(())
}
