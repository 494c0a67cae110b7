//! Hashes of what a document means, not of how it is written: `500ms` and `0.5s`, `3` and `3.0`,
//! one order of keys and another hash alike. The table says what a value means.

use super::node::Node;
use super::table::{Kind, Object};
use super::units;
use alloc::vec::Vec;

pub use crate::hash::Hash;

impl Hash {
    /// Adds what a checked `node` means as an `object`; keys that the table does not know say
    /// nothing.
    #[must_use]
    pub fn object(self, node: &Node, object: &Object) -> Self {
        object.fields.iter().fold(self.byte(b'{'), |hash, field| match node.get(field.name) {
            Some(value) => hash.bytes(field.name.as_bytes()).value(value, &field.kind),
            None => hash,
        })
    }

    fn value(self, node: &Node, kind: &Kind) -> Self {
        match (kind, node) {
            (Kind::Object(object) | Kind::OrObject { object: Some(object), .. }, Node::Map(_)) => {
                self.object(node, object)
            }
            (Kind::OrObject { plain, .. }, _) => self.value(node, plain),
            (Kind::List { of, .. } | Kind::OneOrList(of), Node::List(items)) => {
                let all = self.number(items.len() as u64);
                items.iter().fold(all, |hash, item| hash.value(item, of))
            }
            (Kind::Map { of, .. }, Node::Map(entries)) => {
                // The table does not know the keys, so their names give the order.
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                let all = self.number(entries.len() as u64);
                entries
                    .iter()
                    .fold(all, |hash, (key, value)| hash.bytes(key.as_bytes()).value(value, of))
            }
            (Kind::Duration { .. }, Node::Text(text)) => {
                self.number(units::duration(text).map_or(0, |span| span.as_nanos()))
            }
            (Kind::Size { .. }, Node::Text(text)) => self.number(units::size(text).unwrap_or(0)),
            (_, Node::Text(text)) => self.bytes(text.as_bytes()),
            (_, Node::Bool(value)) => self.number(u64::from(*value)),
            (_, node) => self.number(node.as_number().unwrap_or_default().to_bits()),
        }
    }
}
