//! A field's name, its kind and the type of its value in one.
//!
//! The table lists a [`Key`] and the reader asks by the same one. So a field is named once, and it
//! cannot be read as anything but what the checker lets through.

use super::node::Node;
use super::problem::{Path, Problems};
use super::table::{Field, Form, Keyword, Kind, Object, Support};
use crate::host::Host;
use crate::time::Duration;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

/// A value that a checked node is read as.
pub trait FromNode: Sized {
    /// The value; `None` where the node is not of the kind that the table gives such values.
    fn from_node(node: &Node) -> Option<Self>;
}

/// A [`Kind`] together with the type that its values are read as.
pub struct TypedKind<T> {
    kind: Kind,
    value: PhantomData<fn() -> T>,
}

impl<T> TypedKind<T> {
    const fn of(kind: Kind) -> Self {
        Self { kind, value: PhantomData }
    }

    /// A text of a certain form. `T` has to read every text of that form.
    pub const fn text(form: &'static Form) -> Self {
        Self::of(Kind::Text(form))
    }

    /// A text of a certain form that may be written as a whole number, see [`Kind::Token`].
    pub const fn token(form: &'static Form) -> Self {
        Self::of(Kind::Token(form))
    }

    /// The same, where not every host can do what each text says: see [`Kind::TokenOf`].
    pub const fn token_of(form: &'static Form, support: fn(&str) -> Support) -> Self {
        Self::of(Kind::TokenOf { form, support })
    }

    /// One of some keywords. `T` has to read each that a host supports.
    pub const fn keywords(keywords: &'static [Keyword]) -> Self {
        Self::of(Kind::Keywords(keywords))
    }

    /// A plain value, or an object in its place. `T` has to read both.
    pub const fn or_object<P>(plain: &'static TypedKind<P>, object: &'static Object) -> Self {
        Self::of(Kind::OrObject { plain: &plain.kind, object: Some(object) })
    }

    /// A plain value where later an object may stand, which no host supports yet.
    pub const fn or_object_later(plain: &'static Self) -> Self {
        Self::of(Kind::OrObject { plain: &plain.kind, object: None })
    }
}

impl TypedKind<bool> {
    /// `true` or `false`.
    pub const BOOL: Self = Self::of(Kind::Bool);
}

impl TypedKind<u16> {
    /// A whole number within `min` and `max`, both included.
    pub const fn whole(min: u16, max: u16) -> Self {
        Self::of(Kind::Integer { min: min as u64, max: max as u64 })
    }
}

impl TypedKind<u32> {
    /// A whole number within `min` and `max`, both included.
    pub const fn whole(min: u32, max: u32) -> Self {
        Self::of(Kind::Integer { min: min as u64, max: max as u64 })
    }
}

impl TypedKind<f64> {
    /// A number within `min` and `max`, both included.
    pub const fn number(min: f64, max: f64) -> Self {
        Self::of(Kind::Number { min, max, zero_allowed: true })
    }

    /// A number within `min` and `max`, both included, but for zero.
    pub const fn number_but_zero(min: f64, max: f64) -> Self {
        Self::of(Kind::Number { min, max, zero_allowed: false })
    }
}

impl TypedKind<Duration> {
    /// A duration within `min` and `max`, both included.
    pub const fn duration(min: Duration, max: Duration) -> Self {
        Self::of(Kind::Duration { min, max })
    }
}

impl TypedKind<Size> {
    /// A size of `min` to `max` bytes, both included.
    pub const fn size(min: u64, max: u64) -> Self {
        Self::of(Kind::Size { min, max })
    }
}

impl TypedKind<Part> {
    /// A map with known keys.
    pub const fn object(object: &'static Object) -> Self {
        Self::of(Kind::Object(object))
    }
}

impl<T> TypedKind<Vec<T>> {
    /// A list of at least `min` values.
    pub const fn list(of: &'static TypedKind<T>, min: usize) -> Self {
        Self::of(Kind::List { of: &of.kind, min })
    }

    /// A list of at least one value, or one value alone.
    pub const fn one_or_list(of: &'static TypedKind<T>) -> Self {
        Self::of(Kind::OneOrList(&of.kind))
    }
}

impl<T> TypedKind<Entries<T>> {
    /// A map with keys of a certain form that the user chooses.
    pub const fn map(key: &'static Form, of: &'static TypedKind<T>) -> Self {
        Self::of(Kind::Map { key, of: &of.kind })
    }
}

// Not derived: that would ask the same of `T`, of which there is no value here.
impl<T> Clone for TypedKind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for TypedKind<T> {}

impl<T> fmt::Debug for TypedKind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

/// One field: what a table lists, and what a reader asks by.
pub struct Key<T> {
    field: Field,
    value: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// A field that may be left out and that every host supports.
    pub const fn new(name: &'static str, kind: TypedKind<T>, doc: &'static str) -> Self {
        Self::of(Field::new(name, kind.kind, doc))
    }

    const fn of(field: Field) -> Self {
        Self { field, value: PhantomData }
    }

