//! The compiled module, and VMs made from it.

use crate::imports;
use crate::process::{Context, Id, Process};
use serde_json::Value;
use std::path::Path;
use wasmtime::{
    Config, Engine, Instance, Linker, Module, OptLevel, Result, Store, StoreLimits,
    StoreLimitsBuilder, WasmParams,
};

/// Instructions that one callback may take. A request takes some thousands, a large document some
/// millions; what takes more would have stopped an Envoy's worker.
const FUEL: u64 = 200_000_000;

/// The module, compiled for this machine.
pub(crate) struct Machine {
    engine: Engine,
    module: Module,
    linker: Linker<VmHandle>,
}

impl Machine {
    /// Compiles the module of this file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let mut config = Config::new();
        // A quick build of the module is worth more here than fast code.
        config.cranelift_opt_level(OptLevel::None).consume_fuel(true);
        let engine = Engine::new(&config)?;
        let module = Module::from_file(&engine, path)?;
        let linker = imports::linker(&engine, &module)?;
        Ok(Self { engine, module, linker })
    }

    /// A VM of `process`; each has a number of its own there.
    pub(crate) fn vm(&self, process: &Process, number: u32) -> Result<Vm> {
        self.vm_within(process, number, usize::MAX)
    }

    /// The same with at most so many bytes of memory.
    pub(crate) fn vm_within(&self, process: &Process, number: u32, most: usize) -> Result<Vm> {
        let limits = StoreLimitsBuilder::new().memory_size(most).build();
        let handle =
            VmHandle { process: process.clone(), vm: number, context: 0, called: 0, limits };
        let mut store = Store::new(&self.engine, handle);
        store.limiter(|handle| &mut handle.limits);
        store.set_fuel(FUEL)?;
        let instance = self.linker.instantiate(&mut store, &self.module)?;
        let mut vm = Vm { store, instance, next: 1 };
        vm.call(0, "_initialize", ())?;
        Ok(vm)
    }
}

/// What host calls know of the VM that makes them.
pub(crate) struct VmHandle {
    pub(crate) process: Process,
    pub(crate) vm: u32,
    /// The context whose host calls are made: the one that the host is calling, or that the module
    /// chose.
    pub(crate) context: u32,
    /// The context that the host is calling.
    pub(crate) called: u32,
    limits: StoreLimits,
}

impl VmHandle {
    pub(crate) const fn id(&self) -> Id {
        (self.vm, self.context)
    }
}

/// What the filter says to a part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    Pause,
}

/// One VM.
pub(crate) struct Vm {
    store: Store<VmHandle>,
    instance: Instance,
    next: u32,
}

impl Vm {
    /// Calls an export that returns nothing. An error is a trap.
    pub(crate) fn call<P: WasmParams>(
        &mut self,
        context: u32,
        export: &str,
        with: P,
    ) -> Result<()> {
        self.enter(context)?;
        let function = self.instance.get_typed_func::<P, ()>(&mut self.store, export)?;
        let result = function.call(&mut self.store, with);
        result.map_err(|error| self.told(export, error))
    }

    /// Calls an export that returns a number.
    pub(crate) fn ask<P: WasmParams>(
        &mut self,
        context: u32,
        export: &str,
        with: P,
    ) -> Result<u32> {
        self.enter(context)?;
        let function = self.instance.get_typed_func::<P, u32>(&mut self.store, export)?;
        let result = function.call(&mut self.store, with);
        result.map_err(|error| self.told(export, error))
    }

    fn enter(&mut self, context: u32) -> Result<()> {
        let handle = self.store.data_mut();
        (handle.context, handle.called) = (context, context);
        self.store.set_fuel(FUEL)
    }

    fn told(&self, export: &str, error: wasmtime::Error) -> wasmtime::Error {
        let stderr = self.store.data().process.lock().stderr.clone();
        error.context(format!("the VM ended in {export}; it said {stderr:?}"))
    }

    /// The process that this VM belongs to.
    pub(crate) fn process(&self) -> Process {
        self.store.data().process.clone()
    }

    /// Pages of 64 KiB that the module has taken.
    pub(crate) fn pages(&mut self) -> u64 {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.size(&self.store)
    }

    /// Changes what the host knows of a context.
    pub(crate) fn know<T>(&self, context: u32, change: impl FnOnce(&mut Context) -> T) -> T {
        let handle = self.store.data();
        change(handle.process.lock().contexts.entry((handle.vm, context)).or_default())
    }

    /// A new configuration of the plugin `bimetal`: its root context, and whether it took the
    /// document.
    pub(crate) fn configure(&mut self, document: &[u8]) -> Result<(u32, bool)> {
        self.configure_as("bimetal", document)
    }

