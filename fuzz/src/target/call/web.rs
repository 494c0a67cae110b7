//! A gRPC-Web body read in one go, by another mind than the core's scanner: base64 part by part,
//! then frame by frame, then line by line.

/// The first `grpc-status` in the trailers of a body, or of its beginning.
pub(super) fn status(body: &[u8], is_text: bool) -> Option<u32> {
    let decoded;
    let mut frames = body;
    if is_text {
        decoded = decoded_parts(body);
        frames = &decoded;
    }
    while let Some((prefix, rest)) = frames.split_first_chunk::<5>() {
        let size = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let is_whole = rest.len() >= size;
        let (frame, next) = rest.split_at(size.min(rest.len()));
        if prefix[0] == 0x80
            && let Some(status) = in_trailers(frame, is_whole)
        {
            return Some(status);
        }
        frames = next;
    }
    None
}

/// The status in a block of trailers. A line counts once it is ended: by `\n`, or by the block.
fn in_trailers(block: &[u8], is_whole: bool) -> Option<u32> {
    let mut lines: Vec<&[u8]> = block.split(|byte| *byte == b'\n').collect();
    if !is_whole {
        lines.pop();
    }
    lines.into_iter().find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(colon);
        name.eq_ignore_ascii_case(b"grpc-status").then(|| number(&value[1..]))
    })
}

/// The value of a status; UNKNOWN (2) where it is no number.
pub(super) fn number(value: &[u8]) -> u32 {
    let value: String = value.iter().map(|byte| char::from(*byte)).collect();
    let digits = value.trim_start_matches([' ', '\t']).trim_end_matches([' ', '\t', '\r']);
    match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse().unwrap_or(2),
        false => 2,
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Each part by itself: its bits in a row, and of them every eight whole ones. A wrong character
/// ends the reading.
fn decoded_parts(text: &[u8]) -> Vec<u8> {
    let wrong = |byte: &u8| !ALPHABET.contains(byte) && !b"=\r\n".contains(byte);
    let readable = &text[..text.iter().position(wrong).unwrap_or(text.len())];
    let mut bytes = Vec::new();
    for part in readable.split(|byte| *byte == b'=') {
        let symbols = part.iter().filter_map(|byte| ALPHABET.iter().position(|a| a == byte));
        let bits: Vec<u8> =
            symbols.flat_map(|six| (0..6).rev().map(move |bit| (six >> bit & 1) as u8)).collect();
        let eights = bits.chunks_exact(8);
        bytes.extend(eights.map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)));
    }
    bytes
}

/// Bytes as one padded part.
pub(super) fn encoded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for symbol in 0..4 {
            let six = word >> (18 - 6 * symbol) & 63;
            let is_padding = symbol as usize > three.len();
            text.push(if is_padding { b'=' } else { ALPHABET[six as usize] });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_a_server_sends() {
        let body = b"\0\0\0\0\x03abc\x80\0\0\0\x10grpc-status:14\r\n";
        assert_eq!(status(body, false), Some(14));
        assert_eq!(status(&body[..body.len() - 1], false), None);
        assert_eq!(encoded(b"\0\0\0\0\x03abc"), b"AAAAAANhYmM=");
        let text = [encoded(&body[..8]), encoded(&body[8..])].concat();
        assert_eq!(status(&text, true), Some(14));
    }

    #[test]
    fn what_is_no_number_is_unknown() {
        for value in ["", "x", "+1", "-1", "1 1", "4294967296"] {
            assert_eq!(number(value.as_bytes()), 2, "{value}");
        }
        assert_eq!(number(b" 014\r"), 14);
    }
}
