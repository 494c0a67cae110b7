//! What the plain values of a checked document are read as.

use super::key::{Entries, FromNode, Size};
use super::node::Node;
use super::units;
use crate::time::Duration;
use alloc::string::String;
use alloc::vec::Vec;

impl FromNode for bool {
    fn from_node(node: &Node) -> Option<Self> {
        match node {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }
}

impl FromNode for u16 {
    #[inline(never)]
    fn from_node(node: &Node) -> Option<Self> {
        Self::try_from(node.as_integer()?).ok()
    }
}

impl FromNode for u32 {
    #[inline(never)]
    fn from_node(node: &Node) -> Option<Self> {
        Self::try_from(node.as_integer()?).ok()
    }
}

impl FromNode for f64 {
    #[inline(never)]
    fn from_node(node: &Node) -> Option<Self> {
        node.as_number()
    }
}

impl FromNode for Duration {
    #[inline(never)]
    fn from_node(node: &Node) -> Option<Self> {
        units::duration(node.as_text()?).ok()
    }
}

impl FromNode for Size {
    fn from_node(node: &Node) -> Option<Self> {
        units::size(node.as_text()?).ok().map(Self)
    }
}

impl FromNode for String {
    #[inline(never)]
    fn from_node(node: &Node) -> Option<Self> {
        node.as_text().map(Self::from)
    }
}

impl<T: FromNode> FromNode for Vec<T> {
    fn from_node(node: &Node) -> Option<Self> {
        let Node::List(items) = node else { return None };
        let mut values = Self::with_capacity(items.len());
        for item in items {
            values.push(T::from_node(item)?);
        }
        Some(values)
    }
}

impl<T: FromNode> FromNode for Entries<T> {
    fn from_node(node: &Node) -> Option<Self> {
        let Node::Map(entries) = node else { return None };
        let mut values = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            values.push((key.clone(), T::from_node(value)?));
        }
        Some(Self(values))
    }
}
