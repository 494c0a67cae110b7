//! What is wrong with a document, and where.

use super::node::Node;
use crate::event::Decimal;
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// Longest part of a value or a key that is shown, in characters.
const SHOWN: usize = 48;

/// Where a value stands, as a chain on the stack: only a problem pays for the text.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// The document itself.
    pub const ROOT: Self = Self { parent: None, step: Step::Root };

    /// A key in it.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }

    /// An item in it, from 0.
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
}

/// `policies[0].breaker.trip`; `document` for the root. A key that is no plain name is quoted and
/// escaped: `match.headers["a b"]`.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = match self.parent {
            Some(parent) if parent.parent.is_some() => {
                parent.fmt(f)?;
                true
            }
            _ => false,
        };
        match self.step {
            Step::Root => f.write_str("document"),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) if is_plain(key) => {
                f.write_str(if inner { "." } else { "" })?;
                f.write_str(key)
            }
            Step::Key(key) => write!(f, "[{}]", quoted(key)),
        }
    }
}

fn is_plain(key: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=SHOWN).contains(&key.len()) && key.bytes().all(plain)
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: `policies[0].breaker.trip.failure_rate.threshold`.
    pub path: String,
    /// What: `1.5 is outside 0–1`.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        f.write_str(": ")?;
        f.write_str(&self.what)
    }
}

/// Everything that is wrong with a document. Its `Display` is one line for each problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes that something is wrong at `path`.
    pub fn add(&mut self, path: &Path<'_>, what: impl Into<Cow<'static, str>>) {
        self.0.push(Problem { path: path.to_string(), what: what.into() });
    }

    /// Every problem, in the order they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds those of another check of the same document.
    pub fn append(&mut self, mut others: Problems) {
        self.0.append(&mut others.0);
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for Problems {}

/// A value as a problem shows it: quoted, escaped and cut, so that no document can forge a line
/// of a log.
pub fn shown(node: &Node) -> String {
    match node {
        Node::Null => "null".into(),
        Node::Bool(true) => "true".into(),
        Node::Bool(false) => "false".into(),
        Node::Int(value) => value.to_string(),
        Node::Float(value) => decimal(*value),
        Node::Text(text) => quoted(text),
        Node::List(_) => "a list".into(),
        Node::Map(_) => "an object".into(),
    }
}

/// A text in quotes, as ASCII, at most `SHOWN` characters of it.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for (count, letter) in text.chars().enumerate() {
        if count == SHOWN {
            out.push_str("...");
            break;
        }
        match letter {
            '\'' => out.push('\''),
            _ => out.extend(letter.escape_default()),
        }
    }
    out.push('"');
    out
}

/// A number with at most six decimals.
pub fn decimal(value: f64) -> String {
    let size = if value < 0.0 { -value } else { value };
    if size.is_nan() || size >= 1e12 {
        return "a huge number".into();
    }
    if size > 0.0 && size < 5e-7 {
        return "a tiny number".into();
    }
    Decimal(value).to_string()
}
