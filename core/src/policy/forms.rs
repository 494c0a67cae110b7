//! The forms of the texts in a policy, and what they mean.

use super::breaker::{Growth, Judge};
use super::limit::{Network, Pattern};
use super::matching::{DirectionMatch, HeaderMatch, HostPattern};
use super::types::{Bandwidth, Evidence, Mode, Scope, Share, WhenFull};
use crate::concurrency::adaptive::Algorithm;
use crate::doc::{Form, FromNode, Node, units};
use crate::limiter::Rate;
use crate::limiter::escrow::WhenStoreFails;
use crate::outcome::{AnswerSet, Transport};
use crate::time::Duration;
use alloc::format;

/// The keywords of `scope`.
pub(super) mod scope {
    pub(crate) const POLICY: &str = "policy";
    pub(crate) const DESTINATION: &str = "destination";
    pub(crate) const ENDPOINT: &str = "endpoint";
    pub(crate) const ROUTE: &str = "route";
    pub(crate) const AUTHORITY: &str = "authority";
    pub(crate) const CLIENT: &str = "client";
    /// Goes on with the header's name.
    pub(crate) const HEADER: &str = "header:";
}

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
    test: |text| Answer::parse(text).is_some(),
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

/// So many in so much time.
pub(super) static RATE: Form = Form {
    what: "a rate",
    allowed: r#"a text such as "100/s", "6000/m" or "100/5s", 1 to 10,000,000 in 1ms to 24h, in whole milliseconds"#,
    pattern: Some("^[0-9]+/([0-9]+([.][0-9]+)?)?(s|ns|us|ms|m|h)$"),
    longest: None,
    test: |text| parse_rate(text).is_some(),
};

/// So many bytes a second.
pub(super) static BANDWIDTH: Form = Form {
    what: "a bandwidth",
    allowed: r#"a size each second such as "10MiB/s" or "64KiB/s", 1KiB/s to 1024GiB/s"#,
    pattern: Some("^[0-9]+([.][0-9]+)?(B|KiB|MiB|GiB|kB|MB|GB)/s$"),
    longest: None,
    test: |text| parse_bandwidth(text).is_some(),
};

/// Addresses in `allow`.
pub(super) static NETWORK: Form = Form {
    what: "a network",
    allowed: r#"an address, or one with a prefix and no bits behind it, such as "10.0.0.0/8""#,
    pattern: Some("^[0-9a-fA-F.:]+(/[0-9]{1,3})?$"),
    longest: None,
    test: |text| Network::parse(text).is_some(),
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

/// What a keyword of `failure` names.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    Status(u16),
    /// All statuses of a class: 5 for `5xx`.
    Class(u16),
    Grpc(u32),
    Transport(Transport),
}

impl Answer {
    pub(super) fn parse(text: &str) -> Option<Self> {
        parse_status(text).or_else(|| grpc_code(text).map(Self::Grpc)).or_else(|| {
            Transport::ALL.into_iter().find(|how| how.name() == text).map(Self::Transport)
        })
    }

    /// Adds it to a set.
    pub(crate) fn insert(self, set: &mut AnswerSet) {
        match self {
            Self::Status(status) => set.statuses.insert(status),
            Self::Class(class) => set.statuses.insert_class(class),
            Self::Grpc(code) => set.grpc |= 1 << code,
            Self::Transport(how) if !set.transport.contains(&how) => set.transport.push(how),
            Self::Transport(_) => {}
        }
    }
}

impl FromNode for Answer {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

pub(super) fn parse_status(text: &str) -> Option<Answer> {
    if text.len() != 3 {
        return None;
    }
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse().ok()?;
        return (1..=5).contains(&class).then_some(Answer::Class(class));
    }
    // `parse` alone would take "+50".
    let status = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())??;
    (100..=599).contains(&status).then_some(Answer::Status(status))
}

fn grpc_code(text: &str) -> Option<u32> {
    (1..).zip(GRPC_NAMES).find(|(_, name)| *name == text).map(|(code, _)| code)
}

impl FromNode for HostPattern {
    fn from_node(node: &Node) -> Option<Self> {
        let pattern = node.as_text()?.to_ascii_lowercase();
        Some(match pattern.strip_prefix('*') {
            Some("") => Self::Any,
            Some(suffix) => Self::Suffix(suffix.as_bytes().into()),
            None => Self::Exact(pattern.as_bytes().into()),
        })
    }
}

impl FromNode for HeaderMatch {
    fn from_node(node: &Node) -> Option<Self> {
        Some(match node.as_text()? {
            "*" => Self::Present,
            value => Self::Exact(value.as_bytes().into()),
        })
    }
}

impl FromNode for DirectionMatch {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Scope {
    fn from_node(node: &Node) -> Option<Self> {
        match node.as_text()? {
            scope::POLICY => Some(Self::Policy),
            scope::DESTINATION => Some(Self::Destination),
            scope::ENDPOINT => Some(Self::Endpoint),
            scope::ROUTE => Some(Self::Route),
            scope::AUTHORITY => Some(Self::Authority),
            scope::CLIENT => Some(Self::Client),
            keyword => {
                let name = keyword.strip_prefix(scope::HEADER)?;
                Some(Self::Header(name.to_ascii_lowercase()))
            }
        }
    }
}

/// `100/s`, `100/5s`.
pub(super) fn parse_rate(text: &str) -> Option<Rate> {
    let (tokens, period) = text.split_once('/')?;
    // `parse` alone would take "+5".
    let tokens =
        tokens.bytes().all(|byte| byte.is_ascii_digit()).then(|| tokens.parse().ok())??;
    let period = match period.as_bytes().first() {
        Some(b'0'..=b'9') => units::duration(period).ok()?,
        _ => units::duration(&format!("1{period}")).ok()?,
    };
    let periods = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    let is_fit = (1..=10_000_000).contains(&tokens)
        && periods.contains(&period)
        && period == Duration::from_millis(period.as_millis());
    is_fit.then_some(Rate { tokens, period })
}

impl FromNode for Rate {
    fn from_node(node: &Node) -> Option<Self> {
        parse_rate(node.as_text()?)
    }
}

fn parse_bandwidth(text: &str) -> Option<Bandwidth> {
    let bytes = units::size(text.strip_suffix("/s")?).ok()?;
    (1 << 10..=1 << 40).contains(&bytes).then_some(Bandwidth { bytes })
}

impl FromNode for Bandwidth {
    fn from_node(node: &Node) -> Option<Self> {
        parse_bandwidth(node.as_text()?)
    }
}

impl FromNode for Network {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

impl FromNode for Pattern {
    fn from_node(node: &Node) -> Option<Self> {
        Some(Self(match node.as_text()? {
            "*" => None,
            value => Some(value.as_bytes().into()),
        }))
    }
}

impl FromNode for WhenFull {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Mode {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Growth {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Evidence {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Judge {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Algorithm {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for WhenStoreFails {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Share {
    fn from_node(node: &Node) -> Option<Self> {
        let mesh = Self::Mesh { quorum: Self::QUORUM };
        node.named(&[Self::None, Self::Process, mesh], Self::name)
    }
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
