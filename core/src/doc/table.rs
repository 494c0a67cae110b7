//! The description of a document: static tables that the checker, the defaults, the hashes and the
//! JSON Schema are all made from.

use crate::host::Host;
use crate::time::Duration;

/// A map with known keys.
#[derive(Debug)]
pub struct Object {
    /// What it is for; goes into the schema.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [Field],
    /// What must hold between its keys.
    pub rules: &'static [Rule],
}

impl Object {
    /// The field of that name, or of which that is another name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name || field.aliases.contains(&name))
    }
}

/// A description, where there is a schema to show it: the filter has none, and leaves the texts out
/// of its module.
const fn described(doc: &'static str) -> &'static str {
    if cfg!(feature = "std") { doc } else { "" }
}

/// What must hold between the keys of an [`Object`].
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// No two of them stand together.
    AtMostOne(&'static [&'static str]),
    /// One of them, and no other of them.
    ExactlyOne(&'static [&'static str]),
    /// One of them or several.
    AtLeastOne(&'static [&'static str]),
}

/// One key of an [`Object`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// Other keys that mean the same; no two of them may stand together.
    pub aliases: &'static [&'static str],
    /// What it means; goes into the schema.
    pub doc: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// Whether it must be there.
    pub need: Need,
    /// Which hosts can do it.
    pub support: Support,
}

impl Field {
    /// A field that may be left out and that every host supports.
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            aliases: &[],
            doc: described(doc),
            kind,
            need: Need::Optional,
            support: Support::Every,
        }
    }

    /// A field that is known by name and that no host supports yet.
    pub const fn later(name: &'static str, doc: &'static str) -> Self {
        Self { support: Support::Later, ..Self::new(name, Kind::Any, doc) }
    }

    /// The field with other keys that mean the same.
    pub const fn also(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    /// The field as one that must be there.
    pub const fn required(self) -> Self {
        Self { need: Need::Required, ..self }
    }

    /// The field with a default, as JSON text.
    pub const fn default(self, json: &'static str) -> Self {
        Self { need: Need::Default(json), ..self }
    }

    /// The field with a default that depends on other fields; `what` says how.
    pub const fn computed(self, what: &'static str) -> Self {
        Self { need: Need::Computed(described(what)), ..self }
    }

    /// The field as one that only these hosts support.
    pub const fn only(self, hosts: &'static [Host]) -> Self {
        Self { support: Support::Only(hosts), ..self }
    }
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// It must.
    Required,
    /// It may be left out, which means something of its own.
    Optional,
    /// Left out it has this value, as JSON text.
    Default(&'static str),
    /// Left out it has a value that depends on other fields; the text says which.
    Computed(&'static str),
}

/// Which hosts can do what a field or a keyword asks for.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// Every host.
    Every,
    /// These alone.
    Only(&'static [Host]),
    /// Every one whose document names a board; see [`Check::set_board`](super::Check::set_board).
    Board,
    /// None yet. The name is known so that `unsupported: skip` can leave it out.
    Later,
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// Any number.
    Number {
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
        /// Whether zero, where in range, is allowed.
        zero_allowed: bool,
    },
    /// A text such as `250ms`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A text such as `64KiB`.
    Size {
        /// The smallest, in bytes.
        min: u64,
        /// The largest, in bytes.
        max: u64,
    },
    /// One of these keywords.
    Keywords(&'static [Keyword]),
    /// A text of a certain form.
    Text(&'static Form),
    /// A text of a certain form, which may be written as a whole number: `503` beside `5xx`. The
    /// checker turns the number into text.
    Token(&'static Form),
    /// The same, where not every host can do what each text says.
    TokenOf {
        /// The form.
        form: &'static Form,
        /// Who can do what a text of that form says.
        support: fn(&str) -> Support,
    },
    /// A map with known keys.
    Object(&'static Object),
    /// A list of at most [`MAX_ITEMS`].
    List {
        /// What its items are.
        of: &'static Kind,
        /// Fewest items.
        min: usize,
    },
    /// A list of these, or one alone, which the checker makes a list of one.
    OneOrList(&'static Kind),
    /// A map with keys that the user chooses, at most [`MAX_ITEMS`].
    Map {
        /// The form of a key.
        key: &'static Form,
        /// What its values are.
        of: &'static Kind,
    },
    /// A plain value, or an object in its place.
    OrObject {
        /// The plain value.
        plain: &'static Kind,
        /// The object; none: no host supports the object yet.
        object: Option<&'static Object>,
    },
    /// Anything; not looked into.
    Any,
}

/// Most items of a list or of a map with free keys.
pub const MAX_ITEMS: usize = 1_000;

/// One keyword of [`Kind::Keywords`]. A name that ends in a colon stands for all keywords that
/// begin with it and go on with an HTTP token: `header:` takes `header:x-tenant`.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// The keyword.
    pub name: &'static str,
    /// Which hosts can do it.
    pub support: Support,
}

impl Keyword {
    /// A keyword that every host supports.
    pub const fn new(name: &'static str) -> Self {
        Self { name, support: Support::Every }
    }

    /// A keyword that no host supports yet.
    pub const fn later(name: &'static str) -> Self {
        Self { name, support: Support::Later }
    }

    /// A keyword that needs a board.
    pub const fn board(name: &'static str) -> Self {
        Self { name, support: Support::Board }
    }

    /// A keyword that only these hosts support.
    pub const fn only(name: &'static str, hosts: &'static [Host]) -> Self {
        Self { name, support: Support::Only(hosts) }
    }
}

/// The form of a text.
#[derive(Debug)]
pub struct Form {
    /// What it is, with an article: `a host`.
    pub what: &'static str,
    /// What is allowed, for people.
    pub allowed: &'static str,
    /// The same as a regular expression for the schema (ECMA 262), where that can say it. Where two
    /// repetitions could share characters, an engine that backtracks would try every way to divide
    /// them: how long a text may be is said by `longest` instead.
    pub pattern: Option<&'static str>,
    /// Most characters, for the schema, where `pattern` leaves it open.
    pub longest: Option<usize>,
    /// Whether a text is of this form.
    pub test: fn(&str) -> bool,
}

/// Any text up to 64 KiB.
pub static ANY_TEXT: Form = Form {
    what: "a text",
    allowed: "a text of at most 64 KiB",
    pattern: None,
    longest: None,
    test: |text| text.len() <= 64 << 10,
};

/// An HTTP token (RFC 9110, 5.6.2): a header's name, a method.
pub static TOKEN: Form = Form {
    what: "an HTTP token",
    allowed: "letters, digits and !#$%&'*+-.^_`|~",
    pattern: Some("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}$"),
    longest: None,
    test: is_token,
};

/// Whether `text` is an HTTP token of at most 256 bytes.
pub fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(allowed)
}

/// A name that is safe in every signal: metric labels, headers, URLs, log lines.
pub static NAME: Form = Form {
    what: "a name",
    allowed: "1 to 64 letters, digits, dots, dashes and underscores",
    pattern: Some("^[A-Za-z0-9._-]{1,64}$"),
    longest: None,
    test: |text| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=64).contains(&text.len()) && text.bytes().all(allowed)
    },
};
