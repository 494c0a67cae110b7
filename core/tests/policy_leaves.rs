//! Every leaf of the table is read: a document in which that leaf alone is another compiles to
//! another policy, also when the hashes are left out, which the table alone makes.

#![allow(clippy::panic, clippy::unwrap_used)]

mod policy;

use bimetal_core::doc::table::Support;
use bimetal_core::doc::{Keyword, Kind, Object, Rule};
use bimetal_core::policy::table::{DOCUMENT, POLICY};
use bimetal_core::policy::{Host, Policy};
use policy::compile;
use serde_json::{Map, Value, json};

const HOSTS: [Host; 2] = [Host::Native, Host::Wasm];

/// Values of which the language holds one against another: each pair here is fine beside the first
/// value of every other leaf.
const CHOSEN: [(&str, [&str; 2]); 2] =
    [("breaker.open.max", ["1h", "2h"]), ("breaker.half_open.lease", ["1h", "2h"])];

/// Texts, of which each form takes two.
const TEXTS: [&str; 8] = ["/a", "/b", "a", "b", "503", "4xx", "unavailable", "internal"];

/// Leaves for which a host can do one thing alone, so that nothing could be read another way.
fn alone(host: Host) -> &'static [&'static str] {
    match host {
        Host::Native => &["match.direction", "evidence", "breaker.profile"],
        Host::Wasm => &["evidence", "breaker.profile", "fallback.when"],
    }
}

/// Whether what a breaker's state means depends on a leaf.
fn is_of_the_state(leaf: &str) -> bool {
    leaf == "name" || leaf == "scope" || leaf.starts_with("breaker.")
}

#[test]
fn each_leaf_changes_the_policy_and_its_state_where_it_is_of_it() {
    for host in HOSTS {
        let mut only_one = Vec::new();
        let mut count = 0;
        for leaf in leaves(&POLICY, host) {
            let values = values(&leaf, host);
            if values.len() < 2 {
                only_one.push(leaf.name());
                continue;
            }
            count += 1;
            let policies: Vec<_> =
                values.into_iter().map(|value| with(&leaf, value, host)).collect();
            for (index, one) in policies.iter().enumerate() {
                for other in &policies[..index] {
                    let about = format!("{} for {}", leaf.name(), host.name());
                    assert_ne!(blanked(one), blanked(other), "{about} is not read");
                    assert_ne!(one.hash, other.hash, "{about} is not in the hash");
                    assert_eq!(
                        one.state_hash != other.state_hash,
                        is_of_the_state(&leaf.name()),
                        "{about}: the state's hash"
                    );
                }
            }
        }
        assert_eq!(only_one, alone(host), "{}", host.name());
        assert!(count >= 35, "{count} leaves");
    }
}

/// The keys around the policies are not of a policy: one is read before the check, the others have
/// one value.
#[test]
fn a_document_has_no_other_leaves() {
    let names: Vec<_> = DOCUMENT.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["version", "unsupported", "policies"]);
}

/// What is compiled, without the hashes.
fn blanked(policy: &Policy) -> String {
    format!("{:?}", Policy { hash: 0, state_hash: 0, ..policy.clone() })
}

/// A leaf: the keys on the way to it, and its kind.
#[derive(Clone)]
struct Leaf {
    keys: Vec<&'static str>,
    kind: &'static Kind,
}

impl Leaf {
    fn name(&self) -> String {
        self.keys.join(".")
    }
}

fn can(host: Host, support: Support) -> bool {
    match support {
        Support::Every => true,
        Support::Only(hosts) => hosts.contains(&host),
        Support::Later => false,
    }
}

/// Every leaf that `host` can do.
fn leaves(object: &'static Object, host: Host) -> Vec<Leaf> {
    let mut all = Vec::new();
    for field in object.fields.iter().filter(|field| can(host, field.support)) {
        match &field.kind {
            Kind::Object(inner) => {
                for leaf in leaves(inner, host) {
                    all.push(Leaf { keys: [&[field.name], &leaf.keys[..]].concat(), ..leaf });
                }
            }
            kind => all.push(Leaf { keys: vec![field.name], kind }),
        }
    }
    all
}

