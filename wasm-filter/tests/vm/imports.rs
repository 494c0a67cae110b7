//! Host calls of the proxy-wasm ABI 0.2.1 and of WASI, as far as the filter makes them. Any other
//! call is a trap, so a test fails when the module begins to make one.

use crate::machine::VmHandle;
use crate::process::{Context, Fault, Pairs, Reply, status};
use wasmtime::{Caller, Engine, Extern, Linker, Memory, Module, Result};

type Asking<'a> = Caller<'a, VmHandle>;

/// Every import of the module.
pub(crate) fn linker(engine: &Engine, module: &Module) -> Result<Linker<VmHandle>> {
    let mut linker = Linker::new(engine);
    logs_and_clocks(&mut linker)?;
    maps(&mut linker)?;
    metrics(&mut linker)?;
    shared_data(&mut linker)?;
    linker.define_unknown_imports_as_traps(module)?;
    Ok(linker)
}

fn logs_and_clocks(linker: &mut Linker<VmHandle>) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut vm: Asking<'_>, level: u32, at: u32, size: u32| {
            let line = String::from_utf8_lossy(&read(&mut vm, at, size)?).into_owned();
            let mut process = vm.data().process.lock();
            process.lines.push((level, line));
            Ok(faulty(process.called("proxy_log")))
        },
    )?;
    linker.func_wrap("env", "proxy_get_log_level", |mut vm: Asking<'_>, at: u32| {
        let (fault, level) = {
            let mut process = vm.data().process.lock();
            (process.called("proxy_get_log_level"), process.log_level)
        };
        number(&mut vm, fault, at, &level.to_le_bytes())
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |vm: Asking<'_>, _: u32| {
        Ok(faulty(vm.data().process.lock().called("proxy_set_tick_period_milliseconds")))
    })?;
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(wasi, "clock_time_get", |mut vm: Asking<'_>, _: u32, _: u64, at: u32| {
        let (fault, nanos) = {
            let mut process = vm.data().process.lock();
            (process.called("clock_time_get"), process.nanos)
        };
        number(&mut vm, fault, at, &nanos.to_le_bytes())
    })?;
    linker.func_wrap(wasi, "random_get", |mut vm: Asking<'_>, at: u32, size: u32| {
        let (fault, bytes) = {
            let mut process = vm.data().process.lock();
            let fault = process.called("random_get");
            (fault, (0..size).map(|_| process.random().to_le_bytes()[0]).collect::<Vec<u8>>())
        };
        number(&mut vm, fault, at, &bytes)
    })?;
    linker.func_wrap(wasi, "environ_sizes_get", |mut vm: Asking<'_>, count: u32, size: u32| {
        write(&mut vm, count, &[0; 4])?;
        write(&mut vm, size, &[0; 4])?;
        Ok(status::OK)
    })?;
    linker.func_wrap(wasi, "environ_get", |_: Asking<'_>, _: u32, _: u32| status::OK)?;
    // What a panic says.
    linker.func_wrap(
        wasi,
        "fd_write",
        |mut vm: Asking<'_>, _: u32, vectors: u32, count: u32, written: u32| {
            let mut total = 0;
            for index in 0..count {
                let vector = read(&mut vm, vectors + index * 8, 8)?;
                let word = |at: usize| u32::from_le_bytes(vector[at..at + 4].try_into().unwrap());
                let bytes = read(&mut vm, word(0), word(4))?;
                total += word(4);
                vm.data().process.lock().stderr.push_str(&String::from_utf8_lossy(&bytes));
            }
            write(&mut vm, written, &total.to_le_bytes())?;
            Ok(status::OK)
        },
    )?;
    Ok(())
}

/// The map of a number of the ABI; `None` where it does not exist in this phase.
fn map(context: &mut Context, number: u32) -> Option<&mut Pairs> {
    match number {
        0 => context.request.as_mut(),
        2 => context.response.as_mut(),
        3 => context.trailers.as_mut(),
        _ => None,
    }
}

