//! What `/predict` is asked: one flower, or everything that is wrong with it.

use super::iris::Measures;
use crate::service::kind;
use serde_json::Value;

/// Largest measure, in centimetres.
const LARGEST: f64 = 100.0;

/// Why a body is refused.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// It is no JSON.
    Malformed(String),
    /// It is JSON, but no flower. One text for each fault, with its place first.
    Invalid(Vec<String>),
}

/// Reads `{"data": [[a, b, c, d]]}`. Other fields are not looked at.
pub(super) fn read(body: &[u8]) -> Result<Measures, Refusal> {
    let document: Value =
        serde_json::from_slice(body).map_err(|why| Refusal::Malformed(why.to_string()))?;
    let invalid = |text: String| Refusal::Invalid(vec![text]);
    let Value::Object(fields) = &document else {
        return Err(invalid(format!("document: is {}, not an object", kind(&document))));
    };
    let rows = match fields.get("data") {
        Some(Value::Array(rows)) => rows,
        Some(other) => {
            return Err(invalid(format!("data: is {}, not an array of rows", kind(other))));
        }
        None => return Err(invalid("data: is missing".to_owned())),
    };
    let [row] = rows.as_slice() else {
        return Err(invalid(format!("data: has {} rows; one call has one", rows.len())));
    };
    let Value::Array(row) = row else {
        return Err(invalid(format!("data[0]: is {}, not an array of numbers", kind(row))));
    };
    let mut measures = Measures::default();
    if row.len() != measures.len() {
        let count = row.len();
        return Err(invalid(format!("data[0]: has {count} values; a flower has 4")));
    }
    let mut faults = Vec::new();
    for (place, (value, measure)) in row.iter().zip(&mut measures).enumerate() {
        match value.as_f64() {
            Some(number) if number > 0.0 && number <= LARGEST => *measure = number,
            Some(_) => faults.push(format!("data[0][{place}]: {value} is outside 0-{LARGEST}")),
            None => faults.push(format!("data[0][{place}]: is {}, not a number", kind(value))),
        }
    }
    if faults.is_empty() { Ok(measures) } else { Err(Refusal::Invalid(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_flower_is_read() {
        let body = br#"{"data": [[5.1, 3.5, 1.4, 0.2]], "id": 7}"#;
        assert_eq!(read(body), Ok([5.1, 3.5, 1.4, 0.2]));
        assert_eq!(read(br#"{"data":[[5,3,1,100]]}"#), Ok([5.0, 3.0, 1.0, 100.0]));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (body, faults) in [
            ("7", &["document: is a number, not an object"][..]),
            ("{}", &["data: is missing"]),
            (r#"{"data":7}"#, &["data: is a number, not an array of rows"]),
            (r#"{"data":[]}"#, &["data: has 0 rows; one call has one"]),
            (r#"{"data":[[1,1,1,1],[1,1,1,1]]}"#, &["data: has 2 rows; one call has one"]),
            (r#"{"data":["x"]}"#, &["data[0]: is a text, not an array of numbers"]),
            (r#"{"data":[[1,2,3]]}"#, &["data[0]: has 3 values; a flower has 4"]),
            (r#"{"data":[[1,2,3,4,5]]}"#, &["data[0]: has 5 values; a flower has 4"]),
            (
                r#"{"data":[[1,"2",null,100.5]]}"#,
                &[
                    "data[0][1]: is a text, not a number",
                    "data[0][2]: is null, not a number",
                    "data[0][3]: 100.5 is outside 0-100",
                ],
            ),
            (
                r#"{"data":[[0,-1,{},true]]}"#,
                &[
                    "data[0][0]: 0 is outside 0-100",
                    "data[0][1]: -1 is outside 0-100",
                    "data[0][2]: is an object, not a number",
                    "data[0][3]: is a boolean, not a number",
                ],
            ),
        ] {
            let faults = faults.iter().map(|&fault| fault.to_owned()).collect();
            assert_eq!(read(body.as_bytes()), Err(Refusal::Invalid(faults)), "{body}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let deep = "[".repeat(60_000);
        for body in ["", "{", r#"{"data":[[1e999,1,1,1]]}"#, r#"{"data":[[NaN,1,1,1]]}"#, &deep] {
            assert!(matches!(read(body.as_bytes()), Err(Refusal::Malformed(_))), "{body:.40}");
        }
    }
}
