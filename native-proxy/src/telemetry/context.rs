//! W3C Trace Context in and out (<https://www.w3.org/TR/trace-context/>).
//!
//! The ids are OpenTelemetry's types. Its propagator is not used: it takes ids that are too short,
//! sends an empty `tracestate`, and loses one that has an empty member, which the standard allows.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use std::str::FromStr;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Length of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// What a caller says of the trace that its request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Nothing.
    Silent,
    /// What cannot be understood: a new trace begins (section 3.2.2.2).
    Broken,
    /// This.
    Trace(Parent),
}

/// The caller's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl Caller {
    /// What the headers of a request say. Costs one look-up where they say nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut all = headers.get_all(&TRACEPARENT).iter();
        match (all.next(), all.next()) {
            (None, _) => Self::Silent,
            (Some(one), None) => parse(one.as_bytes()).map_or(Self::Broken, Self::Trace),
            // Two of them contradict each other (section 3.2).
            (Some(_), Some(_)) => Self::Broken,
        }
    }
}

/// The trace that a request says it belongs to.
pub(crate) fn trace_of(headers: &HeaderMap) -> Option<[u8; 16]> {
    match Caller::of(headers) {
        Caller::Trace(parent) => Some(parent.trace.to_bytes()),
        Caller::Silent | Caller::Broken => None,
    }
}

/// `version-trace-parent-flags` in lower case; later versions may have more behind it.
fn parse(value: &[u8]) -> Option<Parent> {
    let text = std::str::from_utf8(value).ok()?;
    let (known, more) = text.split_at_checked(LENGTH)?;
    let is_plain = |(place, byte): (usize, u8)| match place {
        2 | 35 | 52 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    if !known.bytes().enumerate().all(is_plain) {
        return None;
    }
    let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|at| known.get(at));
    match version? {
        "ff" => return None,
        "00" if !more.is_empty() => return None,
        _ if !more.is_empty() && !more.starts_with('-') => return None,
        _ => {}
    }
    let parent = Parent {
        trace: TraceId::from_hex(trace?).ok()?,
        span: SpanId::from_hex(span?).ok()?,
        sampled: u8::from_str_radix(flags?, 16).ok()? & TraceFlags::SAMPLED.to_u8() != 0,
    };
    (parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
}

/// So many bytes of a `tracestate` are kept for the spans: what a tracer should pass on at least (section
/// 3.3.1.5). A client chooses it, and many spans may wait.
const LONGEST_STATE: usize = 512;

/// What the caller's `tracestate` says, for the spans. On its way upstream the header stays as it
/// came.
pub(super) fn state(headers: &HeaderMap) -> TraceState {
    let texts = headers.get_all(&TRACESTATE).iter().filter_map(|value| value.to_str().ok());
    let members = texts.flat_map(|text| text.split(',')).map(str::trim);
    let mut left = LONGEST_STATE;
    let fits = |member: &&str| {
        let rest = left.checked_sub(member.len() + 1);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    let members: Vec<_> = members.filter(|member| !member.is_empty()).take_while(fits).collect();
    TraceState::from_str(&members.join(",")).unwrap_or_default()
}

/// A new trace begins: the state of another one is not its own (section 3.3).
pub(super) fn forget_state(headers: &mut HeaderMap) {
    headers.remove(&TRACESTATE);
}

/// Tells the next hop whose child its span is.
pub(super) fn send(headers: &mut HeaderMap, trace: TraceId, span: SpanId, flags: TraceFlags) {
    let text = format!("00-{trace}-{span}-{:02x}", flags.to_u8());
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(TRACEPARENT, value);
    }
}

/// The context of a span.
pub(crate) fn of(trace: TraceId, span: SpanId, state: &TraceState) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn of_a_state_no_more_than_its_first_512_bytes_are_kept() {
        let members: Vec<String> = (0..32).map(|n| format!("k{n}={}", "v".repeat(60))).collect();
        let kept = state(&headers(TRACESTATE, &[&members.join(",")])).header();
        assert_eq!(kept, members[..8].join(","));
        assert_eq!(state(&headers(TRACESTATE, &[&"v".repeat(600)])).header(), "");
    }

    #[test]
    fn a_caller_is_understood_by_the_letter() {
        for (flags, sampled) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let said = format!("00-{TRACE}-{SPAN}-{flags}");
            let Caller::Trace(parent) = Caller::of(&headers(TRACEPARENT, &[&said])) else {
                panic!("{said}");
            };
            assert_eq!(parent.trace.to_string(), TRACE);
            assert_eq!((parent.span.to_string().as_str(), parent.sampled), (SPAN, sampled));
        }
        for later in [format!("01-{TRACE}-{SPAN}-01"), format!("cc-{TRACE}-{SPAN}-01-what-ever")] {
            assert!(matches!(Caller::of(&headers(TRACEPARENT, &[&later])), Caller::Trace(_)));
        }
        assert_eq!(Caller::of(&HeaderMap::new()), Caller::Silent);
    }

    #[test]
    fn what_is_not_a_traceparent_is_broken() {
        let good = format!("00-{TRACE}-{SPAN}-01");
        for broken in [
            "",
            "00",
            "00-1-2-01",
            &format!("0-{TRACE}-{SPAN}-01"),
            &format!("+0-{TRACE}-{SPAN}-01"),
            &format!("ff-{TRACE}-{SPAN}-01"),
            &format!("00-{TRACE}-{SPAN}-1"),
            &format!("00-{TRACE}-{SPAN}-01-"),
            &format!("00-{TRACE}-{SPAN}-01-00"),
            &format!("01-{TRACE}-{SPAN}-01x"),
            &format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            &format!("00-{}-{SPAN}-01", "0".repeat(32)),
            &format!("00-{TRACE}-{}-01", "0".repeat(16)),
            &format!("00-{TRACE}0-{SPAN}-01"),
            &format!("00_{TRACE}_{SPAN}_01"),
            &format!("00-{TRACE}-{SPAN}-0g"),
            &format!("{good},{good}"),
        ] {
            assert_eq!(Caller::of(&headers(TRACEPARENT, &[broken])), Caller::Broken, "{broken}");
        }
        assert_eq!(Caller::of(&headers(TRACEPARENT, &[&good, &good])), Caller::Broken);
        let mut bytes = HeaderMap::new();
        bytes.insert(TRACEPARENT, HeaderValue::from_bytes(b"00-\xe4\xf6").unwrap());
        assert_eq!(Caller::of(&bytes), Caller::Broken);
    }

    #[test]
    fn a_state_may_come_in_several_lines_and_with_empty_members() {
        let state = |values: &[&str]| state(&headers(TRACESTATE, values)).header();
        assert_eq!(state(&["a=1, b=2,,", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(state(&["no member"]), "");
        assert_eq!(state(&[]), "");
    }

    #[test]
    fn the_next_hop_understands_what_is_sent() {
        let mut sent = HeaderMap::new();
        let (trace, span) = (TraceId::from_hex(TRACE).unwrap(), SpanId::from_hex(SPAN).unwrap());
        for (flags, sampled) in [(TraceFlags::SAMPLED, true), (TraceFlags::NOT_SAMPLED, false)] {
            send(&mut sent, trace, span, flags);
            assert_eq!(Caller::of(&sent), Caller::Trace(Parent { trace, span, sampled }));
        }
    }
}
