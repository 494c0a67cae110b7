//! The page of metrics, row by row.

use super::{Client, get};
use std::net::SocketAddr;

/// One page.
#[derive(Debug)]
pub(crate) struct Metrics {
    page: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// The page that an admin or health listener shows now.
    pub(crate) fn of(address: SocketAddr) -> Self {
        let answer = Client::connect(address).ask(&get("/metrics"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Self::read(answer.text())
    }

    fn read(page: String) -> Self {
        let rows = page.lines().filter(|line| !line.starts_with('#')).map(row).collect();
        Self { page, rows }
    }

    /// The value of the row that is written like this; none where there is no such row.
    pub(crate) fn line(&self, line: &str) -> Option<f64> {
        let value = self.page.lines().find_map(|row| row.strip_prefix(line)?.strip_prefix(' '));
        value.map(|value| value.parse().unwrap())
    }

    /// The sum over the rows of `name` that have all these labels.
    ///
    /// # Panics
    /// There is no such row: a sum of nothing would be 0, whatever is asked for.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels)
            .unwrap_or_else(|| panic!("no row of {name} with {labels:?} in:\n{}", self.page))
    }

    /// The same; none where there is no such row, for those who wait for one or want none.
    pub(crate) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |row: &Row, (label, value): &(&str, &str)| {
            row.labels.iter().any(|(known, is)| known == label && is == value)
        };
        let fits = |row: &&Row| row.name == name && labels.iter().all(|wanted| has(row, wanted));
        let values: Vec<f64> = self.rows.iter().filter(fits).map(|row| row.value).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }
}

/// `name{label="value",…} number`
fn row(line: &str) -> Row {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
    let value = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
    let Some((name, rest)) = series.split_once('{') else {
        return Row { name: series.to_owned(), labels: Vec::new(), value };
    };
    let mut rest = rest.strip_suffix('}').unwrap_or_else(|| panic!("no end of labels: {line}"));
    let mut labels = Vec::new();
    while let Some((label, quoted)) = rest.split_once("=\"") {
        let (text, length) =
            unquoted(quoted).unwrap_or_else(|| panic!("no end of a label: {line}"));
        labels.push((label.trim_start_matches(',').to_owned(), text));
        rest = &quoted[length..];
    }
    assert_eq!(rest, "", "{line}");
    Row { name: name.to_owned(), labels, value }
}

/// What stands before the next quote, and where that ends.
fn unquoted(quoted: &str) -> Option<(String, usize)> {
    let (mut text, mut letters) = (String::new(), quoted.char_indices());
    loop {
        match letters.next()? {
            (at, '"') => return Some((text, at + 1)),
            (_, '\\') => text.push(match letters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => text.push(other),
        }
    }
}

#[test]
fn a_metric_that_does_not_exist_is_not_0() {
    let page = "# HELP a A.\na{b=\"1\",c=\"x\\\"},\\\\\\n\"} 2\na{b=\"1\",c=\"y\"} 3\na{b=\"2\",c=\"y\"} 0\nd 4\n";
    let metrics = Metrics::read(page.to_owned());
    assert_eq!(metrics.sum("a", &[("b", "1")]), 5.0);
    assert_eq!(metrics.sum("a", &[("c", "x\"},\\\n")]), 2.0);
    assert_eq!((metrics.sum("a", &[("b", "2")]), metrics.sum("d", &[])), (0.0, 4.0));
    for (name, labels) in
        [("e", &[][..]), ("a", &[("b", "3")]), ("a", &[("x", "1")]), ("d", &[("b", "1")])]
    {
        assert_eq!(metrics.find(name, labels), None, "{name} {labels:?}");
        let asked = std::panic::catch_unwind(|| metrics.sum(name, labels));
        assert!(asked.is_err(), "{name} {labels:?}");
    }
}
