//! Accounts: what workers lease from where a change of words is too dear for each call.
//!
//! A word in the memory of a process costs a call some nanoseconds. In Envoy's shared data a change is a
//! read and a write of bytes behind one lock. There a worker takes a small batch of tokens or slots at once,
//! a *lease*, hands them out by itself, and gives back what it did not use. So what a limit admits differs
//! from what one with words admits, by no more than all leases together.

use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use core::fmt::Debug;

/// How long a lease may lie unused, where its worker is alive: what is left is given back then, with the
/// next call or the next [poll](crate::Engine::poll).
pub const LEASE: Duration = Duration::from_millis(100);

/// What a worker saw of an account is believed for so long.
pub(crate) const FRESH: Duration = Duration::from_millis(20);

/// How often a change is tried while others change the same.
const TRIES: u32 = 16;

/// The words of one limit, read and replaced as a whole.
pub trait Account: Send + Sync + Debug {
    /// Puts what lies there in place of `words`; nothing where nobody wrote yet, or what was there means
    /// nothing any more. False where it cannot be read.
    fn read(&self, words: &mut Vec<u64>) -> bool;

    /// Puts `words` in place of what was read last. From `idle_at` on they mean no more than none at all: a
    /// board that needs room may forget them then.
    fn replace(&self, now: Instant, words: &[u64], idle_at: Instant) -> Replaced;
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It was made.
    Done,
    /// Somebody else changed it meanwhile: it is to be read anew.
    Changed,
    /// It cannot be made: there is no room, or no host. The worker goes on alone.
    Refused,
}

/// Has `change` make of an account's words what it wants, however often others change them meanwhile; it
/// says from when they mean nothing. `words` is what this worker knew of them, and is what counts where
/// the account cannot be reached.
pub(crate) fn exchange<R>(
    account: &dyn Account,
    now: Instant,
    words: &mut Vec<u64>,
    mut change: impl FnMut(&mut Vec<u64>) -> (R, Instant),
) -> R {
    let known = words.clone();
    for _ in 0..TRIES {
        if !account.read(words) {
            break;
        }
        let before = words.clone();
        let (result, idle_at) = change(words);
        if *words == before {
            return result;
        }
        match account.replace(now, words, idle_at) {
            Replaced::Done => return result,
            Replaced::Changed => {}
            Replaced::Refused => break,
        }
    }
    *words = known;
    change(words).0
}
