//! What `/ingest` is sent: samples, or everything that is wrong with them.

use super::sample::Sample;
use crate::service::kind;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Most samples of one request.
pub(super) const MAX_BATCH: usize = 25_000;
/// Most faults that one answer tells.
const MAX_FAULTS: usize = 20;
/// How far ahead of our clock a sample's time may be, in microseconds: a minute. One from far ahead
/// would stay in the window for as long.
const AHEAD: u64 = 60_000_000;
/// Longest name of a sample, in bytes.
const MAX_ID: usize = 64;
/// How the names begin that this program gives; no sender's does.
pub(super) const OWN: char = '~';

/// Why a body is refused. Nothing of it is taken in.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is no JSON.
    Malformed(String),
    /// It holds so many samples, which is too many.
    TooMany(usize),
    /// It is JSON, but some of it is no sample. One text for each fault, with its place first.
    Invalid(Vec<String>),
}

/// Reads one sample or an array of them. `now` is in microseconds since 1970. Other fields are not
/// looked at. Samples without a name have an empty one.
pub(super) fn read(body: &[u8], now: u64) -> Result<Vec<Sample>, Refusal> {
    let document: Value =
        serde_json::from_slice(body).map_err(|why| Refusal::Malformed(why.to_string()))?;
    let mut faults = Faults::default();
    let samples = match &document {
        Value::Array(rows) if rows.len() > MAX_BATCH => return Err(Refusal::TooMany(rows.len())),
        Value::Array(rows) => {
            let read = |(place, row)| sample(row, &format!("[{place}]"), now, &mut faults);
            rows.iter().enumerate().filter_map(read).collect()
        }
        one => sample(one, "", now, &mut faults).into_iter().collect(),
    };
    if faults.count == 0 { Ok(samples) } else { Err(Refusal::Invalid(faults.told())) }
}

#[derive(Default)]
struct Faults {
    texts: Vec<String>,
    count: usize,
}

impl Faults {
    fn add(&mut self, at: &str, field: &str, what: &str) {
        self.count += 1;
        if self.texts.len() < MAX_FAULTS {
            let dot = if at.is_empty() || field.is_empty() { "" } else { "." };
            self.texts.push(format!("{at}{dot}{field}: {what}"));
        }
    }

    /// The value, or its fault taken down.
    fn unless<T>(&mut self, at: &str, field: &str, value: Result<T, String>) -> Option<T> {
        value.map_err(|what| self.add(at, field, &what)).ok()
    }

    fn told(mut self) -> Vec<String> {
        if self.count > self.texts.len() {
            self.texts.push(format!("and {} more", self.count - self.texts.len()));
        }
        self.texts
    }
}

/// The sample of one row, unless something is wrong with it. `at` is the row's place.
fn sample(row: &Value, at: &str, now: u64, faults: &mut Faults) -> Option<Sample> {
    let Value::Object(fields) = row else {
        let at = if at.is_empty() { "document" } else { at };
        faults.add(at, "", &format!("is {}, not a sample", kind(row)));
        return None;
    };
    let micros = faults.unless(at, "timestamp", time(fields.get("timestamp"), now));
    let cpu = faults.unless(at, "cpu", number(fields, "cpu", 100.0));
    let rps = faults.unless(at, "rps", number(fields, "rps", f64::MAX));
    let id = faults.unless(at, "id", id(fields.get("id")))?;
    Some(Sample { micros: micros?, cpu: cpu?, rps: rps?, is_named: !id.is_empty(), id })
}

/// Microseconds since 1970.
fn time(value: Option<&Value>, now: u64) -> Result<u64, String> {
    let micros = match value {
        None => return Err("is missing".to_owned()),
        Some(Value::Number(seconds)) => {
            let micros = seconds.as_f64().unwrap_or(f64::NAN) * 1e6;
            if micros.is_nan() || micros < 0.0 {
                return Err(format!("{seconds} is before 1970"));
            }
            // Beyond what fits is far ahead.
            micros.round() as u64
        }
        Some(Value::String(text)) => {
            let time: Timestamp = text.parse().map_err(|_| {
                "is neither seconds since 1970 nor RFC 3339, such as 2026-03-01T12:00:00Z"
                    .to_owned()
            })?;
            u64::try_from(time.as_microsecond()).map_err(|_| "is before 1970".to_owned())?
        }
        Some(other) => return Err(format!("is {}, not a time", kind(other))),
    };
    if micros > now.saturating_add(AHEAD) {
        return Err("is more than 60 s ahead of this server's clock".to_owned());
    }
    Ok(micros)
}

/// A number of 0 to `most`.
fn number(fields: &Map<String, Value>, name: &str, most: f64) -> Result<f64, String> {
    let value = fields.get(name).ok_or("is missing")?;
    match value.as_f64() {
        // `-0` is 0.
        Some(number) if (0.0..=most).contains(&number) => Ok(number.abs()),
        Some(_) if most < f64::MAX => Err(format!("{value} is outside 0-{most}")),
        Some(_) => Err(format!("{value} is less than 0")),
        None => Err(format!("is {}, not a number", kind(value))),
    }
}

