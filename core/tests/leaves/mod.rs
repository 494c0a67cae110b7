//! A walk over every leaf of a table: documents that give all leaves, in which one has another
//! value.

#![allow(dead_code, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, unreachable_pub)]

use bimetal_core::doc::table::Support;
use bimetal_core::doc::{Host, Keyword, Kind, Object, Rule};
use serde_json::{Map, Value, json};

/// Texts, of which each form takes two.
const TEXTS: [&str; 18] = [
    "/a",
    "/b",
    "a",
    "b",
    "503",
    "4xx",
    "unavailable",
    "internal",
    "127.0.0.1:1",
    "127.0.0.1:2",
    "1/s",
    "2/s",
    "1MiB/s",
    "2MiB/s",
    "10.0.0.0/8",
    "::1",
    "GET",
    "POST",
];

/// Whose leaves are walked, and how.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// What this host cannot do is left out.
    pub host: Host,
    /// Values of leaves that the language holds one against another: each is fine beside the first
    /// value of every other leaf.
    pub chosen: &'static [(&'static str, &'static [&'static str])],
    /// Parts that are walked elsewhere.
    pub elsewhere: &'static [&'static str],
}

/// A leaf: the keys on the way to it, and its kind. The first item of a list is `0`, the first of a
/// map `a`.
#[derive(Clone, Debug)]
pub struct Leaf {
    keys: Vec<&'static str>,
    kind: &'static Kind,
}

impl Leaf {
    /// The keys, with dots between them.
    pub fn name(&self) -> String {
        self.keys.join(".")
    }
}

impl Walk {
    /// Every leaf of `object`.
    pub fn leaves(&self, object: &'static Object) -> Vec<Leaf> {
        let mut all = Vec::new();
        self.add_leaves(object, &[], &mut all);
        all
    }

    fn add_leaves(&self, object: &'static Object, above: &[&'static str], all: &mut Vec<Leaf>) {
        for field in object.fields.iter().filter(|field| self.can(field.support)) {
            let keys = [above, &[field.name]].concat();
            if self.elsewhere.contains(&keys.join(".").as_str()) {
                continue;
            }
            match &field.kind {
                Kind::Object(inner) => self.add_leaves(inner, &keys, all),
                Kind::List { of: Kind::Object(inner), .. } => {
                    self.add_leaves(inner, &[&keys[..], &["0"]].concat(), all);
                }
                Kind::Map { of: Kind::Object(inner), .. } => {
                    self.add_leaves(inner, &[&keys[..], &["a"]].concat(), all);
                }
                kind => all.push(Leaf { keys, kind }),
            }
        }
    }

    fn can(&self, support: Support) -> bool {
        match support {
            Support::Every => true,
            Support::Only(hosts) => hosts.contains(&self.host),
            // `whole` names a board where the host knows one.
            Support::Board => self.host == Host::Native,
            Support::Later => false,
        }
    }

    /// A document that gives every leaf, and `leaf` this value.
    pub fn document(&self, object: &'static Object, leaf: &Leaf, value: Value) -> Value {
        let mut document = self.whole(object, &[], leaf);
        *document.pointer_mut(&format!("/{}", leaf.keys.join("/"))).unwrap() = value;
        document
    }

    /// An object with each of its leaves. Of those that cannot stand together the one on the way to
    /// `towards` is there, else the first.
    fn whole(&self, object: &'static Object, above: &[&'static str], towards: &Leaf) -> Value {
        let left_out = |name: &str| {
            object.rules.iter().any(|rule| match rule {
                Rule::AtMostOne(names) | Rule::ExactlyOne(names) if names.contains(&name) => {
                    let next = towards.keys.get(above.len());
                    let wanted = next.filter(|key| names.contains(key));
                    let wanted = wanted.filter(|_| towards.keys.starts_with(above));
                    name != *wanted.unwrap_or(&names[0])
                }
                _ => false,
            })
        };
        let mut given = Map::new();
        for field in object.fields.iter().filter(|field| self.can(field.support)) {
            let keys = [above, &[field.name]].concat();
            if left_out(field.name) || self.elsewhere.contains(&keys.join(".").as_str()) {
                continue;
            }
            let inner = |inner, key| self.whole(inner, &[&keys[..], &[key]].concat(), towards);
            let value = match &field.kind {
                Kind::Object(inner) => self.whole(inner, &keys, towards),
                Kind::List { of: Kind::Object(of), .. } => json!([inner(of, "0")]),
                Kind::Map { of: Kind::Object(of), .. } => {
                    json!({"a": inner(of, "a"), "b": inner(of, "b")})
                }
                kind => self.values(&Leaf { keys, kind }).remove(0),
            };
            given.insert(field.name.into(), value);
        }
        Value::Object(given)
    }

    /// Values of a leaf that mean different things.
    pub fn values(&self, leaf: &Leaf) -> Vec<Value> {
        let name = leaf.name();
        match self.chosen.iter().find(|(chosen, _)| name.ends_with(chosen)) {
            Some((_, values)) => {
                let values = values.iter().map(|text| serde_json::from_str(text).unwrap());
                values.collect()
            }
            None => self.of_kind(leaf.kind),
        }
    }

    fn of_kind(&self, kind: &'static Kind) -> Vec<Value> {
        match kind {
            Kind::Bool => vec![json!(false), json!(true)],
            Kind::Integer { min, .. } => vec![json!(min), json!(min + 1)],
            Kind::Number { min, max, .. } => vec![json!(max), json!((min + max) / 2.0)],
            Kind::Duration { .. } => vec![json!("1s"), json!("2s")],
            Kind::Size { .. } => vec![json!("1KiB"), json!("2KiB")],
            Kind::Keywords(keywords) => {
                let can = |keyword: &&Keyword| self.can(keyword.support);
                let words = keywords.iter().filter(can).map(|keyword| match keyword.name {
                    open if open.ends_with(':') => json!(format!("{open}x")),
                    name => json!(name),
                });
                words.collect()
            }
            Kind::Text(form) | Kind::Token(form) | Kind::TokenOf { form, .. } => {
                let fit: Vec<_> = TEXTS.iter().filter(|text| (form.test)(text)).take(2).collect();
                assert_eq!(fit.len(), 2, "{}", form.what);
                fit.into_iter().map(|text| json!(text)).collect()
            }
            Kind::List { of, .. } | Kind::OneOrList(of) => {
                let items = self.of_kind(of);
                let mut lists: Vec<_> = items.iter().map(|item| json!([item])).collect();
                if let [first, second, ..] = &items[..] {
                    lists.push(json!([first, second]));
                }
                lists
            }
            Kind::Map { of, .. } => {
                let values = self.of_kind(of);
                vec![json!({"a": values[0]}), json!({"a": values[1]}), json!({"b": values[0]})]
            }
            Kind::OrObject { plain, .. } => self.of_kind(plain),
            Kind::Object(_) | Kind::Any => panic!("no leaf: {kind:?}"),
        }
    }
}