    /// A new configuration of the plugin of this name.
    pub(crate) fn configure_as(&mut self, plugin: &str, document: &[u8]) -> Result<(u32, bool)> {
        let root = self.create(0)?;
        self.know(root, |context| {
            context.configuration = document.to_vec();
            context.properties.insert("plugin_name", plugin.as_bytes().to_vec());
        });
        self.ask(root, "proxy_on_vm_start", (root, 0_u32))?;
        let size = u32::try_from(document.len()).unwrap();
        Ok((root, self.ask(root, "proxy_on_configure", (root, size))? == 1))
    }

    /// A context under `parent`; 0 makes a root.
    pub(crate) fn create(&mut self, parent: u32) -> Result<u32> {
        let context = self.next;
        self.next += 1;
        self.know(context, |_| ());
        self.call(context, "proxy_on_context_create", (context, parent))?;
        Ok(context)
    }

    /// A tick of a root.
    pub(crate) fn tick(&mut self, root: u32) -> Result<()> {
        self.call(root, "proxy_on_tick", (root,))
    }

    /// Request headers of a context, whose map is set before; nothing comes after them.
    pub(crate) fn request(&mut self, context: u32) -> Result<Action> {
        self.headers(context, "proxy_on_request_headers", 1)
    }

    /// The same of a request with a body.
    pub(crate) fn request_begins(&mut self, context: u32) -> Result<Action> {
        self.headers(context, "proxy_on_request_headers", 0)
    }

    /// A part of a request's body.
    pub(crate) fn request_body(&mut self, context: u32, end: bool) -> Result<()> {
        self.ask(context, "proxy_on_request_body", (context, 1_u32, u32::from(end))).map(drop)
    }

    /// A part of an answer's body.
    pub(crate) fn response_body(&mut self, context: u32, part: &[u8], end: bool) -> Result<()> {
        self.know(context, |context| context.body = part.to_vec());
        let size = u32::try_from(part.len()).unwrap();
        self.ask(context, "proxy_on_response_body", (context, size, u32::from(end))).map(drop)
    }

    /// Response headers; nothing comes after them when `end` is 1.
    pub(crate) fn response(&mut self, context: u32, end: u32) -> Result<Action> {
        self.headers(context, "proxy_on_response_headers", end)
    }

    fn headers(&mut self, context: u32, export: &str, end: u32) -> Result<Action> {
        let number = 3_u32;
        match self.ask(context, export, (context, number, end))? {
            0 => Ok(Action::Continue),
            _ => Ok(Action::Pause),
        }
    }

    /// The end of a stream, in the order of a host: done, log, delete.
    pub(crate) fn end(&mut self, context: u32) -> Result<()> {
        self.ask(context, "proxy_on_done", (context,))?;
        self.call(context, "proxy_on_log", (context,))?;
        self.delete(context)
    }

    /// The end of a context without a word.
    pub(crate) fn delete(&mut self, context: u32) -> Result<()> {
        self.call(context, "proxy_on_delete", (context,))?;
        let handle = self.store.data();
        handle.process.lock().contexts.remove(&(handle.vm, context));
        Ok(())
    }

    /// One whole request under `root`, answered by the upstream with `status`. The reply, where
    /// the filter turned it away.
    pub(crate) fn serve(
        &mut self,
        root: u32,
        status: &str,
    ) -> Result<Option<crate::process::Reply>> {
        let context = self.begin(root)?;
        match self.request(context)? {
            Action::Continue => self.answer(context, status, "via_upstream"),
            Action::Pause => self.answer(context, "503", "bimetal_echo_breaker"),
        }
        self.response(context, 1)?;
        let reply = self.know(context, |context| context.reply.take());
        self.end(context)?;
        Ok(reply)
    }

    /// A stream whose request is there.
    pub(crate) fn begin(&mut self, root: u32) -> Result<u32> {
        let context = self.create(root)?;
        let text = |name: &str, value: &str| (name.into(), value.into());
        let pairs = vec![text(":authority", "echo"), text(":path", "/"), text(":method", "GET")];
        self.know(context, |context| {
            context.request = Some(pairs);
            context.properties.insert("xds\0cluster_name", b"echo".to_vec());
            context.properties.insert("response\0flags", 0_u64.to_le_bytes().to_vec());
        });
        Ok(context)
    }

    /// An answer's headers are there.
    pub(crate) fn answer(&self, context: u32, status: &str, details: &str) {
        self.know(context, |context| {
            context.response = Some(vec![(b":status".to_vec(), status.into())]);
            context.properties.insert("response\0code_details", details.into());
        });
    }
}

/// A document with one policy: 3 consecutive failures trip for 10 s, with `more` on top.
pub(crate) fn policy(more: Value) -> Vec<u8> {
    let mut policy = serde_json::json!({
        "name": "echo",
        "scope": "policy",
        "breaker": {"trip": {"consecutive_failures": 3}, "open": {"base": "10s", "jitter": 0}},
    });
    if let (Some(policy), Value::Object(more)) = (policy.as_object_mut(), more) {
        policy.extend(more);
    }
    serde_json::json!({"version": "v1", "policies": [policy]}).to_string().into_bytes()
}
