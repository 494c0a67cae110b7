//! The one owner of the store: a task that takes all questions that wait, makes one exchange for them, and
//! answers each.

use crate::board::ExchangeCounts;
use crate::board::link::Written;
use crate::board::store::Store;
use bimetal_core::board::far::{Answer, Question};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

/// Most questions of one exchange.
const TOGETHER: usize = 64;

/// One question, and who waits for its answer; a text says why there is none.
pub(super) type Asked = (Question, oneshot::Sender<Result<Answer, String>>);

/// What is counted beside exchanges.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Records that are known.
    pub(super) records: AtomicUsize,
    /// Of so many keys.
    pub(super) keys: AtomicUsize,
}

/// The owner of the store.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Store,
    counts: Arc<ExchangeCounts>,
    sizes: Arc<Sizes>,
    fails: bool,
}

impl Keeper {
    /// The owner of `store`.
    pub(super) const fn new(store: Store, counts: Arc<ExchangeCounts>, sizes: Arc<Sizes>) -> Self {
        Self { store, counts, sizes, fails: false }
    }

    /// Answers until nobody can ask any more.
    pub(super) async fn work(mut self, mut questions: mpsc::Receiver<Asked>) {
        let mut together = Vec::new();
        while questions.recv_many(&mut together, TOGETHER).await > 0 {
            self.answer(&mut together).await;
        }
    }

    async fn answer(&mut self, together: &mut Vec<Asked>) {
        let records = together.iter().flat_map(|(question, _)| {
            let exchange = &question.exchange;
            exchange.deltas.iter().map(|delta| Written {
                member: exchange.member,
                sequence: exchange.sequence,
                key: &delta.key,
                record: &delta.record,
            })
        });
        let mut records: Vec<Written<'_>> = records.collect();
        let failed = loop {
            let begun = Instant::now();
            match self.store.exchange(&records).await {
                Ok(learned) => {
                    self.counts.went_well(begun.elapsed(), &learned);
                    if std::mem::take(&mut self.fails) {
                        info!("the store is back");
                    }
                    if !learned.has_more {
                        break None;
                    }
                    records = Vec::new();
                }
                Err(why) => break Some(why),
            }
        };
        if let Some(why) = &failed {
            self.counts.failed();
            if !std::mem::replace(&mut self.fails, true) {
                warn!("the store fails: {why}; members decide alone");
            }
        }
        let (records, keys) = self.store.sizes();
        self.sizes.records.store(records, Ordering::Relaxed);
        self.sizes.keys.store(keys, Ordering::Relaxed);
        for (question, asker) in together.drain(..) {
            let answer = match &failed {
                Some(why) => Err(why.clone()),
                None => Ok(self.store.tell(question.heard)),
            };
            // Whoever left needs none.
            drop(asker.send(answer));
        }
    }
}