/// What the host knows of the context that it is calling.
fn known<T>(vm: &Asking<'_>, look: impl FnOnce(&mut Context) -> T) -> T {
    let handle = vm.data();
    look(handle.process.lock().contexts.entry(handle.id()).or_default())
}

fn maps(linker: &mut Linker<VmHandle>) -> Result<()> {
    const VALUE: &str = "proxy_get_header_map_value";
    linker.func_wrap(
        "env",
        VALUE,
        |mut vm: Asking<'_>, of: u32, at: u32, size: u32, data: u32, length: u32| {
            let name = read(&mut vm, at, size)?;
            let found = known(&vm, |context| {
                let pairs = map(context, of).ok_or(status::BAD_ARGUMENT)?;
                let same = pairs.iter().find(|(key, _)| *key == name);
                same.map(|(_, value)| value.clone()).ok_or(status::NOT_FOUND)
            });
            give(&mut vm, VALUE, found, data, length)
        },
    )?;
    const PAIRS: &str = "proxy_get_header_map_pairs";
    linker.func_wrap("env", PAIRS, |mut vm: Asking<'_>, of: u32, data: u32, length: u32| {
        let found = known(&vm, |context| {
            map(context, of).map(|pairs| serialized(pairs)).ok_or(status::BAD_ARGUMENT)
        });
        give(&mut vm, PAIRS, found, data, length)
    })?;
    const REPLACE: &str = "proxy_replace_header_map_value";
    linker.func_wrap(
        "env",
        REPLACE,
        |mut vm: Asking<'_>, of: u32, at: u32, size: u32, value: u32, length: u32| {
            let (name, value) = (read(&mut vm, at, size)?, read(&mut vm, value, length)?);
            if let Some(fault) = called(&vm, REPLACE) {
                return Ok(faulty(Some(fault)));
            }
            Ok(known(&vm, |context| match map(context, of) {
                Some(pairs) => {
                    pairs.retain(|(key, _)| *key != name);
                    pairs.push((name, value));
                    status::OK
                }
                None => status::BAD_ARGUMENT,
            }))
        },
    )?;
    const REMOVE: &str = "proxy_remove_header_map_value";
    linker.func_wrap("env", REMOVE, |mut vm: Asking<'_>, of: u32, at: u32, size: u32| {
        let name = read(&mut vm, at, size)?;
        if let Some(fault) = called(&vm, REMOVE) {
            return Ok(faulty(Some(fault)));
        }
        Ok(known(&vm, |context| match map(context, of) {
            Some(pairs) => {
                pairs.retain(|(key, _)| *key != name);
                status::OK
            }
            None => status::BAD_ARGUMENT,
        }))
    })?;
    const PROPERTY: &str = "proxy_get_property";
    linker.func_wrap(
        "env",
        PROPERTY,
        |mut vm: Asking<'_>, at: u32, size: u32, data: u32, length: u32| {
            let path = read(&mut vm, at, size)?;
            let found = known(&vm, |context| {
                let same = context.properties.iter().find(|(name, _)| name.as_bytes() == path);
                same.map(|(_, value)| value.clone()).ok_or(status::NOT_FOUND)
            });
            give(&mut vm, PROPERTY, found, data, length)
        },
    )?;
    const BUFFER: &str = "proxy_get_buffer_bytes";
    linker.func_wrap(
        "env",
        BUFFER,
        |mut vm: Asking<'_>, buffer: u32, _: u32, most: u32, data: u32, length: u32| {
            let (response_body, plugin_configuration) = (1, 7);
            let found = known(&vm, |context| {
                let whole = match buffer {
                    _ if buffer == response_body => &context.body,
                    _ if buffer == plugin_configuration => &context.configuration,
                    _ => return Err(status::BAD_ARGUMENT),
                };
                Ok(whole.iter().copied().take(most as usize).collect())
            });
            give(&mut vm, BUFFER, found, data, length)
        },
    )?;
    const ENTER: &str = "proxy_set_effective_context";
    linker.func_wrap("env", ENTER, |mut vm: Asking<'_>, context: u32| {
        if let Some(fault) = called(&vm, ENTER) {
            return Ok(faulty(Some(fault)));
        }
        // The VM's own context, which stands for the one that is called.
        let number = if context == 0 { vm.data().called } else { context };
        let id = (vm.data().vm, number);
        if !vm.data().process.lock().contexts.contains_key(&id) {
            return Ok(status::BAD_ARGUMENT);
        }
        vm.data_mut().context = number;
        Ok(status::OK)
    })?;
    const GO_ON: &str = "proxy_continue_stream";
    linker.func_wrap("env", GO_ON, |vm: Asking<'_>, stream: u32| {
        if let Some(fault) = called(&vm, GO_ON) {
            return Ok(faulty(Some(fault)));
        }
        assert_eq!(stream, 0, "a request is let go");
        known(&vm, |context| context.let_go += 1);
        Ok(status::OK)
    })?;
    const REPLY: &str = "proxy_send_local_response";
    linker.func_wrap(
        "env",
        REPLY,
        |mut vm: Asking<'_>,
         code: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         _grpc_status: i32| {
            let details = read(&mut vm, details, details_size)?;
            let headers = read(&mut vm, headers, headers_size)?;
            read(&mut vm, body, body_size)?;
            if let Some(fault) = called(&vm, REPLY) {
                return Ok(faulty(Some(fault)));
            }
            let details = String::from_utf8_lossy(&details).into_owned();
            known(&vm, |context| context.reply = Some(Reply { status: code, details, headers }));
            Ok(status::OK)
        },
    )?;
    Ok(())
}

