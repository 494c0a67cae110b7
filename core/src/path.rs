//! Paths that are spelled differently and mean the same (RFC 3986, 6.2.2).
//!
//! Whoever matches a path that an upstream then reads in another way judges the wrong request. So
//! there are two forms of a path here:
//! - [`forwarded`]: what a host that may rewrite sends on. Dot segments are resolved, escapes of
//!   unreserved characters are decoded; doubled slashes, which some upstreams tell apart, stay.
//! - [`NormalPath`]: what policies and routes are compared with. It is what an upstream that
//!   normalises makes of the path it gets.
//!
//! What follows a `?` or `#` is no part of a path and is never touched. What does not begin with `/`
//! (`*`, a text without sense) stays as it is. Most paths are in both forms already: that costs one
//! look at eight bytes a time, and no memory.

mod plain;

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// A path without query, as policies and routes are compared with it:
/// - Escapes of unreserved characters are decoded (`%61` is `a`), other escapes have capital digits,
///   and bytes beyond ASCII are escaped.
/// - Doubled slashes are one.
/// - Dot segments are resolved (RFC 3986, 5.2.4); `..` above the root stays at the root.
///
/// Escapes of reserved characters stay: `%2F` is no `/`, and `;` is a character like others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormalPath<'a>(Cow<'a, [u8]>);

impl<'a> NormalPath<'a> {
    /// The normal form of a request's target: its path, with or without a query.
    #[inline]
    pub fn of(target: Cow<'a, [u8]>) -> Self {
        match plain::end_of_plain(&target) {
            Some(end) => Self(cut(target, end)),
            None => Self(rewritten(target)),
        }
    }

    /// The same, for as long as this one is kept.
    pub fn by_ref(&self) -> NormalPath<'_> {
        NormalPath(Cow::Borrowed(&self.0))
    }

    /// The path's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is behind `end` is left out.
fn cut(target: Cow<'_, [u8]>, end: usize) -> Cow<'_, [u8]> {
    match target {
        Cow::Borrowed(target) => Cow::Borrowed(target.get(..end).unwrap_or(target)),
        Cow::Owned(mut target) => {
            target.truncate(end);
            Cow::Owned(target)
        }
    }
}

#[cold]
fn rewritten(target: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let end = plain::end(&target);
    if target.first() != Some(&b'/') {
        return cut(target, end);
    }
    let path = target.get(..end).unwrap_or(&target);
    // Merged before dots are resolved, as by nginx, Go, Java and Python: `/x//../a` is `/a` to them.
    // In what `forwarded` made there are no dots left, so the order makes no difference.
    let normal = resolved(&decoded(path, Escapes::Alike), true);
    if normal == path { cut(target, end) } else { Cow::Owned(normal) }
}

/// Why a path must not go on: an upstream that decodes slashes before it resolves dots would end at
/// another path than the one that was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HiddenDots;

impl HiddenDots {
    /// What is wrong, for people.
    pub const WHY: &'static str =
        "the path hides a dot segment behind an encoded slash, a backslash or a parameter";
}

impl fmt::Display for HiddenDots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::WHY)
    }
}

impl core::error::Error for HiddenDots {}

/// The form of `path` (without query) that goes upstream: dot segments resolved (RFC 3986, 5.2.4),
/// escapes of unreserved characters decoded, everything else as it came.
///
/// # Errors
/// Where a `.` or `..` would be a segment of its own if `%2F`, `%5C` or `\` were a slash, or `;` and
/// what follows it were taken away (`..%2F`, `..\`, `..;a=b`).
#[inline]
pub fn forwarded(path: &[u8]) -> Result<Cow<'_, [u8]>, HiddenDots> {
    if plain::end_of_plain(path).is_some() || path.first() != Some(&b'/') {
        return Ok(Cow::Borrowed(path));
    }
    rebuilt(path)
}

#[cold]
fn rebuilt(path: &[u8]) -> Result<Cow<'_, [u8]>, HiddenDots> {
    let decoded = decoded(path, Escapes::AsTheyCame);
    if decoded.split(|byte| *byte == b'/').any(hides_dots) {
        return Err(HiddenDots);
    }
    let resolved = resolved(&decoded, false);
    Ok(if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) })
}

/// Whether a segment has a dot segment in it for somebody who splits it further.
fn hides_dots(segment: &[u8]) -> bool {
    let mut rest = segment;
    let mut is_split = false;
    loop {
        let mut at = 0;
        let (piece, behind) = loop {
            match rest.get(at..) {
                None | Some([]) => break (rest, None),
                Some([b'\\', behind @ ..])
                | Some([b'%', b'2', b'F' | b'f', behind @ ..])
                | Some([b'%', b'5', b'C' | b'c', behind @ ..]) => {
                    break (rest.get(..at).unwrap_or_default(), Some(behind));
                }
                Some(_) => at += 1,
            }
        };
        is_split |= behind.is_some();
        let name = piece.split(|byte| *byte == b';').next().unwrap_or_default();
        // A bare dot segment hides nothing: it is resolved.
        if matches!(name, b"." | b"..") && (is_split || name.len() < piece.len()) {
            return true;
        }
        match behind {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
}

/// What becomes of what is not decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// Nothing.
    AsTheyCame,
    /// One spelling of each: capital digits, and bytes that must be escaped are.
    Alike,
}

/// Decodes escapes of unreserved characters (RFC 3986, 2.3), once.
fn decoded(path: &[u8], escapes: Escapes) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match escape(first, behind) {
            Some((byte, digits, behind)) => {
                rest = behind;
                if is_unreserved(byte) && !completes_an_escape(&out, byte) {
                    out.push(byte);
                } else if escapes == Escapes::Alike {
                    push_escape(&mut out, byte);
                } else {
                    out.push(b'%');
                    out.extend(digits);
                }
            }
            None if !first.is_ascii() && escapes == Escapes::Alike => push_escape(&mut out, *first),
            None => out.push(*first),
        }
    }
    out
}

/// The byte that an escape at `first` stands for, its digits, and what follows it.
fn escape<'a>(first: &u8, behind: &'a [u8]) -> Option<(u8, [u8; 2], &'a [u8])> {
    match (first, behind) {
        (b'%', [high, low, rest @ ..]) => {
            let digit = |digit: &u8| char::from(*digit).to_digit(16);
            let byte = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
            Some((byte, [*high, *low], rest))
        }
        _ => None,
    }
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + value - 10 };
    out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a `%` that begins no escape stands where `byte` would make it one: `%%361` is not `%61`.
fn completes_an_escape(out: &[u8], byte: u8) -> bool {
    byte.is_ascii_hexdigit()
        && match out {
            [.., b'%'] => true,
            [.., b'%', digit] => digit.is_ascii_hexdigit(),
            _ => false,
        }
}

/// Resolves the dot segments of a path that begins with `/`, and merges doubled slashes where that is
/// asked for.
fn resolved(path: &[u8], merges_slashes: bool) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b".." => {
                // Each byte is looked at once, for it goes away.
                let parent = out.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
                out.truncate(parent);
            }
            b"." => {}
            b"" if merges_slashes => {}
            _ => {
                out.push(b'/');
                out.extend(segment);
                continue;
            }
        }
        if is_last {
            out.push(b'/');
        }
    }
    out
}
