//! Keys of scopes: bytes that a client may have chosen.

use crate::policy::Scope;
use crate::series::SHARED_LABEL;
use alloc::string::String;
use core::fmt::Write;
use core::hash::Hasher;

/// The longest key that is kept, in bytes.
pub(crate) const LONGEST: usize = 128;
const KEPT: usize = LONGEST - 16;
/// What all keys together are called on the board that found no room in a table: longer than any key.
pub(crate) const OVERFLOW: [u8; LONGEST + 1] = [b'*'; LONGEST + 1];

/// `key` itself, or for a longer one its beginning and 128 bits of hash: a table of 10,000 keys of
/// 64 KiB each would be the outage. With the same `seed` every worker shortens alike, whatever it runs on.
pub(crate) fn shorten<'a>(key: &'a [u8], short: &'a mut [u8; LONGEST], seed: u64) -> &'a [u8] {
    if key.len() <= LONGEST {
        return key;
    }
    let tail = [0, 1].into_iter().flat_map(|half| stable_hash(key, seed, half).to_le_bytes());
    let bytes = key.iter().copied().take(KEPT).chain(tail);
    short.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    short
}

/// SipHash-2-4 (Aumasson and Bernstein 2012) of `key`: the same on 32 and on 64 bits, so that the filter and
/// the proxy give a key the same name. Foldhash, which the tables use, differs between the two.
#[expect(deprecated, reason = "nothing else in `core` hashes by a function that is specified")]
fn stable_hash(key: &[u8], seed: u64, half: u64) -> u64 {
    let mut hasher = core::hash::SipHasher::new_with_keys(seed, half);
    hasher.write(key);
    hasher.finish()
}

/// The longest label, in characters.
const LONGEST_LABEL: usize = 100;
/// Behind a label that was cut: this and 64 bits of the key's hash. Elsewhere two digits follow a
/// `%`, so no key can look like a cut one.
const CUT: &str = "%~";
/// The label of scopes without a key.
const UNKNOWN: &str = "unknown";

/// The label of a scope in metrics and events: printable ASCII, at most 100 characters, and the
/// same for all scopes whose keys come from clients.
///
/// Different keys have different labels, and no label says more than its key: what could end a
/// label in the name of an Envoy metric (`;`, `=`, a dot at the end) or in a page of Prometheus
/// (`"`, `\`), what is not printable, and `%` are escaped as in paths (`%3B`). So is the first
/// character of a key that is spelled like one of our own labels.
pub fn label(scope: &Scope, key: &[u8]) -> String {
    match scope {
        Scope::Policy => "policy".into(),
        Scope::Client | Scope::Header(_) => SHARED_LABEL.into(),
        scope if scope.is_labelled() && key.is_empty() => UNKNOWN.into(),
        Scope::Destination | Scope::Endpoint | Scope::Route | Scope::Authority => escaped(key),
    }
}

