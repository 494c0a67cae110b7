//! One request's fault: what it is made of, and how a request asks for its own.

use super::fields;
use serde_json::Value;
use std::time::Duration;

/// What happens to one request. The default is a good answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u8>,
    pub(super) retry_after_s: Option<u64>,
    pub(super) delay: Duration,
    pub(super) hold: Option<String>,
    pub(super) reset: Option<Reset>,
    pub(super) body_bytes: Option<u64>,
    pub(super) body_delay: Duration,
    pub(super) truncate_after: Option<u64>,
}

/// When a connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reset {
    BeforeHeaders,
    AfterHeaders,
}

/// Fields of a fault: in a rule, and as `x-fault-` headers.
const FAULT_FIELDS: [&str; 10] = [
    "status",
    "grpc_status",
    "retry_after_s",
    "delay_ms",
    "hold",
    "abort",
    "reset",
    "body_bytes",
    "body_delay_ms",
    "truncate_after",
];

impl Fault {
    /// The fault that a request asks for by its `x-fault-` headers, if it asks for one.
    ///
    /// # Errors
    /// The header that cannot be understood, and why.
    pub(super) fn from_headers(headers: &hyper::HeaderMap) -> Result<Option<Self>, String> {
        let mut asked = None;
        for (name, value) in headers {
            let Some(field) = name.as_str().strip_prefix("x-fault-") else {
                continue;
            };
            let text = value.to_str().map_err(|_| format!("{name}: not text"))?;
            let field = field.replace('-', "_");
            let value = fields::from_text(&field, text.trim());
            let fault = asked.get_or_insert_with(Self::default);
            fault.set(&field, &value, &[]).map_err(|what| format!("{name}: {what}"))?;
        }
        if let Some(fault) = &asked {
            fault.check().map_err(|(_, what)| format!("x-fault headers: {what}"))?;
        }
        Ok(asked)
    }

    /// Sets one field; `others` are known where this one stands, for the nearest name.
    pub(super) fn set(
        &mut self,
        field: &str,
        value: &Value,
        others: &[&str],
    ) -> Result<(), String> {
        match field {
            "status" => self.status = Some(narrow(fields::whole(value, 200, 599)?)),
            "grpc_status" => self.grpc_status = Some(narrow(fields::whole(value, 0, 16)?)),
            "retry_after_s" => self.retry_after_s = Some(fields::whole(value, 0, 86_400)?),
            "delay_ms" => self.delay = fields::millis(value)?,
            "hold" => self.hold = Some(fields::name(value)?),
            // `abort: false` beside `reset` says nothing.
            "abort" if fields::flag(value)? => self.reset = Some(Reset::BeforeHeaders),
            "abort" => {}
            "reset" => {
                self.reset = Some(match value.as_str() {
                    Some("before_headers") => Reset::BeforeHeaders,
                    Some("after_headers") => Reset::AfterHeaders,
                    _ => {
                        return Err(format!("{value} is neither before_headers nor after_headers"));
                    }
                });
            }
            "body_bytes" => self.body_bytes = Some(fields::whole(value, 0, 1 << 30)?),
            "body_delay_ms" => self.body_delay = fields::millis(value)?,
            "truncate_after" => self.truncate_after = Some(fields::whole(value, 0, 1 << 30)?),
            _ => return Err(unknown(field, others)),
        }
        Ok(())
    }

    /// Whether its parts fit together; if not, the field and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.status.is_some() && self.grpc_status.is_some() {
            return Err((".grpc_status", "cannot stand beside status: it means HTTP 200"));
        }
        if self.reset.is_some() && self.truncate_after.is_some() {
            return Err((".truncate_after", "cannot stand beside reset"));
        }
        Ok(())
    }
}

/// What to say to a field that neither a fault nor one of `others` is.
fn unknown(field: &str, others: &[&str]) -> String {
    let known = others.iter().chain(&FAULT_FIELDS);
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(field, known), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, known)) => format!("unknown field; did you mean {known:?}?"),
        None => format!("unknown field; known are {}", FAULT_FIELDS.join(", ")),
    }
}

/// A checked number in the type that holds it.
fn narrow<T: TryFrom<u64> + Default>(checked: u64) -> T {
    T::try_from(checked).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_ask_for_faults() {
        let mut headers = hyper::HeaderMap::new();
        assert_eq!(Fault::from_headers(&headers), Ok(None));
        headers.insert("x-fault-delay-ms", "20".parse().unwrap());
        headers.insert("x-fault-abort", "1".parse().unwrap());
        let fault = Fault::from_headers(&headers).unwrap().unwrap();
        assert_eq!(fault.delay, Duration::from_millis(20));
        assert_eq!(fault.reset, Some(Reset::BeforeHeaders));
        headers.insert("x-fault-status", "soon".parse().unwrap());
        let wrong = Fault::from_headers(&headers).unwrap_err();
        assert_eq!(wrong, r#"x-fault-status: "soon" is not a whole number in 200–599"#);
    }
}