    /// The field with other keys that mean the same.
    pub const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self::of(self.field.also(aliases))
    }

    /// The field as one that must be there.
    pub const fn required(self) -> Self {
        Self::of(self.field.required())
    }

    /// The field with a default, as JSON text.
    pub const fn default(self, json: &'static str) -> Self {
        Self::of(self.field.default(json))
    }

    /// The field with a default that depends on other fields; `what` says how.
    pub const fn computed(self, what: &'static str) -> Self {
        Self::of(self.field.computed(what))
    }

    /// The field as one that only these hosts support.
    pub const fn only(self, hosts: &'static [Host]) -> Self {
        Self::of(self.field.only(hosts))
    }

    /// The field as a table lists it.
    pub const fn field(&self) -> Field {
        self.field
    }

    /// The key.
    pub const fn name(&self) -> &'static str {
        self.field.name
    }

    /// What stands under the key in `node`.
    #[inline]
    pub fn node<'n>(&self, node: &'n Node) -> Option<&'n Node> {
        node.get(self.field.name)
    }

    /// What stands under the key in `node`, to be changed.
    #[inline]
    pub fn node_mut<'n>(&self, node: &'n mut Node) -> Option<&'n mut Node> {
        node.get_mut(self.field.name)
    }

    /// The text under the key, as it is written.
    #[inline]
    pub fn text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        self.node(node)?.as_text()
    }

    /// What a problem is told of: the field is not there, or not of its kind.
    #[inline]
    pub const fn unread(&self) -> Unread {
        Unread(self.field.name)
    }
}

impl<T: FromNode> Key<T> {
    /// The value in a document that was checked and completed, of a field that is there by then: it
    /// is required, or has a default.
    ///
    /// # Errors
    /// It is not there: the document is not what the table says.
    #[inline]
    pub fn read(&self, node: &Node) -> Result<T, Unread> {
        read(node, self.field.name)
    }

    /// The value in a document that was checked, of a field that may be left out.
    ///
    /// # Errors
    /// Something else stands there: the document is not what the table says.
    #[inline]
    pub fn given(&self, node: &Node) -> Result<Option<T>, Unread> {
        given(node, self.field.name)
    }

    /// The value in a document that may be wrong, where it is right.
    #[inline]
    pub fn find(&self, node: &Node) -> Option<T> {
        given(node, self.field.name).unwrap_or_default()
    }
}

// One copy of each for each type of value: the filter's module would carry one for each field.
#[inline(never)]
fn read<T: FromNode>(node: &Node, name: &'static str) -> Result<T, Unread> {
    node.get(name).and_then(T::from_node).ok_or(Unread(name))
}

#[inline(never)]
fn given<T: FromNode>(node: &Node, name: &'static str) -> Result<Option<T>, Unread> {
    node.get(name).map(|found| T::from_node(found).ok_or(Unread(name))).transpose()
}

impl Key<Part> {
    /// The part in a document that was checked and completed.
    ///
    /// # Errors
    /// It is not there: the document is not what the table says.
    #[inline]
    pub fn part<'n>(&self, node: &'n Node) -> Result<&'n Node, Unread> {
        self.node(node).ok_or(self.unread())
    }
}

impl Key<Vec<Part>> {
    /// The parts that stand in the list; none where there is no list.
    #[inline]
    pub fn parts<'n>(&self, node: &'n Node) -> &'n [Node] {
        self.node(node).map_or(&[], Node::as_list)
    }
}

impl Key<Entries<Part>> {
    /// The parts that stand in the map, under the names that the user chose; none where there is
    /// no map.
    #[inline]
    pub fn named_parts<'n>(&self, node: &'n Node) -> &'n [(String, Node)] {
        self.node(node).map_or(&[], Node::as_map)
    }
}

impl Key<Duration> {
    /// Sets the value. It goes in as a text like every other, so that hashes and readers see one
    /// form.
    pub fn set(&self, node: &mut Node, span: Duration) {
        node.set(self.field.name, Node::Text(format!("{}ns", span.as_nanos())));
    }
}

impl Key<u16> {
    /// Sets the value.
    pub fn set(&self, node: &mut Node, value: u16) {
        node.set(self.field.name, Node::Int(value.into()));
    }
}

impl Key<u32> {
    /// Sets the value.
    pub fn set(&self, node: &mut Node, value: u32) {
        node.set(self.field.name, Node::Int(value.into()));
    }
}

impl Key<f64> {
    /// Sets the value.
    pub fn set(&self, node: &mut Node, value: f64) {
        node.set(self.field.name, Node::Float(value));
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Key<T> {}

impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.field.fmt(f)
    }
}

/// A field that a reader did not find although the document was checked: table and reader disagree. The
/// document is refused: an invented value would be worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread(&'static str);

impl Unread {
    /// Notes it as a problem of what stands at `path`.
    pub fn tell(self, path: &Path<'_>, problems: &mut Problems) {
        problems.add(&path.key(self.0), "cannot be read; this is a fault of the program");
    }
}

/// A map with known keys that stands in another one: read by keys of its own.
#[derive(Clone, Copy, Debug)]
pub enum Part {}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A map with keys that the user chose, in the document's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<T>(pub Vec<(String, T)>);
