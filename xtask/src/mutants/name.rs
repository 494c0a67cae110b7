//! How a mutant is called.

use anyhow::{Context, Result};

/// One mutant: `core/src/record.rs:57:9: replace | with ^ in pack`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The file that is changed, from the repository's root.
    pub file: String,
    /// Line and column: `57:9`. They move with every change of the file.
    pub place: String,
    /// What is changed: `replace | with ^ in pack`.
    pub change: String,
}

impl Name {
    /// Reads a line of cargo-mutants.
    ///
    /// # Errors
    /// It names no file, no place or no change.
    pub fn read(line: &str) -> Result<Self> {
        let parts = || {
            let (at, change) = line.split_once(": ")?;
            let (file, place) = at.split_once(':')?;
            Some((file, place, change))
        };
        let (file, place, change) =
            parts().with_context(|| format!("cargo-mutants names no mutant: {line:?}"))?;
        Ok(Self { file: file.into(), place: place.into(), change: change.into() })
    }

    /// Whether it is this change of this file, wherever it stands there.
    pub fn is(&self, file: &str, change: &str) -> bool {
        self.file == file && self.change == change
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.place, self.change)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn a_name_is_read_and_written() {
        let line = "a/b.rs:57:9: replace Fold::get -> Result<u8, ()> with Ok(0)";
        let name = Name::read(line).unwrap();
        assert!(name.is("a/b.rs", "replace Fold::get -> Result<u8, ()> with Ok(0)"), "{name:?}");
        assert!(!name.is("a/c.rs", "replace Fold::get -> Result<u8, ()> with Ok(0)"));
        assert!(!name.is("a/b.rs", "replace"));
        assert_eq!(name.to_string(), line);
    }

    #[test]
    fn a_line_without_a_mutant_is_refused() {
        for line in ["", "Found 3 mutants to test", "a/b.rs: replace + with -"] {
            let error = Name::read(line).unwrap_err().to_string();
            assert!(error.contains("names no mutant"), "{line}: {error}");
        }
    }
}
