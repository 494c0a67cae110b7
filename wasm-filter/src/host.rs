//! Envoy behind [`Host`]: the only file that knows proxy-wasm.
//!
//! The SDK creates and calls contexts. Its wrappers of host calls panic on a status that they do
//! not expect and on headers that are not UTF-8, so the host calls are imported here once more, and
//! every status becomes a value. (Names and signatures: proxy-wasm ABI 0.2.1.)
#![allow(missing_docs, reason = "the SDK's entry macro makes a public function without one")]

use crate::board::{SharedBoard, SharedData, WorkerBoard};
use crate::call::Call;
use crate::headers::Headers;
use crate::port::{Host, HostError, Level, Map, MetricKind, Property, Reply};
use crate::root::Root;
use bimetal_core::Instant;
use bimetal_core::metric::BOARD_CHANGES;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use std::sync::Arc;

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(RootAdapter(Root::new(Envoy))));
}}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
        token: u32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u32;
    fn random_get(bytes: *mut u8, size: usize) -> u32;
}

// Of the ABI; see the specification's enumerations of the same names.
const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const EMPTY: u32 = 7;
const CAS_MISMATCH: u32 = 8;
const CLOCK_MONOTONIC: u32 = 1;
const BUFFER_RESPONSE_BODY: u32 = 1;
const BUFFER_PLUGIN_CONFIGURATION: u32 = 7;
const NO_GRPC_STATUS: i32 = -1;
const VM_CONTEXT: u32 = 0;
const STREAM_OF_THE_REQUEST: u32 = 0;

/// The Envoy that this module runs in.
#[derive(Clone, Copy, Debug)]
struct Envoy;

/// `Ok` where the host said so.
fn check(call: &'static str, status: u32) -> Result<(), HostError> {
    if status == OK { Ok(()) } else { Err(HostError { call, status }) }
}

/// Bytes that the host put into our memory, `None` where it had nothing to put.
fn taken(
    call: &'static str,
    ask: impl FnOnce(*mut *mut u8, *mut usize) -> u32,
) -> Result<Option<Vec<u8>>, HostError> {
    let (mut data, mut size) = (std::ptr::null_mut::<u8>(), 0_usize);
    match ask(&raw mut data, &raw mut size) {
        OK if data.is_null() => Ok(Some(Vec::new())),
        // SAFETY: the host has just asked our allocator (the SDK's `proxy_on_memory_allocate`, a
        // boxed slice of this many bytes) for `size` bytes at `data`, filled them and given them
        // up; nobody else owns them.
        OK => Ok(Some(unsafe { Vec::from_raw_parts(data, size, size) })),
        NOT_FOUND | EMPTY => Ok(None),
        status => Err(HostError { call, status }),
    }
}

/// The first `most` bytes of a buffer.
fn buffer(number: u32, most: usize) -> Result<Vec<u8>, HostError> {
    let bytes = taken("proxy_get_buffer_bytes", |data, size| unsafe {
        proxy_get_buffer_bytes(number, 0, most, data, size)
    });
    bytes.map(Option::unwrap_or_default)
}

const fn number_of(map: Map) -> u32 {
    match map {
        Map::Request => 0,
        Map::Response => 2,
        Map::Trailers => 3,
    }
}

const fn level_of(level: Level) -> u32 {
    match level {
        Level::Debug => 1,
        Level::Info => 2,
        Level::Warn => 3,
        Level::Error => 4,
    }
}

// SAFETY, for every block below: the host reads `size` bytes from a pointer into a slice that lives
// until the call returns, and writes only through the pointers to locals that it is given.
impl Host for Envoy {
    fn now(&self) -> Result<Instant, HostError> {
        let mut nanos = 0;
        let status = unsafe { clock_time_get(CLOCK_MONOTONIC, 0, &raw mut nanos) };
        check("clock_time_get", status).map(|()| Instant::from_nanos(nanos))
    }

