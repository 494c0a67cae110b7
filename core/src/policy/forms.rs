//! The forms of the texts in a policy, and what they mean.

use crate::doc::Form;
use crate::outcome::{AnswerSet, Transport};

/// `503` or `5xx`.
pub(super) static STATUS: Form = Form {
    what: "a status",
    allowed: "100 to 599, or a class such as 5xx",
    pattern: Some("^[1-5]([0-9][0-9]|xx)$"),
    longest: None,
    test: |text| parse_status(text).is_some(),
};

/// A gRPC status other than OK.
pub(super) static GRPC: Form = Form {
    what: "a gRPC status that can fail",
    allowed: "a name such as unavailable or deadline_exceeded",
    pattern: Some(
        "^(cancelled|unknown|invalid_argument|deadline_exceeded|not_found|already_exists|permission_denied|resource_exhausted|failed_precondition|aborted|out_of_range|unimplemented|internal|unavailable|data_loss|unauthenticated)$",
    ),
    longest: None,
    test: |text| grpc_code(text).is_some(),
};

/// Any keyword of `failure.statuses`, `failure.grpc` or `failure.transport`.
pub(super) static ANSWER: Form = Form {
    what: "an answer",
    allowed: "a status (404), a class (4xx), a gRPC status (not_found) or a transport failure (reset)",
    pattern: Some("^([1-5]([0-9][0-9]|xx)|[a-z_]+)$"),
    longest: None,
    test: |text| insert(&mut AnswerSet::default(), text),
};

/// A host in `match.hosts`.
pub(super) static HOST: Form = Form {
    what: "a host",
    allowed: r#"a name or address without port, "*.example.com" or "*""#,
    pattern: None,
    longest: None,
    test: is_host,
};

/// A path in `match`.
pub(super) static PATH: Form = Form {
    what: "a path",
    allowed: "a text that begins with / and has no query",
    // All visible ASCII but `#` and `?`.
    pattern: Some("^/[!\"$->@-~]*$"),
    longest: Some(2048),
    test: |text| {
        text.starts_with('/')
            && text.len() <= 2048
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
    },
};

/// A header's value (RFC 9110, 5.5), without bytes above ASCII.
pub(super) static FIELD_VALUE: Form = Form {
    what: "a header's value",
    allowed: "printable ASCII, at most 4096 characters, without a space at its ends",
    pattern: Some("^([!-~]([\\t -~]*[!-~])?)?$"),
    longest: Some(4096),
    test: |text| {
        text.len() <= 4096
            && text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
            && !text.starts_with([' ', '\t'])
            && !text.ends_with([' ', '\t'])
    },
};

/// Canonical names of the gRPC statuses 1–16 (gRPC: "Status codes and their use in gRPC").
const GRPC_NAMES: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

enum StatusPattern {
    One(u16),
    Class(u16),
}

fn parse_status(text: &str) -> Option<StatusPattern> {
    if text.len() != 3 {
        return None;
    }
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse().ok()?;
        return (1..=5).contains(&class).then_some(StatusPattern::Class(class));
    }
    // `parse` alone would take "+50".
    let status = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    (100..=599).contains(&status).then_some(StatusPattern::One(status))
}

fn grpc_code(text: &str) -> Option<u32> {
    (1..).zip(GRPC_NAMES).find(|(_, name)| *name == text).map(|(code, _)| code)
}

/// Adds what a keyword of `failure` names to `set`; whether it names something.
pub(super) fn insert(set: &mut AnswerSet, keyword: &str) -> bool {
    if let Some(status) = parse_status(keyword) {
        match status {
            StatusPattern::One(status) => set.statuses.insert(status),
            StatusPattern::Class(class) => set.statuses.insert_class(class),
        }
    } else if let Some(code) = grpc_code(keyword) {
        set.grpc |= 1 << code;
    } else if let Some(how) = Transport::ALL.into_iter().find(|how| how.name() == keyword) {
        if !set.transport.contains(&how) {
            set.transport.push(how);
        }
    } else {
        return false;
    }
    true
}

fn is_host(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    if let Some(address) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // Compared as text, so a wrong address only never matches: no parser for that.
        let part = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        return (2..=45).contains(&address.len()) && address.bytes().all(part);
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}
