//! Routes and policies that no request comes to, because earlier ones take everything.

use bimetal_core::policy::{
    DirectionMatch, Document, HeaderMatch, HostPattern, Match, PathMatch, Policy,
};

/// A warning for each policy that is hidden.
pub(crate) fn policies(document: &Document) -> Vec<String> {
    let matchers: Vec<_> = document.policies.iter().map(|policy| &policy.matcher).collect();
    let named = |index: usize| {
        let name =
            document.policies.get(index).map_or("", |policy: &std::sync::Arc<Policy>| &policy.name);
        format!("policies[{index}] ({name})")
    };
    warnings(&matchers, &named)
}

/// A warning for each of some matchers, of which the first that matches wins, that is hidden.
pub(crate) fn warnings(matchers: &[&Match], named: &dyn Fn(usize) -> String) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, matcher) in matchers.iter().enumerate() {
        let earlier = matchers.get(..index).unwrap_or_default();
        let Some(mut by) = hidden_by(matcher, earlier) else { continue };
        by.sort_unstable();
        by.dedup();
        let by: Vec<_> = by.into_iter().map(named).collect();
        let takes = if by.len() == 1 { "comes first and takes" } else { "come first and take" };
        warnings.push(format!(
            "{}: it never matches: {} {takes} every such request",
            named(index),
            by.join(" and ")
        ));
    }
    warnings
}

/// Which of `earlier` take, between them, all that `matcher` would; none where something is left.
fn hidden_by(matcher: &Match, earlier: &[&Match]) -> Option<Vec<usize>> {
    let mut by = Vec::new();
    for part in parts(matcher) {
        by.push(earlier.iter().position(|one| covers(one, &part))?);
    }
    Some(by)
}

/// A matcher by single hosts and methods: two earlier ones may take one each.
fn parts(matcher: &Match) -> Vec<Match> {
    let hosts: Vec<Vec<HostPattern>> = match matcher.hosts.as_slice() {
        [] => vec![Vec::new()],
        hosts => hosts.iter().map(|host| vec![host.clone()]).collect(),
    };
    let methods: Vec<Vec<Box<[u8]>>> = match matcher.methods.as_slice() {
        [] => vec![Vec::new()],
        methods => methods.iter().map(|method| vec![method.clone()]).collect(),
    };
    // With very many of both the whole has to do.
    if hosts.len().saturating_mul(methods.len()) > 1_000 {
        return vec![matcher.clone()];
    }
    let one = |hosts: &Vec<HostPattern>, methods: &Vec<Box<[u8]>>| Match {
        hosts: hosts.clone(),
        methods: methods.clone(),
        ..matcher.clone()
    };
    hosts.iter().flat_map(|host| methods.iter().map(move |method| one(host, method))).collect()
}

/// Whether `one` matches every request that `other` matches.
fn covers(one: &Match, other: &Match) -> bool {
    let direction = one.direction == DirectionMatch::Any || one.direction == other.direction;
    let methods = one.methods.is_empty()
        || (!other.methods.is_empty()
            && other.methods.iter().all(|method| one.methods.contains(method)));
    let headers = one.headers.iter().all(|(name, wanted)| {
        other.headers.iter().any(|(given, value)| {
            given == name && (*wanted == HeaderMatch::Present || wanted == value)
        })
    });
    direction && methods && headers && hosts(one, other) && path(&one.path, &other.path)
}

fn hosts(one: &Match, other: &Match) -> bool {
    let all = |hosts: &[HostPattern]| hosts.is_empty() || hosts.contains(&HostPattern::Any);
    if all(&one.hosts) {
        return true;
    }
    !all(&other.hosts)
        && other.hosts.iter().all(|narrow| one.hosts.iter().any(|wide| host(wide, narrow)))
}

/// Whether one pattern takes all that another takes; neither takes every host.
fn host(wide: &HostPattern, narrow: &HostPattern) -> bool {
    match (wide, narrow) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        // The suffix has its dot, and no host begins with one: something stands before it.
        (HostPattern::Suffix(one), HostPattern::Suffix(other) | HostPattern::Exact(other)) => {
            other.ends_with(one)
        }
        _ => false,
    }
}

