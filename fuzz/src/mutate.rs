//! New inputs from old ones.

use fastrand::Rng;

/// Longest input, in bytes: long enough for a head beyond some limits, short enough to be fast.
const LONGEST: usize = 4096;

/// Numbers at borders, as text.
const NUMBERS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "2",
    "0.5",
    "1e6",
    "1e308",
    "1e-320",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
];

/// One of the known inputs, changed in a few places.
pub(crate) fn mutated(rng: &mut Rng, known: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut bytes = known[rng.usize(..known.len())].clone();
    // Mostly few changes: most inputs that get deep are nearly good.
    let changes = 1 << rng.u32(..4);
    for _ in 0..rng.u32(1..=changes) {
        change(rng, &mut bytes, known, words);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, known: &[Vec<u8>], words: &[&str]) {
    let at = rng.usize(..=bytes.len());
    match rng.u32(..12) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u32(..8);
            }
        }
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.u8(..);
            }
        }
        2 => bytes.insert(at, rng.u8(..)),
        3 => {
            let part = part(rng, bytes);
            bytes.drain(part);
        }
        4 => {
            let copy = bytes[part(rng, bytes)].to_vec();
            put(bytes, at, &copy);
        }
        5 | 6 => {
            if let Some(word) = rng.choice(words) {
                put(bytes, at, word.as_bytes());
            }
        }
        7 => {
            if let Some(word) = rng.choice(words) {
                let part = part(rng, bytes);
                bytes.splice(part, word.bytes());
            }
        }
        8 => replace_number(rng, bytes, at),
        9 => {
            let other = &known[rng.usize(..known.len())];
            let piece = other[part(rng, other)].to_vec();
            put(bytes, at, &piece);
        }
        10 => {
            // The head of one, the tail of another.
            let other = &known[rng.usize(..known.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
        _ => {
            let to = rng.usize(..=bytes.len());
            if at < bytes.len() && to < bytes.len() {
                bytes.swap(at, to);
            }
        }
    }
}

/// A stretch, mostly a short one.
fn part(rng: &mut Rng, bytes: &[u8]) -> std::ops::Range<usize> {
    let start = rng.usize(..=bytes.len());
    let most = 1 << rng.u32(..10);
    start..bytes.len().min(start + rng.usize(..=most))
}

fn put(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Replaces the first run of digits behind `at`.
fn replace_number(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else {
        return;
    };
    let start = at + start;
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = NUMBERS[rng.usize(..NUMBERS.len())];
    bytes.splice(start..start + length, number.bytes());
}
