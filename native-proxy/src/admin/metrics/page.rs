//! Lines in Prometheus' text format and in OpenMetrics.

use crate::worker::histogram::Exemplar;
use bimetal_core::metric::Metric;
use std::fmt::Write;
use std::time::SystemTime;

/// What the page is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::admin) enum Form {
    /// Prometheus' text format 0.0.4, for whoever asks for nothing.
    #[default]
    Text,
    /// OpenMetrics 1.0: with exemplars.
    Open,
}

impl Form {
    /// The form that a request asks for: OpenMetrics only where its `Accept` names that, and no other with
    /// more weight (RFC 9110, 12.5.1).
    pub(in crate::admin) fn asked(accept: &[&str]) -> Self {
        let weight = |wanted: &str| {
            let items = accept.iter().flat_map(|field| field.split(','));
            let weights = items.filter_map(|item| {
                let mut parts = item.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
                let given = parts.find_map(|part| part.strip_prefix("q="));
                is_it.then(|| given.map_or(1.0, |given| given.parse().unwrap_or(0.0)))
            });
            weights.fold(0.0_f64, f64::max)
        };
        let open = weight("application/openmetrics-text");
        if open > 0.0 && open >= weight("text/plain") { Self::Open } else { Self::Text }
    }

    /// The media type.
    pub(in crate::admin) const fn media(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A page under way.
#[derive(Default)]
pub(super) struct Page {
    /// What is written so far.
    pub text: String,
    form: Form,
}

impl Page {
    /// An empty one.
    pub(super) fn new(form: Form) -> Self {
        Self { form, ..Self::default() }
    }

    /// The whole of it.
    pub(super) fn end(mut self) -> String {
        if self.form == Form::Open {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// The lines before a metric's own.
    pub(super) fn head(&mut self, metric: &Metric) {
        let Metric { name, help, .. } = metric;
        let name = match self.form {
            Form::Text => name,
            // There the suffix is of a counter's line and not of its name.
            Form::Open => name.strip_suffix("_total").unwrap_or(name),
        };
        let kind = metric.kind.name();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A bucket of a histogram, with what stands for it.
    pub(super) fn bucket(
        &mut self,
        metric: &Metric,
        values: &[&str],
        bound: &str,
        count: u64,
        exemplar: Option<Exemplar>,
    ) {
        self.part(metric, "_bucket", values, Some(bound), &count);
        if let Some(exemplar) = exemplar.filter(|_| self.form == Form::Open) {
            self.text.truncate(self.text.trim_end().len());
            let trace = u128::from_be_bytes(exemplar.trace);
            let took = exemplar.took.as_secs_f64();
            let at = exemplar.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let at = at.as_secs_f64();
            let _ = writeln!(self.text, " # {{trace_id=\"{trace:032x}\"}} {took} {at:.3}");
        }
    }

    /// A metric of one line.
    pub(super) fn only(&mut self, metric: &Metric, value: u64) {
        self.head(metric);
        self.line(metric, &[], value);
    }

    /// A line; `values` are those of the metric's labels.
    pub(super) fn line(&mut self, metric: &Metric, values: &[&str], value: u64) {
        self.part(metric, "", values, None, &value);
    }

    /// A line of a histogram's part; a bucket has a `bound`.
    pub(super) fn part(
        &mut self,
        metric: &Metric,
        part: &str,
        values: &[&str],
        bound: Option<&str>,
        value: &dyn std::fmt::Display,
    ) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        self.text.push_str(metric.name);
        self.text.push_str(part);
        let labels = metric.labels.iter().zip(values).map(|(label, value)| (*label, *value));
        let mut is_first = true;
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(if is_first { '{' } else { ',' });
            is_first = false;
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !is_first {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A label's value as the format wants it; a client may have chosen it.
fn escape(value: &str, into: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
}
