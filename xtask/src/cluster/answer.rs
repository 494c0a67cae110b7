//! What programs print: curl about an answer, the generator about a load, kubectl about a pod, and what
//! a metrics page holds.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// An HTTP answer as a pod got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// Lower-case name and value, in order.
    headers: Vec<(String, String)>,
    /// The body as text.
    pub(super) body: String,
}

impl Answer {
    /// Reads what `curl -i` prints.
    ///
    /// # Errors
    /// It is no HTTP answer.
    pub(super) fn read(text: &str) -> Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
        let Some(status) = status.filter(|_| first.starts_with("HTTP/")) else {
            bail!("no answer but {text:?}");
        };
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self { status, headers, body: body.trim().to_owned() })
    }

    /// A header's first value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether one of our rules answered.
    pub(super) fn is_rejection(&self) -> bool {
        self.header("x-bimetal-rule").is_some()
    }

    /// The rejection of the contract: 503, the rule, the reason, a time to come back, JSON.
    /// Returns rule, reason and time as one text.
    ///
    /// # Errors
    /// Names the first thing that is not as the contract has it.
    pub(super) fn rejected_by(&self, rule: &str, reason: &str) -> Result<String> {
        let given = |name: &str| {
            self.header(name)
                .with_context(|| format!("no {name} in {} {:?}", self.status, self.headers))
        };
        if self.status != 503 {
            bail!("{} instead of 503: {}", self.status, self.body);
        }
        let (real, why) = (given("x-bimetal-rule")?, given("x-bimetal-reason")?);
        let seconds: u32 = given("retry-after")?.parse().context("retry-after is no number")?;
        if real != rule {
            bail!("x-bimetal-rule is {real:?}, not {rule:?}");
        }
        if !why.contains(reason) {
            bail!("x-bimetal-reason is {why:?}, without {reason:?}");
        }
        if seconds == 0 {
            bail!("retry-after is 0");
        }
        let body: serde_json::Value = serde_json::from_str(&self.body)
            .with_context(|| format!("the body is no JSON: {:?}", self.body))?;
        if body["error"].as_str().is_none_or(str::is_empty) {
            bail!("the body has no error: {body}");
        }
        Ok(format!("503, x-bimetal-rule: {real}, x-bimetal-reason: {why}, retry-after: {seconds}"))
    }
}

/// What became of calls at a constant rate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Load {
    /// Calls.
    pub(super) due: u64,
    /// Calls answered as they should be.
    pub(super) good: u64,
    /// All others, by what happened.
    pub(super) bad: BTreeMap<String, u64>,
}

impl Load {
    /// Reads what the generator prints.
    ///
    /// # Errors
    /// It printed no figures.
    pub(super) fn read(text: &str) -> Result<Self> {
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).with_context(|| format!("the generator says {text:?}"))
    }

    /// That every call was answered well, in words.
    ///
    /// # Errors
    /// One was not.
    pub(super) fn is_whole(&self) -> Result<String> {
        let Self { due, good, bad } = self;
        ensure!(*due > 0 && bad.is_empty() && good == due, "{good} of {due} calls good, {bad:?}");
        Ok(format!("{good} of {due} calls answered 200"))
    }
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    /// Its name.
    pub(super) name: String,
    /// Its node.
    pub(super) node: String,
    /// Whether it takes calls.
    pub(super) is_ready: bool,
    /// Whether it was told to end.
    pub(super) goes: bool,
}

impl Pod {
    /// One of a list.
    pub(super) fn of(pod: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let conditions = pod["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        Self {
            name: text(&pod["metadata"]["name"]),
            node: text(&pod["spec"]["nodeName"]),
            is_ready: conditions.any(|one| one["type"] == "Ready" && one["status"] == "True"),
            goes: !pod["metadata"]["deletionTimestamp"].is_null(),
        }
    }
}

/// The sum of a metric over all lines that have every label; `None` where there is no such line.
pub(super) fn metric(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    page.lines()
        .filter(|line| {
            line.starts_with(name)
                && !line[name.len()..].starts_with(|c: char| c == '_' || c.is_alphanumeric())
        })
        .filter(|line| labels.iter().all(|(key, value)| has(line, key, value)))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
}

