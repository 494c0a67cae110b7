//! Which bytes may stand where (RFC 9110, 5.5 and 5.6; RFC 9112, 3.2).

/// In a method, a field name, the name of a chunk extension.
pub(super) const TOKEN: u8 = 1;
/// In a field value: visible, space, tab and what is beyond ASCII. No control byte, so neither a
/// bare CR nor NUL.
pub(super) const VALUE: u8 = 2;
/// In a request target. No `#`: a fragment is never sent, and parsers drop it silently.
pub(super) const TARGET: u8 = 4;
/// In a `Host`. No comma: two hosts in one field are two hosts.
pub(super) const HOST: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let this = byte as u8;
        let alphanumeric = this.is_ascii_alphanumeric();
        if alphanumeric || is_one_of(this, b"!#$%&'*+-.^_`|~") {
            table[byte] |= TOKEN;
        }
        if this == b'\t' || (this >= b' ' && this != 0x7f) {
            table[byte] |= VALUE;
        }
        if this.is_ascii_graphic() && this != b'#' {
            table[byte] |= TARGET;
        }
        if alphanumeric || is_one_of(this, b"-._~!$&'()*+;=%:[]") {
            table[byte] |= HOST;
        }
        byte += 1;
    }
    table
}

const fn is_one_of(byte: u8, list: &[u8]) -> bool {
    let mut at = 0;
    while at < list.len() {
        if list[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Whether `byte` is of `class`.
pub(super) fn is(class: u8, byte: u8) -> bool {
    // The table has a row for every byte.
    CLASSES[usize::from(byte)] & class != 0
}

/// Whether all of `bytes` are of `class`.
pub(super) fn all(class: u8, bytes: &[u8]) -> bool {
    // Folded without a branch for each byte: a bad byte is rare, a look at all of them is not.
    bytes
        .iter()
        .fold(class, |seen, byte| seen & CLASSES[usize::from(*byte)])
        != 0
}
