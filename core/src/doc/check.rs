//! The one walk over a document that finds everything wrong with it.

use super::key::FromNode;
use super::nearest::unknown;
use super::node::Node;
use super::problem::{Path, Problem, Problems, decimal, quoted, shown};
use super::table::{Field, Form, Keyword, Kind, MAX_ITEMS, Need, Object, Rule, Support, is_token};
use super::units::{self, DURATION_FORM, DURATION_UNITS, Fault, SIZE_FORM, SIZE_UNITS};
use crate::host::Host;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// What happens to what a host cannot do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// It is an error that names path and host.
    #[default]
    Refuse,
    /// It is left out, and listed.
    Skip,
}

impl Unsupported {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Refuse, Self::Skip];

    /// The word for it in a document.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Skip => "skip",
        }
    }
}

impl FromNode for Unsupported {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

/// A check under way: its findings grow with each part that is walked.
#[derive(Debug)]
pub struct Check {
    host: Host,
    unsupported: Unsupported,
    has_board: bool,
    /// Everything that is wrong.
    pub problems: Problems,
    /// What was left out because the host cannot do it.
    pub skipped: Vec<Problem>,
}

/// Whether a value stays in the document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
}

impl Check {
    /// A check for one host.
    pub fn new(host: Host, unsupported: Unsupported) -> Self {
        let (problems, skipped) = (Problems::default(), Vec::new());
        Self { host, unsupported, has_board: false, problems, skipped }
    }

    /// Says whether the document names a board, which some of it may need.
    pub fn set_board(&mut self, has_board: bool) {
        self.has_board = has_board;
    }

    /// Checks `node`, which stands at `path`, as an `object`. What the host cannot do is taken out
    /// of it, where the document asks for that. Defaults are not filled in: see [`fill`].
    pub fn object(&mut self, path: &Path<'_>, node: &mut Node, object: &'static Object) {
        self.duplicates(path, node);
        let Node::Map(entries) = node else {
            return self.wrong(path, node, "is not an object");
        };
        entries.retain_mut(|(key, value)| {
            let path = path.key(key);
            let fate = match object.field(key) {
                Some(field) => self.field(&path, value, field),
                None => {
                    self.problems.add(&path, unknown(key, object));
                    Fate::Keep
                }
            };
            fate == Fate::Keep
        });
        for field in object.fields.iter().filter(|field| !field.aliases.is_empty()) {
            self.rename(path, entries, field);
        }
        for field in object.fields {
            if matches!(field.need, Need::Required) && node.get(field.name).is_none() {
                self.problems.add(&path.key(field.name), "missing; this field is required");
            }
        }
        for rule in object.rules {
            self.rule(path, node, *rule);
        }
    }

    /// From here on the field has one name. That it was given by two is a problem.
    fn rename(&mut self, path: &Path<'_>, entries: &mut [(String, Node)], field: &Field) {
        let mut first: Option<String> = None;
        let named = |key: &str| key == field.name || field.aliases.contains(&key);
        for (key, _) in entries.iter_mut().filter(|(key, _)| named(key)) {
            match &first {
                Some(first) if first != key => {
                    let what = format!("means the same as {first}, which is given too");
                    self.problems.add(&path.key(key), what);
                }
                _ => {}
            }
            let written = core::mem::replace(key, String::from(field.name));
            first.get_or_insert(written);
        }
    }

    fn field(&mut self, path: &Path<'_>, value: &mut Node, field: &'static Field) -> Fate {
        match self.unsupported_by(field.support) {
            Some(why) => self.leave_out(path, "", why),
            None => self.value(path, value, &field.kind),
        }
    }

    /// Why this host cannot do what `support` says: what stands before and behind the host's name.
    fn unsupported_by(&self, support: Support) -> Option<[&'static str; 2]> {
        match support {
            Support::Later => Some(["not supported yet by host ", ""]),
            Support::Only(hosts) if !hosts.contains(&self.host) => {
                Some(["not supported by host ", ""])
            }
            Support::Board if !self.has_board => Some(match self.host {
                Host::Native => [
                    "not supported without a board by host ",
                    "; name one beside the policies: board: {redis: \"redis://…\"}",
                ],
                Host::Wasm => ["not supported yet by host ", ""],
            }),
            _ => None,
        }
    }

    fn leave_out(&mut self, path: &Path<'_>, what: &str, why: [&str; 2]) -> Fate {
        let [before, behind] = why;
        let what = [what, before, self.host.name(), behind].concat();
        match self.unsupported {
            Unsupported::Refuse => {
                self.problems.add(path, what);
                Fate::Keep
            }
            Unsupported::Skip => {
                self.skipped.push(Problem { path: path.to_string(), what: what.into() });
                Fate::Drop
            }
        }
    }

    fn wrong(&mut self, path: &Path<'_>, node: &Node, what: &str) {
        self.problems.add(path, format!("{} {what}", shown(node)));
    }