    // Not by the standard library, whose hash tables panic where the host gives nothing.
    fn random(&self) -> Result<u64, HostError> {
        let mut bytes = [0; 8];
        let status = unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) };
        check("random_get", status).map(|()| u64::from_le_bytes(bytes))
    }

    fn headers(&self, map: Map) -> Result<Headers, HostError> {
        let block = taken("proxy_get_header_map_pairs", |data, size| unsafe {
            proxy_get_header_map_pairs(number_of(map), data, size)
        });
        block.map(|block| Headers::from_block(block.unwrap_or_default()))
    }

    fn set_header(&self, map: Map, name: &str, value: &str) -> Result<(), HostError> {
        check("proxy_replace_header_map_value", unsafe {
            proxy_replace_header_map_value(
                number_of(map),
                name.as_ptr(),
                name.len(),
                value.as_ptr(),
                value.len(),
            )
        })
    }

    fn remove_header(&self, map: Map, name: &str) -> Result<(), HostError> {
        check("proxy_remove_header_map_value", unsafe {
            proxy_remove_header_map_value(number_of(map), name.as_ptr(), name.len())
        })
    }

    fn property(&self, property: Property) -> Result<Option<Vec<u8>>, HostError> {
        let path = property.path();
        taken("proxy_get_property", |data, size| unsafe {
            proxy_get_property(path.as_ptr(), path.len(), data, size)
        })
    }

    fn configuration(&self) -> Result<Vec<u8>, HostError> {
        buffer(BUFFER_PLUGIN_CONFIGURATION, usize::MAX)
    }

    fn response_body(&self, size: usize) -> Result<Vec<u8>, HostError> {
        buffer(BUFFER_RESPONSE_BODY, size)
    }

    fn reply(&self, reply: &Reply) -> Result<(), HostError> {
        let headers = Headers::of(&reply.headers);
        check("proxy_send_local_response", unsafe {
            proxy_send_local_response(
                u32::from(reply.status),
                reply.details.as_ptr(),
                reply.details.len(),
                reply.body.as_ptr(),
                reply.body.len(),
                headers.block().as_ptr(),
                headers.block().len(),
                // Envoy chooses the gRPC status that belongs to the HTTP status.
                NO_GRPC_STATUS,
            )
        })
    }

    fn go_on(&self) -> Result<(), HostError> {
        check("proxy_continue_stream", unsafe { proxy_continue_stream(STREAM_OF_THE_REQUEST) })
    }

    fn enter(&self, context: u32) -> Result<(), HostError> {
        check("proxy_set_effective_context", unsafe { proxy_set_effective_context(context) })
    }

    // The VM's own context stands for whichever the host called.
    fn leave(&self) -> Result<(), HostError> {
        self.enter(VM_CONTEXT)
    }

    fn tick_every(&self, millis: u32) -> Result<(), HostError> {
        check("proxy_set_tick_period_milliseconds", unsafe {
            proxy_set_tick_period_milliseconds(millis)
        })
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError> {
        let kind = match kind {
            MetricKind::Counter => 0,
            MetricKind::Gauge => 1,
            MetricKind::Histogram => 2,
        };
        let mut id = 0;
        let status = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
        check("proxy_define_metric", status).map(|()| id)
    }

    fn add_to_metric(&self, id: u32, by: i64) -> Result<(), HostError> {
        check("proxy_increment_metric", unsafe { proxy_increment_metric(id, by) })
    }

    fn record(&self, id: u32, value: u64) -> Result<(), HostError> {
        check("proxy_record_metric", unsafe { proxy_record_metric(id, value) })
    }

    fn board(&self, plugin: &[u8], seed: u64) -> Result<Option<Arc<dyn WorkerBoard>>, HostError> {
        let changes = self.define_metric(BOARD_CHANGES.kind, BOARD_CHANGES.name)?;
        Ok(Some(Arc::new(SharedBoard::new(EnvoyData { changes }, plugin, seed))))
    }

    fn log(&self, level: Level, line: &str) {
        // A log that does not take a line leaves nobody to tell.
        let _ = unsafe { proxy_log(level_of(level), line.as_ptr(), line.len()) };
    }

    fn logs(&self, level: Level) -> bool {
        let mut lowest = u32::MAX;
        let status = unsafe { proxy_get_log_level(&raw mut lowest) };
        status == OK && lowest <= level_of(level)
    }
}

/// Envoy's shared data, and the gauge of changes to it.
#[derive(Debug)]
struct EnvoyData {
    changes: u32,
}

impl SharedData for EnvoyData {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        let mut token = 0;
        let value = taken("proxy_get_shared_data", |data, size| unsafe {
            proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut token)
        })?;
        Ok(value.map(|value| (value, token)))
    }

    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError> {
        let status = unsafe {
            proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), token)
        };
        match status {
            CAS_MISMATCH => Ok(false),
            status => check("proxy_set_shared_data", status).map(|()| true),
        }
    }

    fn told(&self) -> Result<u64, HostError> {
        let mut value = 0;
        let status = unsafe { proxy_get_metric(self.changes, &raw mut value) };
        check("proxy_get_metric", status).map(|()| value)
    }

    fn tell(&self, changes: u32) -> Result<(), HostError> {
        Envoy.add_to_metric(self.changes, i64::from(changes))
    }

    fn nanos(&self) -> Result<u64, HostError> {
        Envoy.now().map(Instant::as_nanos)
    }
}

struct RootAdapter(Root<Envoy>);

impl Context for RootAdapter {}

impl RootContext for RootAdapter {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.0.configure()
    }

    fn on_tick(&mut self) {
        self.0.tick();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(CallAdapter(self.0.call(context_id))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct CallAdapter(Call<Envoy>);

impl Context for CallAdapter {}

impl HttpContext for CallAdapter {
    fn on_http_request_headers(&mut self, _number: usize, end_of_stream: bool) -> Action {
        if self.0.request_headers(end_of_stream) { Action::Continue } else { Action::Pause }
    }

    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        self.0.request_body(end_of_stream);
        Action::Continue
    }

    fn on_http_request_trailers(&mut self, _number: usize) -> Action {
        self.0.request_trailers();
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _number: usize, end_of_stream: bool) -> Action {
        self.0.response_headers(end_of_stream);
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.0.response_body(size, end_of_stream);
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _number: usize) -> Action {
        self.0.response_trailers();
        Action::Continue
    }

    fn on_log(&mut self) {
        self.0.log();
    }
}
