//! One look at a path that is nearly always in its normal form already.

/// Where the path in `target` ends, if it is plain: no escape, no doubled slash, no segment that begins
/// with a dot, no backslash, nothing beyond ASCII. Such a path is in every form already.
#[inline]
pub(super) fn end_of_plain(target: &[u8]) -> Option<usize> {
    let at = first_special(target);
    match target.get(at) {
        None => Some(target.len()),
        Some(b'?' | b'#') => Some(at),
        Some(_) => None,
    }
}

/// Where the path in `target` ends.
pub(super) fn end(target: &[u8]) -> usize {
    target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len())
}

/// The place of the first byte that ends a plain path, or of the second of two that do; the length
/// where there is none.
#[inline]
fn first_special(target: &[u8]) -> usize {
    let length = target.len();
    let Some(last) = target.last_chunk::<8>() else {
        return first_special_of_few(target);
    };
    let (words, rest) = target.as_chunks::<8>();
    let mut was_slash = 0;
    for (index, word) in words.iter().enumerate() {
        let (found, is_slash) = specials(u64::from_le_bytes(*word), was_slash);
        if found != 0 {
            return index * 8 + place(found);
        }
        was_slash = is_slash;
    }
    // The last eight bytes begin among those that were looked at, so no pair is missed.
    match if rest.is_empty() { 0 } else { specials(u64::from_le_bytes(*last), 0).0 } {
        0 => length,
        found => length - 8 + place(found),
    }
}

/// As [`first_special`], for fewer than eight bytes.
fn first_special_of_few(target: &[u8]) -> usize {
    let word = match (target.first_chunk::<4>(), target.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << ((target.len() - 4) * 8)
        }
        _ => target.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    // The zeros behind it are nothing special.
    match specials(word, 0).0 {
        0 => target.len(),
        found => place(found),
    }
}

/// The first byte, in the order of memory, that has a bit set.
const fn place(found: u64) -> usize {
    found.trailing_zeros() as usize / 8
}

const EACH: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * EACH;

/// Sets the high bit of every byte of `word` that is `byte`, below 0x80. It is set too where it was
/// set before, and may be set above the lowest byte that is meant: only the lowest counts.
const fn equal(word: u64, byte: u8) -> u64 {
    (word ^ (byte as u64 * EACH)).wrapping_sub(EACH)
}

/// The high bits of special bytes of `word`, of which only the lowest counts, and 0x80 where the
/// last byte is a slash, to be given with the word that follows.
#[inline]
const fn specials(word: u64, was_slash: u64) -> (u64, u64) {
    // A slash that is set wrongly is a `.` behind a true one: that pair is there anyhow.
    let slashes = equal(word, b'/');
    // `.` and `/` differ in the lowest bit.
    let dots_or_slashes = equal(word | EACH, b'/');
    let pairs = (slashes << 8 | was_slash) & dots_or_slashes;
    let single = equal(word, b'%') | equal(word, b'?') | equal(word, b'#') | equal(word, b'\\');
    ((pairs | single | word) & HIGH, slashes >> 56)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// By definition.
    fn slowly(target: &[u8]) -> usize {
        (0..target.len())
            .find(|at| {
                matches!(
                    target.get(..=*at).unwrap_or_default(),
                    [.., b'/', b'/' | b'.'] | [.., b'%' | b'?' | b'#' | b'\\' | 0x80..]
                )
            })
            .unwrap_or(target.len())
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let special = prop::sample::select(&b"//..%?#\\\x80\xff.0!\x00\x01\"$'[]"[..]);
        let plain = prop::sample::select(&b"abcdefgh-~/."[..]);
        prop::collection::vec(prop_oneof![8 => plain, 1 => special, 1 => any::<u8>()], 0..60)
    }

    proptest! {
        #[test]
        fn what_is_found_first_is_what_is_there_first(target in bytes()) {
            prop_assert_eq!(first_special(&target), slowly(&target));
        }
    }

    #[test]
    fn each_byte_at_each_place() {
        for (byte, next) in (0..=255).flat_map(|byte| [(byte, b'a'), (byte, b'/'), (b'/', byte)]) {
            for length in 2..27 {
                for place in 0..length - 1 {
                    let mut target = [b'a'; 27];
                    (target[place], target[place + 1]) = (byte, next);
                    let target = &target[..length];
                    assert_eq!(first_special(target), slowly(target), "{byte} at {place}");
                }
            }
        }
    }
}