/// The policy of a document that gives every leaf, and `leaf` this value.
fn with(leaf: &Leaf, value: Value, host: Host) -> std::sync::Arc<Policy> {
    let mut policy = whole(&POLICY, &[], leaf, host);
    *policy.pointer_mut(&format!("/{}", leaf.keys.join("/"))).unwrap() = value;
    compile(&json!({"policies": [policy]}), host).policies.remove(0)
}

/// An object with each of its leaves. Of those that cannot stand together the one on the way to
/// `towards` is there, else the first.
fn whole(object: &'static Object, above: &[&'static str], towards: &Leaf, host: Host) -> Value {
    let left_out = |name: &str| {
        object.rules.iter().any(|rule| match rule {
            Rule::AtMostOne(names) | Rule::ExactlyOne(names) if names.contains(&name) => {
                let wanted = towards.keys.get(above.len()).filter(|key| names.contains(key));
                let is_on_the_way = towards.keys.starts_with(above) && wanted.is_some();
                name != if is_on_the_way { *wanted.unwrap() } else { names[0] }
            }
            _ => false,
        })
    };
    let mut given = Map::new();
    for field in object.fields.iter().filter(|field| can(host, field.support)) {
        if left_out(field.name) {
            continue;
        }
        let keys = [above, &[field.name]].concat();
        let value = match &field.kind {
            Kind::Object(inner) => whole(inner, &keys, towards, host),
            kind => values(&Leaf { keys, kind }, host).remove(0),
        };
        given.insert(field.name.into(), value);
    }
    Value::Object(given)
}

/// Values that mean different things.
fn values(leaf: &Leaf, host: Host) -> Vec<Value> {
    let name = leaf.name();
    if let Some((_, chosen)) = CHOSEN.iter().find(|(leaf, _)| *leaf == name) {
        return chosen.iter().map(|value| json!(value)).collect();
    }
    // More calls than `minimum_calls` asks for.
    if name.ends_with("window.calls") {
        return vec![json!(100), json!(200)];
    }
    of_kind(leaf.kind, host)
}

fn of_kind(kind: &'static Kind, host: Host) -> Vec<Value> {
    match kind {
        Kind::Bool => vec![json!(false), json!(true)],
        Kind::Integer { min, .. } => vec![json!(min), json!(min + 1)],
        Kind::Number { min, max, .. } => vec![json!(max), json!((min + max) / 2.0)],
        Kind::Duration { .. } => vec![json!("1s"), json!("2s")],
        Kind::Size { .. } => vec![json!("1KiB"), json!("2KiB")],
        Kind::Keywords(keywords) => {
            let can = |keyword: &&Keyword| can(host, keyword.support);
            let words = keywords.iter().filter(can).map(|keyword| match keyword.name {
                open if open.ends_with(':') => json!(format!("{open}x")),
                name => json!(name),
            });
            words.collect()
        }
        Kind::Text(form) | Kind::Token(form) => {
            let fit: Vec<_> = TEXTS.iter().filter(|text| (form.test)(text)).take(2).collect();
            assert_eq!(fit.len(), 2, "{}", form.what);
            fit.into_iter().map(|text| json!(text)).collect()
        }
        Kind::List { of, .. } => {
            let items = of_kind(of, host);
            let mut lists: Vec<_> = items.iter().map(|item| json!([item])).collect();
            if let [first, second, ..] = &items[..] {
                lists.push(json!([first, second]));
            }
            lists
        }
        Kind::Map { of, .. } => {
            let values = of_kind(of, host);
            vec![json!({"a": values[0]}), json!({"a": values[1]}), json!({"b": values[0]})]
        }
        Kind::OrObject { plain, .. } => of_kind(plain, host),
        Kind::Object(_) | Kind::Any => panic!("no leaf: {kind:?}"),
    }
}
