//! Whether a policy is for a request. A fact is asked for only where a policy needs it: in Envoy
//! each is a call into the host.

use super::types::{DirectionMatch, HeaderMatch, HostPattern, Match, PathMatch};
use crate::facts::{Direction, Facts, without_port};

impl Match {
    /// Whether every part that is given holds for a request.
    pub fn matches(&self, facts: &dyn Facts) -> bool {
        self.direction_matches(facts)
            && self.path_matches(facts)
            && self.methods_match(facts)
            && self.hosts_match(facts)
            && self.headers.iter().all(|(name, wanted)| header_matches(facts, name, wanted))
    }

    fn direction_matches(&self, facts: &dyn Facts) -> bool {
        match self.direction {
            DirectionMatch::Any => true,
            DirectionMatch::Inbound => facts.direction() == Direction::Inbound,
            DirectionMatch::Outbound => facts.direction() == Direction::Outbound,
        }
    }

    fn path_matches(&self, facts: &dyn Facts) -> bool {
        let wanted = match &self.path {
            PathMatch::Any => return true,
            PathMatch::Exact(wanted) | PathMatch::Prefix(wanted) => wanted,
        };
        let Some(path) = facts.path() else {
            return false;
        };
        let path = without_query(&path);
        match (&self.path, path.strip_prefix(&**wanted)) {
            (_, Some([])) => true,
            (PathMatch::Prefix(_), Some(rest)) => wanted.ends_with(b"/") || rest.starts_with(b"/"),
            _ => false,
        }
    }

    fn methods_match(&self, facts: &dyn Facts) -> bool {
        self.methods.is_empty()
            || facts.method().is_some_and(|method| self.methods.iter().any(|one| **one == *method))
    }

    fn hosts_match(&self, facts: &dyn Facts) -> bool {
        if self.hosts.is_empty() || self.hosts.contains(&HostPattern::Any) {
            return true;
        }
        facts.authority().is_some_and(|authority| {
            let host = without_port(&authority);
            self.hosts.iter().any(|pattern| match pattern {
                HostPattern::Any => true,
                HostPattern::Exact(name) => host.eq_ignore_ascii_case(name),
                HostPattern::Suffix(suffix) => {
                    let start = host.len().checked_sub(suffix.len());
                    let end = start.and_then(|start| host.split_at_checked(start));
                    // Something stands before the dot: `*.example.com` is not `.example.com`.
                    end.is_some_and(|(label, end)| {
                        !label.is_empty() && end.eq_ignore_ascii_case(suffix)
                    })
                }
            })
        })
    }
}

fn header_matches(facts: &dyn Facts, name: &str, wanted: &HeaderMatch) -> bool {
    let value = facts.header(name);
    match wanted {
        HeaderMatch::Present => value.is_some(),
        HeaderMatch::Exact(wanted) => value.is_some_and(|value| *value == **wanted),
    }
}

fn without_query(path: &[u8]) -> &[u8] {
    path.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or(path)
}
