//! Memory over many requests.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Action, Machine};
use crate::process::Process;
use serde_json::json;

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