fn escaped(key: &[u8]) -> String {
    let is_ours = [SHARED_LABEL, UNKNOWN].iter().any(|ours| ours.as_bytes() == key);
    let mut label = String::with_capacity(key.len());
    let last = key.len().saturating_sub(1);
    for (at, byte) in key.iter().enumerate() {
        let stays = match byte {
            b'"' | b'%' | b';' | b'=' | b'\\' => false,
            b'.' if at == last => false,
            b'!'..=b'~' => !(is_ours && at == 0),
            _ => false,
        };
        if stays {
            label.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(label, "%{byte:02X}");
        }
    }
    if label.len() > LONGEST_LABEL {
        label.truncate(LONGEST_LABEL - CUT.len() - 16);
        // An escape is kept whole or not at all.
        if let Some(half) = label.rfind('%').filter(|at| at + 3 > label.len()) {
            label.truncate(half);
        }
        // The same in every worker and host: each counts under it.
        let _ = write!(label, "{CUT}{:016x}", stable_hash(key, 0, 0));
    }
    label
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::string::ToString;
    use std::vec::Vec;

    fn of(key: &str) -> String {
        label(&Scope::Authority, key.as_bytes())
    }

    #[test]
    fn ordinary_names_are_their_own_labels() {
        for name in [
            "outbound|80||echo.svc",
            "outbound_.8080_.v1_.echo.demo.svc.cluster.local",
            "echo.example.com:80",
            "[::1]",
            "*/echo",
            "echo.example.com/api/{id}",
            "cart-v2_blue~1",
        ] {
            assert_eq!(of(name), name);
        }
    }

    #[test]
    fn what_a_key_holds_ends_no_label() {
        for (key, label) in [
            ("from=.=half_open", "from%3D.%3Dhalf_open"),
            ("a;.;policy=.=other", "a%3B.%3Bpolicy%3D.%3Dother"),
            ("echo.", "echo%2E"),
            ("echo..", "echo.%2E"),
            (".", "%2E"),
            ("a\"b\\c\nd e", "a%22b%5Cc%0Ad%20e"),
            ("a%3Bb", "a%253Bb"),
            ("\u{e9}", "%C3%A9"),
            ("", "unknown"),
            ("unknown", "%75nknown"),
            ("unknown2", "unknown2"),
            ("*", "%2A"),
            ("**", "**"),
        ] {
            assert_eq!(of(key), label, "{key:?}");
        }
    }

    #[test]
    fn a_long_label_is_cut_and_told_apart() {
        let long = "x".repeat(100);
        assert_eq!(of(&long), long);
        let labels = [of(&(long.clone() + "a")), of(&(long.clone() + "b"))];
        assert_ne!(labels[0], labels[1]);
        for label in labels {
            assert_eq!(label.len(), 100);
            assert_eq!(&label[..84], "x".repeat(82) + "%~");
            assert_ne!(of(&label), label, "a key that looks like it");
        }
        // Cut within an escape.
        let label = of(&("x".repeat(81) + &";".repeat(20)));
        assert_eq!((label.len(), &label[..83]), (99, &*("x".repeat(81) + "%~")));
    }

    /// The same on every machine. The values are those of an implementation in another language.
    #[test]
    fn a_long_key_has_the_same_short_one_everywhere() {
        let key: Vec<u8> = (0..200).collect();
        let short = &mut [0; LONGEST];
        let short = shorten(&key, short, 7);
        assert_eq!(short[..KEPT], key[..KEPT]);
        let halves = [0x7dd9_6b57_d3ad_f255_u64, 0x0e06_151d_e535_329c];
        assert_eq!(short[KEPT..], halves.map(u64::to_le_bytes).concat());
        assert!(of(&"x".repeat(101)).ends_with("%~71d9eb791a8fe4da"));
    }

    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => prop::sample::select(&b"ab.=;%~*2E"[..]),
            1 => any::<u8>(),
        ];
        prop_oneof![
            prop::collection::vec(byte.clone(), 0..6),
            prop::collection::vec(byte, 60..128),
            prop::sample::select(&["unknown", "*", "%75nknown", "%2A", "echo", "echo."][..])
                .prop_map(|key| key.as_bytes().to_vec()),
        ]
    }

    proptest! {
        #[test]
        fn different_keys_have_different_labels_that_are_safe(
            keys in prop::collection::vec(keys(), 2..40)
        ) {
            let mut seen = BTreeMap::new();
            for key in keys {
                let label = label(&Scope::Authority, &key);
                prop_assert!(!label.is_empty() && label.len() <= 100, "{}", label);
                prop_assert!(label.bytes().all(|byte| byte.is_ascii_graphic()), "{}", label);
                prop_assert!(!label.contains(['"', '\\', ';', '=']) && !label.ends_with('.'));
                prop_assert_eq!(label == "unknown", key.is_empty());
                prop_assert_ne!(&label, "*");
                let other = seen.insert(label.to_string(), key.clone());
                prop_assert!(other.is_none_or(|other| other == key), "{}", label);
            }
        }
    }
}
