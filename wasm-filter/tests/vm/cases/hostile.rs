//! What a client or an author of documents can send.

use super::{TestResult, balanced, counted, plugin};
use crate::machine::{Action, Machine};
use crate::process::{Fault, Pairs, Process};
use serde_json::json;

fn pair(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (name.as_ref().to_vec(), value.as_ref().to_vec())
}

pub(super) fn headers_of_every_kind(machine: &Machine) -> TestResult {
    let process = Process::new(5);
    let more = json!({"scope": "header:x-tenant", "timeout": {"request": "1s"},
        "debug_headers": true, "match": {"hosts": ["*.example.com", "echo"],
        "path_prefix": "/", "methods": ["GET", "POST"], "headers": {"x-tenant": "*"}}});
    let (mut vm, root) = plugin(machine, &process, 1, more)?;
    let ordinary: Pairs = vec![
        pair(":authority", "echo"),
        pair(":path", "/"),
        pair(":method", "GET"),
        pair("x-tenant", "gold"),
    ];
    let with = |more: Pairs| [ordinary.clone(), more].concat();
    let many = (0..10_000).map(|number| pair(format!("x-{number}"), "value"));
    let maps: Vec<(&str, Pairs)> = vec![
        ("none", Vec::new()),
        ("very many", with(many.collect())),
        ("very long value", with(vec![pair("x-long", vec![b'a'; 2 << 20])])),
        ("very long name", with(vec![pair(vec![b'n'; 1 << 20], "v")])),
        ("very long scope", vec![pair(":path", "/"), pair("x-tenant", vec![b't'; 1 << 20])]),
        ("not UTF-8", with(vec![pair(b"x-\xff", b"\xc3\x28"), pair("x-tenant", b"\xff\xfe")])),
        ("scope not UTF-8", vec![pair(":path", b"/\xff"), pair("x-tenant", b"\xff\0\xfe")]),
        ("empty names", with(vec![pair("", ""), pair("", "v"), pair("x", "")])),
        ("twice", with(ordinary.clone())),
        ("NUL", with(vec![pair("x\0y", "a\0b"), pair("x-tenant", "\0")])),
        ("pseudo headers alone", vec![pair(":path", ""), pair(":method", "")]),
    ];
    for (name, map) in maps {
        for as_answer in [false, true] {
            let call = vm.begin(root)?;
            vm.know(call, |context| {
                let request = if as_answer { ordinary.clone() } else { map.clone() };
                context.request = Some(request);
            });
            assert_eq!(vm.request(call)?, Action::Continue, "{name}");
            vm.answer(call, "200", "via_upstream");
            if as_answer {
                vm.know(call, |context| {
                    context.response.get_or_insert_default().extend(map.clone());
                    context.trailers = Some(map.clone());
                });
            }
            vm.response(call, 0)?;
            vm.ask(call, "proxy_on_response_trailers", (call, 1_u32))?;
            vm.end(call)?;
        }
        vm.tick(root)?;
        balanced(&process, name);
    }
    assert_eq!(counted(&process), 0, "bytes are no error");
    Ok(())
}

/// A module counts in 32 bits, so what is harmless on a larger machine may overflow here.
pub(super) fn blocks_of_headers_that_lie(machine: &Machine) -> TestResult {
    let words =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_le_bytes()).collect() };
    let blocks: [(&str, Vec<u8>); 9] = [
        ("no number", vec![1, 0]),
        ("as many as can be", words(&[u32::MAX])),
        ("a number whose sizes overflow", words(&[1 << 29, 1, 1, 0])),
        ("the same, one more", words(&[(1 << 29) + 1, 1, 1, 0])),
        ("a name as long as can be", words(&[1, u32::MAX, 1, 0])),
        ("a value as long as can be", words(&[1, 1, u32::MAX, 0])),
        ("name and value that overflow together", words(&[1, 1 << 31, 1 << 31, 0])),
        ("sizes without texts", words(&[2, 5, 5, 5, 5])),
        ("a million empty pairs", words(&[&[1_000_000][..], &vec![0; 2_000_000]].concat())),
    ];
    for (name, block) in blocks {
        let process = Process::new(5);
        let more = json!({"scope": "header:x-tenant", "match": {"path_prefix": "/"}});
        let (mut vm, root) = plugin(machine, &process, 1, more)?;
        let open = vm.begin(root)?;
        vm.request(open)?;
        process.lock().written = block;
        process.fail("proxy_get_header_map_pairs", Fault::Written);
        assert_eq!(vm.serve(root, "200").map_err(|error| error.context(name))?, None);
        vm.answer(open, "200", "via_upstream");
        vm.response(open, 1).map_err(|error| error.context(name))?;
        vm.end(open)?;
        process.heal();
        vm.tick(root)?;
        balanced(&process, name);
    }
    Ok(())
}

pub(super) fn documents_of_every_kind(machine: &Machine) -> TestResult {
    let process = Process::new(5);
    let nested = |open: &str, times: usize| open.repeat(times).into_bytes();
    let names: Vec<String> = (0..2_000).map(|number| format!("\"unknown{number}\":1")).collect();
    let documents: Vec<(&str, Vec<u8>)> = vec![
        ("deep lists", nested("[", 200_000)),
        ("deep objects", nested("{\"a\":", 200_000)),
        ("many unknown fields", format!("{{{}}}", names.join(",")).into_bytes()),
        ("a long number", [b"1".repeat(100_000)].concat()),
        ("a long string", format!("\"{}\"", "x".repeat(3 << 20)).into_bytes()),
        ("zeroes", vec![0; 100_000]),
    ];
    for (name, document) in documents {
        let mut vm = machine.vm(&process, 1)?;
        let (root, taken) = vm.configure(&document).map_err(|error| error.context(name))?;
        assert!(!taken, "{name}");
        assert!(!process.errors().is_empty(), "{name}");
        // A bounded number of bounded lines.
        let said: usize = process.errors().iter().map(String::len).sum();
        assert!(said < 1 << 20, "{name}: the log got {said} bytes");
        process.lock().lines.clear();
        vm.delete(root)?;
    }
    Ok(())
}