    fn value(&mut self, path: &Path<'_>, node: &mut Node, kind: &'static Kind) -> Fate {
        match kind {
            Kind::Any => {}
            Kind::Bool => {
                if !matches!(node, Node::Bool(_)) {
                    self.wrong(path, node, "is not true or false");
                }
            }
            Kind::Integer { min, max } => match node.as_integer() {
                Some(value) if (*min..=*max).contains(&value) => {}
                None if !matches!(node, Node::Int(_)) => {
                    self.wrong(path, node, "is not a whole number");
                }
                _ => self.wrong(path, node, &format!("is outside {min}–{max}")),
            },
            Kind::Number { min, max, zero_allowed } => match node.as_number() {
                Some(0.0) if !*zero_allowed => {
                    let max = decimal(*max);
                    self.wrong(path, node, &format!("is not allowed; more than 0, up to {max} is"));
                }
                Some(value) if (*min..=*max).contains(&value) => {}
                Some(_) => {
                    let range = format!("is outside {}–{}", decimal(*min), decimal(*max));
                    self.wrong(path, node, &range);
                }
                None => self.wrong(path, node, "is not a number"),
            },
            Kind::Duration { min, max } => {
                let value = node.as_text().map(|text| units::duration(text).map(|d| d.as_nanos()));
                let range = (min.as_nanos(), max.as_nanos());
                self.unit(path, node, value, range, &DURATION_UNITS, DURATION_FORM);
            }
            Kind::Size { min, max } => {
                let value = node.as_text().map(units::size);
                self.unit(path, node, value, (*min, *max), &SIZE_UNITS, SIZE_FORM);
            }
            Kind::Keywords(keywords) => return self.keyword(path, node, keywords),
            Kind::Token(form) => self.token(path, node, form),
            Kind::TokenOf { form, support } => {
                self.token(path, node, form);
                let text = node.as_text().filter(|text| (form.test)(text));
                if let Some((text, why)) =
                    text.and_then(|text| Some((text, self.unsupported_by(support(text))?)))
                {
                    return self.leave_out(path, &format!("{} is ", quoted(text)), why);
                }
            }
            Kind::Text(form) => self.form(path, node, form),
            Kind::Object(object) => self.object(path, node, object),
            Kind::List { of, min } => self.list(path, node, of, *min),
            Kind::OneOrList(of) if matches!(node, Node::List(_)) => self.list(path, node, of, 1),
            Kind::OneOrList(of) => {
                let fate = self.value(path, node, of);
                let one = core::mem::replace(node, Node::Null);
                *node = Node::List(alloc::vec![one]);
                return fate;
            }
            Kind::Map { key, of } => self.map(path, node, key, of),
            Kind::OrObject { plain, object } => match (&node, object) {
                (Node::Map(_), Some(object)) => self.object(path, node, object),
                (Node::Map(_), None) => {
                    return self.leave_out(
                        path,
                        "an object is ",
                        ["not supported yet by host ", ""],
                    );
                }
                _ => return self.value(path, node, plain),
            },
        }
        Fate::Keep
    }

