//! What is counted of exchanges with other processes.

use super::{Page, histogram};
use crate::board::ExchangeCounts;
use crate::proxy::Shared;
use crate::worker::histogram::Exemplars;
use bimetal_core::metric;

/// Exchanges with other processes, also where there is none.
pub(super) fn add(page: &mut Page, shared: &Shared) {
    page.head(&metric::BOARD_ERRORS);
    for (reason, count) in ExchangeCounts::REASONS.into_iter().zip(shared.exchanges.errors()) {
        page.line(&metric::BOARD_ERRORS, &[reason], count);
    }
    page.head(&metric::BOARD_EXCHANGE_SECONDS);
    histogram(
        page,
        &metric::BOARD_EXCHANGE_SECONDS,
        &[],
        &shared.exchanges.durations(),
        &Exemplars::default(),
    );
}
