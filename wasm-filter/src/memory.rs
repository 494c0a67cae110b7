//! The memory of a VM: less than a policy may ask for.
//!
//! A host bounds a VM's memory (Envoy: 1 GiB) and does not say how. An allocation that fails ends the
//! VM, and with it every plugin in it. So a table of scopes asks before it grows.

use std::hint::black_box;

/// What a scope may cost in bytes when its table grows: tables double, and the old one is there until
/// the new one is filled.
const SCOPE: usize = 1024;

/// What is left for everything else: requests, configurations, logs.
const RESERVE: usize = 16 << 20;

/// Whether a table of so many scopes can have one more.
///
/// It is tried: memory that was had and given back belongs to the VM, so what succeeded once is no
/// call into the host the next time, and bytes that nobody touches cost the host nothing.
pub fn has_room(scopes: usize) -> bool {
    let mut tried = Vec::<u8>::new();
    let size = scopes.saturating_mul(SCOPE).saturating_add(RESERVE);
    let had = tried.try_reserve_exact(size).is_ok();
    // Else the compiler would see that nobody uses it, and take it for had.
    black_box(&mut tried);
    had
}