    /// A text with a unit; `value` is none where it is no text at all.
    fn unit(
        &mut self,
        path: &Path<'_>,
        node: &Node,
        value: Option<Result<u64, Fault>>,
        (min, max): (u64, u64),
        units: &[(&'static str, u64)],
        form: &str,
    ) {
        let fault = match value {
            Some(Ok(value)) if (min..=max).contains(&value) => return,
            Some(Ok(_)) => {
                let (min, min_unit) = units::with_unit(min, units);
                let (max, max_unit) = units::with_unit(max, units);
                let range = format!("is outside {min}{min_unit}–{max}{max_unit}");
                return self.wrong(path, node, &range);
            }
            Some(Err(fault)) => fault.text(),
            None if node.as_number().is_some() => Fault::NoUnit.text(),
            None => "is not a text",
        };
        self.wrong(path, node, &format!("{fault}; allowed is {form}"));
    }

    fn keyword(&mut self, path: &Path<'_>, node: &Node, keywords: &'static [Keyword]) -> Fate {
        let text = node.as_text().unwrap_or_default();
        if let Some(keyword) = keywords.iter().find(|keyword| keyword.takes(text)) {
            return match self.unsupported_by(keyword.support) {
                Some(why) => self.leave_out(path, &format!("{} is ", quoted(text)), why),
                None => Fate::Keep,
            };
        }
        let mut what = String::from("is not one of ");
        for (index, keyword) in keywords.iter().enumerate() {
            what.push_str(if index > 0 { ", " } else { "" });
            what.push_str(keyword.name);
            what.push_str(if keyword.name.ends_with(':') { "<name>" } else { "" });
        }
        self.wrong(path, node, &what);
        Fate::Keep
    }

    fn token(&mut self, path: &Path<'_>, node: &mut Node, form: &Form) {
        if let Some(value) = node.as_integer() {
            *node = Node::Text(value.to_string());
        }
        self.form(path, node, form);
    }

    fn form(&mut self, path: &Path<'_>, node: &Node, form: &Form) {
        if !node.as_text().is_some_and(form.test) {
            let mut what = format!("is not {}; allowed is {}", form.what, form.allowed);
            if matches!(node, Node::Bool(_)) {
                what.push_str(
                    "; YAML takes the words yes, no, on and off for it: write them in quotes",
                );
            }
            self.wrong(path, node, &what);
        }
    }

    fn list(&mut self, path: &Path<'_>, node: &mut Node, of: &'static Kind, min: usize) {
        let Node::List(items) = node else {
            return self.wrong(path, node, "is not a list");
        };
        self.count(path, items.len(), min);
        let mut index = 0;
        items.retain_mut(|item| {
            let fate = self.value(&path.index(index), item, of);
            index += 1;
            fate == Fate::Keep
        });
    }

    fn map(&mut self, path: &Path<'_>, node: &mut Node, form: &Form, of: &'static Kind) {
        self.duplicates(path, node);
        let Node::Map(entries) = node else {
            return self.wrong(path, node, "is not an object");
        };
        self.count(path, entries.len(), 0);
        entries.retain_mut(|(key, value)| {
            let path = path.key(key);
            if !(form.test)(key) {
                let what = format!("the key is not {}; allowed is {}", form.what, form.allowed);
                self.problems.add(&path, what);
            }
            self.value(&path, value, of) == Fate::Keep
        });
    }

    fn count(&mut self, path: &Path<'_>, count: usize, min: usize) {
        if !(min..=MAX_ITEMS).contains(&count) {
            self.problems.add(path, format!("{count} items are outside {min}–{MAX_ITEMS}"));
        }
    }

    /// Compares each key with those before it: no sorting, because that would cost the filter some
    /// 10 KB of code, and only so many keys that it ends soon whatever the document.
    fn duplicates(&mut self, path: &Path<'_>, node: &Node) {
        let keys = || node.as_map().iter().take(MAX_ITEMS).map(|(key, _)| key);
        for (index, key) in keys().enumerate() {
            // The second says it; a third and a fourth add nothing.
            if keys().take(index).filter(|earlier| *earlier == key).count() == 1 {
                self.problems.add(&path.key(key), "given more than once");
            }
        }
    }

    fn rule(&mut self, path: &Path<'_>, node: &Node, rule: Rule) {
        let (Rule::AtMostOne(names) | Rule::ExactlyOne(names) | Rule::AtLeastOne(names)) = rule;
        let mut given = names.iter().filter(|name| node.get(name).is_some());
        let first = given.next();
        match (rule, first) {
            (Rule::ExactlyOne(_), None) => self.none_given(path, "exactly", names),
            (Rule::AtLeastOne(_), None) => self.none_given(path, "at least", names),
            (Rule::AtMostOne(_) | Rule::ExactlyOne(_), Some(first)) => {
                for other in given {
                    self.problems.add(&path.key(other), format!("cannot stand beside {first}"));
                }
            }
            _ => {}
        }
    }

    fn none_given(&mut self, path: &Path<'_>, how_many: &str, names: &[&str]) {
        let mut what = format!("{how_many} one of {} is needed", names.join(", "));
        let skipped = names.iter().map(|name| path.key(name).to_string());
        if skipped.into_iter().any(|key| self.skipped.iter().any(|problem| problem.path == key)) {
            what.push_str("; what is skipped as unsupported does not count");
        }
        self.problems.add(path, what);
    }
}

impl Keyword {
    fn takes(&self, text: &str) -> bool {
        match text.strip_prefix(self.name) {
            Some("") => !self.name.ends_with(':'),
            Some(rest) => self.name.ends_with(':') && is_token(rest),
            None => false,
        }
    }
}

/// Fills in the defaults of `object` wherever a field is left out; what is there stays. Computed
/// defaults are their owner's business.
pub fn fill(node: &mut Node, object: &'static Object) {
    if !matches!(node, Node::Map(_)) {
        return;
    }
    for field in object.fields {
        if let (Need::Default(json), None) = (field.need, node.get(field.name))
            && let Ok(default) = Node::from_json(json.as_bytes())
        {
            node.set(field.name, default);
        }
        if let Some(value) = node.get_mut(field.name) {
            fill_value(value, &field.kind);
        }
    }
}

fn fill_value(node: &mut Node, kind: &'static Kind) {
    match (kind, node) {
        (Kind::Object(object) | Kind::OrObject { object: Some(object), .. }, node) => {
            fill(node, object);
        }
        (Kind::List { of, .. }, Node::List(items)) => {
            items.iter_mut().for_each(|item| fill_value(item, of));
        }
        (Kind::Map { of, .. }, Node::Map(entries)) => {
            entries.iter_mut().for_each(|(_, value)| fill_value(value, of));
        }
        _ => {}
    }
}