fn metrics(linker: &mut Linker<VmHandle>) -> Result<()> {
    const DEFINE: &str = "proxy_define_metric";
    linker.func_wrap(
        "env",
        DEFINE,
        |mut vm: Asking<'_>, kind: u32, at: u32, size: u32, id: u32| {
            let name = String::from_utf8_lossy(&read(&mut vm, at, size)?).into_owned();
            if let Some(fault) = called(&vm, DEFINE) {
                return Ok(faulty(Some(fault)));
            }
            let defined = vm.data().process.lock().define(kind, name);
            number(&mut vm, None, id, &defined.to_le_bytes())
        },
    )?;
    linker.func_wrap("env", "proxy_increment_metric", |vm: Asking<'_>, id: u32, by: i64| {
        let mut process = vm.data().process.lock();
        match process.called("proxy_increment_metric") {
            None => Ok(process.add(id, by)),
            fault => Ok(faulty(fault)),
        }
    })?;
    linker.func_wrap("env", "proxy_record_metric", |vm: Asking<'_>, id: u32, value: u64| {
        let mut process = vm.data().process.lock();
        match process.called("proxy_record_metric") {
            None => Ok(process.record(id, value)),
            fault => Ok(faulty(fault)),
        }
    })?;
    linker.func_wrap("env", "proxy_get_metric", |mut vm: Asking<'_>, id: u32, at: u32| {
        let (fault, value) = {
            let mut process = vm.data().process.lock();
            let value = process.metrics.get(id as usize).map(|metric| metric.value);
            (process.called("proxy_get_metric"), value)
        };
        match value {
            Some(value) => number(&mut vm, fault, at, &value.to_le_bytes()),
            None => Ok(status::BAD_ARGUMENT),
        }
    })?;
    Ok(())
}

fn shared_data(linker: &mut Linker<VmHandle>) -> Result<()> {
    const GET: &str = "proxy_get_shared_data";
    linker.func_wrap(
        "env",
        GET,
        |mut vm: Asking<'_>, at: u32, size: u32, data: u32, length: u32, token: u32| {
            let key = read(&mut vm, at, size)?;
            let found = vm.data().process.lock().shared.get(&key).cloned();
            let (value, current) = match found {
                Some((value, token)) => (Ok(value), token),
                None => (Err(status::NOT_FOUND), 0),
            };
            write(&mut vm, token, &current.to_le_bytes())?;
            give(&mut vm, GET, value, data, length)
        },
    )?;
    const SET: &str = "proxy_set_shared_data";
    linker.func_wrap(
        "env",
        SET,
        |mut vm: Asking<'_>, at: u32, size: u32, value: u32, length: u32, token: u32| {
            let (key, value) = (read(&mut vm, at, size)?, read(&mut vm, value, length)?);
            let process = vm.data().process.clone();
            // Whoever comes between uses the process itself.
            let interruption = process.lock().interruption.take();
            if let Some(mut interruption) = interruption {
                interruption();
            }
            let mut process = process.lock();
            match process.called(SET) {
                None => Ok(process.set_shared(&key, &value, token)),
                fault => Ok(faulty(fault)),
            }
        },
    )?;
    Ok(())
}

