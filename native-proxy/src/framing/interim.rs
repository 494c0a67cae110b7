//! Informational heads (1xx) on their way from an upstream to a client.

use super::head::field;

/// Fields that are for one hop alone, or that no informational head can have.
const LEFT_OUT: [&[u8]; 7] = [
    b"connection",
    b"content-length",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
];

/// `HTTP/1.1 100`: a status line without a reason.
const SHORTEST: usize = 12;

/// The status of a head that was found good.
pub(super) fn status(head: &[u8]) -> &[u8] {
    head.get(9..12).unwrap_or_default()
}

/// A head that was found good, as the next hop gets it: without what is for one hop alone (RFC
/// 9110, 7.6.1).
pub(super) fn forwarded(head: &[u8]) -> Vec<u8> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let first = lines.next().unwrap_or_default();
    let fields: Vec<_> = lines.filter_map(|line| Some((line, field(line).ok()?))).collect();
    let named: Vec<&[u8]> = fields
        .iter()
        .filter(|(_, (name, _))| name.eq_ignore_ascii_case(b"connection"))
        .flat_map(|(_, (_, value))| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .collect();
    let mut out = b"HTTP/1.1 ".to_vec();
    out.extend_from_slice(first.get(9..).unwrap_or_default());
    if first.len() == SHORTEST {
        // A space ends the status also where there is no reason (RFC 9112, 4).
        out.push(b' ');
    }
    out.extend_from_slice(b"\r\n");
    for (line, (name, _)) in &fields {
        let is = |other: &&[u8]| other.eq_ignore_ascii_case(name);
        if !LEFT_OUT.iter().any(is) && !named.iter().any(is) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_hop_stays_there() {
        let head = "HTTP/1.0 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x-Mine, close\r\n\
                    X-mine: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nContent-Length: 0\r\nx-kept: a  b\r\n\r\n";
        let wanted = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nx-kept: a  b\r\n\r\n";
        assert_eq!(String::from_utf8(forwarded(head.as_bytes())).unwrap(), wanted);
        assert_eq!(status(head.as_bytes()), b"103");
    }
}
