//! Small messages as one piece.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncWrite, ReadBuf};

/// Up to so many bytes are copied together: a head and a short body.
const SMALL: usize = 1024;

/// Writes `pieces`, small ones by one plain write. A head and a body come as two pieces, and the
/// kernel takes one piece (`send`) for less than a list of them (`writev`), by more than the copy
/// costs.
pub(super) fn poll_write<T: AsyncWrite + Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [piece] = pieces {
        return Pin::new(io).poll_write(cx, piece);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SMALL {
        return Pin::new(io).poll_write_vectored(cx, pieces);
    }
    let mut space = [MaybeUninit::uninit(); SMALL];
    let mut whole = ReadBuf::uninit(&mut space);
    pieces.iter().for_each(|piece| whole.put_slice(piece));
    Pin::new(io).poll_write(cx, whole.filled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes so many bytes at a time, and remembers each write with the number of its pieces.
    #[derive(Debug)]
    struct Sink {
        most: usize,
        writes: Vec<(usize, Vec<u8>)>,
    }

    impl Sink {
        fn take(&mut self, pieces: usize, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let taken = &bytes[..bytes.len().min(self.most)];
            self.writes.push((pieces, taken.to_vec()));
            Poll::Ready(Ok(taken.len()))
        }
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.get_mut().take(1, bytes)
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let whole: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            self.get_mut().take(pieces.len(), &whole)
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn written(most: usize, pieces: &[&[u8]]) -> (usize, usize, Vec<u8>) {
        let mut sink = Sink { most, writes: Vec::new() };
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(size)) = poll_write(&mut sink, cx, &slices) else {
            panic!("it takes whatever comes");
        };
        let [(count, bytes)] = &sink.writes[..] else {
            panic!("one write: {sink:?}");
        };
        (size, *count, bytes.clone())
    }

    #[test]
    fn small_pieces_go_out_as_one() {
        assert_eq!(written(9999, &[b"head ", b"", b"body"]), (9, 1, b"head body".to_vec()));
        assert_eq!(written(6, &[b"head ", b"body"]), (6, 1, b"head b".to_vec()), "in part");
        let (half, rest) = ([1; SMALL / 2], [2; SMALL / 2]);
        assert_eq!(written(9999, &[&half, &rest]).1, 1, "as much as is called small");
    }

    #[test]
    fn large_ones_are_not_copied() {
        assert_eq!(written(9999, &[&[1; SMALL], b"x"]).1, 2);
        assert_eq!(written(99_999, &[&[1; 65_536]]).1, 1);
    }
}