fn called(vm: &Asking<'_>, call: &'static str) -> Option<Fault> {
    vm.data().process.lock().called(call)
}

/// The status of a call that gives no bytes.
const fn faulty(fault: Option<Fault>) -> u32 {
    match fault {
        Some(Fault::Status(status)) => status,
        _ => status::OK,
    }
}

/// Puts a number into the module's memory.
fn number(vm: &mut Asking<'_>, fault: Option<Fault>, at: u32, bytes: &[u8]) -> Result<u32> {
    match fault {
        None => write(vm, at, bytes)?,
        Some(Fault::Garbage) => write(vm, at, &vec![0xff; bytes.len()])?,
        Some(_) => {}
    }
    Ok(faulty(fault))
}

/// Hands bytes over as the ABI says: in memory that the module allocates, its place and size at
/// `data` and `length`.
fn give(
    vm: &mut Asking<'_>,
    call: &'static str,
    found: std::result::Result<Vec<u8>, u32>,
    data: u32,
    length: u32,
) -> Result<u32> {
    let fault = called(vm, call);
    let bytes = match (fault, found) {
        (Some(Fault::Status(status)), _) => return Ok(status),
        (Some(Fault::Null(size)), _) => {
            write(vm, data, &[0; 4])?;
            write(vm, length, &size.to_le_bytes())?;
            return Ok(status::OK);
        }
        (Some(Fault::Empty), _) => Vec::new(),
        (Some(Fault::Written), _) => vm.data().process.lock().written.clone(),
        (Some(Fault::Garbage), _) => {
            let mut process = vm.data().process.lock();
            let size = process.random() % 200;
            (0..size).map(|_| process.random().to_le_bytes()[0]).collect()
        }
        (_, Err(status)) => return Ok(status),
        (Some(Fault::Short), Ok(mut bytes)) => {
            bytes.truncate(bytes.len() / 2);
            bytes
        }
        (None, Ok(bytes)) => bytes,
    };
    let size = u32::try_from(bytes.len()).unwrap();
    let allocate = vm.get_export("proxy_on_memory_allocate").and_then(Extern::into_func).unwrap();
    let at = allocate.typed::<u32, u32>(&mut *vm)?.call(&mut *vm, size)?;
    write(vm, at, &bytes)?;
    write(vm, data, &at.to_le_bytes())?;
    write(vm, length, &size.to_le_bytes())?;
    Ok(status::OK)
}

/// Pairs as the ABI gives them: their number, the sizes of each, then each with a NUL behind it.
pub(crate) fn serialized(pairs: &Pairs) -> Vec<u8> {
    let word = |size: usize| u32::try_from(size).unwrap().to_le_bytes();
    let parts = || pairs.iter().flat_map(|(name, value)| [name, value]);
    let mut bytes = word(pairs.len()).to_vec();
    parts().for_each(|part| bytes.extend(word(part.len())));
    for part in parts() {
        bytes.extend(part);
        bytes.push(0);
    }
    bytes
}

fn memory(vm: &mut Asking<'_>) -> Memory {
    vm.get_export("memory").and_then(Extern::into_memory).unwrap()
}

fn read(vm: &mut Asking<'_>, at: u32, size: u32) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize];
    memory(vm).read(&*vm, at as usize, &mut bytes)?;
    Ok(bytes)
}

fn write(vm: &mut Asking<'_>, at: u32, bytes: &[u8]) -> Result<()> {
    memory(vm).write(vm, at as usize, bytes)?;
    Ok(())
}
