//! A native module for Envoy that does nothing.
//!
//! Beside the Wasm filter that does nothing it tells what a filter in the chain costs, and what the
//! sandbox around it. It speaks the C interface of Envoy's dynamic modules as Envoy 1.40 has it
//! (`source/extensions/dynamic_modules/abi`): Envoy looks up every function below by its name, and
//! takes the module only if all are there.

use std::ffi::{c_char, c_void};

/// The interface's version. Another one than Envoy's is a warning, no refusal.
const VERSION: &[u8] = b"v0.2.0\0";

/// What every configuration and every filter is: something that is not null, and is never read.
static SOMETHING: u8 = 0;

/// Text as Envoy hands it over.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    pointer: *const u8,
    length: usize,
}

fn something() -> *const c_void {
    (&raw const SOMETHING).cast()
}

/// The program begins.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_program_init() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// A listener has a filter of this module.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_config_new(
    _envoy: *mut c_void,
    _name: Text,
    _config: Text,
) -> *const c_void {
    something()
}

/// A request has come.
#[unsafe(no_mangle)]
pub extern "C" fn envoy_dynamic_module_on_http_filter_new(
    _config: *const c_void,
    _envoy: *mut c_void,
) -> *const c_void {
    something()
}

/// Functions that let everything go on: 0 is Envoy's word for that.
macro_rules! going_on {
    ($($name:ident),* $(,)?) => {$(
        #[doc = "Lets everything go on."]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(_envoy: *mut c_void, _filter: *const c_void, _end: bool) -> u32 {
            0
        }
    )*};
}

going_on!(
    envoy_dynamic_module_on_http_filter_request_headers,
    envoy_dynamic_module_on_http_filter_request_body,
    envoy_dynamic_module_on_http_filter_request_trailers,
    envoy_dynamic_module_on_http_filter_response_headers,
    envoy_dynamic_module_on_http_filter_response_body,
    envoy_dynamic_module_on_http_filter_response_trailers,
    envoy_dynamic_module_on_http_filter_local_reply,
);

/// Functions that have nothing to do. Envoy hands more over than they take, which C allows.
macro_rules! nothing {
    ($($name:ident),* $(,)?) => {$(
        #[doc = "Does nothing."]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name() {}
    )*};
}

nothing!(
    envoy_dynamic_module_on_http_filter_config_destroy,
    envoy_dynamic_module_on_http_filter_destroy,
    envoy_dynamic_module_on_http_filter_stream_complete,
    envoy_dynamic_module_on_http_filter_http_callout_done,
    envoy_dynamic_module_on_http_filter_http_stream_headers,
    envoy_dynamic_module_on_http_filter_http_stream_data,
    envoy_dynamic_module_on_http_filter_http_stream_trailers,
    envoy_dynamic_module_on_http_filter_http_stream_complete,
    envoy_dynamic_module_on_http_filter_http_stream_reset,
    envoy_dynamic_module_on_http_filter_scheduled,
    envoy_dynamic_module_on_http_filter_downstream_above_write_buffer_high_watermark,
    envoy_dynamic_module_on_http_filter_downstream_below_write_buffer_low_watermark,
    envoy_dynamic_module_on_http_filter_config_scheduled,
    envoy_dynamic_module_on_http_filter_config_http_callout_done,
    envoy_dynamic_module_on_http_filter_config_http_stream_headers,
    envoy_dynamic_module_on_http_filter_config_http_stream_data,
    envoy_dynamic_module_on_http_filter_config_http_stream_trailers,
    envoy_dynamic_module_on_http_filter_config_http_stream_complete,
    envoy_dynamic_module_on_http_filter_config_http_stream_reset,
);