fn path(wide: &PathMatch, narrow: &PathMatch) -> bool {
    match (wide, narrow) {
        (PathMatch::Any, _) => true,
        (PathMatch::Exact(one), PathMatch::Exact(other)) => one == other,
        (PathMatch::Prefix(one), PathMatch::Exact(other) | PathMatch::Prefix(other)) => {
            match other.strip_prefix(&**one) {
                Some([]) => true,
                Some(rest) => one.ends_with(b"/") || rest.starts_with(b"/"),
                None => false,
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::policies;
    use bimetal_core::policy::{Document, Host};

    fn told<T: AsRef<str>>(matches: &[T]) -> Vec<String> {
        let policies: Vec<_> = matches
            .iter()
            .enumerate()
            .map(|(index, one)| format!(r#"{{"name": "p{index}", "match": {{{}}}}}"#, one.as_ref()))
            .collect();
        let text = format!(r#"{{"policies": [{}]}}"#, policies.join(","));
        let document = Document::parse(text.as_bytes(), Host::Wasm).unwrap();
        self::policies(&document)
    }

    #[test]
    fn what_nothing_comes_to_is_told() {
        for hidden in [
            ["", r#""path": "/a""#],
            [r#""path_prefix": "/a""#, r#""path_prefix": "/a/b""#],
            [r#""path_prefix": "/a/""#, r#""path": "/a""#],
            [r#""hosts": ["*.b.c"]"#, r#""hosts": ["A.b.c", "*.x.b.c"]"#],
            [r#""hosts": ["*"]"#, ""],
            [r#""hosts": ["b", "*"]"#, r#""hosts": ["a"]"#],
            [r#""hosts": ["a", "*"]"#, r#""hosts": ["*"]"#],
            [r#""methods": ["GET", "PUT"]"#, r#""methods": ["PUT"], "path": "/x""#],
            [r#""headers": {"x": "*"}"#, r#""headers": {"X": "1", "y": "2"}"#],
            [r#""headers": {"x": "1"}"#, r#""headers": {"x": "1"}"#],
            ["", r#""direction": "inbound""#],
            [r#""direction": "inbound""#, r#""direction": "inbound", "path": "/a""#],
        ] {
            let told = told(&hidden);
            let wanted = "policies[1] (p1): it never matches: policies[0] (p0) comes first and takes \
                          every such request";
            assert_eq!(told, [wanted], "{hidden:?}");
        }
        for each in [
            [r#""hosts": ["a"]"#, r#""hosts": ["b"]"#, r#""hosts": ["b", "a"]"#],
            [r#""methods": ["A"]"#, r#""methods": ["B"]"#, r#""methods": ["B", "A"]"#],
        ] {
            let both = told(&each);
            assert!(
                both[0].contains("policies[0] (p0) and policies[1] (p1) come first and take every"),
                "{both:?}"
            );
        }
    }

    #[test]
    fn what_still_gets_something_is_not() {
        for open in [
            [r#""path": "/a""#, r#""path_prefix": "/a""#],
            [r#""path_prefix": "/a""#, r#""path": "/ab""#],
            [r#""hosts": ["*.b.c"]"#, r#""hosts": ["b.c"]"#],
            [r#""hosts": ["a"]"#, ""],
            [r#""hosts": ["*.b.c"]"#, r#""hosts": ["longer.b.d"]"#],
            [r#""hosts": ["a"]"#, r#""hosts": ["a", "b"]"#],
            [r#""methods": ["GET"]"#, ""],
            [r#""headers": {"x": "1"}"#, r#""headers": {"x": "*"}"#],
            [r#""headers": {"x": "*"}"#, r#""headers": {"y": "1"}"#],
            [r#""direction": "inbound""#, ""],
            [r#""direction": "inbound""#, r#""direction": "outbound""#],
            // A request without a path, `OPTIONS *`, is left.
            [r#""path_prefix": "/""#, ""],
        ] {
            assert!(told(&open).is_empty(), "{open:?}");
        }
    }

    #[test]
    fn very_many_hosts_and_methods_are_looked_at_as_one() {
        let some = |kind: &str, count: usize| {
            let names: Vec<_> = (0..count).map(|number| format!("\"{kind}{number}\"")).collect();
            names.join(",")
        };
        let hosts = |count| format!(r#""hosts": [{}]"#, some("h", count));
        let with = |count| format!(r#"{}, "methods": [{}]"#, hosts(count), some("M", 50));
        let last = r#""hosts": ["h19", "h20"]"#.to_owned();
        // 20 hosts by 50 methods are looked at one by one, 21 are not.
        assert_eq!(told(&[hosts(19), last.clone(), with(20)]).len(), 1);
        assert_eq!(told(&[hosts(19), last, with(21)]), [""; 0]);
        assert_eq!(told(&[hosts(21), with(21)]).len(), 1);
    }
}
