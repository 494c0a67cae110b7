//! The bytes of an answer, as the virtual upstream and the real one send them.

use super::{Media, Reply};

/// What an answer says beside its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// `content-type`.
    pub media_type: &'static str,
    /// `grpc-status` in the headers.
    pub status_in_headers: Option<u32>,
    /// The body in the pieces in which it is sent; none where the answer is its headers alone.
    pub pieces: Option<[Vec<u8>; 2]>,
    /// `grpc-status` in trailers behind the body.
    pub status_in_trailers: Option<u32>,
}

/// Flag of the frame that holds the trailers of gRPC-Web.
const TRAILERS: u8 = 0x80;

impl Content {
    /// What `reply` is made of.
    pub fn of(reply: &Reply) -> Self {
        let content = |media_type, body: Vec<u8>| Self {
            media_type,
            status_in_headers: None,
            pieces: Some(halves(body)),
            status_in_trailers: None,
        };
        match reply.media {
            Media::Plain if matches!(reply.status, 204 | 205 | 304) => {
                Self { pieces: None, ..content("application/json", Vec::new()) }
            }
            Media::Plain => content("application/json", b"{\"message\":\"Echo: hello\"}".to_vec()),
            Media::GrpcHeaders => Self {
                status_in_headers: reply.grpc_status,
                pieces: None,
                ..content("application/grpc", Vec::new())
            },
            Media::Grpc => Self {
                status_in_trailers: reply.grpc_status,
                ..content("application/grpc+proto", frame(0, b"hello"))
            },
            Media::GrpcWeb => {
                let mut body = frame(0, b"hello");
                if let Some(status) = reply.grpc_status {
                    let lines = format!("grpc-status: {status}\r\ngrpc-message: x\r\n");
                    body.extend(frame(TRAILERS, lines.as_bytes()));
                }
                content("application/grpc-web+proto", body)
            }
            Media::Events => content("text/event-stream", b"data: hello\n\ndata: x\n\n".to_vec()),
        }
    }
}

/// One frame of gRPC: flags, length, bytes.
fn frame(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[flags], &length.to_be_bytes()[..], bytes].concat()
}

/// Cut in two, so that whoever reads it meets a cut: within a frame's trailers, where it has some.
fn halves(mut body: Vec<u8>) -> [Vec<u8>; 2] {
    let second = body.split_off(body.len() / 2);
    [body, second]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn content(media: Media, grpc_status: Option<u32>) -> Content {
        let (after, body, takes_after) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let (early, breaks, informs_every, retry_after) = (false, false, None, None);
        let status = 200;
        Content::of(&Reply {
            status,
            after,
            body,
            early,
            breaks,
            takes_after,
            informs_every,
            retry_after,
            media,
            grpc_status,
        })
    }

    #[test]
    fn a_status_stands_where_the_media_type_says() {
        let alone = content(Media::GrpcHeaders, Some(14));
        assert_eq!((alone.status_in_headers, alone.pieces), (Some(14), None));
        let trailers = content(Media::Grpc, Some(14));
        assert_eq!((trailers.status_in_headers, trailers.status_in_trailers), (None, Some(14)));
        let [first, second] = content(Media::GrpcWeb, Some(14)).pieces.unwrap();
        let body = [&first[..], &second].concat();
        assert!(body.starts_with(b"\0\0\0\0\x05hello\x80\0\0\0\x22grpc-status: 14\r\n"));
        assert!(first.len() > 15, "the cut is within the trailers");
        let [first, second] = content(Media::GrpcWeb, None).pieces.unwrap();
        assert_eq!([first, second].concat(), b"\0\0\0\0\x05hello");
    }
}
