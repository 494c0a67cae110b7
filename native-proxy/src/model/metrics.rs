//! The page of metrics, in Prometheus' text format.

use super::classifier::Accuracy;
use super::slots::Slots;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is counted of the answers to `/predict`.
#[derive(Debug, Default)]
pub(super) struct Answers(RefCell<BTreeMap<u16, u64>>);

impl Answers {
    /// Counts one answer with this status.
    pub(super) fn count(&self, status: u16) {
        *self.0.borrow_mut().entry(status).or_default() += 1;
    }
}

/// The whole page.
pub(super) fn page(answers: &Answers, slots: &Slots, held_out: Accuracy) -> String {
    let mut page = String::new();
    let mut head = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        // Writing to a text cannot fail.
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(page, "{name}{labels} {value}");
        }
    };
    let statuses: Vec<_> = answers
        .0
        .borrow()
        .iter()
        .map(|(status, count)| (format!("{{status=\"{status}\"}}"), count.to_string()))
        .collect();
    let one = |value: String| [(String::new(), value)];
    let sight = slots.sight();
    head("bimetal_model_answers_total", "counter", "Answers to /predict.", &statuses);
    head(
        "bimetal_model_accuracy",
        "gauge",
        "Share of the flowers held out that are named rightly.",
        &one(held_out.share().to_string()),
    );
    head("bimetal_model_busy", "gauge", "Calls that hold a slot.", &one(sight.busy.to_string()));
    head(
        "bimetal_model_busy_max",
        "gauge",
        "Most calls that held a slot at once.",
        &one(sight.busy_max.to_string()),
    );
    head(
        "bimetal_model_waiting",
        "gauge",
        "Calls that wait for a slot.",
        &one(sight.waiting.to_string()),
    );
    head(
        "bimetal_model_done_total",
        "counter",
        "Calls whose work was done.",
        &one(sight.done.to_string()),
    );
    head(
        "bimetal_model_wasted_total",
        "counter",
        "Calls whose work was done after their client had left.",
        &one(sight.wasted.to_string()),
    );
    page
}
