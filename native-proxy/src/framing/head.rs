//! One request's head.

use super::Refusal::{self, Expectation, HeadTooLarge, Malformed, TargetTooLong, Version};
use super::authority::{is_authority, is_target_authority};
use super::bytes::{self, PLAIN, TOKEN};
use super::lengths::{Lengths, Minor, Told};
use super::lines::Lines;
use super::scan::{MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE};
use memchr::memchr;

/// Empty lines before a request line that are overlooked (RFC 9112, 2.2: at least one; some
/// clients end a body with one too many).
pub(super) const MAX_EMPTY_LINES: usize = 2;

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Length(u64),
    Chunked,
}

/// What of a head is rare, and for somebody else to look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// It has a field that not every request has and that means something to a proxy, a name that
    /// others may take for another, or a target that is no path.
    pub is_unusual: bool,
    /// It has `Upgrade`: what follows may be another protocol.
    pub may_switch: bool,
    /// `OPTIONS` for a whole server, in absolute form.
    pub is_for_server: bool,
}

/// What is known of a head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    empty_lines: usize,
    minor: Option<Minor>,
    fields: usize,
    has_host: bool,
    traits: Traits,
    lengths: Lengths,
}

impl Head {
    /// Reads on in `bytes`, which begin where the head begins: its length and what follows it, or
    /// nothing while it is incomplete.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Option<(usize, Body)>, Refusal> {
        loop {
            let minor = self.minor;
            let Some(line) = self.lines.next(bytes, |start, end| fits(minor, start, end))? else {
                return Ok(None);
            };
            match (self.minor, line.is_empty()) {
                (None, true) => {
                    self.empty_lines += 1;
                    if self.empty_lines > MAX_EMPTY_LINES {
                        return Err(Malformed("empty lines in place of a request"));
                    }
                }
                (None, false) => {
                    let (minor, traits) = request_line(line)?;
                    self.minor = Some(minor);
                    self.traits = traits;
                }
                (Some(_), false) => self.field(line)?,
                (Some(minor), true) => return Ok(Some((self.lines.length(), self.finish(minor)?))),
            }
        }
    }

    /// What is rare in a head that was read whole.
    pub(super) const fn traits(&self) -> Traits {
        self.traits
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(HeadTooLarge);
        }
        let (name, value, is_plain) = split(line)?;
        self.traits.is_unusual |= !is_plain;
        match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => self.unusual(),
            3 if name.eq_ignore_ascii_case(b"via") => self.unusual(),
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.traits.may_switch = true;
                self.unusual()
            }
            12 if name.eq_ignore_ascii_case(b"max-forwards") => self.unusual(),
            4 if name.eq_ignore_ascii_case(b"host") => self.host(value),
            6 if name.eq_ignore_ascii_case(b"expect") => {
                expectation(value)?;
                self.unusual()
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.lengths.content_length(value)
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.lengths.coding(value),
            _ => Ok(()),
        }
    }

    const fn unusual(&mut self) -> Result<(), Refusal> {
        self.traits.is_unusual = true;
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.has_host, true) {
            return Err(Malformed("more than one Host"));
        }
        if !is_authority(value) {
            return Err(Malformed("Host is no host"));
        }
        Ok(())
    }

    fn finish(&self, minor: Minor) -> Result<Body, Refusal> {
        if minor == Minor::One && !self.has_host {
            return Err(Malformed("no Host"));
        }
        Ok(match self.lengths.told(minor)? {
            Told::Nothing | Told::Length(0) => Body::None,
            Told::Length(length) => Body::Length(length),
            Told::Chunked => Body::Chunked,
        })
    }
}

/// Whether a line and its head are no longer than they may be.
fn fits(minor: Option<Minor>, start: usize, end: usize) -> Result<(), Refusal> {
    // The line's CR counts as part of it: then it does not matter whether it is here.
    if minor.is_none() && end - start > MAX_REQUEST_LINE {
        return Err(TargetTooLong);
    }
    if end > MAX_HEAD {
        return Err(HeadTooLarge);
    }
    Ok(())
}

/// There is one expectation; whoever has another would wait for something that we do not know
/// (RFC 9110, 10.1.1).
fn expectation(value: &[u8]) -> Result<(), Refusal> {
    if value.eq_ignore_ascii_case(b"100-continue") { Ok(()) } else { Err(Expectation) }
}

