//! Reading a proxy file: whoever checks one reads it as the proxy does.

use super::Settings;
use super::source::{ReadError, Source};
use bimetal_core::doc::{Node, Path as Place, Problem, Problems};
use serde_saphyr::UserMessageFormatter;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file gives no settings. Each line that it is shown as names the file.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Unreadable(ReadError),
    /// It is wrong.
    Wrong(PathBuf, Problems),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => why.fmt(f),
            Self::Wrong(file, problems) => in_file(file, problems).fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Problems, a line each, with the file's name before each.
pub(crate) fn in_file(file: &Path, problems: &Problems) -> String {
    let line = |problem: &Problem| format!("{}: {problem}", file.display());
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Reads a file and checks it: JSON where its name ends in `.json`, else YAML.
///
/// # Errors
/// [`ConfigError`]
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let source = Source::read(path).map_err(ConfigError::Unreadable)?;
    understand(path, &source)
}

/// Checks what was read from a file.
///
/// # Errors
/// [`ConfigError::Wrong`]
pub(crate) fn understand(path: &Path, source: &Source) -> Result<Settings, ConfigError> {
    parse(&source.text, Syntax::of(path))
        .map_err(|problems| ConfigError::Wrong(path.into(), problems))
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Syntax {
    /// What a file's name says of it.
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(kind) if kind.eq_ignore_ascii_case("json") => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Checks the text of a file.
///
/// # Errors
/// Everything that is wrong with it, each by its path.
pub fn parse(text: &str, syntax: Syntax) -> Result<Settings, Problems> {
    super::read::settings(&tree(text, syntax)?)
}

/// The tree of a text, before anything is known of its meaning.
///
/// # Errors
/// One problem at the root, with line and column.
pub(crate) fn tree(text: &str, syntax: Syntax) -> Result<Node, Problems> {
    match syntax {
        Syntax::Json => {
            Node::from_json(text.as_bytes()).map_err(|problems| json_in_words(&problems))
        }
        // YAML forbids tabs and escapes that JSON allows, so what is JSON is read as JSON.
        Syntax::Yaml => Node::from_json(text.as_bytes()).or_else(|_| yaml(text)),
    }
}

/// The same problems, without the words of who writes parsers.
fn json_in_words(problems: &Problems) -> Problems {
    let mut ours = Problems::default();
    for problem in problems.iter() {
        let what = problem.what.replace("EOF while parsing", "it ends within");
        let what = what.replace("expected ident", "a word is none of true, false and null");
        ours.add(&Place::ROOT, what);
    }
    ours
}

fn yaml(text: &str) -> Result<Node, Problems> {
    serde_saphyr::from_str(text).map_err(|error| {
        let mut problems = Problems::default();
        let what = match error.location() {
            Some(at) => format!("line {} column {}: {}", at.line(), at.column(), reason(&error)),
            None => reason(&error),
        };
        problems.add(&Place::ROOT, format!("not readable as YAML: {what}"));
        problems
    })
}

/// What is wrong with the text, for who wrote it: the library tells it to who calls it.
fn reason(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    let known = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            return format!("the key {key} is given twice");
        }
        Error::DuplicateMappingKey { .. } => "a key is given twice",
        Error::MultipleDocuments { .. } => "a second document begins; one file holds one",
        Error::NullIntoString { .. } | Error::Unexpected { .. } => "the key is no text",
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands within its own anchor"
        }
        Error::UnknownAnchor { .. } => "an alias has no anchor before it",
        Error::NonFiniteFloat { .. } => "the number is not finite",
        Error::Budget { .. } => "it is too large, or nested too deeply",
        _ => {
            let mut told = error.without_snippet().render_with_formatter(&UserMessageFormatter);
            // The place is told already, and the rest draws it in the text.
            told.truncate(told.find('\n').unwrap_or(told.len()));
            let told = told.trim_start_matches("error: ");
            // An alias has two places.
            let told = told.split_once(" (defined at line ").map_or(told, |(what, _)| what);
            return told.rsplit_once(" at line ").map_or(told, |(what, _)| what).to_owned();
        }
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Syntax, parse, reason, tree};
    use serde_saphyr::{Error, Location};

    fn told(text: &str) -> String {
        parse(text, Syntax::Yaml).unwrap_err().to_string()
    }

    #[test]
    fn json_in_a_yaml_file_is_read_as_json() {
        // YAML knows no halves of a surrogate pair (YAML 1.2, 5.7), and no tabs before a key.
        for text in ["{\"a\":\t\"\\ud83d\\ude00\"}", "\n{\n\t\"a\":\n\t\"\u{1f600}\"\n}"] {
            let json = tree(text, Syntax::Json).unwrap();
            assert_eq!(tree(text, Syntax::Yaml).unwrap(), json, "{text}");
        }
        assert!(told("[1]").contains("a list is not an object"), "{}", told("[1]"));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_in_our_words() {
        let deep = format!("a:\n{}x", "- ".repeat(40));
        let aliases = format!("a: &a x\nb: [{}]", "*a,".repeat(3_000));
        let many = format!("a: &a [{}]\nb: [{}]", "x,".repeat(3_000), "*a,".repeat(100));
        for (text, wanted) in [
            ("a: 1\na: 2", "line 2 column 1: the key a is given twice"),
            (
                "---\na: 1\n---\nb: 2",
                "line 4 column 1: a second document begins; one file holds one",
            ),
            ("~: x", "line 1 column 1: the key is no text"),
            ("? [a]\n: b", "line 1 column 3: the key is no text"),
            ("a: &x [*x]", "line 1 column 8: an alias stands within its own anchor"),
            ("a: *x", "line 1 column 4: an alias has no anchor before it"),
            ("a: .nan", "line 1 column 4: the number is not finite"),
            ("a: !!binary xx", "line 1 column 13: invalid !!binary base64"),
            ("a: [", "line 1 column 4: unclosed bracket '['"),
            (&deep, "line 2 column 63: nested deeper than 32 levels"),
            (&aliases, "line 2 column 9006: it is too large, or nested too deeply"),
            (&many, "line 2 column 200: more than 200000 values"),
        ] {
            let wanted = format!("document: not readable as YAML: {wanted}");
            assert_eq!(told(text).trim_end(), wanted);
        }
        for (text, wanted) in [
            ("{\"a\":", "it ends within a value at line 1 column 5"),
            ("{\"a\": tru}", "a word is none of true, false and null at line 1 column 10"),
        ] {
            let problems = parse(text, Syntax::Json).unwrap_err().to_string();
            assert_eq!(problems.trim_end(), format!("document: not readable as JSON: {wanted}"));
        }
        // No text of ours has a key of which nothing can be told: keys are texts.
        let error = Error::DuplicateMappingKey { key: None, location: Location::UNKNOWN };
        assert_eq!(reason(&error), "a key is given twice");
    }
}
