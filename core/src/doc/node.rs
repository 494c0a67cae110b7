//! The tree of a document, before anything is known of its meaning.

use super::problem::{Path, Problems};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of a document. The language needs 8; the rest is room for mistakes that are
/// better named by the checker.
pub const MAX_DEPTH: u8 = 32;

/// Most values in a document, so that an alias bomb in YAML ends early.
pub const MAX_NODES: u32 = 200_000;

/// Longest document that [`Node::from_json`] reads, in bytes.
pub const MAX_BYTES: usize = 4 << 20;

/// One value of a document.
///
/// A map keeps its order and its duplicate keys: the checker reports those by their path.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Map(Vec<(String, Node)>),
}

// A document is read once, so its readers are small rather than fast: `inline(never)` on what is
// called from many places halves the code that the filter carries for it.
impl Node {
    /// Reads JSON.
    ///
    /// # Errors
    /// One problem at the root, with line and column, where the bytes are not JSON, are longer
    /// than [`MAX_BYTES`], nested deeper than [`MAX_DEPTH`] or hold more than [`MAX_NODES`] values.
    #[inline(never)]
    pub fn from_json(json: &[u8]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        if json.len() > MAX_BYTES {
            problems.add(&Path::ROOT, format!("{} bytes; at most 4 MiB are read", json.len()));
            return Err(problems);
        }
        serde_json::from_slice(json).map_err(|error| {
            problems.add(&Path::ROOT, format!("not readable as JSON: {error}"));
            problems
        })
    }

    /// The value of a key, where this is a map that has it.
    #[inline(never)]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_map().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match self {
            Self::Map(entries) => {
                entries.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Sets a key of a map; anything but a map stays as it is.
    #[inline(never)]
    pub fn set(&mut self, key: &str, value: Node) {
        if let Some(old) = self.get_mut(key) {
            *old = value;
        } else if let Self::Map(entries) = self {
            entries.push((String::from(key), value));
        }
    }

    /// Takes a key out of a map.
    pub fn remove(&mut self, key: &str) {
        if let Self::Map(entries) = self {
            entries.retain(|(name, _)| name != key);
        }
    }

    /// The entries of a map; none for anything else.
    pub fn as_map(&self) -> &[(String, Node)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none for anything else.
    pub fn as_list(&self) -> &[Node] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The text, where this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, where this is one and not negative. `1e6` is one too: a configuration
    /// that travelled through a protobuf `Struct` (a WasmPlugin's does) writes it so.
    pub fn as_integer(&self) -> Option<u64> {
        match *self {
            Self::Int(value) => u64::try_from(value).ok(),
            // 2^53: beyond it a float does not hold every whole number.
            Self::Float(value) if (0.0..=9_007_199_254_740_992.0).contains(&value) => {
                let whole = value as u64;
                (whole as f64 == value).then_some(whole)
            }
            _ => None,
        }
    }

    /// The number, where this is one.
    pub fn as_number(&self) -> Option<f64> {
        match *self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// The one of `all` that this text is the name of.
    #[inline(never)]
    pub fn named<T: Copy>(&self, all: &[T], name: fn(T) -> &'static str) -> Option<T> {
        let text = self.as_text()?;
        all.iter().copied().find(|one| name(*one) == text)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let left = Cell::new(MAX_NODES);
        Reader { depth: 0, left: &left }.deserialize(from)
    }
}

/// Reads one value, knowing how deep it lies and how many more may come.
#[derive(Clone, Copy)]
struct Reader<'a> {
    depth: u8,
    left: &'a Cell<u32>,
}

impl Reader<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        match self.left.get().checked_sub(1) {
            Some(left) => self.left.set(left),
            None => {
                return Err(D::Error::custom(format_args!("more than {MAX_NODES} values")));
            }
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(i64::try_from(value).map_or(Node::Float(value as f64), Node::Int))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(String::from(value)))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Node, D::Error> {
        from.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let mut entries = Vec::new();
        while let Some(key) = from.next_key()? {
            entries.push((key, from.next_value_seed(inner)?));
        }
        Ok(Node::Map(entries))
    }
}
