//! What an arm's breaker counted: every call that it admitted must be settled.

use crate::record::Flaw;
use anyhow::Result;
use std::time::{Duration, Instant};

/// How long counts may take to settle.
const WAIT: Duration = Duration::from_secs(60);

/// How often they are looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// Holds that every call that a breaker admitted was settled, by the page of metrics that `ask`
/// gets.
///
/// # Errors
/// The page does not answer.
pub(crate) fn unsettled(ask: impl Fn() -> Result<String>) -> Result<Option<Flaw>> {
    let deadline = Instant::now() + WAIT;
    loop {
        let text = ask()?;
        let admitted = sum(&text, "bimetal_requests_total", "decision=\"admitted\"");
        let settled = sum(&text, "bimetal_outcomes_total", "");
        if admitted == settled && admitted > 0 {
            return Ok(None);
        }
        // A worker publishes a while after the load has ended.
        if Instant::now() > deadline {
            return Ok(Some(Flaw::NotSettled { admitted, settled }));
        }
        std::thread::sleep(GLANCE);
    }
}

/// The sum of a metric over every line that has `label`.
fn sum(page: &str, name: &str, label: &str) -> u64 {
    let named = page.lines().filter(|line| line.starts_with(name) && line.contains(label));
    let values = named.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_lines() {
        let page = "# TYPE bimetal_requests_total counter\n\
                    bimetal_requests_total{decision=\"admitted\",policy=\"a\"} 3\n\
                    bimetal_requests_total{decision=\"admitted\",policy=\"b\"} 4\n\
                    bimetal_requests_total{decision=\"breaker\",policy=\"b\"} 5\n";
        assert_eq!(sum(page, "bimetal_requests_total", "decision=\"admitted\""), 7);
        assert_eq!(sum(page, "bimetal_requests_total", ""), 12);
        assert_eq!(sum(page, "nothing", ""), 0);
    }

    #[test]
    fn counts_are_waited_for_until_they_meet() {
        let settled = std::cell::Cell::new(0);
        let page = || {
            settled.set(settled.get() + 1);
            let told = "bimetal_requests_total{decision=\"admitted\"} 3\nbimetal_outcomes_total";
            Ok(format!("{told} {}\n", settled.get()))
        };
        assert_eq!(unsettled(page).unwrap(), None);
        assert_eq!(settled.get(), 3);
        assert!(unsettled(|| anyhow::bail!("no answer")).is_err());
    }
}
