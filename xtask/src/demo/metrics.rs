//! Reads the metrics that both hosts publish.

use super::record::State;

/// A page in Prometheus' text form.
#[derive(Clone, Debug)]
pub struct Page(pub String);

impl Page {
    /// The sum of a metric over every line that has all of `labels`; 0 where there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.0
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            // A label's name is not the end of another one's: `from` is not in `xfrom`.
            .filter(|rest| {
                labels.iter().all(|label| {
                    rest.contains(&format!("{{{label}")) || rest.contains(&format!(",{label}"))
                })
            })
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// The breaker's state; `None` before there is one.
    pub fn state(&self) -> Option<State> {
        [State::Open, State::HalfOpen, State::Closed]
            .into_iter()
            .find(|state| self.sum("bimetal_breaker_replicas", &[("state", state.name())]) > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_go_over_the_lines_with_the_labels() {
        let page = Page(
            "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{y=\"2\",x=\"1\"} 4\na{x=\"2\"} 5\nab 9\n"
                .into(),
        );
        assert_eq!(page.sum("a", &[("x", "1")]), 7.0);
        assert_eq!(page.sum("a", &[]), 12.0);
        assert_eq!(page.sum("c", &[]), 0.0);
    }

    #[test]
    fn the_worst_state_is_the_one_shown() {
        let page = Page(
            "bimetal_breaker_replicas{state=\"closed\"} 0\nbimetal_breaker_replicas{state=\"open\"} 1\n"
                .into(),
        );
        assert_eq!(page.state(), Some(State::Open));
        assert_eq!(Page(String::new()).state(), None);
    }
}