/// A name; empty where there is none.
fn id(value: Option<&Value>) -> Result<Arc<str>, String> {
    match value {
        None | Some(Value::Null) => Ok(Arc::from("")),
        Some(Value::String(id))
            if (1..=MAX_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_graphic())
                && !id.starts_with(OWN) =>
        {
            Ok(Arc::from(id.as_str()))
        }
        Some(_) => Err(format!(
            "is no text of 1 to {MAX_ID} visible ASCII characters that does not begin with {OWN}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_772_366_400_000_000;

    fn faults(body: &str) -> Vec<String> {
        match read(body.as_bytes(), NOW) {
            Err(Refusal::Invalid(faults)) => faults,
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn one_sample_or_an_array_is_read() {
        let one = br#"{"timestamp": 1732250000.25, "cpu": 0, "rps": -0.0, "host": "a"}"#;
        let wanted = Sample {
            micros: 1_732_250_000_250_000,
            cpu: 0.0,
            rps: 0.0,
            id: "".into(),
            is_named: false,
        };
        let read_one = read(one, NOW).unwrap();
        assert_eq!(read_one, [wanted]);
        assert!(read_one[0].rps.is_sign_positive() && read_one[0].seconds() == 1_732_250_000.25);
        let two = br#"[{"timestamp":"2024-11-22T05:33:20.25+01:00","cpu":100,"rps":7,"id":"a/1"},
            {"timestamp":0,"cpu":1,"rps":1e300}]"#;
        let read_two = read(two, NOW).unwrap();
        assert_eq!(read_two[0].place(), (1_732_250_000_250_000, "a/1"));
        assert!(read_two[0].is_named && !read_two[1].is_named);
        assert_eq!(read(b"[]", NOW), Ok(Vec::new()));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (body, wanted) in [
            ("7", &["document: is a number, not a sample"][..]),
            ("[[]]", &["[0]: is an array, not a sample"]),
            ("{}", &["timestamp: is missing", "cpu: is missing", "rps: is missing"]),
            (
                r#"[{"timestamp":1,"cpu":1,"rps":1},{"timestamp":-1,"cpu":100.1,"rps":-0.5,"id":""}]"#,
                &[
                    "[1].timestamp: -1 is before 1970",
                    "[1].cpu: 100.1 is outside 0-100",
                    "[1].rps: -0.5 is less than 0",
                    "[1].id: is no text of 1 to 64 visible ASCII characters that does not begin with ~",
                ],
            ),
            (
                r#"{"timestamp":"noon","cpu":"1","rps":null,"id":"~1"}"#,
                &[
                    "timestamp: is neither seconds since 1970 nor RFC 3339, such as 2026-03-01T12:00:00Z",
                    "cpu: is a text, not a number",
                    "rps: is null, not a number",
                    "id: is no text of 1 to 64 visible ASCII characters that does not begin with ~",
                ],
            ),
            (
                r#"[{"timestamp":true,"cpu":1,"rps":1},{"timestamp":"1969-12-31T23:59:59Z","cpu":1,"rps":1}]"#,
                &["[0].timestamp: is a boolean, not a time", "[1].timestamp: is before 1970"],
            ),
        ] {
            assert_eq!(faults(body), wanted, "{body}");
        }
    }

    #[test]
    fn a_time_is_at_most_a_minute_ahead() {
        let at = |seconds: f64| {
            read(format!(r#"{{"timestamp":{seconds},"cpu":1,"rps":1}}"#).as_bytes(), NOW).is_ok()
        };
        assert!(at(1_772_366_460.0) && !at(1_772_366_460.01) && !at(1e300));
        let year = r#"{"timestamp":"9999-01-01T00:00:00Z","cpu":1,"rps":1}"#;
        assert_eq!(faults(year), ["timestamp: is more than 60 s ahead of this server's clock"]);
    }

    #[test]
    fn a_batch_of_faults_is_told_in_short() {
        let rows = vec!["{}"; MAX_BATCH].join(",");
        let told = faults(&format!("[{rows}]"));
        assert_eq!(told.len(), MAX_FAULTS + 1);
        assert_eq!(told[MAX_FAULTS], format!("and {} more", MAX_BATCH * 3 - MAX_FAULTS));
        let more = read(format!("[{rows},{{}}]").as_bytes(), NOW);
        assert_eq!(more, Err(Refusal::TooMany(MAX_BATCH + 1)));
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let deep = "[".repeat(60_000);
        for body in ["", "{", r#"{"cpu":NaN}"#, r#"{"rps":1e999}"#, "\0", &deep] {
            assert!(matches!(read(body.as_bytes(), NOW), Err(Refusal::Malformed(_))), "{body:.40}");
        }
    }
}
