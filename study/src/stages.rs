//! The origin's own loads, by k6: users that wait for an answer, think, and ask again.
//!
//! A closed loop asks a slow arm less, so no claim of the study comes from here. It shows what the
//! origin showed, beside what open loops show.

use crate::spans::Spans;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;

/// One run of k6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Stage {
    /// `vus25`: up to so many users within 30 s, 2 min, and down.
    Users(u32),
    /// `payload100`: ten users with messages of so many KB.
    Payload(u32),
    /// `spike10`: from so many users to four times as many at once.
    Spike(u32),
    /// `stress10`: up to four times so many users in steps.
    Stress(u32),
    /// `breaker`: it works, it fails, it is open, it has recovered.
    Breaker,
}

impl Stage {
    /// The origin's.
    pub const ORIGIN: [Self; 9] = [
        Self::Users(5),
        Self::Users(10),
        Self::Users(25),
        Self::Users(50),
        Self::Payload(1),
        Self::Payload(5),
        Self::Payload(100),
        Self::Payload(500),
        Self::Payload(1_000),
    ];

    /// The script that runs it.
    pub const fn script(self) -> &'static str {
        match self {
            Self::Breaker => "breaker.js",
            Self::Users(_) | Self::Payload(_) | Self::Spike(_) | Self::Stress(_) => "stages.js",
        }
    }

    /// What the script is told, as environment variables.
    pub fn told(self) -> Vec<(&'static str, String)> {
        let shaped =
            |shape: &str, vus: u32| vec![("SHAPE", shape.to_owned()), ("VUS", vus.to_string())];
        match self {
            Self::Users(vus) => shaped("origin", vus),
            Self::Payload(kb) => {
                let mut told = shaped("origin", 10);
                told.push(("PAYLOAD_KB", kb.to_string()));
                told
            }
            Self::Spike(vus) => shaped("spike", vus),
            Self::Stress(vus) => shaped("stress", vus),
            Self::Breaker => Vec::new(),
        }
    }
}

impl FromStr for Stage {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "breaker" {
            return Ok(Self::Breaker);
        }
        let at = text.find(|one: char| one.is_ascii_digit()).unwrap_or(text.len());
        let (name, number) = text.split_at(at);
        let make = match name {
            "vus" => Self::Users,
            "payload" => Self::Payload,
            "spike" => Self::Spike,
            "stress" => Self::Stress,
            _ => {
                bail!("{text:?} is no stage; vus10, payload100, spike10, stress10 and breaker are")
            }
        };
        match number.parse() {
            Ok(number @ 1..=8_000) => Ok(make(number)),
            _ => bail!("{text:?}: the number is 1 to 8000"),
        }
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Users(vus) => write!(f, "vus{vus}"),
            Self::Payload(kb) => write!(f, "payload{kb}"),
            Self::Spike(vus) => write!(f, "spike{vus}"),
            Self::Stress(vus) => write!(f, "stress{vus}"),
            Self::Breaker => f.write_str("breaker"),
        }
    }
}

impl From<Stage> for String {
    fn from(stage: Stage) -> Self {
        stage.to_string()
    }
}

impl TryFrom<String> for Stage {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// What k6 saw of one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staged {
    /// The arm.
    pub arm: String,
    /// The load.
    pub stage: Stage,
    /// What every duration was multiplied by: below 1 it is a smoke test.
    pub scale: f64,
    /// Calls.
    pub calls: u64,
    /// Calls a second, over all of the time.
    pub per_second: f64,
    /// The share that failed, 0–1.
    pub failed: f64,
    /// Mean, median, p95, p99 and the longest, in milliseconds.
    pub mean_ms: f64,
    /// Median.
    pub median_ms: f64,
    /// 95 %.
    pub p95_ms: f64,
    /// 99 %; the check of a breaker has none.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: f64,
    /// Thresholds that were not kept.
    pub broken: Vec<String>,
    /// What the arm's programs wrote of their calls; empty for an arm that is not traced.
    #[serde(default, skip_serializing_if = "Spans::is_empty")]
    pub spans: Spans,
}

/// Reads the summary that a script leaves.
///
/// # Errors
/// It is none.
pub fn read(arm: &str, stage: Stage, scale: f64, summary: &str) -> Result<Staged> {
    let summary: Value = serde_json::from_str(summary).context("k6's summary is no JSON")?;
    let metrics = summary["metrics"].as_object().context("k6's summary has no metrics")?;
    let value = |metric: &str, name: &str| {
        let found = metrics.get(metric).and_then(|one| one["values"][name].as_f64());
        found.with_context(|| format!("k6's summary has no {name} of {metric}"))
    };
    let mut broken = Vec::new();
    for (metric, told) in metrics {
        let thresholds = told["thresholds"].as_object().into_iter().flatten();
        let missed = thresholds.filter(|(_, kept)| kept["ok"] != Value::Bool(true));
        broken.extend(missed.map(|(threshold, _)| format!("{metric}: {threshold}")));
    }
    broken.sort();
    Ok(Staged {
        arm: arm.to_owned(),
        stage,
        scale,
        calls: value("http_reqs", "count")? as u64,
        per_second: value("http_reqs", "rate")?,
        failed: value("http_req_failed", "rate")?,
        mean_ms: value("http_req_duration", "avg")?,
        median_ms: value("http_req_duration", "med")?,
        p95_ms: value("http_req_duration", "p(95)")?,
        p99_ms: value("http_req_duration", "p(99)").ok(),
        max_ms: value("http_req_duration", "max")?,
        broken,
        spans: Spans::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_are_read_as_they_are_written() {
        for stage in
            Stage::ORIGIN.into_iter().chain([Stage::Spike(10), Stage::Stress(5), Stage::Breaker])
        {
            assert_eq!(stage.to_string().parse::<Stage>().unwrap(), stage);
        }
        for wrong in ["", "vus", "vus0", "users5", "payload9000", "breaker2", "5"] {
            assert!(wrong.parse::<Stage>().is_err(), "{wrong}");
        }
        let told = Stage::Payload(100).told();
        assert!(
            told.contains(&("VUS", "10".into())) && told.contains(&("PAYLOAD_KB", "100".into()))
        );
    }

    #[test]
    fn a_summary_is_read_with_the_thresholds_that_were_not_kept() {
        let summary = r#"{"metrics": {
            "http_reqs": {"values": {"count": 35, "rate": 8.3}},
            "http_req_failed": {"values": {"rate": 0.02}, "thresholds": {"rate<0.01": {"ok": false}}},
            "http_req_duration": {"values": {"avg": 2.3, "med": 1.3, "p(95)": 6.1, "p(99)": 9.0, "max": 12.0},
                "thresholds": {"p(95)<500": {"ok": true}}}}}"#;
        let staged = read("app", Stage::Users(5), 1.0, summary).unwrap();
        assert_eq!((staged.calls, staged.failed, staged.median_ms), (35, 0.02, 1.3));
        assert_eq!((staged.p99_ms, staged.max_ms), (Some(9.0), 12.0));
        assert_eq!(staged.broken, ["http_req_failed: rate<0.01"]);
        for wrong in ["", "{}", r#"{"metrics": {}}"#] {
            assert!(read("app", Stage::Breaker, 1.0, wrong).is_err());
        }
    }
}