/// `METHOD target HTTP/1.x`, with exactly one space between; its version, and what is rare in it.
fn request_line(line: &[u8]) -> Result<(Minor, Traits), Refusal> {
    let mut parts = line.splitn(3, |byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(Malformed("the request line has not three parts"));
    };
    if method.is_empty() || !bytes::all(TOKEN, method) {
        return Err(Malformed("the method is no token"));
    }
    if target.is_empty() || !bytes::all_target(target) {
        return Err(Malformed("the target has a byte that no target has"));
    }
    let minor = match version {
        b"HTTP/1.1" => Minor::One,
        b"HTTP/1.0" => Minor::Zero,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Version);
        }
        _ => return Err(Malformed("the request line ends in no version")),
    };
    let fits = match target.first() {
        Some(b'/') => true,
        Some(b'*') => target == b"*" && method == b"OPTIONS",
        _ if method == b"CONNECT" => is_target_authority(target),
        _ => has_scheme(target),
    };
    if !fits {
        return Err(Malformed("the target is neither a path nor an address"));
    }
    let is_unusual = !target.starts_with(b"/");
    let is_for_server = is_unusual && method == b"OPTIONS" && is_bare(target);
    Ok((minor, Traits { is_unusual, is_for_server, may_switch: false }))
}

/// Whether an absolute target ends with its authority.
fn is_bare(target: &[u8]) -> bool {
    let rest = target.windows(3).position(|three| three == b"://").map(|at| at + 3);
    rest.and_then(|at| target.get(at..))
        .is_some_and(|rest| !rest.iter().any(|byte| matches!(byte, b'/' | b'?')))
}

/// An absolute target's authority becomes the Host, so it must be one: no user, no blanks.
fn has_scheme(target: &[u8]) -> bool {
    let starts = |scheme: &[u8]| {
        target.split_at_checked(scheme.len()).is_some_and(|(start, rest)| {
            let is_end = |byte: &u8| matches!(byte, b'/' | b'?');
            let host = rest.split(is_end).next().unwrap_or_default();
            start.eq_ignore_ascii_case(scheme) && is_target_authority(host)
        })
    };
    starts(b"http://") || starts(b"https://")
}

/// `name: value`; the value without the blanks around it.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    split(line).map(|(name, value, _)| (name, value))
}

/// The same, and whether the name is of letters, digits and dashes alone.
fn split(line: &[u8]) -> Result<(&[u8], &[u8], bool), Refusal> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Malformed("a folded header line"));
    }
    let Some(colon) = memchr(b':', line) else {
        return Err(Malformed("a header line without colon"));
    };
    let (name, value) = line.split_at(colon);
    let classes = bytes::common(TOKEN | PLAIN, name);
    if name.is_empty() || classes & TOKEN == 0 {
        return Err(Malformed("a header name is no token"));
    }
    // The colon itself may stand in a value.
    if !bytes::all_value(value) {
        return Err(Malformed("a control byte in a header"));
    }
    let value = value.strip_prefix(b":").unwrap_or(value);
    Ok((name, trimmed(value), classes & PLAIN != 0))
}

/// Without spaces and tabs around: those and no other bytes are blanks here.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::Head;

    #[test]
    fn what_is_rare_in_a_head_is_seen() {
        let traits = |line: &str, fields: &str| {
            let mut head = Head::default();
            let bytes = format!("{line} HTTP/1.1\r\nhost: a\r\n{fields}x: y\r\n\r\n");
            assert!(head.advance(bytes.as_bytes()).unwrap().is_some());
            let traits = head.traits();
            [traits.is_unusual, traits.may_switch, traits.is_for_server]
        };
        // A name as long as one that is looked for is not it.
        for length in [2, 3, 4, 6, 7, 12, 14, 17] {
            assert_eq!(traits("GET /", &format!("{}: b\r\n", "a".repeat(length))), [false; 3]);
        }
        for field in
            ["x_a: b", "te: trailers", "via: 1.1 a", "max-forwards: 1", "expect: 100-continue"]
        {
            assert_eq!(traits("GET /", &format!("{field}\r\n")), [true, false, false], "{field}");
        }
        assert_eq!(traits("GET /", "Upgrade: a\r\n"), [true, true, false]);
        for (line, is_for_server) in [
            ("OPTIONS http://a", true),
            ("OPTIONS http://a/", false),
            ("OPTIONS http://a?b", false),
            ("OPTIONS *", false),
            ("GET http://a", false),
        ] {
            assert_eq!(traits(line, ""), [true, false, is_for_server], "{line}");
        }
        assert_eq!(traits("OPTIONS /", ""), [false; 3]);
    }
}
