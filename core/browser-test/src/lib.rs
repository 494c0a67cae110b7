//! Lends the core's tests another `#[test]`.
//!
//! Rust's own test harness cannot tell its results on `wasm32-unknown-unknown`, the target of
//! programs in a browser. wasm-bindgen-test can, by an attribute of another name. A test executable
//! that begins with
//!
//! ```ignore
//! #[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
//! #[macro_use]
//! extern crate bimetal_browser_test;
//! ```
//!
//! has that attribute in the place of `#[test]` in all its modules, and on every other target its
//! own.

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
pub use wasm_bindgen_test::wasm_bindgen_test as test;
