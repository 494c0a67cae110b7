//! Whether a policy is for a request. A fact is asked for only where a policy needs it: in Envoy
//! each is a call into the host.

use crate::facts::{Direction, Facts, without_port};
use crate::path::NormalPath;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt;

/// Which requests a policy is for; every part that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Hosts without port, lower case; empty = every host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathMatch,
    /// Methods; empty = every method.
    pub methods: Vec<Box<[u8]>>,
    /// Header name (lower case) and value.
    pub headers: Vec<(String, HeaderMatch)>,
    /// Direction in a sidecar.
    pub direction: DirectionMatch,
}

/// A host in `match.hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// `*`
    Any,
    /// `echo`
    Exact(Box<[u8]>),
    /// `*.example.com`, kept as `.example.com`.
    Suffix(Box<[u8]>),
}

/// A path in `match`, in its normal form and compared with one, see [`NormalPath`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PathMatch {
    /// Every path.
    #[default]
    Any,
    /// This path alone.
    Exact(Box<[u8]>),
    /// This path and all below it: `/echo` takes `/echo` and `/echo/a`, not `/echoes` (as Gateway
    /// API's `PathPrefix`).
    Prefix(Box<[u8]>),
}

impl PathMatch {
    /// This path alone, however it is spelled.
    pub fn exact(path: &str) -> Self {
        Self::Exact(NormalPath::of(path.as_bytes().into()).as_bytes().into())
    }

    /// This path and all below it, however it is spelled. `/echo/` means the same as `/echo`: a
    /// prefix ends with a segment.
    pub fn prefix(path: &str) -> Self {
        let path = NormalPath::of(path.as_bytes().into());
        match path.as_bytes() {
            b"/" => Self::Prefix(b"/"[..].into()),
            path => Self::Prefix(path.strip_suffix(b"/").unwrap_or(path).into()),
        }
    }
}

/// A header's value in `match.headers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderMatch {
    /// `"*"`: there, with whatever value.
    Present,
    /// This value.
    Exact(Box<[u8]>),
}

/// `match.direction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DirectionMatch {
    /// Both ways, and where the host cannot tell.
    #[default]
    Any,
    /// Towards the workload.
    Inbound,
    /// Away from it.
    Outbound,
}

impl DirectionMatch {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Any, Self::Inbound, Self::Outbound];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A request that policies or routes are compared with, one after another: its path is brought into
/// its normal form once.
pub struct Subject<'f> {
    facts: &'f dyn Facts,
    path: OnceCell<Option<NormalPath<'f>>>,
}

impl<'f> Subject<'f> {
    /// Nothing is asked yet.
    pub const fn new(facts: &'f dyn Facts) -> Self {
        Self { facts, path: OnceCell::new() }
    }

    fn path(&self) -> Option<&[u8]> {
        let path = self.path.get_or_init(|| self.facts.normal_path());
        path.as_ref().map(NormalPath::as_bytes)
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Match {
    /// Whether every part that is given holds for a request.
    pub fn matches(&self, facts: &dyn Facts) -> bool {
        self.holds(&Subject::new(facts))
    }

    /// As [`Match::matches`], for a request that more than one is compared with.
    pub fn holds(&self, subject: &Subject<'_>) -> bool {
        let facts = subject.facts;
        self.direction_matches(facts)
            && self.path_matches(subject)
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

    fn path_matches(&self, subject: &Subject<'_>) -> bool {
        let wanted = match &self.path {
            PathMatch::Any => return true,
            PathMatch::Exact(wanted) | PathMatch::Prefix(wanted) => wanted,
        };
        let Some(path) = subject.path() else {
            return false;
        };
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
