//! Random sequences of events over several VMs.

use super::{TestResult, balanced};
use crate::machine::{Machine, Vm, policy};
use crate::process::{Fault, Process, status};
use serde_json::json;

/// Sequences in an ordinary run; `BIMETAL_SEEDS` asks for more, `BIMETAL_SEED` for one alone.
const SEEDS: u64 = 300;
const STEPS: u32 = 400;

const STATUSES: [&str; 6] = ["200", "500", "503", "404", "", "\u{ff}"];
const DETAILS: [&str; 3] = ["via_upstream", "fault_filter_abort", ""];
const FAILING: [&str; 11] = [
    "clock_time_get",
    "proxy_get_header_map_value",
    "proxy_get_header_map_pairs",
    "proxy_get_property",
    "proxy_replace_header_map_value",
    "proxy_send_local_response",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_record_metric",
    "proxy_set_effective_context",
    "proxy_continue_stream",
];

/// A worker: its VM, its roots (the last one is in force), and the streams in it. As in Envoy, a
/// root lives longer than its streams.
struct Worker {
    vm: Vm,
    roots: Vec<u32>,
    streams: Vec<u32>,
}

impl Worker {
    fn root(&self) -> u32 {
        self.roots[self.roots.len() - 1]
    }

    fn tick(&mut self) -> TestResult {
        self.roots.iter().try_for_each(|root| self.vm.tick(*root))
    }
}

pub(super) fn any_sequence_of_events_keeps_the_books(machine: &Machine) -> TestResult {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("BIMETAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BIMETAL_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        play(machine, seed).map_err(|error| error.context(format!("BIMETAL_SEED={seed}")))?;
    }
    Ok(())
}

fn document(choice: u64) -> Vec<u8> {
    match choice % 8 {
        0 | 1 => policy(json!({})),
        2 => policy(json!({"debug_headers": true, "timeout": {"request": "1s"}})),
        3 => policy(json!({"scope": "destination", "scopes": {"max": 3}})),
        4 => policy(json!({"mode": "shadow"})),
        5 | 6 => policy(json!({"concurrency": {"max": 1, "queue": {"max": 3, "max_wait": "2s"}}})),
        _ => b"{\"version\":".to_vec(),
    }
}

fn play(machine: &Machine, seed: u64) -> TestResult {
    let process = Process::new(seed);
    let mut workers = Vec::new();
    for number in 1..=3 {
        let mut vm = machine.vm(&process, number)?;
        let (root, _) = vm.configure(&document(0))?;
        workers.push(Worker { vm, roots: vec![root], streams: Vec::new() });
    }
    for _ in 0..STEPS {
        let (which, act, detail) = {
            let mut state = process.lock();
            (state.random(), state.random(), state.random())
        };
        let worker = &mut workers[usize::try_from(which % 3).unwrap()];
        step(&process, worker, act, detail)?;
    }
    process.heal();
    for worker in &mut workers {
        for stream in worker.streams.split_off(0) {
            worker.vm.end(stream)?;
        }
        worker.tick()?;
    }
    balanced(&process, &format!("BIMETAL_SEED={seed}"));
    for worker in &mut workers {
        for root in worker.roots.split_off(0) {
            worker.vm.delete(root)?;
        }
    }
    let left = process.metric(&["breaker_replicas"]);
    assert_eq!(left, 0, "BIMETAL_SEED={seed}: gauges of VMs that are gone");
    Ok(())
}

fn step(process: &Process, worker: &mut Worker, act: u64, detail: u64) -> TestResult {
    if act % 20 == 14 {
        return worker.tick();
    }
    let root = worker.root();
    let Worker { vm, roots, streams } = worker;
    let pick = |from: usize| usize::try_from(detail).unwrap_or(usize::MAX) % from.max(1);
    let stream = streams.get(pick(streams.len())).copied();
    match (act % 20, stream) {
        (0..=4, _) => {
            let call = vm.begin(root)?;
            let cluster = format!("cluster-{}", detail % 7);
            vm.know(call, |context| {
                context.properties.insert("xds\0cluster_name", cluster.into_bytes())
            });
            streams.push(call);
            vm.request(call).map(drop)
        }
        (5..=8, Some(call)) => {
            vm.answer(call, STATUSES[pick(6)], DETAILS[pick(3)]);
            vm.response(call, u32::try_from(detail >> 8 & 1).unwrap()).map(drop)
        }
        (9, Some(call)) => {
            let end = u32::try_from(detail >> 8 & 1).unwrap();
            vm.ask(call, "proxy_on_response_body", (call, 1_u32, end)).map(drop)
        }
        (10, Some(call)) => {
            vm.know(call, |context| {
                let flags = 1_u64 << (detail % 30);
                context.properties.insert("response\0flags", flags.to_le_bytes().to_vec());
                context.trailers = Some(Vec::new());
            });
            vm.ask(call, "proxy_on_response_trailers", (call, 0_u32)).map(drop)
        }
        (11, Some(call)) => vm.call(call, "proxy_on_log", (call,)),
        (12 | 13, Some(call)) => {
            streams.retain(|other| *other != call);
            if detail >> 8 & 1 == 0 { vm.end(call) } else { vm.delete(call) }
        }
        (15, _) => {
            process.pass(detail % 8_000);
            Ok(())
        }
        (16, _) => {
            process.lock().races = u32::try_from(detail % 4).unwrap();
            Ok(())
        }
        (17, _) => {
            let fault = match detail % 4 {
                0 => Fault::Null(0),
                1 => Fault::Garbage,
                2 => Fault::Short,
                _ => Fault::Status(status::INTERNAL_FAILURE),
            };
            process.fail(FAILING[pick(FAILING.len())], fault);
            Ok(())
        }
        (18, _) => {
            process.heal();
            Ok(())
        }
        (19, _) => {
            let (next, taken) = vm.configure(&document(detail))?;
            if taken {
                roots.push(next);
                return Ok(());
            }
            vm.delete(next)
        }
        _ => Ok(()),
    }
}
