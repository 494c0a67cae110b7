//! The queue between those who serve and the thread that writes or sends.

use opentelemetry_sdk::trace::SpanData;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::mpsc;

/// A request that has ended, and of which spans can be made.
pub(crate) trait Finished: Debug + Send {
    /// How many spans that will be.
    fn count(&self) -> usize;

    /// Makes them; the local root is the first.
    fn spans(self: Box<Self>) -> Vec<SpanData>;
}

/// What goes through the queue.
#[derive(Debug)]
pub(super) enum Message {
    /// A trace of so many spans.
    Trace(Box<dyn Finished>, usize),
    /// Nothing comes any more.
    End,
}

/// The end of the queue that takes traces. It never waits: what finds no room is dropped and
/// counted. Clones are the same queue.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    sender: mpsc::UnboundedSender<Message>,
    counts: Arc<Counts>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Receiver {
    /// What came, in its order.
    pub messages: mpsc::UnboundedReceiver<Message>,
    /// To tell what became of it.
    pub counts: Arc<Counts>,
}

/// Spans, by where they are. What bounds the queue is the number that waits.
#[derive(Debug)]
pub(super) struct Counts {
    most: usize,
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

impl Counts {
    /// These spans went out.
    pub(super) fn sent(&self, spans: usize) {
        // What was given up waits no more.
        let less = |waiting: usize| Some(waiting.saturating_sub(spans));
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// These spans waited, and nobody will have them.
    pub(super) fn lost(&self, spans: usize) {
        self.sent(spans);
        self.drop_spans(spans);
    }

    fn drop_spans(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Spans that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Gives up what waits; how many spans that are.
    pub(super) fn give_up(&self) -> usize {
        let spans = self.waiting.swap(0, Ordering::Relaxed);
        self.drop_spans(spans);
        spans
    }
}

impl Queue {
    /// A queue in which at most so many spans wait.
    pub(super) fn new(most: usize) -> (Self, Receiver) {
        let (sender, messages) = mpsc::unbounded_channel();
        let (waiting, dropped) = Default::default();
        let counts = Arc::new(Counts { most, waiting, dropped });
        (Self { sender, counts: counts.clone() }, Receiver { messages, counts })
    }

    /// Takes a trace, where there is room for it.
    pub(crate) fn put(&self, trace: Box<dyn Finished>) {
        let (counts, spans) = (&self.counts, trace.count());
        // Several may pass the limit at once, by a trace each.
        if counts.waiting() + spans > counts.most {
            return counts.drop_spans(spans);
        }
        counts.waiting.fetch_add(spans, Ordering::Relaxed);
        if self.sender.send(Message::Trace(trace, spans)).is_err() {
            counts.lost(spans);
        }
    }

    /// Tells the other end that nothing comes any more.
    pub(super) fn end(&self) {
        // Whoever is gone needs not be told.
        drop(self.sender.send(Message::End));
    }

    /// Spans that nobody will have: there was no room, or they could not be written or sent.
    pub(crate) fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trace of that many spans.
    #[derive(Debug)]
    struct Sized(usize);

    impl Finished for Sized {
        fn count(&self) -> usize {
            self.0
        }

        fn spans(self: Box<Self>) -> Vec<SpanData> {
            Vec::new()
        }
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted_whole() {
        let (queue, mut receiver) = Queue::new(10);
        for spans in [4, 4, 4, 2] {
            queue.put(Box::new(Sized(spans)));
        }
        assert_eq!((queue.dropped(), queue.counts().waiting()), (4, 10));
        let mut took = || match receiver.messages.try_recv() {
            Ok(Message::Trace(_, spans)) => spans,
            other => panic!("{other:?}"),
        };
        assert_eq!([took(), took(), took()], [4, 4, 2]);
        // Room is made by what went out, not by what was taken up.
        queue.put(Box::new(Sized(1)));
        assert_eq!(queue.dropped(), 5);
        receiver.counts.sent(4);
        receiver.counts.lost(4);
        queue.put(Box::new(Sized(8)));
        assert_eq!((queue.dropped(), queue.counts().waiting()), (9, 10));
        assert_eq!((receiver.counts.give_up(), queue.dropped()), (10, 19));
    }

    #[test]
    fn without_anybody_at_the_other_end_everything_is_dropped() {
        let (queue, receiver) = Queue::new(10);
        drop(receiver);
        queue.put(Box::new(Sized(3)));
        queue.end();
        assert_eq!((queue.dropped(), queue.counts().waiting()), (3, 0));
    }
}
