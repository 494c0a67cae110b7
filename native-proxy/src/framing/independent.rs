//! A second opinion for the tests: the requests in a stream as hyper's own parser sees them.

use httparse::{EMPTY_HEADER, Status, parse_chunk_size, parse_headers};

/// How many requests begin in `bytes`, which hold whole heads and nothing refused; an error where
/// the parser objects or a head is cut.
pub(super) fn requests(mut bytes: &[u8]) -> Result<u64, String> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut headers = [EMPTY_HEADER; 100];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(bytes).map_err(|error| format!("head {count}: {error}"))?;
        let Status::Complete(length) = parsed else {
            return Err(format!("head {count} is cut"));
        };
        count += 1;
        let values = |name: &str| -> Vec<&[u8]> {
            let named =
                request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            named.map(|field| field.value).collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        let rest = &bytes[length..];
        bytes = match (lengths.as_slice(), codings.as_slice()) {
            ([], []) => rest,
            ([length], []) => {
                let length = std::str::from_utf8(length).map_err(|error| error.to_string())?;
                let length: usize = length.parse().map_err(|_| format!("length {length:?}"))?;
                rest.get(length..).unwrap_or_default()
            }
            ([], [_]) => behind_chunks(rest)?,
            _ => return Err(format!("head {count} is ambiguous")),
        };
    }
    Ok(count)
}

/// What follows a chunked body; nothing where the body is cut.
fn behind_chunks(mut bytes: &[u8]) -> Result<&[u8], String> {
    loop {
        match parse_chunk_size(bytes) {
            Err(error) => return Err(format!("{error:?}")),
            Ok(Status::Partial) => return Ok(&[]),
            Ok(Status::Complete((length, 0))) => {
                let mut trailers = [EMPTY_HEADER; 100];
                let trailing = &bytes[length..];
                return match parse_headers(trailing, &mut trailers) {
                    Ok(Status::Complete((length, _))) => Ok(&trailing[length..]),
                    Ok(Status::Partial) => Ok(&[]),
                    Err(error) => Err(format!("trailers: {error}")),
                };
            }
            Ok(Status::Complete((length, size))) => {
                let size = usize::try_from(size).map_err(|error| error.to_string())?;
                let end = length.checked_add(size).and_then(|end| end.checked_add(2));
                match end.and_then(|end| bytes.get(end..)) {
                    Some(rest) => bytes = rest,
                    None => return Ok(&[]),
                }
            }
        }
    }
}
