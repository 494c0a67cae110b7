//! What a call costs in host calls. A call that returns a buffer costs about 1 µs in Envoy, because
//! the host enters the VM again for the memory; any other costs 0.05 to 0.4 µs. `docs/filter.md`
//! states these numbers.

use super::{TestResult, plugin};
use crate::machine::{Machine, Vm};
use crate::process::{Pairs, Process};
use serde_json::{Value, json};

/// Host calls that return a buffer.
const BUFFERS: [&str; 5] = [
    "proxy_get_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_get_property",
    "proxy_get_buffer_bytes",
    "proxy_get_shared_data",
];

/// Most other host calls within one call. A failure makes one more: it writes to the board and says
/// that it did.
const MOST_OTHERS: u64 = 5;

/// Beside these a policy with retries sets headers of the router.
const OF_RETRIES: u64 = 4;

struct Row {
    name: &'static str,
    policy: Value,
    play: fn(&mut Vm, u32) -> TestResult,
    buffers: u64,
}

fn pairs(of: &[(&str, &str)]) -> Pairs {
    of.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

fn answered(vm: &Vm, call: u32, content_type: &str) {
    vm.answer(call, "200", "via_upstream");
    let more = pairs(&[("content-type", content_type), ("x-envoy-upstream-service-time", "1")]);
    vm.know(call, |context| context.response.as_mut().unwrap().extend(more));
}

fn good(vm: &mut Vm, call: u32) -> TestResult {
    vm.request(call)?;
    answered(vm, call, "text/plain");
    vm.response(call, 0)?;
    vm.response_body(call, b"some", false)?;
    vm.response_body(call, b"more", true)
}

fn upload(vm: &mut Vm, call: u32) -> TestResult {
    vm.request_begins(call)?;
    vm.request_body(call, false)?;
    vm.request_body(call, true)?;
    answered(vm, call, "text/plain");
    vm.response(call, 1).map(drop)
}

fn grpc(vm: &mut Vm, call: u32) -> TestResult {
    vm.request(call)?;
    answered(vm, call, "application/grpc");
    vm.response(call, 0)?;
    vm.response_body(call, b"message", false)?;
    vm.know(call, |context| context.trailers = Some(pairs(&[("grpc-status", "0")])));
    vm.ask(call, "proxy_on_response_trailers", (call, 1_u32)).map(drop)
}

fn grpc_web(vm: &mut Vm, call: u32) -> TestResult {
    vm.request(call)?;
    answered(vm, call, "application/grpc-web");
    vm.response(call, 0)?;
    vm.response_body(call, b"\0\0\0\0\x01x", false)?;
    vm.response_body(call, b"\x80\0\0\0\x0egrpc-status: 0", false)?;
    vm.response_body(call, b"", true)
}

fn with_a_deadline(vm: &mut Vm, call: u32) -> TestResult {
    let field = pairs(&[("x-request-deadline-ms", "1000")]);
    vm.know(call, |context| context.request.as_mut().unwrap().extend(field));
    good(vm, call)
}

fn denied(vm: &mut Vm, call: u32) -> TestResult {
    by_envoy(vm, call, "ext_authz_denied", 0x1000)
}

fn refused(vm: &mut Vm, call: u32) -> TestResult {
    by_envoy(vm, call, "upstream_reset_before_response_started{connection_failure}", 0x20)
}

fn by_envoy(vm: &mut Vm, call: u32, details: &str, flags: u64) -> TestResult {
    vm.request(call)?;
    vm.answer(call, "503", details);
    let flags = flags.to_le_bytes().to_vec();
    vm.know(call, |context| context.properties.insert("response\0flags", flags));
    vm.response(call, 0).map(drop)
}

fn client_leaves(vm: &mut Vm, call: u32) -> TestResult {
    vm.request(call)?;
    let flags = 0x4000_u64.to_le_bytes().to_vec();
    vm.know(call, |context| context.properties.insert("response\0flags", flags));
    Ok(())
}

pub(super) fn a_call_makes_few_host_calls(machine: &Machine) -> TestResult {
    let full = || {
        let trip = json!({"consecutive_failures": 3, "slow_rate": {"threshold": 0.5,
            "slower_than": "1s", "window": {"calls": 100}, "minimum_calls": 100}});
        json!({"match": {"path_prefix": "/"}, "timeout": {"request": "3s"},
            "breaker": {"trip": trip, "open": {"base": "10s", "jitter": 0}}})
    };
    let scoped = |scope: &str| {
        let mut policy = full();
        policy["scope"] = scope.into();
        policy
    };
    let deadlines = || {
        let mut policy = full();
        policy["deadline"] = json!({});
        policy
    };
    let queue = || {
        let mut policy = full();
        policy["concurrency"] = json!({"max": 90, "queue": {"max": 9, "max_wait": "1s"}});
        policy
    };
    // Its three headers, and the clock when the tries are over.
    let retries = || {
        let mut policy = full();
        policy["retry"] = json!({"budget": {"share": 1}});
        policy
    };
    let limited = || {
        let mut policy = full();
        policy["rate_limits"] = json!([{"rate": "10000/s", "key": ["policy"]}]);
        policy
    };
    let slots = || {
        let mut policy = full();
        policy["concurrency"] = json!({"max": 500});
        policy
    };
    let rows = [
        // Both header maps and the code details.
        Row { name: "good", policy: full(), play: good, buffers: 3 },
        // Also where no policy asks for a header: a client may have chosen Envoy's limit.
        Row { name: "good, nothing asked", policy: json!({}), play: good, buffers: 3 },
        Row { name: "upload", policy: full(), play: upload, buffers: 3 },
        // One more for a fact of the scope that no header tells.
        Row { name: "by header", policy: scoped("header:x-a"), play: good, buffers: 3 },
        Row { name: "by cluster", policy: scoped("destination"), play: good, buffers: 4 },
        // The virtual host, the route, and without its name the cluster.
        Row { name: "by route", policy: scoped("route"), play: good, buffers: 6 },
        Row { name: "by client", policy: scoped("client"), play: good, buffers: 4 },
        // One more for the trailers of gRPC, and for each piece of gRPC-Web until its status.
        Row { name: "gRPC", policy: full(), play: grpc, buffers: 4 },
        Row { name: "gRPC-Web", policy: full(), play: grpc_web, buffers: 5 },
        // The time is read with the other headers, and told in place of the caller's.
        Row { name: "deadline", policy: deadlines(), play: with_a_deadline, buffers: 3 },
        // The number of tries, behind their end.
        Row { name: "retry", policy: retries(), play: good, buffers: 4 },
        // Where nobody waits a queue asks nothing of the host.
        Row { name: "queue", policy: queue(), play: good, buffers: 3 },
        // Tokens and slots that are leased: the first calls took them.
        Row { name: "rate limit", policy: limited(), play: good, buffers: 3 },
        Row { name: "concurrency", policy: slots(), play: good, buffers: 3 },
        Row { name: "no deadline asked", policy: deadlines(), play: good, buffers: 3 },
        // The flags in place of the headers.
        Row { name: "another filter answers", policy: full(), play: denied, buffers: 3 },
        // A failure is shown to the other workers: a read, and a read with its swap.
        Row { name: "no connection", policy: full(), play: refused, buffers: 5 },
        // The flags and the number of tries.
        Row { name: "the client leaves", policy: full(), play: client_leaves, buffers: 3 },
    ];
    for Row { name, policy, play, buffers } in rows {
        let process = Process::new(3);
        process.lock().log_level = 2;
        let (mut vm, root) = plugin(machine, &process, 1, policy)?;
        // The first call makes its scope. Where tokens are leased those before the last find out how many.
        let times = if matches!(name, "rate limit" | "concurrency") { 10 } else { 2 };
        for _ in 0..times {
            process.lock().calls.clear();
            let call = vm.begin(root)?;
            vm.know(call, |context| {
                context.properties.insert("source\0address", b"10.0.0.1:1".to_vec());
                let tries = 1_u64.to_le_bytes().to_vec();
                context.properties.insert("upstream\0request_attempt_count", tries);
            });
            play(&mut vm, call)?;
            vm.end(call)?;
        }
        let calls = process.lock().calls.clone();
        let (mut given, mut others) = (0, 0);
        for (call, times) in &calls {
            *(if BUFFERS.contains(call) { &mut given } else { &mut others }) += times;
        }
        assert_eq!(given, buffers, "{name}: {calls:?}");
        let writes = calls.get("proxy_set_shared_data").copied().unwrap_or(0);
        let more = if name == "retry" { OF_RETRIES } else { 0 };
        assert!(others <= MOST_OTHERS + writes + more, "{name}: {calls:?}");
        // Durations are recorded on the tick.
        assert!(!calls.contains_key("proxy_record_metric"), "{name}: {calls:?}");
        vm.tick(root)?;
        assert_eq!(process.metric(&["request_duration_ms"]), times, "{name}");
    }
    Ok(())
}

/// While nothing changes a tick reads nothing, and asks as often for many scopes as for one.
pub(super) fn a_tick_costs_the_same_for_many_scopes(machine: &Machine) -> TestResult {
    let cost = |scopes: u32| -> wasmtime::Result<_> {
        let process = Process::new(3);
        process.lock().log_level = 2;
        let (mut vm, root) = plugin(machine, &process, 1, json!({"scope": "destination"}))?;
        let (mut other, its_root) = plugin(machine, &process, 2, json!({"scope": "destination"}))?;
        for scope in 0..scopes {
            for (vm, root) in [(&mut vm, root), (&mut other, its_root)] {
                let call = vm.begin(root)?;
                let cluster = format!("cluster-{scope}").into_bytes();
                vm.know(call, |context| context.properties.insert("xds\0cluster_name", cluster));
                vm.request(call)?;
                vm.answer(call, "500", "via_upstream");
                vm.response(call, 1)?;
                vm.end(call)?;
            }
        }
        for _ in 0..3 {
            process.pass(100);
            vm.tick(root)?;
        }
        process.lock().calls.clear();
        process.pass(100);
        vm.tick(root)?;
        let calls = process.lock().calls.clone();
        Ok(calls)
    };
    let one = cost(1)?;
    assert_eq!(cost(300)?, one);
    assert_eq!((one.get("proxy_get_metric"), one.get("proxy_get_shared_data")), (Some(&1), None));
    Ok(())
}