/// Whether a line has a label of exactly that name and value.
fn has(line: &str, key: &str, value: &str) -> bool {
    let label = format!("{key}=\"{value}\"");
    line.match_indices(&label).any(|(at, _)| line[..at].ends_with(['{', ',', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REJECTION: &str = "HTTP/1.1 503 Service Unavailable\r\nX-Bimetal-Rule: echo/breaker\r\n\
        x-bimetal-reason: open for another 4.2s after 3 consecutive failures\r\nretry-after: 5\r\n\
        \r\n{\"error\":\"circuit breaker: open\"}\n";

    #[test]
    fn a_rejection_is_read_and_judged() {
        let answer = Answer::read(REJECTION).unwrap();
        assert!(answer.is_rejection());
        let told = answer.rejected_by("echo/breaker", "3 consecutive failures").unwrap();
        assert!(told.contains("retry-after: 5"), "{told}");
        assert!(answer.rejected_by("other/breaker", "3 consecutive failures").is_err());
        assert!(answer.rejected_by("echo/breaker", "forced").is_err());
    }

    #[test]
    fn each_missing_part_of_a_rejection_is_named() {
        for name in ["X-Bimetal-Rule", "x-bimetal-reason", "retry-after"] {
            let text = REJECTION.replace(name, "other");
            let error = Answer::read(&text).unwrap().rejected_by("echo/breaker", "3").unwrap_err();
            assert!(error.to_string().contains(&name.to_ascii_lowercase()), "{error}");
        }
        let text = REJECTION.replace("503", "500");
        assert!(Answer::read(&text).unwrap().rejected_by("echo/breaker", "3").is_err());
        let text = REJECTION.replace("\"error\"", "\"message\"");
        assert!(Answer::read(&text).unwrap().rejected_by("echo/breaker", "3").is_err());
    }

    #[test]
    fn no_answer_is_an_error() {
        assert!(Answer::read("").is_err());
        assert!(Answer::read("curl: (7) refused").is_err());
    }

    #[test]
    fn a_load_is_whole_when_every_call_was_good() {
        let read = |text: &str| Load::read(text);
        let whole = read("begins\nended\n{\"due\":5,\"good\":5,\"bad\":{},\"more\":1}\n").unwrap();
        assert!(whole.is_whole().unwrap().contains("5 of 5"));
        let failed = read("{\"due\":5,\"good\":4,\"bad\":{\"status 503\":1}}").unwrap();
        assert!(failed.is_whole().unwrap_err().to_string().contains("status 503"));
        let none = read("{\"due\":0,\"good\":0,\"bad\":{}}").unwrap();
        assert!(none.is_whole().is_err());
        assert!(read("").is_err() && read("begins\n").is_err());
    }

    #[test]
    fn a_pod_is_read() {
        let ready = serde_json::json!([{ "type": "Ready", "status": "True" }]);
        let mut pod = serde_json::json!({
            "metadata": { "name": "a" },
            "spec": { "nodeName": "n" },
            "status": { "conditions": ready },
        });
        let read = Pod::of(&pod);
        assert_eq!((read.name.as_str(), read.node.as_str()), ("a", "n"));
        assert!(read.is_ready && !read.goes);
        pod["metadata"]["deletionTimestamp"] = "now".into();
        pod["status"]["conditions"][0]["status"] = "False".into();
        assert!(!Pod::of(&pod).is_ready && Pod::of(&pod).goes);
    }

    #[test]
    fn metrics_are_summed_over_matching_lines() {
        let page = "# TYPE a_total counter\na_total{policy=\"echo\",to=\"open\"} 1\n\
            a_total{policy=\"other\",to=\"open\"} 2\na_total{policy=\"echo\",goto=\"open\"} 9\n\
            a_total_more{to=\"open\"} 5\n";
        assert_eq!(metric(page, "a_total", &[("to", "open")]), Some(3.0));
        assert_eq!(metric(page, "a_total", &[("to", "open"), ("policy", "echo")]), Some(1.0));
        assert_eq!(metric(page, "b_total", &[]), None);
    }
}
