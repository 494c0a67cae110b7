//! Asking the workers.

use crate::proxy::Shared;
use crate::worker::{BreakerRow, Command, WorkerStats};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a worker may take to answer: it does so between two requests.
const WORKER_REPLY_WAIT: Duration = Duration::from_secs(2);

/// The counts of every worker.
///
/// # Errors
/// Which worker does not answer. Counts without it would seem to fall.
pub(super) async fn stats(shared: &Shared) -> Result<Vec<WorkerStats>, String> {
    ask(shared, Command::Stats).await
}

/// The breakers of every worker.
///
/// # Errors
/// Which worker does not answer.
pub(super) async fn breakers(shared: &Shared) -> Result<Vec<BreakerRow>, String> {
    Ok(ask(shared, Command::Breakers).await?.into_iter().flatten().collect())
}

/// What every worker answers to a question.
///
/// # Errors
/// Which worker does not answer.
pub(super) async fn ask<T>(
    shared: &Shared,
    question: impl Fn(oneshot::Sender<T>) -> Command,
) -> Result<Vec<T>, String> {
    let replies: Vec<_> = shared
        .workers
        .iter()
        .map(|worker| {
            let (sender, reply) = oneshot::channel();
            // To a worker that ended the sender is lost, and the reply says so.
            drop(worker.send(question(sender)));
            reply
        })
        .collect();
    let mut answers = Vec::new();
    for (index, reply) in replies.into_iter().enumerate() {
        match tokio::time::timeout(WORKER_REPLY_WAIT, reply).await {
            Ok(Ok(answer)) => answers.push(answer),
            _ => return Err(format!("worker {index} does not answer\n")),
        }
    }
    Ok(answers)
}
