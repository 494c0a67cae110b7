//! Which bytes may stand where (RFC 9110, 5.5 and 5.6; RFC 9112, 3.2).

use memchr::{memchr, memchr2};

/// In a method, a field name, the name of a chunk extension.
pub(super) const TOKEN: u8 = 1;
/// In a `Host`. No comma: two hosts in one field are two hosts.
pub(super) const HOST: u8 = 2;
/// In a field name that is one name only: to a CGI program, and to some servers, any other byte is
/// the same as a dash.
pub(super) const PLAIN: u8 = 4;

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
        if alphanumeric || this == b'-' {
            table[byte] |= PLAIN;
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
    common(class, bytes) != 0
}

/// Those of `classes` to which all of `bytes` belong.
pub(super) fn common(classes: u8, bytes: &[u8]) -> u8 {
    // Without a branch for each byte: a bad byte is rare, a look at all of them is not.
    bytes.iter().fold(classes, |seen, byte| seen & CLASSES[usize::from(*byte)])
}

/// Whether `byte` may stand in a field value: visible, space, tab and what is beyond ASCII. No
/// control byte, so neither a bare CR nor NUL.
pub(super) const fn is_value(byte: u8) -> bool {
    // No short cut between the parts: so the compiler makes vector code of a whole value.
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}

/// Whether all of `bytes` may stand in a field value.
pub(super) fn all_value(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |good, byte| good & is_value(*byte))
}

/// Whether all of `target` may stand in a request target: visible ASCII. No `#`, because a fragment
/// is never sent, and parsers drop it silently; none of those that the parser behind refuses: angle
/// brackets, a backquote in a path, a quote in a query. No URI has any of them.
pub(super) fn all_target(target: &[u8]) -> bool {
    let is_target =
        |byte: u8| (byte > b' ') & (byte < 0x7f) & (byte != b'#') & (byte != b'<') & (byte != b'>');
    target.iter().fold(true, |good, byte| good & is_target(*byte))
        && (memchr2(b'"', b'`', target).is_none() || has_no_stray_quote(target))
}

fn has_no_stray_quote(target: &[u8]) -> bool {
    let (path, query) = target.split_at(memchr(b'?', target).unwrap_or(target.len()));
    memchr(b'`', path).is_none() && memchr(b'"', query).is_none()
}
